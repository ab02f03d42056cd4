//! Stopping in good order: at a cancel, a pause, a shutdown, the run's deadline, and when the lease is over.

use super::asked::unsigned;
use super::attempt::change;
use super::{Asked, Driver, Phase};
use crate::hold::{Flow, Stop};
use crate::scribe::Draft;
use agent::effect::UnknownReason;
use agent::{Effect, ErrorClass, StepError};
use engine::{Ending, EngineError, Release, StepChange};
use serde_json::json;
use std::time::Duration;

/// Why a workflow stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The lease is over.
    Lost,
    /// The run is to end.
    Cancel,
    /// The run's time is over.
    Deadline,
    /// It is given back.
    GiveBack(Release),
}

impl Driver {
    pub(super) fn stop(&self) -> Option<Why> {
        let is_over = self.deadline.is_some_and(|deadline| deadline <= self.hold.now());
        match self.hold.stop() {
            Some(Stop::Lost) => Some(Why::Lost),
            Some(Stop::Cancel) => Some(Why::Cancel),
            Some(Stop::GiveBack(_)) | None if is_over => Some(Why::Deadline),
            Some(Stop::GiveBack(release)) => Some(Why::GiveBack(release)),
            None => None,
        }
    }

    /// The workflow's own future is gone; what it started is not.
    pub(super) async fn wind_down(mut self, stop: Why) -> Result<(), EngineError> {
        let grace = match stop {
            Why::Lost => {
                self.in_flight.cut();
                None
            }
            Why::GiveBack(Release::Shutdown | Release::Room | Release::Woken | Release::Unheard) => {
                Some(self.hold.shared.drain_grace)
            }
            Why::GiveBack(Release::Paused | Release::DriverBroke) | Why::Cancel | Why::Deadline => None,
        };
        if self.collect(stop, grace).await? == Flow::Done {
            return Ok(());
        }
        let mut draft = std::mem::take(&mut self.draft);
        if self.is_replaying && matches!(stop, Why::GiveBack(_)) {
            // All of it follows from the journal. A result would wipe out the crash on record, and with it the doubt about
            // what the workflow has not asked for again.
            draft = Draft::default();
        }
        if self.record(draft).await? == Flow::Done || stop == Why::Lost {
            return Ok(());
        }
        let why = if self.hold.known.cancel_requested {
            Why::Cancel
        } else {
            stop
        };
        match why {
            Why::Cancel => {
                self.end_open("cancel");
                self.finish(Ending::Cancelled).await
            }
            Why::Deadline => match self.end_open("deadline") {
                // A call that may have happened is a person's matter before it is the deadline's.
                Some(doubt) => self.put_before_a_person(doubt).await,
                None => {
                    let message = "the run's time was over before its workflow was";
                    let error = StepError::new(ErrorClass::Timeout, "deadline_exceeded", message);
                    self.finish(Ending::Failed(json!(error).to_string())).await
                }
            },
            Why::GiveBack(release) => self.hold.release(release).await,
            Why::Lost => Ok(()),
        }
    }

    async fn put_before_a_person(mut self, doubt: UnknownReason) -> Result<(), EngineError> {
        let draft = std::mem::take(&mut self.draft);
        if self.record(draft).await? == Flow::Done {
            return Ok(());
        }
        let may_be_decided = self.hold.wakes() > self.decided_at;
        if !may_be_decided && self.park(("approval", doubt.as_str(), None)).await? == Flow::Done {
            return Ok(());
        }
        self.hold.release(Release::Woken).await
    }

    /// The workflow has ended, and something keeps its run from ending with it: a doubt, or a cancel.
    pub(super) async fn settle_then_stop(mut self) -> Result<(), EngineError> {
        let draft = std::mem::take(&mut self.draft);
        if self.record(draft).await? == Flow::Done {
            return Ok(());
        }
        loop {
            if let Some(stop) = self.stop() {
                return self.wind_down(stop).await;
            }
            let Some(stuck) = self.stuck.as_ref().filter(|_| !self.may_be_decided()) else {
                return self.hold.release(Release::Woken).await;
            };
            if self.park(("approval", stuck.reason, None)).await? == Flow::Done {
                return Ok(());
            }
        }
    }

    /// Transactions whose functions are done end at once, since others may wait for their locks.
    async fn end_transactions(&mut self, stop: Why) -> Result<Flow, EngineError> {
        match stop {
            Why::Lost | Why::Cancel => {
                self.finishing.clear();
                Ok(Flow::GoOn)
            }
            // Nothing is to be started any more, but this is only to be committed.
            Why::Deadline | Why::GiveBack(_) => self.commit_all().await,
        }
    }

