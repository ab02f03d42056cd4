//! Takes due runs for a worker.

use crate::{AgentVersionId, Claim, Engine, EngineError, Fence, Reach, RunId, WorkerId, limits};
use chrono::{DateTime, Utc};

/// Who claims, and what it can drive.
#[derive(Debug, Clone)]
pub struct ClaimRuns<'a> {
    /// Holder-to-be; its lease must be live.
    pub worker: WorkerId,
    /// Runs wanted at most.
    pub batch: u32,
    /// Queues to take from.
    pub queues: &'a [String],
    /// Kinds that it drives.
    pub kinds: &'a [String],
    /// Functions that it has.
    pub functions: &'a [String],
    /// Which runs.
    pub which: Which,
    /// How far back the look goes.
    pub reach: &'a Reach,
}

/// Which runs a claim takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those that may be driven beside others.
    Ordinary,
    /// Suspects that have lost so many workers since their last results: a few, and nothing beside them.
    Suspects {
        /// From [`limits::CRASHES_SUSPECT`].
        crashes: i32,
    },
}

/// A claimed run with everything that its driver needs besides its steps.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The right to write for it.
    pub claim: Claim,
    /// The number of the last event; the holder counts on from here.
    pub event_seq: i32,
    /// Named when it parks.
    pub wakes: i64,
    /// Crashes since its last recorded result.
    pub crashes: i32,
    /// Steps last written under this fence or an earlier one may go on, where they had stopped the run.
    pub resumed_fence: Fence,
    /// The database's clock at the claim.
    pub now: DateTime<Utc>,
    /// It was claimed only to be ended.
    pub cancel_requested: bool,
    /// What drives it.
    pub kind: String,
    /// Whose data.
    pub tenant: String,
    /// On whose behalf.
    pub requester: String,
    /// When its time is over.
    pub deadline_at: Option<DateTime<Utc>>,
    /// Whoever started it said so; otherwise its agent's limits do.
    pub deadline_is_callers: bool,
    /// Which edition it keeps.
    pub agent_version_id: Option<AgentVersionId>,
    /// JSON text.
    pub input: String,
    /// JSON text of an earlier conversation.
    pub history: Option<String>,
    /// The run that is told when this one ends.
    pub parent: Option<RunId>,
    /// From 0, the most urgent, to 1000.
    pub priority: i16,
    /// Since when it could be claimed.
    pub due: DateTime<Utc>,
}

struct Row {
    id: RunId,
    fence: Fence,
    event_seq: i32,
    wakes: i64,
    crashes: i32,
    resumed_fence: Fence,
    now: DateTime<Utc>,
    cancel_requested: bool,
    kind: String,
    tenant: String,
    requester: String,
    deadline_at: Option<DateTime<Utc>>,
    deadline_is_callers: bool,
    agent_version_id: Option<AgentVersionId>,
    input: String,
    history: Option<String>,
    parent: Option<RunId>,
    priority: i16,
    due: DateTime<Utc>,
}

impl Engine {
    /// Takes due runs, most urgent first. None: nothing is due, or the worker's lease is over.
    ///
    /// # Errors
    /// The database's.
    pub async fn claim_runs(&self, wanted: ClaimRuns<'_>) -> Result<Vec<Claimed>, EngineError> {
        let (fewest, most, bound) = match wanted.which {
            Which::Ordinary => (0, limits::CRASHES_SUSPECT - 1, limits::CLAIM_BATCH_MAX),
            Which::Suspects { crashes } => (crashes, crashes, limits::suspects_at_once(crashes)),
        };
        let lanes = wanted.reach.lanes();
        let rows = sqlx::query_file_as!(
            Row,
            "src/transition/claim_runs.sql",
            wanted.worker.0,
            i64::from(wanted.batch.min(bound)),
            wanted.queues,
            wanted.kinds,
            wanted.functions,
            self.at(),
            fewest,
            most,
            &lanes.first,
            &lanes.last,
            &lanes.due,
            &lanes.id,
        )
        .fetch_all(&self.pool)
        .await?;
        let claimed = rows.into_iter().map(|row| row.claimed_by(wanted.worker)).collect();
        #[cfg(feature = "planted-faults")]
        let claimed = self.as_claimed(claimed).await?;
        Ok(claimed)
    }
}

impl Row {
    fn claimed_by(self, worker: WorkerId) -> Claimed {
        Claimed {
            claim: Claim {
                run: self.id,
                fence: self.fence,
                worker,
            },
            event_seq: self.event_seq,
            wakes: self.wakes,
            crashes: self.crashes,
            resumed_fence: self.resumed_fence,
            now: self.now,
            cancel_requested: self.cancel_requested,
            kind: self.kind,
            tenant: self.tenant,
            requester: self.requester,
            deadline_at: self.deadline_at,
            deadline_is_callers: self.deadline_is_callers,
            agent_version_id: self.agent_version_id,
            input: self.input,
            history: self.history,
            parent: self.parent,
            priority: self.priority,
            due: self.due,
        }
    }
}
