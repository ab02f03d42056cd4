//! Cancels what is left below runs that are over, or are to be: a large tree, or the children of a holder that died while
//! it ended them.

use crate::{Engine, EngineError, limits};

impl Engine {
    /// Cancels a batch of such runs; how many. It waits for nobody: a run whose row somebody else has is left for the
    /// next time, and [`Engine::poll`] says that there is one.
    ///
    /// # Errors
    /// The database's.
    pub async fn sweep_children(&self) -> Result<usize, EngineError> {
        let cancelled = sqlx::query_file_scalar!("src/transition/sweep_children.sql", limits::CHILDREN_BATCH_MAX)
            .fetch_one(&self.pool)
            .await?;
        Ok(usize::try_from(cancelled).unwrap_or_default())
    }
}
