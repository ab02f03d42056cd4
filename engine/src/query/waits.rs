//! What the holder of a run asks about what it waits for.

use crate::{Claim, Engine, EngineError, Fence, RunId};
use std::collections::HashMap;

/// Waits of one name.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The signal's name.
    pub name: String,
    /// The number of the last one taken, 0 for none.
    pub taken: i64,
    /// How many waits there are.
    pub most: usize,
}

/// A signal that has come.
#[derive(Debug, Clone)]
pub struct SignalRow {
    /// What the run waits for.
    pub name: String,
    /// Orders the signals of a run.
    pub wake: i64,
    /// Of its sender's choosing.
    pub id: String,
    /// Who sent it.
    pub sender: String,
    /// JSON text.
    pub payload: String,
}

/// A child that has ended.
#[derive(Debug, Clone)]
pub struct EndedChild {
    /// Which one.
    pub run: RunId,
    /// `succeeded`, `failed` or `cancelled`.
    pub state: String,
    /// JSON text.
    pub result: Option<String>,
    /// JSON text.
    pub error: Option<String>,
}

/// A run's failure, after which it was let go on.
#[derive(Debug, Clone)]
pub struct LastFailure {
    /// Under which it failed: what is recorded under this one or an earlier one came before.
    pub fence: Fence,
    /// JSON text.
    pub error: String,
    /// The children that were cancelled since it failed.
    pub children: Vec<RunId>,
}

impl Engine {
    /// The last failure of a run that goes on. None: it has not failed.
    ///
    /// # Errors
    /// The database's.
    pub async fn last_failure(&self, run: RunId) -> Result<Option<LastFailure>, EngineError> {
        Ok(sqlx::query_file_as!(LastFailure, "src/query/last_failure.sql", run.0)
            .fetch_optional(&self.pool)
            .await?)
    }

    /// The oldest signals of each name that no step has taken, in the order in which they came.
    ///
    /// # Errors
    /// The database's.
    pub async fn signals(&self, claim: &Claim, wanted: &[Wanted]) -> Result<Vec<SignalRow>, EngineError> {
        let names: Vec<&str> = wanted.iter().map(|wanted| wanted.name.as_str()).collect();
        let taken: Vec<i64> = wanted.iter().map(|wanted| wanted.taken).collect();
        let most: Vec<i64> = wanted
            .iter()
            .map(|wanted| i64::try_from(wanted.most).unwrap_or(i64::MAX))
            .collect();
        Ok(sqlx::query_file_as!(
            SignalRow,
            "src/query/signals.sql",
            claim.run.0,
            &names as &[&str],
            &taken,
            &most
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// The numbers of the events that ended a run's steps, by the numbers of the steps.
    ///
    /// # Errors
    /// The database's.
    pub async fn step_ends(&self, run: RunId) -> Result<HashMap<i32, i32>, EngineError> {
        let rows = sqlx::query_file!("src/query/step_ends.sql", run.0)
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.into_iter().map(|row| (row.step_seq, row.seq)).collect())
    }

    /// Those of these runs that have ended.
    ///
    /// # Errors
    /// The database's.
    pub async fn ended_children(&self, runs: &[RunId]) -> Result<Vec<EndedChild>, EngineError> {
        let ids: Vec<uuid::Uuid> = runs.iter().map(|run| run.0).collect();
        Ok(sqlx::query_file_as!(EndedChild, "src/query/ended_children.sql", &ids)
            .fetch_all(&self.pool)
            .await?)
    }
}
