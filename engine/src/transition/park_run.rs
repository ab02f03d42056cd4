//! Parks a run until something wakes it.

use crate::{Claim, Engine, EngineError};
use chrono::{DateTime, Utc};

/// What a run waits for.
#[derive(Debug, Clone)]
pub struct Park<'a> {
    /// The number of the last event.
    pub event_seq: i32,
    /// The count of wake-ups that the holder has seen.
    pub wakes: i64,
    /// `timer`, `approval`, …
    pub waiting_for: &'a str,
    /// More exactly, such as `unknown_outcome`.
    pub reason: &'a str,
    /// When it wakes by itself.
    pub until: Option<DateTime<Utc>>,
}

impl Engine {
    /// Parks the run; the number of its last event. None: look again (it was woken or cancelled meanwhile), or the claim
    /// is lost; [`Engine::look`] tells which.
    ///
    /// # Errors
    /// The database's.
    pub async fn park_run(&self, claim: &Claim, park: &Park<'_>) -> Result<Option<i32>, EngineError> {
        let seq = sqlx::query_file_scalar!(
            "src/transition/park_run.sql",
            claim.run.0,
            claim.fence.0,
            park.wakes,
            park.event_seq,
            park.waiting_for,
            park.reason,
            park.until,
            claim.worker.0,
            self.at(),
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(seq)
    }
}
