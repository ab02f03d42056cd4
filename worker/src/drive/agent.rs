//! The agent loop, acted out: intent committed, act, result committed, decide again.
//!
//! Owns one claimed run: its journal in memory, the calls in flight, and the order in which they are recorded. Decides
//! nothing that [`agent::next_action`] could decide. Start at [`Driver::run`].

mod admission;
mod attempt;
mod begin;
mod cache;
mod doubt;
#[cfg(feature = "planted-faults")]
mod early;
mod fallback;
mod outcome;
mod stop;
mod take_up;
mod transaction;
mod wanted;

use super::{Held, MOMENT, Shared, Version};
use crate::gates::Admitted;
use crate::hold::{Flow, Hold, Rest};
use crate::scribe::{Draft, Scribe, Written};
use agent::next_action::{Action, WaitFor, next_action};
use agent::{Bound, Journal, Step, StepError};
use attempt::{Finished, InFlight};
use begin::Sent;
use chrono::{DateTime, Utc};
use engine::{Ending, EngineError, Fence};
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tracing::warn;

pub(super) async fn drive(shared: Arc<Shared>, held: Held) -> Result<(), EngineError> {
    match Driver::take_up(shared, held).await? {
        Some(driver) => driver.run().await,
        None => Ok(()),
    }
}

struct Driver {
    hold: Hold,
    version: Arc<Version>,
    tenant: String,
    requester: String,
    journal: Journal,
    /// Who set the deadline of the run.
    deadline_bound: Bound,
    /// What is recorded under this one or an earlier one came before the last resume.
    resumed_fence: Fence,
    /// The count of wake-ups at which people's decisions were last read.
    asked_at: i64,
    /// What each step sends: the same bytes in every attempt.
    sent: HashMap<u32, Sent>,
    in_flight: InFlight,
    /// Calls that were let out, until their results are recorded.
    admitted: HashMap<u32, Admitted>,
    /// The count of wake-ups at which gates were last asked.
    gates_asked_at: i64,
    /// A place among the worker's own calls that was waited for, until a call takes it: whoever lets go of it hands it to
    /// the next in line.
    room: Mutex<Option<OwnedSemaphorePermit>>,
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
            if let Some(stop) = self.hold.stop() {
                return self.wind_down(stop).await;
            }
            self.take_up_decisions().await?;
            self.look_at_gates();
            let flow = match self.decide() {
                Action::Act(moves) => self.act(moves).await?,
                Action::Await { until } => self.wait(until).await?,
                Action::Wait { until } if until - self.hold.now() <= MOMENT => self.wait(Some(until)).await?,
                Action::Wait { until } => self.park("timer", "retry", Some(until)).await?,
                Action::Park {
                    waiting_for: WaitFor::Probe | WaitFor::Limit,
                    until: Some(until),
                    ..
                } if until - self.hold.now() <= MOMENT => self.wait(Some(until)).await?,
                Action::Park {
                    waiting_for,
                    reason,
                    until,
                } => self.park(waiting_for.as_str(), &reason, until).await?,
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

    fn decide(&self) -> Action {
        let journal = &self.journal;
        #[cfg(feature = "planted-faults")]
        let journal = &crate::planted_fault::seen(journal);
        next_action(&self.version.agent, journal, self.hold.now())
    }

    /// Waits for a result, an instant, or a word from outside.
    async fn wait(&mut self, until: Option<DateTime<Utc>>) -> Result<Flow, EngineError> {
        match self.signal(until).await {
            Signal::Finished(finished) => self.take_result(*finished).await,
            Signal::LookAgain => Ok(Flow::GoOn),
        }
    }

    async fn signal(&mut self, until: Option<DateTime<Utc>>) -> Signal {
        let pause = until.map(|until| (until - self.hold.now()).to_std().unwrap_or(Duration::ZERO));
        let (room, waits_for_room) = (Arc::clone(&self.hold.shared.gates.room), self.waits_for_room());
        self.room = Mutex::default();
        tokio::select! {
            biased;
            Some(finished) = self.in_flight.next() => Signal::Finished(Box::new(finished)),
            () = self.hold.word() => Signal::LookAgain,
            place = room.acquire_owned(), if waits_for_room => {
                self.room = Mutex::new(place.ok());
                Signal::LookAgain
            }
            () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => Signal::LookAgain,
        }
    }

    /// Writes, and takes the changed steps over into the journal once they are committed.
    async fn record(&mut self, draft: Draft, steps: Vec<Step>) -> Result<Written, EngineError> {
        let written = self.hold.scribe.write(draft).await?;
        match &written {
            Written::Now(control) => {
                self.hold.known = *control;
                self.keep(steps);
            }
            Written::Refused(control) => self.hold.known = *control,
            Written::ClaimLost => {
                self.hold.claim_lost();
            }
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

    async fn park(
        &mut self,
        waiting_for: &str,
        reason: &str,
        until: Option<DateTime<Utc>>,
    ) -> Result<Flow, EngineError> {
        let rest = Rest {
            waiting_for,
            reason,
            until,
            deadline: self.journal.deadline,
            detail: None,
        };
        self.hold.park(rest).await
    }

    async fn finish(&mut self, ending: Ending) -> Result<Flow, EngineError> {
        self.hold.finish(Draft::default(), ending).await
    }

    /// A run that its driver cannot read fails, so that a person sees it; it can be resumed once the cause is mended.
    async fn refuse(scribe: &mut Scribe, error: StepError) -> Result<(), EngineError> {
        warn!(
            code = error.code,
            "run {} cannot be driven: {}", scribe.claim.run, error.message
        );
        let failed = Ending::Failed(json!(error).to_string());
        if let Written::Refused(_) = scribe.finish(failed).await? {
            // A cancel came first.
            scribe.finish(Ending::Cancelled).await?;
        }
        Ok(())
    }
}
