//! Starts runs below another one, and ends them with it.

use super::doors::refuse_nul;
use crate::{Claim, Engine, EngineError, RunId, limits, payload};
use std::collections::BTreeMap;

/// What becomes of a child when its parent ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnParentEnd {
    /// It is cancelled.
    #[default]
    Cancel,
    /// It goes on alone.
    Abandon,
}

impl OnParentEnd {
    /// As stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Abandon => "abandon",
        }
    }
}

/// A run to start below another one, on behalf of the same requester and tenant.
#[derive(Debug, Clone)]
pub struct StartChild {
    /// The same key starts the same child.
    pub key: String,
    /// `agent`, or the name of a workflow.
    pub kind: String,
    /// The agent by name, where it is one.
    pub agent: Option<String>,
    /// JSON text.
    pub input: String,
    /// Where it lines up; the parent's queue if absent.
    pub queue: Option<String>,
    /// 0 goes first, 1000 last; the parent's if absent.
    pub priority: Option<i32>,
    /// Free words.
    pub labels: BTreeMap<String, String>,
    /// What becomes of it when its parent ends.
    pub on_parent_end: OnParentEnd,
}

impl Engine {
    /// Starts a child for the holder of its parent.
    ///
    /// # Errors
    /// Refusals of [`Engine::start_run`], and `claim_lost`, `run_is_cancelled`, `child_too_deep` (16 levels) and
    /// `unknown_kind` (no live worker has such a workflow).
    pub async fn start_child(&self, parent: &Claim, child: &StartChild) -> Result<RunId, EngineError> {
        payload::check("input", &child.input, limits::INPUT_BYTES_MAX)?;
        let words = [&child.kind].into_iter().chain(&child.agent).chain(&child.queue);
        refuse_nul(words.chain(child.labels.iter().flat_map(|(name, value)| [name, value])))?;
        let key = &child.key;
        #[cfg(feature = "planted-faults")]
        let key = &crate::planted_fault::child_key(key, parent.fence);
        Ok(sqlx::query_file_scalar!(
            "src/transition/start_child.sql",
            parent.run.0,
            parent.fence.0,
            key,
            child.kind,
            child.agent,
            child.input,
            child.queue,
            child.priority,
            serde_json::json!(child.labels),
            child.on_parent_end.as_str(),
        )
        .fetch_one(&self.pool)
        .await?)
    }

    /// Cancels what is below a run and is to end with it, for its holder, who is about to end it: a batch a transaction,
    /// but for runs whose rows somebody else has just now. Those are left to [`Engine::sweep_children`]. Asking twice
    /// changes nothing. Whether the claim still holds.
    ///
    /// # Errors
    /// The database's. Batches before it stand.
    pub async fn cancel_children(&self, parent: &Claim, why: &str) -> Result<bool, EngineError> {
        let by = format!("run {}", parent.run);
        loop {
            let mut transaction = self.pool.begin().await?;
            let held = sqlx::query_file_scalar!("src/transition/lock_run.sql", parent.run.0, parent.fence.0)
                .fetch_optional(&mut *transaction)
                .await?;
            if held != Some(true) {
                // Before anybody passes the row over.
                transaction.rollback().await?;
                return Ok(false);
            }
            let most = limits::CHILDREN_BATCH_MAX;
            let cancelled = sqlx::query_file_scalar!("src/transition/cancel_below.sql", parent.run.0, why, by, most)
                .fetch_one(&mut *transaction)
                .await?;
            transaction.commit().await?;
            if cancelled < most {
                return Ok(true);
            }
        }
    }
}
