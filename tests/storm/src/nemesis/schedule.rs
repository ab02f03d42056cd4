//! Which faults there are, in which order and how far apart: a function of the seed and nothing else.
//!
//! Faults come in decks. Each deck holds every kind of fault so many times, shuffled, so that counts are certain in a
//! long storm and every kind comes in a short one.

use crate::plan::random;
use crate::record::Window;
use std::time::Duration;

/// How long others wait for a worker that is silent.
pub(super) const LEASE: Duration = Duration::from_secs(2);

/// How long calls may go on after SIGTERM.
pub(super) const DRAIN: Duration = Duration::from_secs(3);

/// A worker that has not ended by then after SIGTERM does not end: a call that may not be repeated has two seconds of
/// its own, and three are for all else.
pub(super) const DRAINED_WITHIN: Duration = DRAIN.saturating_add(Duration::from_secs(5));

/// Milliseconds between two faults.
const PAUSES: std::ops::Range<u64> = 150..1150;

/// One kind of fault, so many times in a deck.
const AIMS_EACH: usize = 3;
/// A call that is not answered in time is not always applied late: sometimes it is not applied, or never answered.
const AIMS_AT_LATE_CALLS: usize = 4;
const KILLS: usize = 8;
const STOPS: usize = 8;
const DRAINS: usize = 4;
const POSTGRES_KILLS: usize = 2;
const API_KILLS: usize = 2;
const DATABASE_CUTS: usize = 4;
const TOOL_CUTS: usize = 4;
const SILENCES: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// At a worker in this window.
    Aimed(Window),
    /// SIGKILL to a worker at any instant.
    Kill,
    /// SIGSTOP to a worker, and SIGCONT once its lease is long over.
    Stop {
        length: Duration,
    },
    /// SIGTERM to a worker.
    Drain,
    /// SIGKILL to the server, which is started again after a while.
    KillPostgres {
        down: Duration,
    },
    KillApi,
    /// All connections of a worker to the database are reset.
    CutDatabase,
    /// All connections of a worker to the tools are reset.
    CutTools,
    /// A worker hears no notification for a while.
    Silence {
        length: Duration,
    },
}

/// A fault in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// After the one before it.
    pub(super) pause: Duration,
    pub(super) fault: Fault,
    /// All slots, the one that is meant first. The others stand in where its worker is away.
    pub(super) order: Vec<usize>,
}

/// Faults without end.
#[derive(Debug)]
pub(super) struct Schedule {
    seed: u64,
    slots: usize,
    decks: u64,
    deck: Vec<Step>,
}

impl Schedule {
    pub(super) fn of(seed: u64, slots: usize) -> Self {
        Self {
            seed,
            slots,
            decks: 0,
            deck: Vec::new(),
        }
    }
}

impl Iterator for Schedule {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if self.deck.is_empty() {
            self.deck = deck(self.seed, self.decks, self.slots);
            self.decks += 1;
        }
        self.deck.pop()
    }
}

fn deck(seed: u64, number: u64, slots: usize) -> Vec<Step> {
    let mut random = random(seed, "deck", number);
    let mut faults = Vec::new();
    let mut put = |count: usize, fault: &mut dyn FnMut() -> Fault| faults.extend((0..count).map(|_| fault()));
    for window in Window::ALL {
        let aims = if window == Window::SentUnapplied {
            AIMS_AT_LATE_CALLS
        } else {
            AIMS_EACH
        };
        put(aims, &mut || Fault::Aimed(window));
    }
    put(KILLS, &mut || Fault::Kill);
    put(STOPS, &mut || Fault::Stop {
        length: LEASE.mul_f64(1.3 + 1.7 * random.f64()),
    });
    put(DRAINS, &mut || Fault::Drain);
    put(POSTGRES_KILLS, &mut || Fault::KillPostgres {
        down: Duration::from_millis(random.u64(0..1000)),
    });
    put(API_KILLS, &mut || Fault::KillApi);
    put(DATABASE_CUTS, &mut || Fault::CutDatabase);
    put(TOOL_CUTS, &mut || Fault::CutTools);
    put(SILENCES, &mut || Fault::Silence {
        length: Duration::from_millis(random.u64(2000..6000)),
    });
    random.shuffle(&mut faults);
    let step = |fault| {
        let mut order: Vec<usize> = (0..slots).collect();
        random.shuffle(&mut order);
        Step {
            pause: Duration::from_millis(random.u64(PAUSES)),
            fault,
            order,
        }
    };
    faults.into_iter().map(step).collect()
}

#[cfg(test)]
mod tests;
