//! Parks a run until something wakes it.

use super::{EventWrite, Recorded, StepWrites, Then, Transition};
use crate::{Claim, Engine, EngineError};
use chrono::{DateTime, Utc};
use serde_json::json;

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
    /// More facts for the event, for people.
    pub detail: Option<serde_json::Value>,
}

impl Park<'_> {
    /// The fact that is recorded of it.
    pub fn event(&self, seq: i32) -> EventWrite {
        let mut data = json!({"for": self.waiting_for, "reason": self.reason, "until": self.until});
        if let Some(detail) = &self.detail {
            data["detail"] = detail.clone();
        }
        EventWrite {
            seq,
            kind: "run.parked",
            step_seq: None,
            data: Some(data.to_string()),
        }
    }

    /// What becomes of the run.
    pub fn then(&self) -> Then {
        Then::Park {
            wakes: self.wakes,
            waiting_for: self.waiting_for.to_owned(),
            reason: self.reason.to_owned(),
            until: self.until,
        }
    }
}

impl Engine {
    /// Parks the run; the number of its last event. None: look again (it was woken or cancelled meanwhile), or the claim
    /// is lost; [`Engine::look`] tells which.
    ///
    /// # Errors
    /// The database's.
    pub async fn park_run(&self, claim: &Claim, park: &Park<'_>) -> Result<Option<i32>, EngineError> {
        let seq = park.event_seq + 1;
        let transition = Transition {
            claim: *claim,
            parent: None,
            writes: StepWrites {
                events: vec![park.event(seq)],
                ..StepWrites::default()
            },
            then: park.then(),
        };
        Ok(match self.record_one(&transition).await? {
            Recorded::Now(_) => Some(seq),
            Recorded::Refused(_) | Recorded::ClaimLost => None,
        })
    }
}
