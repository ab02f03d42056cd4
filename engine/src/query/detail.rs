//! One run, told whole.

use super::Shown;
use crate::{Engine, EngineError, Fence, RunId};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::types::Json;
use std::collections::BTreeMap;

/// A run's own row.
#[derive(Debug, Clone, Serialize)]
#[expect(
    missing_docs,
    reason = "the columns of longhaul.run, described in migrations/0002_run.sql"
)]
pub struct RunDetail {
    pub id: RunId,
    pub tenant: String,
    pub requester: String,
    pub labels: Json<BTreeMap<String, String>>,
    pub kind: String,
    pub agent: Option<String>,
    pub agent_version: Option<i32>,
    pub queue: String,
    pub priority: i16,
    pub state: String,
    pub waiting_for: Option<String>,
    pub wait_reason: Option<String>,
    pub due_at: Option<DateTime<Utc>>,
    pub deadline_at: Option<DateTime<Utc>>,
    pub fence: Fence,
    pub crashes: i32,
    pub cancel_requested_at: Option<DateTime<Utc>>,
    pub cancel_requested_by: Option<String>,
    pub cancel_reason: Option<String>,
    pub paused_at: Option<DateTime<Utc>>,
    pub paused_by: Option<String>,
    pub pause_reason: Option<String>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub input: String,
    pub result: Option<String>,
    pub error: Option<String>,
    pub worker: Option<String>,
    /// The run that started it.
    pub parent_id: Option<RunId>,
    /// The run that its tree began with: itself, where nobody started it from within a run.
    pub tree_id: RunId,
    /// Of a child: `cancel`, or `abandon`, where it goes on when its parent ends.
    pub on_parent_end: Option<String>,
    /// Names of the signals that it is parked for, in the order in which it asked for them.
    pub awaited_signals: Vec<String>,
    /// Whether a live worker announces its kind, functions and queue.
    pub drivable: bool,
}

/// Why no live worker can drive a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Undrivable {
    /// Live workers, whatever they do.
    pub workers_alive: i64,
    /// Those that take from the run's queue.
    pub workers_of_queue: i64,
    /// Whether one of these drives its kind.
    pub kind_known: bool,
    /// Functions that none of these has.
    pub functions_missing: Vec<String>,
    /// All that it needs.
    pub functions: Vec<String>,
}

/// What every door asks before it goes on: whose the run is, and how it stands.
#[derive(Debug, Clone)]
pub struct RunHead {
    /// Whose.
    pub tenant: String,
    /// Its state.
    pub state: String,
    /// Whether it has ended.
    pub has_ended: bool,
    /// The number of its last event.
    pub event_seq: i32,
}

/// One attempt of one step. A step that was answered without an attempt has one row with `attempt` 0.
#[derive(Debug, Clone, Serialize)]
#[expect(
    missing_docs,
    reason = "the columns of longhaul_audit.step and longhaul_audit.attempt"
)]
pub struct AttemptRow {
    pub seq: i32,
    pub turn: Option<i32>,
    pub identity: Option<String>,
    pub kind: String,
    pub name: String,
    pub state: String,
    pub effect: String,
    pub key: String,
    pub maybe_applied: bool,
    pub replaces_seq: Option<i32>,
    pub due_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    pub attempt: i32,
    pub worker: Option<String>,
    pub started_at: Option<DateTime<Utc>>,
    pub attempt_ended_at: Option<DateTime<Utc>>,
    pub error: Option<Shown>,
    pub evidence: Option<Shown>,
    pub result: Option<Shown>,
    pub step_error: Option<Shown>,
    /// Whether the step's state speaks of this attempt.
    pub is_last: bool,
}

/// A recorded fact.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the columns of longhaul_audit.event")]
pub struct EventRow {
    pub seq: i32,
    pub at: DateTime<Utc>,
    pub kind: String,
    pub step_seq: Option<i32>,
    pub worker: Option<String>,
    pub data: Option<Shown>,
}

/// A recorded fact of one of many followed runs; its data as the database wrote it.
#[derive(Debug)]
#[expect(missing_docs, reason = "the columns of longhaul_audit.event")]
pub struct NewEvent {
    pub run_id: RunId,
    pub seq: i32,
    pub at: DateTime<Utc>,
    pub kind: String,
    pub step_seq: Option<i32>,
    pub worker: Option<String>,
    pub data: Option<Json<Box<RawValue>>>,
}

/// A message of the transcript.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the columns of longhaul_audit.transcript")]
pub struct MessageRow {
    pub position: i64,
    pub role: String,
    pub tool: Option<String>,
    pub is_error: bool,
    pub text: Option<String>,
    pub content: Option<Shown>,
    pub step_seq: Option<i32>,
}

