//! Puts parked runs whose time has come back into their queues.

use crate::{Engine, EngineError, Reach, RunId, limits};

impl Engine {
    /// Wakes runs that are due, [`limits::UPKEEP_BATCH_MAX`] at most.
    ///
    /// # Errors
    /// The database's.
    pub async fn wake_runs(&self, reach: &Reach) -> Result<Vec<RunId>, EngineError> {
        let woken = sqlx::query_file_scalar!(
            "src/transition/wake_runs.sql",
            limits::UPKEEP_BATCH_MAX,
            self.at(),
            reach.timers(),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(woken)
    }
}
