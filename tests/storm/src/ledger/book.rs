//! What arrived and what was done, in memory and on the disk.
//!
//! One thread owns it all and takes one entry after the other: two arrivals of a key cannot both be the first. It
//! answers nobody before the records that the answer rests on are on the disk; whatever has come in the meantime shares
//! one sync. Never touches a connection. Start at [`Book::arrive`].

use super::behaviour::{Asked, Behaviour, CONFLICT, Deed, UNREADABLE, draw};
use crate::record::{Declared, Front, LedgerRecord, Log, Micros, now};
use anyhow::Context;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Nothing follows from the record of a reply, so it waits for the sync of another; not longer than this.
const REPLY_HELD: Duration = Duration::from_millis(50);

/// What no plan asks for.
const UNREADABLE_EFFECT: &str = "unreadable";

/// A call that has come, whole.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) at: Micros,
    /// By the path; the body says it again.
    pub(super) front: Front,
    /// `None` if its body is not what it should be.
    pub(super) asked: Option<Asked>,
    pub(super) body_sha256: String,
    pub(super) key: Option<String>,
    pub(super) worker: Option<String>,
    pub(super) attempt: Option<u32>,
    pub(super) run: Option<String>,
}

/// What is known of an arrival once it is written down.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrived {
    pub(super) arrival: u64,
    pub(super) behaviour: Behaviour,
    /// Which arrival made the effect take place: this one or, where the key had come before, that one. `None` as long
    /// as nothing was done for this one.
    pub(super) receipt: Option<u64>,
}

/// What became of a key.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) effect: String,
    pub(super) receipt: u64,
}

/// The way to the thread that keeps the book.
pub(super) struct Book {
    // Without a bound: each caller waits for its last entry before it makes another, but for replies.
    entries: Sender<Entry>,
}

enum Entry {
    Arrival(Call, oneshot::Sender<Arrived>),
    Deed {
        arrival: u64,
        receipt: oneshot::Sender<u64>,
    },
    Look {
        key: String,
        found: oneshot::Sender<Option<Found>>,
    },
    Reply(LedgerRecord),
    Close,
}

impl Book {
    /// Opens it; the handle ends after [`close`](Self::close), or when the disk fails.
    pub(super) fn open(seed: u64, log: Log) -> (Arc<Self>, JoinHandle<anyhow::Result<()>>) {
        let (entries, received) = channel();
        let keeper = tokio::task::spawn_blocking(move || keep(Pages::new(seed), &log, &received));
        (Arc::new(Self { entries }), keeper)
    }

    /// Writes an arrival down and, where nothing is to come between, makes its effect take place.
    pub(super) async fn arrive(&self, call: Call) -> anyhow::Result<Arrived> {
        let (answer, answered) = oneshot::channel();
        self.enter(Entry::Arrival(call, answer));
        answered.await.context("the book is closed")
    }

    /// Makes the effect take place, and tells the receipt.
    pub(super) async fn apply(&self, arrival: u64) -> anyhow::Result<u64> {
        let (receipt, told) = oneshot::channel();
        self.enter(Entry::Deed { arrival, receipt });
        told.await.context("the book is closed")
    }

    /// Tells what became of a key, as far as anything has by now.
    pub(super) async fn look(&self, key: String) -> anyhow::Result<Option<Found>> {
        let (found, told) = oneshot::channel();
        self.enter(Entry::Look { key, found });
        told.await.context("the book is closed")
    }

    /// Writes down what the caller got.
    pub(super) fn reply(&self, arrival: u64, what: String, delivered: bool) {
        self.enter(Entry::Reply(LedgerRecord::Reply {
            at: now(),
            arrival,
            what,
            delivered,
        }));
    }

    /// Takes no more than has been entered so far.
    pub(super) fn close(&self) {
        self.enter(Entry::Close);
    }

    /// Whoever waits for an answer learns that the book is closed by getting none.
    fn enter(&self, entry: Entry) {
        let _ = self.entries.send(entry);
    }
}

/// An answer that waits for the disk.
enum Answer {
    Arrived(oneshot::Sender<Arrived>, Arrived),
    Receipt(oneshot::Sender<u64>, u64),
    Found(oneshot::Sender<Option<Found>>, Option<Found>),
}

impl Answer {
    /// That nobody waits any more is their affair.
    fn give(self) {
        match self {
            Self::Arrived(waiting, arrived) => drop(waiting.send(arrived)),
            Self::Receipt(waiting, receipt) => drop(waiting.send(receipt)),
            Self::Found(waiting, found) => drop(waiting.send(found)),
        }
    }
}

fn keep(mut pages: Pages, log: &Log, entries: &Receiver<Entry>) -> anyhow::Result<()> {
    loop {
        let first = match entries.recv_timeout(REPLY_HELD) {
            Ok(first) => Some(first),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Entry::Close),
        };
        let idle = first.is_none();
        for entry in first.into_iter().chain(entries.try_iter()) {
            pages.take(entry);
        }
        let due = idle || pages.closed || !pages.answers.is_empty();
        if due && !pages.records.is_empty() {
            log.write(&pages.records)?;
            pages.records.clear();
        }
        pages.answers.drain(..).for_each(Answer::give);
        if pages.closed {
            return Ok(());
        }
    }
}

