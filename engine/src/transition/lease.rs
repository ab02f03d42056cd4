//! A worker's row and its one lease. The database clock alone judges it.

use super::Control;
use crate::{Engine, EngineError, RunId, WorkerId};
use std::time::Duration;

/// What a worker says of itself at its start.
#[derive(Debug, Clone)]
pub struct Registration {
    /// New at each process start.
    pub id: WorkerId,
    /// For people: host and process by default.
    pub name: String,
    /// Kinds of runs that it can drive.
    pub kinds: Vec<String>,
    /// Functions registered in its program.
    pub functions: Vec<String>,
    /// Queues that it takes from.
    pub queues: Vec<String>,
}

/// The answer to an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiveLease {
    /// Extended; these runs want attention.
    Extended(Vec<Attention>),
    /// The lease had expired or the worker was closed: whatever it holds is being taken back.
    Lost,
}

/// A held run that was cancelled, paused or woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attention {
    /// Which one.
    pub run: RunId,
    /// What to know.
    pub control: Control,
}

impl Engine {
    /// Announces a worker and gives it its first lease.
    ///
    /// # Errors
    /// The database's.
    pub async fn register_worker(&self, worker: &Registration, lease: Duration) -> Result<(), EngineError> {
        sqlx::query_file!(
            "src/transition/register_worker.sql",
            worker.id.0,
            worker.name,
            &worker.kinds,
            &worker.functions,
            &worker.queues,
            millis(lease),
            self.at(),
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Extends the lease of everything that the worker holds.
    ///
    /// # Errors
    /// The database's.
    pub async fn extend_lease(&self, worker: WorkerId, lease: Duration) -> Result<LiveLease, EngineError> {
        let rows = sqlx::query_file!("src/transition/extend_lease.sql", worker.0, millis(lease), self.at())
            .fetch_all(&self.pool)
            .await?;
        if rows.is_empty() {
            return Ok(LiveLease::Lost);
        }
        let attention = rows.into_iter().filter_map(|row| {
            let control = Control {
                wakes: row.wakes.unwrap_or_default(),
                cancel_requested: row.cancel_requested.unwrap_or_default(),
                paused: row.paused.unwrap_or_default(),
            };
            #[cfg(feature = "planted-faults")]
            let control = crate::planted_fault::heard(control);
            Some(Attention {
                run: row.run_id?,
                control,
            })
        });
        Ok(LiveLease::Extended(attention.collect()))
    }

    /// Tells other workers whether this one takes suspects only.
    ///
    /// # Errors
    /// The database's.
    pub async fn set_clearing(&self, worker: WorkerId, clearing: bool) -> Result<(), EngineError> {
        sqlx::query_file!("src/transition/set_clearing.sql", worker.0, clearing)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Closes a worker that has given everything back.
    ///
    /// # Errors
    /// The database's.
    pub async fn close_worker(&self, worker: WorkerId) -> Result<(), EngineError> {
        sqlx::query_file!("src/transition/close_worker.sql", worker.0, self.at())
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
