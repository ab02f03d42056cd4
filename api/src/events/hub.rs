//! Reads events once for all followers of this process.
//!
//! One listener and, while there is somebody to read for, one statement per gathered hint for all runs that it names,
//! and one a second for all followed runs, which finds what no hint told. Without followers there is no statement. Start
//! at [`Feed::run`].

use super::frame::{Batch, by_run};
use crate::limits::{EVENTS_PER_READ, FOLLOWER_BATCHES_MAX, LOOK_PERIOD};
use crate::problem::chain;
use engine::query::NewEvent;
use engine::waker::{EventHint, EventWaker};
use engine::{Connect, Engine, EngineError, RunId};
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tracing::{debug, warn};

/// Runs read by one statement, so that its answer stays small.
const RUNS_PER_READ: usize = 256;
/// After the listening connection was lost.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);
/// Followers that come at the same time, and hints, wait for the feed here; more wait outside.
const INBOX: usize = 64;

/// Where followers hang on. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Hub {
    joining: mpsc::Sender<Joining>,
}

/// Reads for the followers of a [`Hub`].
#[derive(Debug)]
pub(crate) struct Feed {
    joining: mpsc::Receiver<Joining>,
    runs: HashMap<RunId, Followed>,
    /// Runs that may have new events.
    wanted: HashSet<RunId>,
    /// The statement that is on its way, one at most.
    reads: JoinSet<Result<Vec<NewEvent>, EngineError>>,
}

#[derive(Debug)]
struct Joining {
    run: RunId,
    seen: i32,
    sink: mpsc::Sender<Batch>,
    joined: oneshot::Sender<i32>,
}

/// A run that somebody follows.
#[derive(Debug)]
struct Followed {
    /// The number of the last event read.
    tail: i32,
    sinks: Vec<mpsc::Sender<Batch>>,
}

impl Hub {
    pub(crate) fn new() -> (Self, Feed) {
        let (sender, joining) = mpsc::channel(INBOX);
        let feed = Feed {
            joining,
            runs: HashMap::new(),
            wanted: HashSet::new(),
            reads: JoinSet::new(),
        };
        (Self { joining: sender }, feed)
    }

    /// Events from here on, and the number of the last one before them: who has not seen that one reads up to it.
    /// None: the server stops.
    pub(crate) async fn follow(&self, run: RunId, seen: i32) -> Option<(mpsc::Receiver<Batch>, i32)> {
        let (sink, batches) = mpsc::channel(FOLLOWER_BATCHES_MAX);
        let (joined, tail) = oneshot::channel();
        let joining = Joining {
            run,
            seen,
            sink,
            joined,
        };
        self.joining.send(joining).await.ok()?;
        Some((batches, tail.await.ok()?))
    }
}

impl Feed {
    /// Feeds until it is dropped.
    pub(crate) async fn run(mut self, engine: Engine, connect: Connect) {
        let (hints, mut hinted) = mpsc::channel(INBOX);
        let mut listening = Some((connect, hints));
        let mut listeners = JoinSet::new();
        let mut looks = tokio::time::interval(LOOK_PERIOD);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.read(&engine);
            tokio::select! {
                Some(joining) = self.joining.recv() => {
                    self.join(joining);
                    // From the first follower on.
                    if let Some((connect, hints)) = listening.take() {
                        listeners.spawn(listen(connect, hints));
                    }
                }
                Some(hint) = hinted.recv() => self.want(hint),
                Some(read) = self.reads.join_next() => match read {
                    Ok(Ok(rows)) => self.deliver(&rows),
                    Ok(Err(error)) => warn!(error = %chain(&error), "events could not be read, trying again"),
                    Err(broken) => warn!(error = %broken, "reading events broke, trying again"),
                },
                _ = looks.tick(), if !self.runs.is_empty() => {
                    self.forget_who_left();
                    self.wanted.extend(self.runs.keys());
                }
            }
        }
    }

    fn join(&mut self, joining: Joining) {
        let followed = self.runs.entry(joining.run).or_insert_with(|| Followed {
            tail: joining.seen,
            sinks: Vec::new(),
        });
        if joining.joined.send(followed.tail).is_ok() {
            followed.sinks.push(joining.sink);
            // What came between the follower's last look and now.
            self.wanted.insert(joining.run);
        }
    }

    fn want(&mut self, hint: EventHint) {
        match hint {
            EventHint::Runs(runs) => self
                .wanted
                .extend(runs.iter().filter(|run| self.runs.contains_key(run))),
            EventHint::Missed => self.wanted.extend(self.runs.keys()),
        }
    }

    /// Sends the next statement, unless one is on its way: hints gather meanwhile.
    fn read(&mut self, engine: &Engine) {
        if !self.reads.is_empty() || self.wanted.is_empty() {
            return;
        }
        let picked: Vec<RunId> = self.wanted.iter().take(RUNS_PER_READ).copied().collect();
        let mut followed = Vec::with_capacity(picked.len());
        for run in picked {
            self.wanted.remove(&run);
            followed.extend(self.runs.get(&run).map(|known| (run, known.tail)));
        }
        if followed.is_empty() {
            return;
        }
        let engine = engine.clone();
        self.reads
            .spawn(async move { engine.new_events(&followed, EVENTS_PER_READ).await });
    }

    fn deliver(&mut self, rows: &[NewEvent]) {
        for (run, rows) in by_run(rows) {
            let Some(followed) = self.runs.get_mut(&run) else {
                continue;
            };
            // It may have been left and followed anew while the statement was on its way.
            let new = &rows[rows.partition_point(|row| row.seq <= followed.tail)..];
            let batch = Batch::of(new);
            let Some(last) = batch.last() else {
                continue;
            };
            followed.tail = last;
            followed.sinks.retain(|sink| match sink.try_send(batch.clone()) {
                Ok(()) => true,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    debug!(run.id = %run, "a follower is too slow to be read for, and reads for itself");
                    false
                }
                Err(mpsc::error::TrySendError::Closed(_)) => false,
            });
            if followed.sinks.is_empty() {
                self.runs.remove(&run);
            } else if batch.is_full() {
                self.wanted.insert(run);
            }
        }
    }

    fn forget_who_left(&mut self) {
        self.runs.retain(|_, followed| {
            followed.sinks.retain(|sink| !sink.is_closed());
            !followed.sinks.is_empty()
        });
    }
}

/// Passes hints on. A lost connection is made anew; the look of each second covers the time between.
async fn listen(connect: Connect, hints: mpsc::Sender<EventHint>) {
    loop {
        match EventWaker::listen(&connect).await {
            Ok(mut waker) => {
                // Whatever came before this connection listened.
                let mut hint = Ok(EventHint::Missed);
                while let Ok(told) = hint {
                    if hints.send(told).await.is_err() {
                        return;
                    }
                    hint = waker.hint().await;
                }
            }
            Err(error) => warn!(error = %chain(&error), "cannot listen for notifications, looking every second"),
        }
        tokio::time::sleep(LISTEN_AGAIN).await;
    }
}
