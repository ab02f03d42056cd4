//! Attempts of steps: intents first, then the functions, each in a task of its own, then what came of them.

use super::asked::unsigned;
use super::commit::{self, Finishing, Unrecorded};
use super::{Asked, Driver, Flow, Open, OpenStep, Phase, Stuck};
use crate::FunctionError;
use crate::crash_point::crash_point;
use crate::drive::later;
use crate::scribe::{Draft, Written};
use crate::workflow::{StepCall, StepFailed, Work};
use agent::effect::{Attempts, UnknownReason, verdict};
use agent::{Effect, ErrorClass, StepError, Verdict};
use chrono::{DateTime, TimeDelta, Utc};
use engine::retry::Schedule;
use engine::{EngineError, StepBegin, StepChange, limits, payload};
use futures_util::FutureExt;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{AbortHandle, Id, JoinSet};

/// What an attempt came to.
pub(super) type Outcome = Result<Done, Failure>;

/// JSON text of what an attempt gives.
pub(super) enum Done {
    Committed(String),
    /// Its writes count once its result is recorded.
    Uncommitted(String, Unrecorded),
}

/// Why an attempt failed.
pub(super) struct Failure {
    pub(super) error: StepError,
    /// Whether it is certain that nothing was done.
    pub(super) not_applied: bool,
    /// The least that is waited before another attempt.
    pub(super) retry_after: Option<Duration>,
}

/// An attempt that is over.
pub(super) struct Finished {
    pub(super) asked: u64,
    /// None: we cut it.
    pub(super) outcome: Option<Outcome>,
}

/// The steps that are out.
#[derive(Default)]
pub(super) struct InFlight {
    tasks: JoinSet<Outcome>,
    steps: HashMap<Id, (u64, Effect, AbortHandle)>,
}

impl InFlight {
    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The next one that is over. None: nothing is out. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Finished> {
        loop {
            let (id, outcome) = match self.tasks.join_next_with_id().await? {
                Ok((id, outcome)) => (id, Some(outcome)),
                Err(broken) if broken.is_cancelled() => (broken.id(), None),
                Err(broken) => (broken.id(), Some(Err(panicked()))),
            };
            if let Some((asked, _, _)) = self.steps.remove(&id) {
                return Some(Finished { asked, outcome });
            }
        }
    }

    /// One that is over already.
    pub(super) fn over(&mut self) -> Option<Finished> {
        if self.is_empty() {
            None
        } else {
            self.next().now_or_never().flatten()
        }
    }

    /// Cuts what may be repeated.
    pub(super) fn cut(&self) {
        for (_, effect, handle) in self.steps.values() {
            if *effect != Effect::AtMostOnce {
                handle.abort();
            }
        }
    }

    fn spawn(&mut self, asked: u64, effect: Effect, attempt: impl Future<Output = Outcome> + Send + 'static) {
        let handle = self.tasks.spawn(attempt);
        self.steps.insert(handle.id(), (asked, effect, handle));
    }
}

impl Driver {
    /// Whether something is to be recorded or started.
    pub(super) fn has_work(&self) -> bool {
        let is_ready = || !self.is_halted() && self.open.values().any(Open::is_ready);
        !self.draft.is_empty() || !self.finishing.is_empty() || is_ready()
    }

    /// Commits all results so far, and with them the intents of what is ready; then starts what is ready.
    pub(super) async fn work(&mut self) -> Result<Flow, EngineError> {
        if self.commit_all().await? == Flow::Done {
            return Ok(Flow::Done);
        }
        let results = std::mem::take(&mut self.draft);
        let ready: Vec<u64> = self
            .open
            .iter()
            .filter(|(_, open)| open.is_ready() && !self.is_halted())
            .map(|(asked, _)| *asked)
            .collect();
        let mut draft = results.clone();
        for asked in &ready {
            self.intend(*asked, &mut draft);
        }
        if !draft.is_empty() {
            let is_intent = draft.has_intent();
            crash_point!("task.recording");
            match self.hold.scribe.write(draft).await? {
                Written::Now(control) => self.hold.known = control,
                Written::ClaimLost => return Ok(self.hold.claim_lost()),
                Written::Refused(control) => {
                    self.hold.known = control;
                    debug_assert!(is_intent, "only intents are refused");
                    self.withdraw(&ready);
                    return self.record(results).await;
                }
            }
            if !results.is_empty() {
                crash_point!("task.recorded");
            }
            if is_intent {
                crash_point!("task.intent_committed");
            }
        }
        // What needs no intent was not refused, and is not to be begun either.
        if self.hold.known.cancel_requested || self.hold.known.paused {
            self.give_back(&ready);
            return Ok(Flow::GoOn);
        }
        self.is_replaying = false;
        for asked in ready {
            self.start(asked);
        }
        Ok(Flow::GoOn)
    }

