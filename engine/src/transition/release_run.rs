//! Gives a run back to its queue.

use crate::{Claim, Engine, EngineError, limits};

/// Why a run is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Its worker stops in good order.
    Shutdown,
    /// Its worker makes room for suspects.
    Room,
    /// It was woken while it waited for people: whoever takes it up finds what they decided.
    Woken,
    /// Its worker never heard that it had claimed it.
    Unheard,
    /// Somebody paused it.
    Paused,
    /// Its driver broke: counted as a crash.
    DriverBroke,
}

impl Release {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Shutdown => "shutdown",
            Self::Woken => "woken",
            Self::Unheard => "unheard",
            Self::Room => "room",
            Self::Paused => "paused",
            Self::DriverBroke => "driver_broke",
        }
    }
}

impl Engine {
    /// Gives the run back; whether it was still held. `event_seq` is the number of the last event.
    ///
    /// # Errors
    /// The database's.
    pub async fn release_run(&self, claim: &Claim, event_seq: i32, why: Release) -> Result<bool, EngineError> {
        let mut transaction = self.pool.begin().await?;
        let released = sqlx::query_file_scalar!(
            "src/transition/release_run.sql",
            claim.run.0,
            claim.fence.0,
            event_seq,
            claim.worker.0,
            why.as_str(),
            self.at(),
            i32::from(why == Release::DriverBroke),
            limits::CRASHES_MAX,
        )
        .fetch_optional(&mut *transaction)
        .await?;
        if released.is_some() && why == Release::DriverBroke {
            sqlx::query_file!("src/transition/ask_about_quarantined.sql", &[claim.run.0])
                .fetch_all(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(released.is_some())
    }
}
