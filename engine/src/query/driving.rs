//! What workers ask.

use crate::transition::Control;
use crate::{AgentVersionId, Claim, Engine, EngineError, Fence, Reach, RunId, WorkerId, limits};
use chrono::{DateTime, Utc};
use std::time::Duration;

/// Who asks what there is to do, and what it can drive.
#[derive(Debug, Clone, Copy)]
pub struct Poller<'a> {
    /// The worker that asks.
    pub worker: WorkerId,
    /// Queues to take from.
    pub queues: &'a [String],
    /// Kinds that it drives.
    pub kinds: &'a [String],
    /// Functions that it has.
    pub functions: &'a [String],
    /// How far back it looks for what is due.
    pub reach: &'a Reach,
}

/// What an idle worker finds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Poll {
    /// The database's clock.
    pub now: DateTime<Utc>,
    /// A parked run's time has come.
    pub wakeable: bool,
    /// A dead worker still holds runs, or has not been closed.
    pub reclaimable: bool,
    /// Below a run that is over, or is to be, something is left to be cancelled.
    pub sweepable: bool,
    /// Calls wait at gates that want a look.
    pub tendable: bool,
    /// A run that this worker can drive is due.
    pub claimable: bool,
    /// Suspects are due; the crashes that the one that waits longest has behind it.
    pub suspect_crashes: Option<i32>,
    /// One waits in vain: no worker was free for it, and none makes room.
    pub neglected: bool,
    /// From now to the next instant at which a run falls due or a lease ends.
    pub next_due: Option<Duration>,
}

/// What a holder finds when it looks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Cancelled, paused, woken.
    pub control: Control,
    /// The number of the last committed event: it tells whether a record whose reply was lost is there.
    pub event_seq: i32,
}

/// A step as its driver takes it up.
#[derive(Debug, Clone)]
#[expect(
    missing_docs,
    reason = "the columns of longhaul.step, described in migrations/0002_run.sql"
)]
pub struct StepRow {
    pub seq: i32,
    pub turn: i32,
    pub call_index: i32,
    pub identity: Option<String>,
    pub kind: String,
    pub name: String,
    pub call_id: Option<String>,
    pub state: String,
    pub effect: String,
    pub key: String,
    pub attempt: i32,
    pub attempts_max: i32,
    pub maybe_applied: bool,
    pub replaces_seq: Option<i32>,
    pub fence: Fence,
    pub due_at: Option<DateTime<Utc>>,
    pub budget_from: DateTime<Utc>,
    pub attempt_started_at: Option<DateTime<Utc>>,
    pub request_digest: Vec<u8>,
    pub request: Option<String>,
    pub result: Option<String>,
    pub error: Option<String>,
}

/// A workflow's step as its driver takes it up.
#[derive(Debug, Clone)]
#[expect(
    missing_docs,
    reason = "the columns of longhaul.step, described in migrations/0002_run.sql"
)]
pub struct TaskRow {
    pub seq: i32,
    pub identity: String,
    pub kind: String,
    pub name: String,
    pub state: String,
    pub effect: String,
    pub key: String,
    pub attempt: i32,
    pub attempts_max: i32,
    pub maybe_applied: bool,
    pub fence: Fence,
    pub due_at: Option<DateTime<Utc>>,
    pub budget_from: DateTime<Utc>,
    pub request_digest: Vec<u8>,
    pub request: Option<String>,
    pub result: Option<String>,
    pub error: Option<String>,
}

/// An agent version.
#[derive(Debug, Clone)]
pub struct VersionRow {
    /// The agent's name.
    pub name: String,
    /// From 1.
    pub version: i32,
    /// JSON text.
    pub definition: String,
}