    /// Records what is no intent.
    pub(super) async fn record(&mut self, draft: Draft) -> Result<Flow, EngineError> {
        if draft.is_empty() {
            return Ok(Flow::GoOn);
        }
        match self.hold.scribe.write(draft).await? {
            Written::Now(control) | Written::Refused(control) => {
                self.hold.known = control;
                Ok(Flow::GoOn)
            }
            Written::ClaimLost => Ok(self.hold.claim_lost()),
        }
    }

    /// The intent of the next attempt. What may be repeated needs none: its key follows from run and identity. A step
    /// that has a row already tells of every attempt.
    fn intend(&mut self, asked: u64, draft: &mut Draft) {
        let (next, number) = (self.next_seq, self.hold.run());
        let Some(Open {
            identity,
            name,
            seq,
            what: Asked::Step(step),
        }) = self.open.get_mut(&asked)
        else {
            return;
        };
        step.attempt += 1;
        let event = json!({"attempt": step.attempt});
        match seq {
            Some(seq) => {
                draft.change(StepChange {
                    fresh_budget: std::mem::take(&mut step.fresh_budget),
                    ..change(*seq, step, "running")
                });
                draft.event("step.started", unsigned(*seq), Some(event));
            }
            None if needs_intent(step.ask.effect) => {
                *seq = Some(next);
                self.next_seq += 1;
                let (identity, name) = (identity.clone(), name.clone());
                if let Some(begin) = self.begun(asked, (&identity, &name), "running") {
                    draft.begin(begin);
                    draft.event("step.started", unsigned(next), Some(event));
                }
            }
            None => tracing::trace!(run.id = %number, step = %identity, "a step without an intent"),
        }
    }

    /// The row of a step that has none yet.
    fn begun(&self, asked: u64, named: (&str, &str), state: &'static str) -> Option<StepBegin> {
        let open = self.open.get(&asked)?;
        let Asked::Step(step) = &open.what else {
            return None;
        };
        Some(StepBegin {
            state,
            kind: step.ask.kind,
            effect: step.ask.effect.as_str(),
            key: step.key.clone(),
            attempt: signed(step.attempt),
            attempts_max: signed(step.attempts_max),
            maybe_applied: step.maybe_applied,
            replaces_seq: step.replaces,
            ..self.row(open.seq?, named, &step.ask.input)
        })
    }

    /// Starts an attempt whose intent, if it needs one, is committed.
    fn start(&mut self, asked: u64) {
        let deadline = self
            .deadline
            .map(|deadline| (deadline - self.hold.now()).to_std().unwrap_or_default());
        let lease = self.hold.lease.clone();
        let Some(Open {
            what: Asked::Step(step),
            ..
        }) = self.open.get_mut(&asked)
        else {
            return;
        };
        step.phase = Phase::Out;
        step.began_at = self.hold.now();
        let call = StepCall {
            key: step.key.clone(),
            attempt: step.attempt,
        };
        #[cfg(feature = "planted-faults")]
        let call = StepCall {
            key: crate::planted_fault::key_sent(call.key, call.attempt),
            ..call
        };
        let own = step.ask.timeout;
        let timeout = deadline.map_or(own, |left| own.min(left));
        let work = step.ask.work.clone();
        let shared = Arc::clone(&self.hold.shared);
        self.has_children |= step.ask.kind == "child";
        self.in_flight.spawn(asked, step.ask.effect, async move {
            if !lease.is_live() {
                let over = "the worker's lease was over before the step was started";
                return Err(Failure {
                    error: StepError::new(ErrorClass::Transient, "lease_over", over),
                    not_applied: true,
                    retry_after: None,
                });
            }
            match work {
                Work::Call(attempt) => within(timeout, attempt(call)).await.map(Done::Committed),
                Work::Transaction(attempt) => commit::within(timeout, &shared, |tx| attempt(call, tx)).await,
            }
        });
    }

    /// What came of an attempt. It is recorded with whatever comes next.
    pub(super) fn take_finished(&mut self, finished: Finished) {
        let now = self.hold.now();
        let Some(mut open) = self.open.remove(&finished.asked) else {
            return;
        };
        let Asked::Step(step) = &mut open.what else {
            return;
        };
        match finished.outcome {
            None => {
                step.maybe_applied |= step.ask.effect.leaves_doubt();
                step.attempts_max = step.attempts_max.saturating_add(1);
                step.phase = Phase::Ready;
                // Whoever goes on with it knows that it was begun.
                self.conclude(&mut open, ("given_back", None, None), Some(now));
                self.open.insert(finished.asked, open);
            }
            Some(Ok(Done::Uncommitted(output, transaction))) => {
                self.open.insert(finished.asked, open);
                self.finishing.push(Finishing {
                    asked: finished.asked,
                    output,
                    transaction,
                });
            }
            Some(Ok(Done::Committed(output))) => {
                self.conclude(&mut open, ("succeeded", Some(output.clone()), None), None);
                if let Asked::Step(step) = open.what {
                    self.answers.drafted(move || drop(step.ask.answer.send(Ok(output))));
                }
            }
            Some(Err(failure)) => self.take_failure((finished.asked, open), failure, now),
        }
    }

