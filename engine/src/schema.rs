//! Applies migrations, and refuses to work on a schema that this program does not know.

use crate::error::EngineError;
use crate::{Connect, Engine};
use sqlx::Connection;
use sqlx::migrate::{MigrateError, Migrator};
use std::borrow::Cow;

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");
const TABLE: &str = "longhaul.migration";

fn migrator() -> Migrator {
    let mut migrator = Migrator::with_migrations(MIGRATIONS.migrations.to_vec());
    migrator.table_name = Cow::Borrowed(TABLE);
    migrator.create_schemas = Cow::Owned(vec![Cow::Borrowed("longhaul")]);
    migrator
}

/// Applies what is missing. Several at once are safe: one waits for the other.
///
/// # Errors
/// [`EngineError::Schema`] where the database was migrated by another release.
pub async fn migrate(url: &str) -> Result<usize, EngineError> {
    let options = Connect::new(url, "longhaul migrate").options()?;
    let mut connection = sqlx::PgConnection::connect_with(&options).await?;
    let before = applied(&mut connection).await?;
    migrator().run(&mut connection).await.map_err(refused)?;
    let after = applied(&mut connection).await?;
    connection.close().await?;
    Ok(after.len() - before.len())
}

fn refused(error: MigrateError) -> EngineError {
    if let MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) = error {
        return EngineError::from(source);
    }
    EngineError::Schema(format!("the schema cannot be migrated: {error}"))
}

async fn applied(connection: &mut sqlx::PgConnection) -> Result<Vec<(i64, Vec<u8>)>, EngineError> {
    let exists: bool = sqlx::query_scalar("select to_regclass('longhaul.migration') is not null")
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        return Ok(Vec::new());
    }
    let rows = sqlx::query_as("select version, checksum from longhaul.migration where success order by version")
        .fetch_all(connection)
        .await?;
    Ok(rows)
}

impl Engine {
    /// Whether any release has migrated this database.
    ///
    /// # Errors
    /// The database's.
    pub async fn has_schema(&self) -> Result<bool, EngineError> {
        let mut connection = self.pool.acquire().await?;
        Ok(!applied(&mut connection).await?.is_empty())
    }

    /// Refuses a schema that this program does not know.
    ///
    /// # Errors
    /// [`EngineError::Schema`] with the command to run.
    pub async fn check_schema(&self) -> Result<(), EngineError> {
        let mut connection = self.pool.acquire().await?;
        let applied = applied(&mut connection).await?;
        if applied.is_empty() {
            return Err(EngineError::Schema(
                "this database has no Longhaul schema; run: longhaul migrate --database-url URL".to_owned(),
            ));
        }
        for migration in MIGRATIONS.iter() {
            match applied.iter().find(|(version, _)| *version == migration.version) {
                None => {
                    return Err(EngineError::Schema(format!(
                        "the schema is older than this program (migration {} is missing); run: longhaul migrate --database-url URL",
                        migration.version
                    )));
                }
                Some((_, checksum)) if *checksum != migration.checksum.as_ref() => {
                    return Err(EngineError::Schema(format!(
                        "migration {} of this database is not the one this program knows; use the release that made it, or a new database",
                        migration.version
                    )));
                }
                Some(_) => {}
            }
        }
        if applied.len() > MIGRATIONS.iter().count() {
            return Err(EngineError::Schema(
                "the schema is newer than this program; install the release that migrated it".to_owned(),
            ));
        }
        Ok(())
    }
}
