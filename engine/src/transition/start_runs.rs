//! Starts many runs in one statement.

use super::doors::{StartRun, Started};
use crate::{Engine, EngineError, RunId, limits};
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
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
        let runs = json!(starts.iter().map(described).collect::<Vec<_>>()).to_string();
        let inputs: Vec<&str> = starts.iter().map(|start| start.input.as_str()).collect();
        let histories: Vec<Option<&str>> = starts.iter().map(|start| start.history.as_deref()).collect();
        let mut rows = sqlx::query_file!(
            "src/transition/start_runs.sql",
            runs,
            &inputs as &[&str],
            &histories as &[Option<&str>],
            tenant,
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

/// What the statement takes for a run besides its payloads.
fn described(start: &StartRun) -> serde_json::Value {
    json!({
        "kind": start.kind,
        "agent": start.agent(),
        "queue": start.queue,
        "priority": start.priority,
        "due_at": start.due_at.map(written),
        "deadline_at": start.deadline_at.map(written),
        "requester": start.requester,
        "labels": start.labels,
        "idempotency_key": start.idempotency_key,
    })
}

/// Postgres reads the years 1 to 9999 as they are written here; what lies beyond means the same as their ends.
fn written(at: DateTime<Utc>) -> DateTime<Utc> {
    let year = |year| {
        let first = NaiveDate::from_ymd_opt(year, 1, 1).unwrap_or_default();
        first.and_time(NaiveTime::MIN).and_utc()
    };
    at.clamp(year(1), year(9999))
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