/// A signal that was sent to a run.
#[derive(Debug, Clone, Serialize)]
pub struct ReceivedSignal {
    /// Orders the signals of a run; numbers in between are of other things that it was told.
    pub wake: i64,
    /// Of its sender's choosing.
    pub id: String,
    /// What the run waits for.
    pub name: String,
    /// Who sent it.
    pub sender: String,
    /// When it was sent.
    pub at: DateTime<Utc>,
    /// What it says.
    pub payload: Shown,
    /// The step that took it.
    pub taken_by: Option<i32>,
}

impl Engine {
    /// A run's own row.
    ///
    /// # Errors
    /// Refusal `no_such_run`.
    pub async fn run_detail(&self, run: RunId) -> Result<RunDetail, EngineError> {
        sqlx::query_file_as!(RunDetail, "src/query/run_detail.sql", run.0)
            .fetch_optional(&self.pool)
            .await?
            .ok_or_else(|| no_such_run(run))
    }

    /// Why no live worker can drive a run: worth asking where its `drivable` is false.
    ///
    /// # Errors
    /// Refusal `no_such_run`.
    pub async fn undrivable(&self, run: RunId) -> Result<Undrivable, EngineError> {
        sqlx::query_file_as!(Undrivable, "src/query/undrivable.sql", run.0)
            .fetch_optional(&self.pool)
            .await?
            .ok_or_else(|| no_such_run(run))
    }

    /// Whose a run is and how it stands. `no_such_run` too where it is another tenant's.
    ///
    /// # Errors
    /// Refusal `no_such_run`.
    pub async fn run_head(&self, run: RunId, tenant: &str) -> Result<RunHead, EngineError> {
        sqlx::query_file_as!(RunHead, "src/query/run_head.sql", run.0)
            .fetch_optional(&self.pool)
            .await?
            .filter(|head| head.tenant == tenant)
            .ok_or_else(|| no_such_run(run))
    }

    /// Events of many runs, each after the number given with it, at most `rows` of each run.
    ///
    /// # Errors
    /// The database's.
    pub async fn new_events(&self, followed: &[(RunId, i32)], rows: i64) -> Result<Vec<NewEvent>, EngineError> {
        let (runs, after): (Vec<uuid::Uuid>, Vec<i32>) = followed.iter().map(|(run, seq)| (run.0, *seq)).unzip();
        let rows = sqlx::query_file_as!(NewEvent, "src/query/new_events.sql", &runs, &after, rows)
            .fetch_all(&self.pool)
            .await?;
        Ok(rows)
    }

    /// Every attempt of every step, in order.
    ///
    /// # Errors
    /// The database's.
    pub async fn journal(&self, run: RunId) -> Result<Vec<AttemptRow>, EngineError> {
        self.journal_page(run, 0, i64::MAX).await
    }

    /// Every attempt of the steps after the given number, at most so many steps.
    ///
    /// # Errors
    /// The database's.
    pub async fn journal_page(&self, run: RunId, after: i32, steps: i64) -> Result<Vec<AttemptRow>, EngineError> {
        let rows = sqlx::query_file_as!(AttemptRow, "src/query/journal.sql", run.0, after, steps)
            .fetch_all(&self.pool)
            .await?;
        Ok(rows)
    }

    /// Events after the given number, at most `rows`.
    ///
    /// # Errors
    /// The database's.
    pub async fn events(&self, run: RunId, after: i32, rows: i64) -> Result<Vec<EventRow>, EngineError> {
        let rows = sqlx::query_file_as!(EventRow, "src/query/events.sql", run.0, after, rows)
            .fetch_all(&self.pool)
            .await?;
        Ok(rows)
    }

    /// The signals of a run after the given one by its `wake`, in the order in which they came, at most `rows`.
    ///
    /// # Errors
    /// The database's.
    pub async fn received_signals(
        &self,
        run: RunId,
        after: i64,
        rows: i64,
    ) -> Result<Vec<ReceivedSignal>, EngineError> {
        let rows = sqlx::query_file_as!(ReceivedSignal, "src/query/received_signals.sql", run.0, after, rows)
            .fetch_all(&self.pool)
            .await?;
        Ok(rows)
    }

    /// The conversation as the model is shown it.
    ///
    /// # Errors
    /// The database's.
    pub async fn transcript(&self, run: RunId) -> Result<Vec<MessageRow>, EngineError> {
        self.transcript_page(run, 0, i64::MAX).await
    }

    /// Messages of the conversation after the given position, at most so many.
    ///
    /// # Errors
    /// The database's.
    pub async fn transcript_page(&self, run: RunId, after: i64, rows: i64) -> Result<Vec<MessageRow>, EngineError> {
        let rows = sqlx::query_file_as!(MessageRow, "src/query/transcript.sql", run.0, after, rows)
            .fetch_all(&self.pool)
            .await?;
        Ok(rows)
    }
}

fn no_such_run(run: RunId) -> EngineError {
    EngineError::missing("no_such_run", format!("run {run} does not exist"))
}
