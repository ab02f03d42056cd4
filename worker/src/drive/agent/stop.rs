//! Stopping in good order: at a cancel, a pause, a shutdown, and when the lease is over.

use super::Driver;
use super::attempt::Repeat;
use super::begin::change;
use super::outcome::effect;
use crate::hold::{Flow, Stop};
use crate::scribe::{Draft, Written};
use agent::{Effect, Step, StepState};
use engine::{Ending, EngineError, Release};
use serde_json::json;

impl Driver {
    pub(super) async fn wind_down(mut self, stop: Stop) -> Result<(), EngineError> {
        match stop {
            Stop::Lost => self.let_go().await,
            Stop::Cancel => self.cancel().await,
            Stop::GiveBack(why) => self.give_back(why).await,
        }
    }

    /// Cuts what may be repeated. A call that may not be is left to finish, and its result is offered under the old
    /// fence: whoever holds the run by then has the last word.
    async fn let_go(&mut self) -> Result<(), EngineError> {
        self.in_flight.cut(|repeat| repeat != Repeat::OnceOnly);
        while let Some(finished) = self.in_flight.next().await {
            let once_only = self
                .step(finished.seq)
                .is_some_and(|step| effect(step) == Effect::AtMostOnce);
            if once_only {
                // Each is offered: those that come too late are kept as evidence.
                self.take_result(finished).await?;
            }
        }
        Ok(())
    }

    /// Model streams are cut; results of calls already sent are still recorded; then the run ends.
    async fn cancel(&mut self) -> Result<(), EngineError> {
        self.in_flight.cut(|repeat| repeat == Repeat::Model);
        if self.collect(None).await? == Flow::Done {
            return Ok(());
        }
        if self.end_open_steps().await? == Flow::Done {
            return Ok(());
        }
        self.finish(Ending::Cancelled).await.map(drop)
    }

    /// Finishes what is in hand, or gives it back: at a shutdown, or to make room, within the grace, at a pause within the calls' own limits.
    async fn give_back(&mut self, why: Release) -> Result<(), EngineError> {
        let grace = match why {
            Release::Shutdown | Release::Room | Release::Woken | Release::Unheard => Some(self.hold.shared.drain_grace),
            Release::Paused | Release::DriverBroke => None,
        };
        if self.collect(grace).await? == Flow::Done {
            return Ok(());
        }
        if self.hold.is_cancelled() {
            return self.cancel_after_all().await;
        }
        self.hold.release(why).await
    }

    async fn cancel_after_all(&mut self) -> Result<(), EngineError> {
        if self.end_open_steps().await? == Flow::Done {
            return Ok(());
        }
        self.finish(Ending::Cancelled).await.map(drop)
    }

    /// Records the results of what is out until nothing is. After the grace, what may be repeated is cut.
    async fn collect(&mut self, grace: Option<std::time::Duration>) -> Result<Flow, EngineError> {
        let patience = tokio::time::sleep(grace.unwrap_or_default());
        tokio::pin!(patience);
        let mut impatient = grace.is_some();
        while !self.in_flight.is_empty() {
            let finished = tokio::select! {
                biased;
                () = self.hold.lease.lost.cancelled() => {
                    self.let_go().await?;
                    return Ok(Flow::Done);
                }
                Some(finished) = self.in_flight.next() => finished,
                () = &mut patience, if impatient => {
                    impatient = false;
                    self.in_flight.cut(|repeat| repeat != Repeat::OnceOnly);
                    continue;
                }
            };
            if self.take_result(finished).await? == Flow::Done {
                return Ok(Flow::Done);
            }
        }
        Ok(Flow::GoOn)
    }

    /// Ends what waits or was interrupted.
    async fn end_open_steps(&mut self) -> Result<Flow, EngineError> {
        let mut draft = Draft::default();
        let mut steps = Vec::new();
        for step in &self.journal.steps {
            let interrupted = step.state == StepState::Interrupted;
            if !interrupted && step.state != StepState::Waiting {
                continue;
            }
            let mut step = step.clone();
            step.maybe_applied |= interrupted;
            let event = end_cancelled(&mut step);
            draft.change(change(&step, None));
            draft.event(event, step.seq, Some(json!({"why": "cancel"})));
            steps.push(step);
        }
        if steps.is_empty() {
            return Ok(Flow::GoOn);
        }
        Ok(match self.record(draft, steps).await? {
            Written::Now(_) | Written::Refused(_) => Flow::GoOn,
            Written::ClaimLost => Flow::Done,
        })
    }
}

/// The end of a step on a cancelled run, and its event. A call that went out and was not answered keeps its honest end:
/// unknown, unless repeating it changes nothing.
pub(super) fn end_cancelled(step: &mut Step) -> &'static str {
    step.due_at = None;
    if step.maybe_applied && effect(step).leaves_doubt() {
        step.state = StepState::Unknown;
        "step.unknown"
    } else {
        step.state = StepState::Cancelled;
        "step.cancelled"
    }
}