impl Engine {
    /// What is there to do for this worker.
    ///
    /// # Errors
    /// The database's.
    pub async fn poll(&self, poller: Poller<'_>) -> Result<Poll, EngineError> {
        let lanes = poller.reach.lanes();
        let row = sqlx::query_file!(
            "src/query/poll.sql",
            poller.queues,
            poller.kinds,
            poller.functions,
            self.at(),
            poller.worker.0,
            limits::SUSPECT_PATIENCE_SECONDS,
            &lanes.first,
            &lanes.last,
            &lanes.due,
            &lanes.id,
            poller.reach.timers(),
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(Poll {
            now: row.now,
            wakeable: row.wakeable,
            reclaimable: row.reclaimable,
            sweepable: row.sweepable,
            tendable: row.tendable,
            claimable: row.claimable,
            suspect_crashes: row.suspect_crashes,
            neglected: row.neglected,
            next_due: row
                .next_due_ms
                .map(|ms| Duration::try_from_secs_f64(ms.max(0.0) / 1000.0).unwrap_or_default()),
        })
    }

    /// Runs that a worker holds and does not know of, since the answer to its claim was lost; with each the number of its
    /// last event.
    ///
    /// # Errors
    /// The database's.
    pub async fn undriven(&self, worker: WorkerId, driven: &[RunId]) -> Result<Vec<(Claim, i32)>, EngineError> {
        let driven: Vec<uuid::Uuid> = driven.iter().map(|run| run.0).collect();
        let rows = sqlx::query_file!("src/query/undriven.sql", worker.0, &driven)
            .fetch_all(&self.pool)
            .await?;
        let claim = |run, fence| Claim { run, fence, worker };
        Ok(rows
            .into_iter()
            .map(|row| (claim(row.id, row.fence), row.event_seq))
            .collect())
    }

    /// The steps of a run that was claimed, in order.
    ///
    /// # Errors
    /// The database's.
    pub async fn steps(&self, claim: &Claim) -> Result<Vec<StepRow>, EngineError> {
        if claim.is_first() {
            return Ok(Vec::new());
        }
        let rows = sqlx::query_file_as!(StepRow, "src/query/steps.sql", claim.run.0)
            .fetch_all(&self.pool)
            .await?;
        Ok(rows)
    }

    /// The steps of a workflow that was claimed, in order.
    ///
    /// # Errors
    /// The database's.
    pub async fn tasks(&self, claim: &Claim) -> Result<Vec<TaskRow>, EngineError> {
        if claim.is_first() {
            return Ok(Vec::new());
        }
        let rows = sqlx::query_file_as!(TaskRow, "src/query/tasks.sql", claim.run.0)
            .fetch_all(&self.pool)
            .await?;
        Ok(rows)
    }

    /// What the holder of a run must know now. It waits for a statement of its own that is still running, so the answer
    /// is final. None: the claim is lost.
    ///
    /// # Errors
    /// The database's.
    pub async fn look(&self, claim: &Claim) -> Result<Option<Look>, EngineError> {
        let mut transaction = self.pool.begin().await?;
        // Twice: the first takes the lock, the second reads in a snapshot taken under it.
        let mut row = None;
        for _ in 0..2 {
            row = sqlx::query_file!("src/query/look.sql", claim.run.0, claim.fence.0)
                .fetch_optional(&mut *transaction)
                .await?;
        }
        transaction.rollback().await?;
        Ok(row.map(|row| Look {
            control: Control {
                wakes: row.wakes,
                cancel_requested: row.cancel_requested,
                paused: row.paused,
            },
            event_seq: row.event_seq,
        }))
    }

    /// An agent version, for its driver.
    ///
    /// # Errors
    /// [`EngineError::Unreadable`] where there is none.
    pub async fn agent_version(&self, id: AgentVersionId) -> Result<VersionRow, EngineError> {
        sqlx::query_file_as!(VersionRow, "src/query/agent_version.sql", id.0)
            .fetch_optional(&self.pool)
            .await?
            .ok_or_else(|| EngineError::Unreadable(format!("agent version {id} does not exist")))
    }
}