    /// Waits for what is out; after the grace, what may be repeated is cut.
    async fn collect(&mut self, stop: Why, grace: Option<Duration>) -> Result<Flow, EngineError> {
        if self.end_transactions(stop).await? == Flow::Done {
            return Ok(Flow::Done);
        }
        let patience = tokio::time::sleep(grace.unwrap_or_default());
        tokio::pin!(patience);
        let mut impatient = grace.is_some();
        while !self.in_flight.is_empty() {
            let finished = tokio::select! {
                biased;
                finished = self.in_flight.next() => finished,
                () = self.hold.lease.lost.cancelled(), if !impatient || grace.is_none() => {
                    self.in_flight.cut();
                    self.in_flight.next().await
                }
                () = &mut patience, if impatient => {
                    impatient = false;
                    self.in_flight.cut();
                    continue;
                }
            };
            if let Some(finished) = finished {
                self.take_finished(finished);
            }
            if self.end_transactions(stop).await? == Flow::Done {
                return Ok(Flow::Done);
            }
        }
        Ok(Flow::GoOn)
    }

    async fn finish(mut self, ending: Ending) -> Result<(), EngineError> {
        // A dead holder may have started some, and left no trace of it in this journal.
        if self.end_children(ending.state()).await? == Flow::Done {
            return Ok(());
        }
        let draft = std::mem::take(&mut self.draft);
        match self.hold.finish(draft, ending).await? {
            Flow::Done => Ok(()),
            // A cancel came first: whoever takes the run up ends it.
            Flow::GoOn => self.hold.release(Release::Woken).await,
        }
    }

    /// What has a row and no end gets one: unknown where it may have happened. Why a person must look, if there is such
    /// a one; what may never be repeated comes first.
    pub(super) fn end_open(&mut self, why: &str) -> Option<UnknownReason> {
        let mut doubts = Vec::new();
        for open in std::mem::take(&mut self.open).into_values() {
            let Some(seq) = open.seq else { continue };
            let (changed, doubtful) = match &open.what {
                Asked::Timer { .. } | Asked::Signal { .. } | Asked::Join(_) => (cancelled(seq), false),
                Asked::Step(step) => {
                    let doubtful = step.maybe_applied && step.ask.effect.leaves_doubt();
                    if doubtful || step.phase == Phase::Unknown {
                        doubts.push(step.ask.effect == Effect::AtMostOnce);
                    }
                    if step.phase == Phase::Unknown {
                        self.draft.ask(unsigned(seq));
                        continue;
                    }
                    (change(seq, step, ended(doubtful)), doubtful)
                }
            };
            self.end_step(changed, (doubtful, why));
        }
        // What the workflow had no time to ask for again.
        for row in std::mem::take(&mut self.recorded).into_values() {
            let was_out = row.state == "running";
            let once_only = row.effect == Effect::AtMostOnce.as_str();
            if row.state == "unknown" {
                self.draft.ask(unsigned(row.seq));
                doubts.push(once_only);
            }
            if !was_out && row.state != "waiting" {
                continue;
            }
            let leaves_doubt = Effect::parse(&row.effect).is_none_or(Effect::leaves_doubt);
            let doubtful = (was_out || row.maybe_applied) && row.kind == "task" && leaves_doubt;
            let changed = StepChange {
                state: ended(doubtful),
                attempt: row.attempt,
                attempts_max: row.attempts_max,
                maybe_applied: doubtful,
                ..cancelled(row.seq)
            };
            self.end_step(changed, (doubtful, why));
            if doubtful {
                doubts.push(once_only);
            }
        }
        let reason = |once_only| match once_only {
            true => UnknownReason::UnknownOutcome,
            false => UnknownReason::RetriesExhausted,
        };
        doubts.into_iter().max().map(reason)
    }

    fn end_step(&mut self, changed: StepChange, (doubtful, why): (bool, &str)) {
        let event = if doubtful { "step.unknown" } else { "step.cancelled" };
        self.draft
            .event(event, unsigned(changed.seq), Some(json!({"why": why})));
        self.draft.change(changed);
    }
}

/// The state of a step that nobody goes on with.
const fn ended(doubtful: bool) -> &'static str {
    if doubtful { "unknown" } else { "cancelled" }
}

pub(super) fn cancelled(seq: i32) -> StepChange {
    StepChange {
        seq,
        state: "cancelled",
        attempt: 1,
        attempts_max: 1,
        maybe_applied: false,
        due_at: None,
        result: None,
        error: None,
        fresh_budget: false,
        evidence: None,
    }
}
