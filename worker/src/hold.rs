//! What every driver has of the run that it holds: the right to write for it, what it is told of it, and the ways to let
//! go of it.

use crate::crash_point::crash_point;
use crate::drive::{Held, Shared};
use crate::lease::{DatabaseClock, Lease};
use crate::scribe::{Draft, Scribe, Written};
use chrono::{DateTime, Utc};
use engine::transition::Control;
use engine::{Claimed, Ending, EngineError, Park, Release, RunId};
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Whether a driver goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    GoOn,
    /// The run is out of hand.
    Done,
}

/// Why a driver stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The lease is over: nothing may be started, and what is recorded is somebody else's matter.
    Lost,
    /// The run is to end.
    Cancel,
    /// It is given back.
    GiveBack(Release),
}

/// What a run rests for.
#[derive(Debug)]
pub(crate) struct Rest<'a> {
    /// `timer`, `approval`, …
    pub(crate) waiting_for: &'a str,
    /// More exactly.
    pub(crate) reason: &'a str,
    /// When it wakes by itself.
    pub(crate) until: Option<DateTime<Utc>>,
    /// When its time is over.
    pub(crate) deadline: Option<DateTime<Utc>>,
    /// For people.
    pub(crate) detail: Option<serde_json::Value>,
}

/// A run in hand.
#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) shared: Arc<Shared>,
    pub(crate) scribe: Scribe,
    pub(crate) lease: Lease,
    clock: DatabaseClock,
    /// What was last known of cancels, pauses and wake-ups.
    pub(crate) known: Control,
    told: watch::Receiver<Control>,
    drain: CancellationToken,
    room: CancellationToken,
}

impl Hold {
    /// Of a run that was just claimed.
    pub(crate) fn of(shared: Arc<Shared>, held: Held) -> (Self, Claimed) {
        let Held {
            claimed,
            clock,
            lease,
            control,
            drain,
            room,
            suspicion,
        } = held;
        let known = *control.borrow();
        let hold = Self {
            scribe: Scribe::new(&shared, &claimed, (suspicion, &lease)),
            shared,
            lease,
            clock,
            known,
            told: control,
            drain,
            room,
        };
        (hold, claimed)
    }

    pub(crate) fn run(&self) -> RunId {
        self.scribe.claim.run
    }

    /// The database's time.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        #[cfg(feature = "planted-faults")]
        return self.clock.now() + crate::planted_fault::clock_error();
        #[cfg(not(feature = "planted-faults"))]
        self.clock.now()
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.known.cancel_requested || self.told.borrow().cancel_requested
    }

    /// The count of wake-ups, as far as it is known here.
    pub(crate) fn wakes(&self) -> i64 {
        self.known.wakes.max(self.told.borrow().wakes)
    }

    pub(crate) fn stop(&self) -> Option<Stop> {
        if self.lease.lost.is_cancelled() {
            Some(Stop::Lost)
        } else if self.is_cancelled() {
            Some(Stop::Cancel)
        } else if self.known.paused || self.told.borrow().paused {
            Some(Stop::GiveBack(Release::Paused))
        } else if self.drain.is_cancelled() {
            Some(Stop::GiveBack(Release::Shutdown))
        } else if self.room.is_cancelled() {
            Some(Stop::GiveBack(Release::Room))
        } else {
            None
        }
    }

    /// Until somebody wants something of the run, or its lease is over. Cancel-safe.
    pub(crate) async fn word(&mut self) {
        tokio::select! {
            biased;
            () = self.lease.lost.cancelled() => {}
            Ok(()) = self.told.changed() => {}
            () = self.drain.cancelled() => {}
            () = self.room.cancelled() => {}
        }
    }

    /// Parks the run.
    pub(crate) async fn park(&mut self, rest: Rest<'_>) -> Result<Flow, EngineError> {
        #[cfg(feature = "planted-faults")]
        crate::planted_fault::linger().await;
        let deadline = rest.deadline.filter(|deadline| *deadline > self.now());
        let park = Park {
            event_seq: self.scribe.event_seq,
            wakes: self.known.wakes,
            waiting_for: rest.waiting_for,
            reason: rest.reason,
            until: rest.until.into_iter().chain(deadline).min(),
            detail: rest.detail,
        };
        let written = self.scribe.park(&park).await?;
        if matches!(written, Written::Now(_)) {
            info!(park.waiting_for, park.reason, "run {} is parked", self.run());
            crash_point!("run.parked");
        }
        Ok(self.rested(&written))
    }

    /// Writes and ends the run, both or neither.
    pub(crate) async fn finish(&mut self, draft: Draft, ending: Ending) -> Result<Flow, EngineError> {
        let how = ending.state();
        let written = self.scribe.finish_with(draft, ending).await?;
        if matches!(written, Written::Now(_)) {
            info!("run {} {how}", self.run());
        }
        Ok(self.rested(&written))
    }

    /// It is not out of hand where a transition found it changed: woken or cancelled.
    fn rested(&mut self, written: &Written) -> Flow {
        match written {
            Written::Now(_) => Flow::Done,
            Written::ClaimLost => self.claim_lost(),
            Written::Refused(control) => {
                self.known = *control;
                Flow::GoOn
            }
        }
    }

    /// Gives the run back.
    pub(crate) async fn release(&mut self, why: Release) -> Result<(), EngineError> {
        crash_point!("run.releasing");
        let (engine, claim, last) = (&self.shared.engine, self.scribe.claim, self.scribe.event_seq);
        let released = self
            .scribe
            .until_answered(|| engine.release_run(&claim, last, why))
            .await?;
        if released {
            info!("run {} is given back", claim.run);
        }
        Ok(())
    }

    pub(crate) fn claim_lost(&self) -> Flow {
        warn!("the claim of run {} is lost, its work is dropped", self.run());
        Flow::Done
    }
}
