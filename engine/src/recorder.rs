//! Group commit: the transitions of all runs that a worker drives, many in one statement and one commit.
//!
//! While a batch is on its way the next one gathers, so batches grow with the load. A transition that finds nothing on its
//! way leaves at once; a second batch leaves beside the first as soon as it is as large, since two small statements cost
//! more than a large one. Each stands or falls by its own fence; one that the database
//! cannot take is found by halving its batch. Numbers no events and retries nothing: that is its callers' part. Start at
//! [`Recorder::write`].

#[cfg(feature = "planted-faults")]
mod early;

use crate::{Connect, Engine, EngineError, Recorded, RunId, Transition};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{OwnedMutexGuard, Semaphore, mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

/// Batches on their way at once. A second one leaves while the first is being committed; more would only be smaller.
const WRITERS: u32 = 2;
/// A batch that is on its way for longer has met something slow: what has gathered leaves beside it, however little it is.
const PATIENCE: Duration = Duration::from_millis(5);
/// Transitions waiting to be gathered. Beyond that drivers wait, and start nothing.
const WAITING_MAX: usize = 1024;
/// Rows of one batch. performance.md measures no gain beyond a few hundred.
const ROWS_MAX: usize = 500;
/// Payload of one batch, so that no statement takes long.
const BYTES_MAX: usize = 1024 * 1024;
/// Runs recorded by a statement of their own at once, since somebody else has their rows, or a parent is told.
const LONE_MAX: usize = 4;

/// What became of a transition.
#[derive(Debug)]
pub enum Answer {
    /// The database has spoken.
    Recorded(Recorded),
    /// Nobody knows whether it was written: the connection was lost, or the database is away.
    Unknown(String),
    /// It cannot be written, now or later.
    Impossible(EngineError),
}

/// Gathers and writes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Recorder {
    offers: mpsc::Sender<Offer>,
    _gathering: Arc<Gathering>,
}

/// The task that gathers; ends with the last recorder.
#[derive(Debug)]
struct Gathering(AbortHandle);

impl Drop for Gathering {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Debug)]
struct Offer {
    transition: Arc<Transition>,
    answer: oneshot::Sender<Answer>,
}

impl Recorder {
    /// Starts gathering. Batches have connections of their own; a run that must wait for somebody else's lock uses one of
    /// `engine`.
    ///
    /// # Errors
    /// As those of [`Engine::connect`].
    pub async fn start(connect: &Connect, engine: Engine) -> Result<Self, EngineError> {
        let batches = Connect {
            connections_max: WRITERS,
            // A batch on a dead connection is found out and sent again: asking first would cost each one a round trip.
            tested: false,
            ..connect.clone()
        };
        let (offers, waiting) = mpsc::channel(WAITING_MAX);
        let desk = Desk {
            batches: Engine::connect(&batches).await?,
            lone: engine,
            lone_permits: Semaphore::new(LONE_MAX),
            told: Turns::default(),
        };
        let gathering = tokio::spawn(gather(waiting, Arc::new(desk)));
        Ok(Self {
            offers,
            _gathering: Arc::new(Gathering(gathering.abort_handle())),
        })
    }

    /// Writes it with whatever else is there to be written.
    pub async fn write(&self, transition: Arc<Transition>) -> Answer {
        let (answer, answered) = oneshot::channel();
        let gone = || Answer::Unknown("the recorder is gone".to_owned());
        if self.offers.send(Offer { transition, answer }).await.is_err() {
            return gone();
        }
        answered.await.unwrap_or_else(|_| gone())
    }
}

async fn gather(mut waiting: mpsc::Receiver<Offer>, desk: Arc<Desk>) {
    let mut next = Batch::default();
    let mut writing = JoinSet::new();
    let mut on_their_way = 0;
    loop {
        if next.may_leave(writing.len(), on_their_way) {
            // Whoever has just been answered and can offer now comes along.
            tokio::task::yield_now().await;
            next.fill(&mut waiting);
            let batch = std::mem::take(&mut next).offers;
            on_their_way += batch.len();
            let desk = Arc::clone(&desk);
            writing.spawn(async move {
                let size = batch.len();
                desk.write(batch).await;
                size
            });
            continue;
        }
        let has_writer = !next.offers.is_empty() && writing.len() < WRITERS as usize;
        tokio::select! {
            biased;
            Some(written) = writing.join_next() => {
                on_their_way = on_their_way.saturating_sub(written.unwrap_or(usize::MAX));
            }
            offer = waiting.recv(), if !next.is_full() => match offer {
                Some(offer) => next.push(offer),
                None => return,
            },
            () = tokio::time::sleep_until(next.since + PATIENCE), if has_writer => next.is_urgent = true,
        }
    }
}

