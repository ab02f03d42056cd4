//! What a bench leaves in a database, removed again; and a reader that never ends.

use super::connection;
use crate::{Connect, EngineError};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

/// Runs deleted by one transaction, so that each is short.
const RUNS_MAX: i64 = 2000;

/// Deletes every run of these tenants with all that belongs to it, their agents, and workers of that name that are closed
/// or have lost their lease. For tenants and names that are a bench's own and that nobody works for any more.
///
/// # Errors
/// The database's.
pub async fn remove_traces(connect: &Connect, tenants: &[&str], worker: &str) -> Result<(), EngineError> {
    let mut connection = connection(connect).await?;
    let deletions: Vec<String> = sqlx::query_scalar(include_str!("tables_of_runs.sql"))
        .fetch_all(&mut connection)
        .await?;
    for tenant in tenants {
        let mut last = Uuid::nil();
        while let Some(next) = remove_page(&mut connection, &deletions, (tenant, last)).await? {
            last = next;
        }
        for statement in [
            "delete from longhaul.run_key where tenant = $1",
            "delete from longhaul.agent where tenant = $1",
            "delete from longhaul.agent_version where tenant = $1",
        ] {
            sqlx::query(statement).bind(tenant).execute(&mut connection).await?;
        }
    }
    sqlx::query("delete from longhaul.worker where name = $1 and (closed_at is not null or lease_expires_at <= now())")
        .bind(worker)
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    Ok(())
}

/// Deletes runs of a tenant that follow one, and says which was the last.
async fn remove_page(
    connection: &mut PgConnection,
    deletions: &[String],
    (tenant, after): (&str, Uuid),
) -> Result<Option<Uuid>, EngineError> {
    let runs: Vec<Uuid> = sqlx::query_scalar(
        "select run.id from longhaul.run where run.tenant = $1 and run.id > $2 order by run.id limit $3",
    )
    .bind(tenant)
    .bind(after)
    .bind(RUNS_MAX)
    .fetch_all(&mut *connection)
    .await?;
    let Some(last) = runs.last() else {
        return Ok(None);
    };
    let mut transaction = connection.begin().await?;
    // A run's row comes before what belongs to it, as with every other statement.
    let first = "delete from longhaul.run where id = any ($1)";
    for statement in std::iter::once(first).chain(deletions.iter().map(String::as_str)) {
        sqlx::query(AssertSqlSafe(statement))
            .bind(&runs)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(Some(*last))
}

/// A reader with a snapshot as old as itself: nothing that is deleted or updated meanwhile can be cleaned up.
#[derive(Debug)]
pub struct Snapshot {
    connection: PgConnection,
}

impl Snapshot {
    /// Takes it.
    ///
    /// # Errors
    /// The database's.
    pub async fn take(connect: &Connect) -> Result<Self, EngineError> {
        let mut connection = connection(connect).await?;
        for statement in [
            "set idle_in_transaction_session_timeout = 0",
            "begin isolation level repeatable read",
            "select 1",
        ] {
            sqlx::raw_sql(statement).execute(&mut connection).await?;
        }
        Ok(Self { connection })
    }

    /// Lets it go.
    ///
    /// # Errors
    /// The database's.
    pub async fn release(mut self) -> Result<(), EngineError> {
        sqlx::raw_sql("rollback").execute(&mut self.connection).await?;
        self.connection.close().await?;
        Ok(())
    }
}
