//! How far back a look for due runs goes.
//!
//! An index keeps an entry of a run that was claimed until no snapshot is as old as that: a reader that stays open for an
//! hour leaves an hour's entries before those of the runs that are due, and a look at all of them passes all of those.
//! So most looks begin where the last one had come to. What such a look cannot see (a run whose transaction took long to
//! commit, a run of a priority that nobody had yet, a lock that somebody has let go) the next look at everything finds.

use crate::Claimed;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeMap;
use uuid::Uuid;

/// What is due is visible so long after its instant at the latest, but for transactions that take longer.
const MARGIN: TimeDelta = TimeDelta::milliseconds(100);
/// Priorities that are looked at one by one.
const LANES_MAX: usize = 16;

static EVERYTHING: Reach = Reach {
    lanes: BTreeMap::new(),
    timers: None,
};

/// Where a look for due runs begins. The default one is [`Reach::everything`].
#[derive(Debug, Clone, Default)]
pub struct Reach {
    /// By priority: when the first run of a look is due at the earliest, and its id.
    lanes: BTreeMap<i16, (DateTime<Utc>, Uuid)>,
    /// When the first timer of a look is due at the earliest.
    timers: Option<DateTime<Utc>>,
}

/// A reach, as the statements take it: side by side, a lane in each place.
pub(crate) struct Lanes {
    pub(crate) first: Vec<i16>,
    pub(crate) last: Vec<i16>,
    pub(crate) due: Vec<DateTime<Utc>>,
    pub(crate) id: Vec<Uuid>,
}

impl Reach {
    /// Leaves nothing out.
    pub fn everything() -> &'static Self {
        &EVERYTHING
    }

    /// After a claim that took all that it wanted: what is behind the last ones is done.
    pub fn claimed(&mut self, claimed: &[Claimed]) {
        for run in claimed {
            let place = (run.due, run.claim.run.0);
            let lane = self.lanes.entry(run.priority).or_insert(place);
            *lane = place.max(*lane);
        }
        if self.lanes.len() > LANES_MAX {
            self.lanes.clear();
        }
    }

    /// At this instant of the database's clock nothing was due any more that could be claimed.
    pub fn drained(&mut self, now: DateTime<Utc>) {
        for lane in self.lanes.values_mut() {
            *lane = (now - MARGIN, Uuid::nil());
        }
    }

    /// At this instant of the database's clock no timer was left to ring.
    pub fn rung(&mut self, now: DateTime<Utc>) {
        self.timers = Some(now - MARGIN);
    }

    pub(crate) const fn timers(&self) -> Option<DateTime<Utc>> {
        self.timers
    }

    /// One lane with everything in it, where there is no other.
    pub(crate) fn lanes(&self) -> Lanes {
        if self.lanes.is_empty() {
            return Lanes {
                first: vec![i16::MIN],
                last: vec![i16::MAX],
                due: vec![DateTime::UNIX_EPOCH],
                id: vec![Uuid::nil()],
            };
        }
        let priorities: Vec<i16> = self.lanes.keys().copied().collect();
        let (due, id) = self.lanes.values().copied().unzip();
        Lanes {
            first: priorities.clone(),
            last: priorities,
            due,
            id,
        }
    }
}