/// What is gathered.
struct Batch {
    offers: Vec<Offer>,
    rows: usize,
    bytes: usize,
    /// When the first came.
    since: Instant,
    is_urgent: bool,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            offers: Vec::new(),
            rows: 0,
            bytes: 0,
            since: Instant::now(),
            is_urgent: false,
        }
    }
}

impl Batch {
    fn push(&mut self, offer: Offer) {
        if self.offers.is_empty() {
            self.since = Instant::now();
        }
        self.rows += offer.transition.rows();
        self.bytes += offer.transition.bytes();
        self.offers.push(offer);
    }

    fn fill(&mut self, waiting: &mut mpsc::Receiver<Offer>) {
        while !self.is_full()
            && let Ok(offer) = waiting.try_recv()
        {
            self.push(offer);
        }
    }

    const fn is_full(&self) -> bool {
        self.rows >= ROWS_MAX || self.bytes >= BYTES_MAX
    }

    /// Whether it may leave beside so many others that hold so many transitions.
    fn may_leave(&self, writing: usize, on_their_way: usize) -> bool {
        if self.offers.is_empty() || writing >= WRITERS as usize {
            return false;
        }
        writing == 0 || self.is_urgent || self.is_full() || self.offers.len() >= on_their_way
    }
}

/// What writers share.
#[derive(Debug)]
struct Desk {
    batches: Engine,
    lone: Engine,
    lone_permits: Semaphore,
    /// Held while a parent is told of an end.
    told: Turns,
}

/// Whoever tells the same run takes its turn: they lock its row one after the other anyway, and so hold one connection
/// while somebody else has it.
#[derive(Debug, Default)]
struct Turns(Mutex<HashMap<RunId, Weak<tokio::sync::Mutex<()>>>>);

impl Turns {
    async fn of(&self, run: RunId) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| turn.strong_count() > 0);
            let known = turns.get(&run).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let turn = Arc::default();
                turns.insert(run, Arc::downgrade(&turn));
                turn
            })
        };
        turn.lock_owned().await
    }
}

impl Desk {
    async fn write(self: Arc<Self>, batch: Vec<Offer>) {
        #[cfg(feature = "planted-faults")]
        let batch = early::answered(batch).await;
        let (lone, batch): (Vec<_>, Vec<_>) = batch.into_iter().partition(|offer| offer.transition.is_lone());
        for offer in lone {
            self.write_alone(offer);
        }
        let mut parts = Vec::from_iter((!batch.is_empty()).then_some(batch));
        while let Some(mut part) = parts.pop() {
            let transitions: Vec<&Transition> = part.iter().map(|offer| offer.transition.as_ref()).collect();
            match self.batches.record_batch(&transitions).await {
                Ok(recorded) => {
                    for (offer, recorded) in part.into_iter().zip(recorded) {
                        self.pass_on(offer, recorded);
                    }
                }
                Err(error) if error.is_transient() => {
                    let error = error.to_string();
                    for offer in part {
                        let _ = offer.answer.send(Answer::Unknown(error.clone()));
                    }
                }
                Err(error) => {
                    let rest = part.split_off(part.len() / 2);
                    if part.is_empty() {
                        if let Some(offer) = rest.into_iter().next() {
                            let _ = offer.answer.send(Answer::Impossible(error));
                        }
                    } else {
                        parts.extend([rest, part]);
                    }
                }
            }
        }
    }

    /// One that a batch passed over is either lost, or somebody else has its run's row: a statement of its own waits.
    fn pass_on(self: &Arc<Self>, offer: Offer, recorded: Option<Recorded>) {
        if let Some(recorded) = recorded {
            let _ = offer.answer.send(Answer::Recorded(recorded));
        } else {
            self.write_alone(offer);
        }
    }

    fn write_alone(self: &Arc<Self>, offer: Offer) {
        let desk = Arc::clone(self);
        tokio::spawn(async move {
            let _turn = match offer.transition.told() {
                Some(parent) => Some(desk.told.of(parent).await),
                None => None,
            };
            let _permit = desk.lone_permits.acquire().await;
            let answer = match desk.lone.record_alone(&offer.transition).await {
                Ok(recorded) => Answer::Recorded(recorded),
                Err(error) if error.is_transient() => Answer::Unknown(error.to_string()),
                Err(error) => Answer::Impossible(error),
            };
            let _ = offer.answer.send(answer);
        });
    }
}
