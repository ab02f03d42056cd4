//! One follower: catches up by itself, then takes what the hub reads for all.

use super::frame::{self, Batch};
use crate::limits;
use crate::problem::chain;
use crate::server::App;
use axum::body::Bytes;
use engine::{EngineError, RunId};
use futures_util::Stream;
use std::convert::Infallible;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tracing::warn;

/// First words: come back a second after a cut.
const GREETING: &str = "retry: 1000\n\n";
/// A comment.
const KEEP_ALIVE: &str = ": still here\n\n";

/// Where a follower stands.
enum Phase {
    Greeting,
    /// Reads pages of what is recorded, until one is not full.
    CatchingUp,
    /// Hangs on the hub; what the hub read before that is read first, up to the number given.
    Joining(mpsc::Receiver<Batch>, i32),
    Live(mpsc::Receiver<Batch>),
    /// Says how the run ended, then nothing more.
    Ending(String),
    Over,
}

/// How far a follower is.
pub(crate) struct Place {
    /// The number of the last event that it has seen.
    pub(crate) seen: i32,
    /// The state in which that event left the run, where it ended it.
    pub(crate) ended: Option<String>,
    /// Whether it stays when the run has ended.
    pub(crate) follows_on: bool,
}

/// Follows one run.
pub(crate) struct Follower {
    app: App,
    run: RunId,
    place: Place,
    phase: Phase,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    pub(crate) const fn new(app: App, run: RunId, place: Place, permit: OwnedSemaphorePermit) -> Self {
        Self {
            app,
            run,
            place,
            phase: Phase::Greeting,
            _permit: permit,
        }
    }

    /// What is sent, piece by piece, each when the one before was taken.
    pub(crate) fn into_stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        futures_util::stream::unfold(self, |mut follower| async move {
            let stopping = follower.app.stopping.clone();
            let piece = tokio::select! {
                biased;
                () = stopping.cancelled() => None,
                piece = follower.next() => piece,
            };
            piece.map(|piece| (Ok(piece), follower))
        })
    }

    /// None: it is over, or it is cut.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let phase = std::mem::replace(&mut self.phase, Phase::Over);
            let advanced = match phase {
                Phase::Greeting => {
                    self.phase = Phase::CatchingUp;
                    return Some(Bytes::from_static(GREETING.as_bytes()));
                }
                Phase::CatchingUp => self.catch_up().await,
                Phase::Joining(batches, until) => self.join(batches, until).await,
                Phase::Live(batches) => Ok(self.live(batches).await),
                Phase::Ending(state) => return Some(frame::end(&state, self.place.seen)),
                Phase::Over => return None,
            };
            match advanced {
                Ok(Some(piece)) => return Some(piece),
                Ok(None) => {}
                Err(error) => {
                    warn!(run.id = %self.run, error = %chain(&error), "a follower is cut: the database does not answer");
                    return None;
                }
            }
        }
    }

    /// A page of what is recorded. After the last one the follower joins the others.
    async fn catch_up(&mut self) -> Result<Option<Bytes>, EngineError> {
        let batch = self.read().await?;
        let is_last = batch.as_ref().is_none_or(|batch| !batch.is_full());
        let piece = batch.and_then(|batch| self.take(&batch));
        self.phase = if !is_last {
            Phase::CatchingUp
        } else if let Some(ending) = self.ending() {
            ending
        } else {
            match self.app.hub.follow(self.run, self.place.seen).await {
                Some((batches, until)) => Phase::Joining(batches, until),
                None => Phase::Over,
            }
        };
        Ok(piece)
    }

    /// What the hub had read before this follower came.
    async fn join(&mut self, batches: mpsc::Receiver<Batch>, until: i32) -> Result<Option<Bytes>, EngineError> {
        if self.place.seen >= until {
            self.phase = self.ending().unwrap_or(Phase::Live(batches));
            return Ok(None);
        }
        let piece = self.read().await?.and_then(|batch| self.take(&batch));
        if piece.is_some() {
            self.phase = Phase::Joining(batches, until);
        }
        Ok(piece)
    }

    /// What the hub reads. A follower that it has run away from catches up by itself, as fast as it takes what it gets.
    async fn live(&mut self, mut batches: mpsc::Receiver<Batch>) -> Option<Bytes> {
        loop {
            let Ok(batch) = tokio::time::timeout(self.app.options.limits.keep_alive, batches.recv()).await else {
                self.phase = Phase::Live(batches);
                return Some(Bytes::from_static(KEEP_ALIVE.as_bytes()));
            };
            let Some(batch) = batch else {
                self.phase = Phase::CatchingUp;
                return None;
            };
            if let Some(piece) = self.take(&batch) {
                self.phase = self.ending().unwrap_or(Phase::Live(batches));
                return Some(piece);
            }
        }
    }

    /// What is new in these events.
    fn take(&mut self, batch: &Batch) -> Option<Bytes> {
        let piece = batch.after(self.place.seen)?;
        self.place.seen = batch.last()?;
        self.place.ended = batch.ended().map(str::to_owned);
        Some(piece)
    }

    /// The phase that follows where the last event seen has ended the run.
    fn ending(&self) -> Option<Phase> {
        let state = self.place.ended.as_ref().filter(|_| !self.place.follows_on)?;
        Some(Phase::Ending(state.clone()))
    }

    async fn read(&self) -> Result<Option<Batch>, EngineError> {
        let rows = self
            .app
            .engine
            .new_events(&[(self.run, self.place.seen)], limits::EVENTS_PER_READ)
            .await?;
        Ok((!rows.is_empty()).then(|| Batch::of(&rows)))
    }
}
