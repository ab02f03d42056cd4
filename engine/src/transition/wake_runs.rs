//! Puts parked runs whose time has come back into their queues.

use crate::{Engine, EngineError, Horizon, RunId, limits};

impl Engine {
    /// Wakes runs that are due, [`limits::UPKEEP_BATCH_MAX`] at most.
    ///
    /// # Errors
    /// The database's.
    pub async fn wake_runs(&self, horizon: &Horizon) -> Result<Vec<RunId>, EngineError> {
        let woken = sqlx::query_file_scalar!(
            "src/transition/wake_runs.sql",
            limits::UPKEEP_BATCH_MAX,
            self.at(),
            horizon.timers(),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(woken)
    }
}
