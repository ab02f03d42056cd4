//! A transaction of somebody else's writes, committed together with what is recorded of them.

use super::record::ask;
use super::{Recorded, Transition};
use crate::{Engine, EngineError};
use sqlx::{PgConnection, Postgres};

/// A transaction that is not committed. Dropped, it is rolled back.
#[derive(Debug)]
pub struct Uncommitted {
    engine: Engine,
    transaction: sqlx::Transaction<'static, Postgres>,
    id: String,
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

async fn id_of(transaction: &mut PgConnection) -> Result<String, EngineError> {
    Ok(sqlx::query_file_scalar!("src/transition/transaction_id.sql")
        .fetch_one(transaction)
        .await?)
}
