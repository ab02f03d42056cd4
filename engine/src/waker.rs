//! Hints by notification. Everything works without them: a poll finds what a lost one would have told.

use crate::error::EngineError;
use crate::{Connect, RunId, WorkerId};
use sqlx::postgres::{PgListener, PgPoolOptions};

/// What a notification hints at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// A run became due in this queue.
    Due(String),
    /// A run that this worker holds was cancelled, paused or woken.
    Changed(WorkerId),
    /// The connection was lost and is back: anything may have been missed.
    Missed,
}

/// Listens on a connection of its own, not through a pooler.
#[derive(Debug)]
pub struct Waker {
    listener: PgListener,
}

impl Waker {
    /// Connects and listens.
    ///
    /// # Errors
    /// The database's.
    pub async fn listen(connect: &Connect) -> Result<Self, EngineError> {
        let mut listener = listener(connect).await?;
        listener.listen_all(["longhaul_due", "longhaul_changed"]).await?;
        Ok(Self { listener })
    }

    /// The next hint. Cancel-safe.
    ///
    /// # Errors
    /// The database's; the caller listens anew.
    pub async fn hint(&mut self) -> Result<Hint, EngineError> {
        loop {
            let Some(notification) = self.listener.try_recv().await? else {
                return Ok(Hint::Missed);
            };
            match notification.channel() {
                "longhaul_due" => return Ok(Hint::Due(notification.payload().to_owned())),
                "longhaul_changed" => {
                    if let Ok(worker) = notification.payload().parse() {
                        return Ok(Hint::Changed(worker));
                    }
                }
                _ => {}
            }
        }
    }
}

/// What a hint tells a follower.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventHint {
    /// These runs have new events.
    Runs(Vec<RunId>),
    /// The connection was lost and is back: anything may have been missed.
    Missed,
}

/// Listens for new events of any run, on a connection of its own.
#[derive(Debug)]
pub struct EventWaker {
    listener: PgListener,
}

impl EventWaker {
    /// Connects and listens.
    ///
    /// # Errors
    /// The database's.
    pub async fn listen(connect: &Connect) -> Result<Self, EngineError> {
        let mut listener = listener(connect).await?;
        listener.listen("longhaul_event").await?;
        Ok(Self { listener })
    }

    /// The next hint. Cancel-safe.
    ///
    /// # Errors
    /// The database's; the caller listens anew.
    pub async fn hint(&mut self) -> Result<EventHint, EngineError> {
        Ok(match self.listener.try_recv().await? {
            None => EventHint::Missed,
            Some(hint) => EventHint::Runs(hint.payload().split(',').filter_map(|id| id.parse().ok()).collect()),
        })
    }
}

async fn listener(connect: &Connect) -> Result<PgListener, EngineError> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect_with(connect.options()?)
        .await?;
    Ok(PgListener::connect_with(&pool).await?)
}
