//! A fresh database for each test, cloned from a migrated template.
//!
//! [`TestDatabase`] is what most tests want. [`PrivateServer`] is for tests that stop or kill Postgres itself.

mod container;
mod private_server;
mod server;
mod template;
mod url;

use std::{
    future::Future,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use uuid::Uuid;

pub use private_server::PrivateServer;
use server::TestServer;

/// Dropping a database is a courtesy; a test does not wait for it longer than this.
const DROP_LIMIT: Duration = Duration::from_secs(10);

/// An own database, gone when this is dropped.
#[derive(Debug)]
pub struct TestDatabase {
    /// `postgres://user:password@host:port/database`
    pub url: String,
    /// What is dropped in the end; none where the server goes itself.
    name: Option<String>,
    server: Arc<TestServer>,
}

impl TestDatabase {
    /// A database with the engine's schema and no rows.
    pub async fn new() -> Self {
        Self::from_template("schema", migrate).await
    }

    /// A database with nothing in it.
    pub async fn empty() -> Self {
        let server = server::shared().await;
        Self::create(server, "template0").await
    }

    /// A database cloned from a template that `prepare` fills once for all tests that give it the same name. The
    /// template is made anew whenever a file in `migrations/` changes; `prepare` must close its connections.
    pub async fn from_template<Prepare, Done>(name: &str, prepare: Prepare) -> Self
    where
        Prepare: FnOnce(String) -> Done,
        Done: Future<Output = ()>,
    {
        let server = server::shared().await;
        let template = template::name_for(name, &migrations());
        template::ensure(server.maintenance_url(), &template, prepare).await;
        Self::create(server, &template).await
    }

    /// The migrated database of a private server, which it goes with.
    pub fn of(server: &PrivateServer) -> Self {
        Self {
            url: server.url().to_owned(),
            name: None,
            server: Arc::new(TestServer::elsewhere(server.url())),
        }
    }

    async fn create(server: Arc<TestServer>, template: &str) -> Self {
        let name = format!("longhaul_test_{}", Uuid::new_v4().simple());
        let url = url::with_database(server.maintenance_url(), &name);
        let mut connection = connect(server.maintenance_url()).await;
        run(&mut connection, format!("create database {name} template {template}")).await;
        let database = Self {
            url,
            name: Some(name),
            server,
        };
        connection.close().await.expect("a connection closes");
        database
    }

    /// One connection to this database.
    pub async fn connect(&self) -> PgConnection {
        connect(&self.url).await
    }

    /// A small pool on this database.
    pub async fn pool(&self) -> PgPool {
        PgPoolOptions::new()
            .max_connections(8)
            .connect(&self.url)
            .await
            .expect("the test's database answers")
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let Some(name) = self.name.clone() else { return };
        let url = self.server.maintenance_url().to_owned();
        // An own thread: the test's runtime may be ending, and may have a single thread.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let dropped =
                runtime.block_on(async { tokio::time::timeout(DROP_LIMIT, drop_database(&url, &name)).await });
            std::io::Result::Ok(dropped)
        });
        // Best effort: a server that was stopped by its test cannot drop anything.
        let _dropped = dropping.join();
    }
}

async fn drop_database(url: &str, name: &str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(AssertSqlSafe(format!("drop database if exists {name} with (force)")))
        .execute(&mut connection)
        .await?;
    connection.close().await
}

fn migrations() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations")
}

async fn migrate(url: String) {
    engine::schema::migrate(&url)
        .await
        .expect("the migrations apply to an empty database");
}

async fn connect(url: &str) -> PgConnection {
    let options = PgConnectOptions::from_str(url).expect("the tests' database URL is well formed");
    PgConnection::connect_with(&options)
        .await
        .unwrap_or_else(|error| panic!("no connection to {}: {error}", url::without_password(url)))
}

async fn run(connection: &mut PgConnection, sql: String) {
    let outcome = sqlx::raw_sql(AssertSqlSafe(sql.as_str())).execute(connection).await;
    outcome.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

#[cfg(test)]
mod tests;
