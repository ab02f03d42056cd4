//! A transaction of somebody else's writes, committed together with what is recorded of them.

use super::record::ask;
use super::{Recorded, Transition};
use crate::statement::{Bounds, Rows, Statement, StatementError, run};
use crate::{Engine, EngineError};
use sqlx::{PgConnection, Postgres};
use std::time::Duration;

/// A transaction that is not committed. Dropped, it is rolled back.
#[derive(Debug)]
pub struct Uncommitted {
    engine: Engine,
    transaction: sqlx::Transaction<'static, Postgres>,
    id: String,
}

/// As whom, and where, statements of tools write into the engine's own database.
#[derive(Debug, Clone, Default)]
pub struct SettingsOfTools {
    /// The role that they run as; without one, the role of the worker.
    pub role: Option<String>,
    /// Where names are looked up; without one, as the database has it. The engine's own schemas are left out then.
    pub search_path: Option<String>,
}

impl Engine {
    /// Begins a transaction on a connection of its own.
    ///
    /// # Errors
    /// The database's.
    pub async fn begin(&self) -> Result<Uncommitted, EngineError> {
        let mut transaction = self.pool.begin().await?;
        let id = id_of(&mut transaction).await?;
        Ok(Uncommitted {
            engine: self.clone(),
            transaction,
            id,
        })
    }
}

impl Uncommitted {
    /// What is written here is part of it.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }

    /// Takes on the role and the search path of tools, and a limit on the time of each statement. Plans are made as
    /// anywhere else, since the engine's own ways suit its own tables only.
    ///
    /// # Errors
    /// The database's: there is no such role, or it may not be taken on.
    pub async fn enter(&mut self, settings: &SettingsOfTools, timeout: Duration) -> Result<(), EngineError> {
        let limit = format!("{}ms", timeout.as_millis().clamp(1, i32::MAX as u128));
        sqlx::query_file!(
            "src/transition/enter_transaction.sql",
            limit,
            settings.search_path,
            settings.role,
        )
        .fetch_one(&mut *self.transaction)
        .await?;
        Ok(())
    }

    /// Runs a statement of a tool's.
    ///
    /// # Errors
    /// What the database said. Nothing is left to be done then but to drop this.
    pub async fn write(&mut self, statement: &Statement, bounds: Bounds) -> Result<Rows, StatementError> {
        run(&mut self.transaction, statement, bounds).await
    }

    /// The engine itself again. Nothing of its own was written meanwhile.
    ///
    /// # Errors
    /// The refusal `engine_tables_written`, or the database's.
    pub async fn leave(&mut self) -> Result<(), EngineError> {
        sqlx::raw_sql(LEAVE).execute(&mut *self.transaction).await?;
        let touched = sqlx::query_file_scalar!("src/transition/own_tables_written.sql")
            .fetch_optional(&mut *self.transaction)
            .await?;
        match touched {
            None => Ok(()),
            Some(table) => {
                let message = format!("the statement writes into {table}, which is the engine's own");
                Err(EngineError::refused("engine_tables_written", message))
            }
        }
    }

    /// Makes sure that whoever wrote has not ended it.
    ///
    /// # Errors
    /// The refusal `transaction_left`: its writes may stand. Otherwise the database's.
    pub async fn check(&mut self) -> Result<(), EngineError> {
        if id_of(&mut self.transaction).await? == self.id {
            return Ok(());
        }
        let message =
            "a commit or a rollback ended the transaction before its step was recorded; what it wrote may stand";
        Err(EngineError::refused("transaction_left", message))
    }

    /// Records in it and commits: both or neither. Where nothing was recorded, it is rolled back.
    ///
    /// # Errors
    /// The database's. After [`EngineError::Unavailable`] nobody knows whether it is committed: [`Engine::look`] tells, by
    /// the number of the last event.
    pub async fn commit(mut self, transition: &Transition) -> Result<Recorded, EngineError> {
        let recorded = self.engine.record_in(&mut self.transaction, transition).await?;
        if matches!(recorded, Recorded::Now(_)) {
            ask(&mut self.transaction, transition).await?;
            self.transaction.commit().await?;
        } else {
            self.transaction.rollback().await?;
        }
        Ok(recorded)
    }
}

/// Back to what the connection began with.
const LEAVE: &str = "reset role; reset search_path; reset statement_timeout; reset plan_cache_mode; reset enable_seqscan; \
                     reset enable_hashjoin; reset enable_mergejoin";

async fn id_of(transaction: &mut PgConnection) -> Result<String, EngineError> {
    Ok(sqlx::query_file_scalar!("src/transition/transaction_id.sql")
        .fetch_one(transaction)
        .await?)
}