    pub(super) fn take_failure(&mut self, (asked, mut open): (u64, Open), failure: Failure, now: DateTime<Utc>) {
        let Asked::Step(step) = &mut open.what else {
            return;
        };
        let Failure {
            error,
            not_applied,
            retry_after,
        } = failure;
        #[cfg(feature = "planted-faults")]
        let not_applied = crate::planted_fault::known_undone(not_applied);
        step.maybe_applied |= !not_applied;
        let retry = step.ask.retry;
        let schedule = Schedule {
            initial: retry.initial,
            cap: retry.cap,
        };
        let due_at = later(now, schedule.delay(step.attempt, retry_after));
        let horizon = TimeDelta::from_std(retry.horizon).unwrap_or(TimeDelta::MAX);
        let attempts = Attempts {
            attempt: step.attempt,
            attempts_max: step.attempts_max,
            maybe_applied: step.maybe_applied,
            horizon_passed: due_at - step.budget_from > horizon,
        };
        #[cfg(feature = "planted-faults")]
        let attempts = Attempts {
            attempt: crate::planted_fault::counted(attempts.attempt),
            ..attempts
        };
        // What a transaction wrote that its own function had ended may stand.
        let effect = match error.code.as_str() {
            "transaction_left" => Effect::AtMostOnce,
            _ => step.ask.effect,
        };
        match verdict(effect, error.class, not_applied, attempts) {
            Verdict::Retry => {
                step.phase = Phase::Waiting { due_at };
                self.conclude(&mut open, ("waiting", None, Some(&error)), Some(due_at));
                self.open.insert(asked, open);
            }
            Verdict::Failed => {
                self.conclude(&mut open, ("failed", None, Some(&error)), None);
                if let Asked::Step(step) = open.what {
                    self.answers
                        .drafted(move || drop(step.ask.answer.send(Err(StepFailed::new(error)))));
                }
            }
            Verdict::Unknown(reason) => {
                step.phase = Phase::Unknown;
                let over = later(step.began_at, step.ask.timeout);
                self.conclude(&mut open, ("unknown", None, Some(&error)), Some(over));
                self.doubt(reason, &open.identity);
                self.open.insert(asked, open);
            }
        }
    }

    /// The run waits for a person.
    pub(super) fn doubt(&mut self, reason: UnknownReason, identity: &str) {
        self.stuck.get_or_insert(Stuck {
            reason: reason.as_str(),
            is_whole: false,
            detail: json!({"step": identity}),
        });
    }

