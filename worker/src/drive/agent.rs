//! The agent loop, acted out: intent committed, act, result committed, decide again.
//!
//! Owns one claimed run: its journal in memory, the calls in flight, and the order in which they are recorded. Decides
//! nothing that [`agent::next_action`] could decide. Start at [`Driver::run`].

mod attempt;
mod begin;
#[cfg(feature = "planted-faults")]
mod early;
mod outcome;
mod stop;
mod take_up;

use super::{Held, Shared, Version};
use crate::crash_point::crash_point;
use crate::lease::{DatabaseClock, Lease};
use crate::recorder::{Draft, Recorder, Written};
use crate::session::give_back_broken;
use crate::worker::chain;
use agent::next_action::{Action, WaitFor, next_action};
use agent::{Journal, Step, StepError};
use attempt::{Finished, InFlight};
use begin::Sent;
use chrono::{DateTime, TimeDelta, Utc};
use engine::transition::Control;
use engine::{Ending, EngineError, Park};
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, info_span, warn};

/// A wait longer than this parks the run and frees its place.
const MOMENT: TimeDelta = TimeDelta::seconds(2);

/// Whether the driver goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    GoOn,
    Done,
}

/// Drives one claimed run until it ends, parks, is given back or is lost.
pub(crate) async fn drive(shared: Arc<Shared>, held: Held) {
    let (claim, lease) = (held.claimed.claim, held.lease.clone());
    let span = info_span!("run", run.id = %claim.run, fence = %claim.fence);
    async {
        let driven = match Driver::take_up(Arc::clone(&shared), held).await {
            Ok(Some(driver)) => driver.run().await,
            Ok(None) => Ok(()),
            Err(broken) => Err(broken),
        };
        if let Err(broken) = driven {
            error!(error = %chain(&broken), "run {} cannot be driven, giving it back", claim.run);
            give_back_broken(&shared, &claim, &lease).await;
        }
        // It was parked, ended or given back.
        shared.announcer.tell([claim.run]);
    }
    .instrument(span)
    .await;
}

struct Driver {
    shared: Arc<Shared>,
    version: Arc<Version>,
    clock: DatabaseClock,
    lease: Lease,
    recorder: Recorder,
    /// What was last known of cancels, pauses and wake-ups.
    known: Control,
    told: watch::Receiver<Control>,
    drain: CancellationToken,
    room: CancellationToken,
    tenant: String,
    requester: String,
    journal: Journal,
    /// What each step sends: the same bytes in every attempt.
    sent: HashMap<u32, Sent>,
    in_flight: InFlight,
}

/// What a driver waits for.
enum Signal {
    Finished(Box<Finished>),
    /// Time has passed, or somebody wants something: look again.
    LookAgain,
}

