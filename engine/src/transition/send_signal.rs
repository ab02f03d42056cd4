//! Tells a run something.

use super::doors::refuse_nul;
use crate::{Engine, EngineError, RunId, limits, payload};

/// A signal to send.
#[derive(Debug, Clone)]
pub struct SendSignal {
    /// Whom it is for.
    pub run: RunId,
    /// What the run waits for, 1 to 255 bytes.
    pub name: String,
    /// JSON text, [`limits::INPUT_BYTES_MAX`] at most.
    pub payload: String,
    /// Of the sender's choosing, 1 to 255 bytes: sent twice is sent once. A new one if absent.
    pub id: Option<String>,
    /// Who sends it; the database user if absent.
    pub sender: Option<String>,
}

/// A signal that is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalSent {
    /// Its id.
    pub id: String,
    /// False where it had been sent before.
    pub created: bool,
}

impl Engine {
    /// Sends a signal. It is kept until the run waits for one of its name.
    ///
    /// # Errors
    /// Refusals of `longhaul.send_signal`: `no_such_run`, `run_has_ended`, `signal_id_reused`, `invalid_signal`,
    /// `payload_too_large`, `payload_too_deep`, `invalid_payload`.
    pub async fn send_signal(&self, signal: &SendSignal) -> Result<SignalSent, EngineError> {
        payload::check("payload", &signal.payload, limits::INPUT_BYTES_MAX)?;
        refuse_nul([&signal.name].into_iter().chain(&signal.id).chain(&signal.sender))?;
        let row = sqlx::query_file!(
            "src/transition/send_signal.sql",
            signal.run.0,
            signal.name,
            signal.payload,
            signal.id,
            signal.sender,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(SignalSent {
            id: row.id,
            created: row.created,
        })
    }
}