/// All that is known, and what of it is not yet on the disk.
struct Pages {
    seed: u64,
    calls: Vec<Applicable>,
    /// How often each effect was asked for.
    asked: HashMap<String, u64>,
    keys: HashMap<String, Keyed>,
    /// What took place, by its key.
    done: HashMap<String, Found>,
    records: Vec<LedgerRecord>,
    answers: Vec<Answer>,
    closed: bool,
}

/// What an arrival's effect depends on; its number is its place, from 1.
struct Applicable {
    /// The key, if it is to be honoured.
    key: Option<String>,
    /// The key, whether or not it is.
    sent: Option<String>,
    effect: String,
}

/// A key of an `idempotent` call.
struct Keyed {
    body_sha256: String,
    receipt: Option<u64>,
}

impl Pages {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            calls: Vec::new(),
            asked: HashMap::new(),
            keys: HashMap::new(),
            done: HashMap::new(),
            records: Vec::new(),
            answers: Vec::new(),
            closed: false,
        }
    }

    fn take(&mut self, entry: Entry) {
        match entry {
            Entry::Arrival(call, waiting) => {
                let arrived = self.arrive(call);
                self.answers.push(Answer::Arrived(waiting, arrived));
            }
            Entry::Deed {
                arrival,
                receipt: waiting,
            } => {
                let receipt = self.apply(arrival);
                self.answers.push(Answer::Receipt(waiting, receipt));
            }
            Entry::Look { key, found: waiting } => {
                let found = self.done.get(&key).cloned();
                self.records.push(LedgerRecord::Looked {
                    at: now(),
                    key,
                    found: found.as_ref().map(|found| found.receipt),
                });
                self.answers.push(Answer::Found(waiting, found));
            }
            Entry::Reply(record) => self.records.push(record),
            Entry::Close => self.closed = true,
        }
    }

    fn arrive(&mut self, call: Call) -> Arrived {
        let honoured = call
            .asked
            .as_ref()
            .is_some_and(|asked| asked.declared == Declared::Idempotent);
        let key = call.key.clone().filter(|_| honoured);
        let behaviour = self.behaviour(&call, key.as_deref());
        let (effect, declared) = call.asked.map_or_else(
            || (UNREADABLE_EFFECT.to_owned(), Declared::AtMostOnce),
            |asked| (asked.effect, asked.declared),
        );
        self.calls.push(Applicable {
            key,
            sent: call.key.clone(),
            effect: effect.clone(),
        });
        let arrival = self.calls.len() as u64;
        self.records.push(LedgerRecord::Arrival {
            at: call.at,
            arrival,
            front: call.front,
            declared,
            effect,
            key: call.key,
            body_sha256: call.body_sha256,
            worker: call.worker,
            attempt: call.attempt,
            run: call.run,
            conduct: behaviour.name.to_owned(),
        });
        let receipt = match behaviour.deed {
            Deed::AtOnce => Some(self.apply(arrival)),
            Deed::Late(_) | Deed::Behind(_) | Deed::GivenUp | Deed::Never => None,
        };
        Arrived {
            arrival,
            behaviour,
            receipt,
        }
    }

    fn behaviour(&mut self, call: &Call, key: Option<&str>) -> Behaviour {
        let Some(asked) = &call.asked else {
            return UNREADABLE;
        };
        let count = self.asked.entry(asked.effect.clone()).or_default();
        let before = *count;
        *count += 1;
        if let Some(key) = key {
            let keyed = self.keys.entry(key.to_owned()).or_insert_with(|| Keyed {
                body_sha256: call.body_sha256.clone(),
                receipt: None,
            });
            if keyed.body_sha256 != call.body_sha256 {
                return CONFLICT;
            }
        }
        draw(self.seed, asked, before)
    }

    /// The effect takes place, unless it already has for this key.
    fn apply(&mut self, arrival: u64) -> u64 {
        let index = usize::try_from(arrival).unwrap_or(usize::MAX).wrapping_sub(1);
        let key = self.calls.get(index).and_then(|call| call.key.as_deref());
        let keyed = key.and_then(|key| self.keys.get_mut(key));
        if let Some(keyed) = keyed {
            if let Some(first) = keyed.receipt {
                return first;
            }
            keyed.receipt = Some(arrival);
        }
        if let Some(call) = self.calls.get(index)
            && let Some(sent) = &call.sent
        {
            let effect = call.effect.clone();
            let found = Found {
                effect,
                receipt: arrival,
            };
            self.done.entry(sent.clone()).or_insert(found);
        }
        self.records.push(LedgerRecord::Applied { at: now(), arrival });
        arrival
    }
}