    /// Drafts what an attempt made of its step.
    pub(super) fn conclude(
        &mut self,
        open: &mut Open,
        (state, result, error): (&'static str, Option<String>, Option<&StepError>),
        due_at: Option<DateTime<Utc>>,
    ) {
        let Asked::Step(step) = &open.what else {
            return;
        };
        let error_text = error.map(|error| json!(error).to_string());
        let data = event_data(step, error, due_at);
        let (state, kind) = match state {
            "succeeded" => (state, "step.succeeded"),
            "waiting" => (state, "step.retry_scheduled"),
            "given_back" => ("waiting", "step.given_back"),
            "failed" => (state, "step.failed"),
            _ => (state, "step.unknown"),
        };
        let seq = if let Some(seq) = open.seq {
            self.draft.change(StepChange {
                due_at,
                result,
                error: error_text,
                evidence: Some("{}".to_owned()),
                ..change(seq, step, state)
            });
            seq
        } else {
            let seq = self.number();
            self.draft.begin(StepBegin {
                state,
                kind: step.ask.kind,
                effect: step.ask.effect.as_str(),
                key: step.key.clone(),
                attempt: signed(step.attempt),
                attempts_max: signed(step.attempts_max),
                maybe_applied: step.maybe_applied,
                due_at,
                replaces_seq: step.replaces,
                result,
                error: error_text,
                ..self.row(seq, (&open.identity, &open.name), &step.ask.input)
            });
            open.seq = Some(seq);
            seq
        };
        self.draft.event(kind, unsigned(seq), data);
    }

    /// Timers that are due ring, and retries that are due are ready; but not before all that was drafted is committed,
    /// since one write cannot change a step twice: of a failure and the next intent only one would be there.
    pub(super) fn ripen(&mut self) {
        if !self.draft.is_empty() {
            return;
        }
        let now = self.hold.now();
        let due: Vec<u64> = self
            .open
            .iter()
            .filter(|(_, open)| open.due_at().is_some_and(|due_at| due_at <= now))
            .map(|(asked, _)| *asked)
            .collect();
        for asked in due {
            let Some(mut open) = self.open.remove(&asked) else {
                continue;
            };
            match open.what {
                Asked::Timer { ask, .. } => {
                    if let Some(seq) = open.seq {
                        self.draft.change(rung(seq));
                        self.draft.event("step.succeeded", unsigned(seq), None);
                    }
                    self.answers.drafted(move || drop(ask.answer.send(Ok(()))));
                }
                Asked::Step(ref mut step) => {
                    step.phase = Phase::Ready;
                    self.open.insert(asked, open);
                }
                // Whether a signal or the time came first is decided by the database.
                Asked::Signal { .. } | Asked::Join(_) => {
                    self.open.insert(asked, open);
                }
            }
        }
    }
}

/// Whether the first attempt has a row of its own before it is made.
fn needs_intent(effect: Effect) -> bool {
    #[cfg(feature = "planted-faults")]
    if !crate::planted_fault::has_intent() {
        return false;
    }
    effect == Effect::AtMostOnce
}

impl Open {
    fn is_ready(&self) -> bool {
        matches!(&self.what, Asked::Step(step) if step.phase == Phase::Ready)
    }
}

/// Runs an attempt within its limits.
pub(super) async fn within(
    timeout: Duration,
    attempt: impl Future<Output = Result<String, FunctionError>>,
) -> Result<String, Failure> {
    match tokio::time::timeout(timeout, attempt).await {
        Ok(Ok(output)) if output.len() > limits::INPUT_BYTES_MAX => {
            let bytes = output.len();
            let message = format!(
                "the step's output has {bytes} bytes, the limit is {}",
                limits::INPUT_BYTES_MAX
            );
            Err(ambiguous(StepError::new(
                ErrorClass::Permanent,
                "result_too_large",
                message,
            )))
        }
        Ok(Ok(output)) if payload::depth(&output) > limits::DEPTH_MAX => {
            let message = format!("the step's output nests deeper than {} levels", limits::DEPTH_MAX);
            Err(ambiguous(StepError::new(
                ErrorClass::Permanent,
                "result_too_deep",
                message,
            )))
        }
        Ok(Ok(output)) => Ok(output),
        Ok(Err(error)) => Err(told(error)),
        Err(_) => {
            let message = format!("the step took longer than its limit of {} s", timeout.as_secs_f64());
            Err(ambiguous(StepError::new(ErrorClass::Timeout, "step_timeout", message)))
        }
    }
}

fn told(error: FunctionError) -> Failure {
    let (error, not_applied, retry_after) = error.into_step_error("step_failed");
    Failure {
        error,
        not_applied,
        retry_after,
    }
}

const fn ambiguous(error: StepError) -> Failure {
    Failure {
        error,
        not_applied: false,
        retry_after: None,
    }
}

fn panicked() -> Failure {
    let message = "the step panicked; its message is on the worker's standard error";
    ambiguous(StepError::new(ErrorClass::Permanent, "panicked", message))
}

/// A step's row as it is now, in another state.
pub(super) fn change(seq: i32, step: &OpenStep, state: &'static str) -> StepChange {
    StepChange {
        seq,
        state,
        attempt: signed(step.attempt),
        attempts_max: signed(step.attempts_max),
        maybe_applied: step.maybe_applied,
        due_at: None,
        result: None,
        error: None,
        fresh_budget: false,
        evidence: None,
    }
}

pub(super) fn rung(seq: i32) -> StepChange {
    StepChange {
        seq,
        state: "succeeded",
        attempt: 1,
        attempts_max: 1,
        maybe_applied: false,
        due_at: None,
        result: Some("null".to_owned()),
        error: None,
        fresh_budget: false,
        evidence: Some("{}".to_owned()),
    }
}

/// A success at the first attempt needs no more words than that.
fn event_data(step: &OpenStep, error: Option<&StepError>, due_at: Option<DateTime<Utc>>) -> Option<Value> {
    let mut data = json!({});
    if step.attempt > 1 || error.is_some() {
        data["attempt"] = json!(step.attempt);
    }
    if let Some(error) = error {
        data["code"] = json!(error.code);
    }
    if let Some(due_at) = due_at {
        data["due_at"] = json!(due_at);
    }
    data.as_object().is_some_and(|data| !data.is_empty()).then_some(data)
}

pub(super) fn signed(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
