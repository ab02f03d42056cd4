//! Starts many runs in one statement.

use super::doors::{StartRun, Started};
use crate::{Engine, EngineError, RunId, limits};
use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::postgres::PgDatabaseError;

/// Nothing was started.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct BatchRefused {
    /// The run that was refused, counted from 0; none where the batch as a whole could not be started.
    pub item: Option<usize>,
    /// Why.
    pub error: EngineError,
}

impl Engine {
    /// Starts all of them or none, for one tenant; the answers are in the order asked.
    ///
    /// # Errors
    /// Refusals of [`Engine::start_run`], with the place of the run that was refused, and `batch_too_large`.
    pub async fn start_runs(&self, tenant: &str, starts: &[StartRun]) -> Result<Vec<Started>, BatchRefused> {
        if starts.len() > limits::BATCH_RUNS_MAX {
            let message = format!(
                "a batch has {} runs, the limit is {}",
                starts.len(),
                limits::BATCH_RUNS_MAX
            );
            return Err(BatchRefused {
                item: None,
                error: EngineError::too_large("batch_too_large", message),
            });
        }
        for (item, start) in starts.iter().enumerate() {
            start.check().map_err(|error| BatchRefused {
                item: Some(item),
                error,
            })?;
        }
        let labels: Vec<String> = starts.iter().map(|start| json!(start.labels).to_string()).collect();
        let mut rows = sqlx::query_file!(
            "src/transition/start_runs.sql",
            tenant,
            &each(starts, |start| start.kind.as_str()) as &[&str],
            &each(starts, StartRun::agent) as &[Option<&str>],
            &each(starts, |start| start.queue.as_str()) as &[&str],
            &each(starts, |start| start.priority),
            &each(starts, |start| start.due_at) as &[Option<DateTime<Utc>>],
            &each(starts, |start| start.deadline_at) as &[Option<DateTime<Utc>>],
            &each(starts, |start| start.requester.as_deref()) as &[Option<&str>],
            &labels,
            &each(starts, |start| start.idempotency_key.as_deref()) as &[Option<&str>],
            &each(starts, |start| start.input.as_str()) as &[&str],
            &each(starts, |start| start.history.as_deref()) as &[Option<&str>],
        )
        .fetch_all(&self.pool)
        .await
        .map_err(refused)?;
        rows.sort_unstable_by_key(|row| row.item);
        Ok(rows
            .into_iter()
            .map(|row| Started {
                run: row.run_id,
                created: row.created,
            })
            .collect())
    }
}

/// A column.
fn each<'a, T>(starts: &'a [StartRun], of: impl Fn(&'a StartRun) -> T) -> Vec<T> {
    starts.iter().map(of).collect()
}

fn refused(error: sqlx::Error) -> BatchRefused {
    let item = error
        .as_database_error()
        .and_then(|database| database.try_downcast_ref::<PgDatabaseError>())
        .filter(|postgres| postgres.code().starts_with("LH"))
        .and_then(|postgres| postgres.detail()?.parse().ok());
    BatchRefused {
        item,
        error: error.into(),
    }
}
