//! Ends a run.

use crate::{Claim, Engine, EngineError};

/// How a run ends.
#[derive(Debug, Clone)]
pub enum Ending {
    /// With a result, JSON text.
    Succeeded(String),
    /// With an error, JSON text.
    Failed(String),
    /// As somebody asked.
    Cancelled,
}

impl Engine {
    /// Ends the run; whether it was so. `false`: the claim is lost, or a cancel came in between ([`Engine::look`] tells).
    /// `event_seq` is the number of the last event.
    ///
    /// # Errors
    /// The database's.
    pub async fn finish_run(&self, claim: &Claim, event_seq: i32, ending: &Ending) -> Result<bool, EngineError> {
        let (state, result, error) = match ending {
            Ending::Succeeded(result) => ("succeeded", Some(result), None),
            Ending::Failed(error) => ("failed", None, Some(error)),
            Ending::Cancelled => ("cancelled", None, None),
        };
        let ended = sqlx::query_file_scalar!(
            "src/transition/finish_run.sql",
            claim.run.0,
            claim.fence.0,
            event_seq,
            state,
            result,
            error,
            claim.worker.0,
            self.at(),
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(ended.is_some())
    }
}