impl Driver {
    async fn run(mut self) -> Result<(), EngineError> {
        loop {
            if let Some(stop) = self.stop() {
                return self.wind_down(stop).await;
            }
            let flow = match next_action(&self.version.agent, &self.journal, self.now()) {
                Action::Act(moves) => self.act(moves).await?,
                Action::Await { until } => self.wait(until).await?,
                Action::Wait { until } if until - self.now() <= MOMENT => self.wait(Some(until)).await?,
                Action::Wait { until } => self.park("timer", "retry", Some(until)).await?,
                Action::Park {
                    waiting_for: WaitFor::Approval,
                    reason,
                    until,
                } => self.park(WaitFor::Approval.as_str(), &reason, until).await?,
                Action::Finish { answer } => {
                    self.finish(Ending::Succeeded(json!({"answer": answer}).to_string()))
                        .await?
                }
                Action::Fail(error) => self.finish(Ending::Failed(json!(error).to_string())).await?,
            };
            if flow == Flow::Done {
                return Ok(());
            }
        }
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Waits for a result, an instant, or a word from outside.
    async fn wait(&mut self, until: Option<DateTime<Utc>>) -> Result<Flow, EngineError> {
        match self.signal(until).await {
            Signal::Finished(finished) => self.take_result(*finished).await,
            Signal::LookAgain => Ok(Flow::GoOn),
        }
    }

    async fn signal(&mut self, until: Option<DateTime<Utc>>) -> Signal {
        let pause = until.map(|until| (until - self.now()).to_std().unwrap_or(Duration::ZERO));
        tokio::select! {
            biased;
            () = self.lease.lost.cancelled() => Signal::LookAgain,
            Some(finished) = self.in_flight.next() => Signal::Finished(Box::new(finished)),
            Ok(()) = self.told.changed() => Signal::LookAgain,
            () = self.drain.cancelled() => Signal::LookAgain,
            () = self.room.cancelled() => Signal::LookAgain,
            () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => Signal::LookAgain,
        }
    }

    /// Writes, and takes the changed steps over into the journal once they are committed.
    async fn record(&mut self, draft: Draft, steps: Vec<Step>) -> Result<Written, EngineError> {
        let written = self.recorder.write(draft).await?;
        match &written {
            Written::Now(control) => {
                self.known = *control;
                self.keep(steps);
            }
            Written::Refused(control) => self.known = *control,
            Written::ClaimLost => self.claim_lost(),
        }
        Ok(written)
    }

    /// Takes steps as they are recorded over into the journal.
    fn keep(&mut self, steps: Vec<Step>) {
        for step in steps {
            match self.journal.steps.iter_mut().find(|known| known.seq == step.seq) {
                Some(known) => *known = step,
                None => self.journal.steps.push(step),
            }
        }
    }

    fn claim_lost(&self) {
        warn!(
            "the claim of run {} is lost, its work is dropped",
            self.recorder.claim.run
        );
    }

    async fn park(
        &mut self,
        waiting_for: &str,
        reason: &str,
        until: Option<DateTime<Utc>>,
    ) -> Result<Flow, EngineError> {
        let deadline = self.journal.deadline.filter(|deadline| *deadline > self.now());
        let park = Park {
            event_seq: self.recorder.event_seq,
            wakes: self.known.wakes,
            waiting_for,
            reason,
            until: until.into_iter().chain(deadline).min(),
        };
        let (engine, claim) = (self.shared.engine.clone(), self.recorder.claim);
        let parked = self.recorder.until_answered(|| engine.park_run(&claim, &park)).await?;
        if parked.is_some() {
            info!(waiting_for, reason, "run {} is parked", claim.run);
            crash_point!("run.parked");
            return Ok(Flow::Done);
        }
        self.look_again().await
    }

    async fn finish(&mut self, ending: Ending) -> Result<Flow, EngineError> {
        let (engine, claim, last) = (self.shared.engine.clone(), self.recorder.claim, self.recorder.event_seq);
        let ended = self
            .recorder
            .until_answered(|| engine.finish_run(&claim, last, &ending))
            .await?;
        if ended {
            let how = match &ending {
                Ending::Succeeded(_) => "succeeded",
                Ending::Failed(_) => "failed",
                Ending::Cancelled => "cancelled",
            };
            info!("run {} {how}", claim.run);
            return Ok(Flow::Done);
        }
        self.look_again().await
    }

    /// A transition found the run changed: woken, cancelled, or another's.
    async fn look_again(&mut self) -> Result<Flow, EngineError> {
        let (engine, claim) = (self.shared.engine.clone(), self.recorder.claim);
        match self.recorder.until_answered(|| engine.look(&claim)).await? {
            Some(look) => {
                self.known = look.control;
                Ok(Flow::GoOn)
            }
            None => Ok(Flow::Done),
        }
    }

    /// A run that its driver cannot read fails, so that a person sees it; it can be resumed once the cause is mended.
    async fn refuse(recorder: &Recorder, error: StepError) -> Result<(), EngineError> {
        warn!(
            code = error.code,
            "run {} cannot be driven: {}", recorder.claim.run, error.message
        );
        let ending = Ending::Failed(json!(error).to_string());
        let (engine, claim) = (recorder.engine.clone(), recorder.claim);
        recorder
            .until_answered(|| engine.finish_run(&claim, recorder.event_seq, &ending))
            .await
            .map(drop)
    }
}
