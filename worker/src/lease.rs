//! Keeps this worker's lease alive while it drives runs.
//!
//! Owns the extension timer, the monotonic end of the lease, and the token that tells drivers to stop. Never touches
//! steps. When an extension comes too late, the token is cancelled before anything else happens, so a driver that
//! honours it cannot act for a run that it no longer holds. Start at [`Keeper::keep`].
#![expect(
    clippy::disallowed_methods,
    reason = "a lease's end is compared on this machine's monotonic clock"
)]

use chrono::{DateTime, TimeDelta, Utc};
use engine::{Attention, Engine, LiveLease, WorkerId};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// While runs are held, this often the database is asked which of them were cancelled, paused or woken.
const ATTENTION_PERIOD: Duration = Duration::from_secs(1);
/// After a failed extension the next try comes this soon.
const RETRY_PERIOD: Duration = Duration::from_millis(200);

/// The lease as drivers see it.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    end: Arc<Mutex<Instant>>,
    /// Cancelled when the lease is over.
    pub(crate) lost: CancellationToken,
}

impl Lease {
    /// A lease asked for at this instant.
    pub(crate) fn new(asked: Instant, duration: Duration) -> Self {
        Self {
            end: Arc::new(Mutex::new(asked + duration)),
            lost: CancellationToken::new(),
        }
    }

    /// Whether something may leave the process now. Asked immediately before the first byte of every call.
    pub(crate) fn is_live(&self) -> bool {
        !self.lost.is_cancelled() && Instant::now() < self.end()
    }

    fn end(&self) -> Instant {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn extend(&self, asked: Instant, duration: Duration) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = asked + duration;
    }
}

/// Extends the lease until it is lost.
pub(crate) struct Keeper {
    pub(crate) engine: Engine,
    pub(crate) worker: WorkerId,
    pub(crate) duration: Duration,
    pub(crate) idle_period: Duration,
    pub(crate) lease: Lease,
    /// Told at once when a notification hints at a change.
    pub(crate) hurry: Arc<Notify>,
    /// How many runs are held.
    pub(crate) held: Arc<std::sync::atomic::AtomicUsize>,
    pub(crate) attention: mpsc::Sender<Vec<Attention>>,
}

impl Keeper {
    /// Returns when the lease is over. The token is cancelled by then.
    pub(crate) async fn keep(self) {
        let mut period = self.period();
        loop {
            let left = self.lease.end().saturating_duration_since(Instant::now());
            if left.is_zero() {
                warn!(worker.id = %self.worker, "the lease ended before it could be extended, stopping all work");
                break;
            }
            tokio::select! {
                () = tokio::time::sleep(period.min(left)) => {}
                () = self.hurry.notified() => {}
            }
            let asked = Instant::now();
            let left = self.lease.end().saturating_duration_since(asked);
            match tokio::time::timeout(left, self.engine.extend_lease(self.worker, self.duration)).await {
                Ok(Ok(LiveLease::Extended(attention))) => {
                    self.lease.extend(asked, self.duration);
                    if !attention.is_empty() && self.attention.send(attention).await.is_err() {
                        break;
                    }
                    period = self.period();
                }
                Ok(Ok(LiveLease::Lost)) => {
                    warn!(worker.id = %self.worker, "the lease was taken back, stopping all work");
                    break;
                }
                Ok(Err(error)) => {
                    warn!(worker.id = %self.worker, error = %error, "the lease could not be extended, trying again");
                    period = RETRY_PERIOD;
                }
                Err(_) => period = Duration::ZERO,
            }
        }
        self.lease.lost.cancel();
    }

    /// A third of the lease: two extensions may fail before it is in danger.
    fn period(&self) -> Duration {
        let wanted = if self.held.load(std::sync::atomic::Ordering::Relaxed) > 0 {
            ATTENTION_PERIOD
        } else {
            self.idle_period
        };
        wanted.min(self.duration / 3)
    }
}

/// The database's clock, read at a claim and counted on by the monotonic one. The reply's way back is not counted, so it
/// is never ahead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DatabaseClock {
    told: DateTime<Utc>,
    at: Instant,
}

impl DatabaseClock {
    pub(crate) fn told(told: DateTime<Utc>) -> Self {
        Self {
            told,
            at: Instant::now(),
        }
    }

    pub(crate) fn now(self) -> DateTime<Utc> {
        self.told + TimeDelta::from_std(self.at.elapsed()).unwrap_or(TimeDelta::MAX)
    }
}

/// The instant from which a new lease counts: before it is asked for.
pub(crate) fn before_asking() -> Instant {
    Instant::now()
}
