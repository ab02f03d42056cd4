//! Ends a run.

use super::{EventWrite, Recorded, StepWrites, Then, Transition};
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

impl Ending {
    /// The state of a run that ended so.
    pub const fn state(&self) -> &'static str {
        match self {
            Self::Succeeded(_) => "succeeded",
            Self::Failed(_) => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The fact that is recorded of it. Who cancelled, and why, is in the run's row.
    pub fn event(&self, seq: i32) -> EventWrite {
        let (kind, data) = match self {
            Self::Succeeded(_) => ("run.succeeded", None),
            Self::Failed(error) => ("run.failed", Some(error.clone())),
            Self::Cancelled => ("run.cancelled", None),
        };
        EventWrite {
            seq,
            kind,
            step_seq: None,
            data,
        }
    }
}

impl Engine {
    /// Ends the run; whether it was so. `false`: the claim is lost, or a cancel came in between ([`Engine::look`] tells).
    /// `event_seq` is the number of the last event.
    ///
    /// # Errors
    /// The database's.
    pub async fn finish_run(&self, claim: &Claim, event_seq: i32, ending: &Ending) -> Result<bool, EngineError> {
        let transition = Transition {
            claim: *claim,
            parent: None,
            writes: StepWrites {
                events: vec![ending.event(event_seq + 1)],
                ..StepWrites::default()
            },
            then: Then::End(ending.clone()),
        };
        Ok(matches!(self.record_one(&transition).await?, Recorded::Now(_)))
    }
}
