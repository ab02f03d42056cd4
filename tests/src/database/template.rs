//! The migrated database that tests clone.

use std::{
    fs,
    future::Future,
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
};

use sqlx::{Connection, PgConnection};

use super::{connect, run, url};

/// Serialises the making of templates among all processes on one server; any number that nobody else uses.
const LOCK_KEY: i64 = 0x4c48_5445_4d50;

/// A name that changes with what would be in the template, short enough for Postgres' 63 bytes whatever `name` is.
pub(super) fn name_for(name: &str, migrations: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    let entries = fs::read_dir(migrations).expect("the workspace has a folder of migrations");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|file| file.extension().is_some_and(|extension| extension == "sql"))
        .collect();
    files.sort();
    for file in files {
        file.file_name().hash(&mut hasher);
        fs::read(&file).expect("a migration can be read").hash(&mut hasher);
    }
    format!("longhaul_template_{:016x}", hasher.finish())
}

/// Makes the template unless it is there. A half-made one has another name, so nobody clones it.
pub(super) async fn ensure<Prepare, Done>(maintenance_url: &str, template: &str, prepare: Prepare)
where
    Prepare: FnOnce(String) -> Done,
    Done: Future<Output = ()>,
{
    let mut connection = connect(maintenance_url).await;
    if !exists(&mut connection, template).await {
        run(&mut connection, format!("select pg_advisory_lock({LOCK_KEY})")).await;
        // Ours to make, unless somebody did while we waited for the lock.
        if !exists(&mut connection, template).await {
            let making = format!("{template}_new");
            run(
                &mut connection,
                format!("drop database if exists {making} with (force)"),
            )
            .await;
            run(&mut connection, format!("create database {making} template template0")).await;
            prepare(url::with_database(maintenance_url, &making)).await;
            // Cloning fails while anybody is connected, so nobody may be.
            run(
                &mut connection,
                format!("alter database {making} with allow_connections false"),
            )
            .await;
            run(&mut connection, format!("alter database {making} rename to {template}")).await;
        }
    }
    // Closing gives the lock back.
    connection.close().await.expect("a connection closes");
}

async fn exists(connection: &mut PgConnection, database: &str) -> bool {
    sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(database)
        .fetch_one(connection)
        .await
        .expect("the catalog can be read")
}
