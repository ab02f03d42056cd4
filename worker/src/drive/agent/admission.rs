//! Asks the gates before calls go out, and tells them what became of those that did.
//!
//! What may not go out yet is recorded as waiting in the place of its intent, in the same statement as its siblings'
//! intents. What [`Driver::admit`] lets out holds its slot, or a breaker's trial, until [`Driver::report`].

use super::Driver;
use super::attempt::{Going, Report};
use super::begin::{Moves, change};
use super::outcome::effect;
use crate::gates::{Admitted, Pass};
use crate::hold::Flow;
use agent::definition::Tool;
use agent::effect::UnknownReason;
use agent::gate::{Breaker, Mark, breaker_open};
use agent::{AttemptOutcome, ErrorClass, Gate, HeldBack, Step, StepBody, StepError, StepState};
use chrono::{DateTime, SecondsFormat, Utc};
use engine::{Admission, AdmitCall, CallReport, EngineError};
use serde_json::{Value, json};
use std::sync::{Arc, PoisonError};
use tokio::time::Instant;

/// Why a call is not sent now.
#[derive(Debug)]
pub(super) enum Kept {
    /// It cannot be told which limit it falls under.
    Refused(StepError),
    /// The breaker is open until then.
    Open(DateTime<Utc>),
    /// The rate is used up until then.
    Rate(DateTime<Utc>),
    /// Until it is called.
    By(Gate),
}

/// What a call's target asks of it.
struct Terms {
    scope: String,
    breaker: Breaker,
    limit: Option<Limit>,
}

/// The limit that a call falls under.
struct Limit {
    key: String,
    concurrency: Option<u32>,
    rate: Option<agent::gate::Rate>,
}

impl Driver {
    /// Lets out what may go out now, and records the rest as waiting, or as failed.
    pub(super) async fn admit(&mut self, making: &mut Moves) -> Result<Flow, EngineError> {
        let mut kept: Vec<(u32, Kept)> = Vec::new();
        let mut asked: Vec<(AdmitCall, Admitted)> = Vec::new();
        for going in &making.going {
            match self.approach(making, going) {
                Ok((Some(call), admitted)) => asked.push((call, admitted)),
                Ok((None, admitted)) => {
                    self.admitted.insert(going.seq(), admitted);
                }
                Err(reason) => kept.push((going.seq(), reason)),
            }
        }
        if !asked.is_empty() {
            let (calls, mut waiting): (Vec<AdmitCall>, Vec<Admitted>) = asked.into_iter().unzip();
            self.gates_asked_at = self.hold.wakes();
            let asked_at = Instant::now();
            let (engine, claim) = (self.hold.shared.engine.clone(), self.hold.scribe.claim);
            let answers = self
                .hold
                .scribe
                .until_answered(|| engine.admit_calls(&claim, &calls))
                .await?;
            let Some(answers) = answers else {
                return Ok(self.hold.claim_lost());
            };
            for (call, admitted) in calls.iter().zip(waiting.drain(..)) {
                let answer = answers.iter().find(|answer| answer.step_seq == call.step_seq);
                let Some(answer) = answer else { continue };
                let seq = u32::try_from(call.step_seq).unwrap_or_default();
                match self.judge(answer, admitted, asked_at) {
                    Ok(admitted) => {
                        self.let_out(making, (seq, call), answer);
                        self.admitted.insert(seq, admitted);
                    }
                    Err(reason) => kept.push((seq, reason)),
                }
            }
        }
        making
            .going
            .retain(|going| !kept.iter().any(|(seq, _)| *seq == going.seq()));
        for (seq, reason) in kept {
            self.keep_back(making, seq, reason);
        }
        Ok(Flow::GoOn)
    }

    /// What is to be asked about a call; nothing, where its breaker was closed a moment ago and nothing else bounds it.
    fn approach(&self, making: &Moves, going: &Going) -> Result<(Option<AdmitCall>, Admitted), Kept> {
        let seq = going.seq();
        let gates = &self.hold.shared.gates;
        let permit = match going {
            Going::Model { .. } => None,
            Going::Tool { .. } => {
                let waited_for = self.room.lock().unwrap_or_else(PoisonError::into_inner).take();
                let permit = waited_for.or_else(|| Arc::clone(&gates.room).try_acquire_owned().ok());
                Some(permit.ok_or(Kept::By(Gate::Worker))?)
            }
        };
        let step = making.steps.iter().rfind(|step| step.seq == seq);
        let terms = self.terms(making, going, step).map_err(Kept::Refused)?;
        let known = gates.closed(&self.tenant, &terms.scope);
        let limit = terms.limit.as_ref();
        let is_bounded = limit.is_some() || (terms.breaker.enabled && known.is_none());
        let call = is_bounded.then(|| AdmitCall {
            step_seq: stored(seq),
            scope: terms.scope.clone(),
            failures_max: terms.breaker.enabled.then(|| stored(terms.breaker.failures)),
            waits: step.is_none_or(|step| !is_told(step)),
            key: limit.map_or_else(String::new, |limit| limit.key.clone()),
            concurrency: limit.and_then(|limit| limit.concurrency).map(stored),
            rate_calls: limit.and_then(|limit| limit.rate).map(|rate| stored(rate.calls)),
            rate_seconds: limit.and_then(|limit| limit.rate).map(|rate| stored(rate.per_seconds)),
        });
        let slot = limit.filter(|limit| limit.concurrency.is_some());
        let admitted = Admitted {
            breaker: known
                .filter(|_| terms.breaker.enabled)
                .map(|pass| (terms.breaker, pass))
                .or_else(|| terms.breaker.enabled.then_some((terms.breaker, Pass::default()))),
            slot: slot.map(|limit| limit.key.clone()),
            scope: terms.scope,
            permit,
        };
        Ok((call, admitted))
    }

    /// What a call's target asks of it.
    fn terms(&self, making: &Moves, going: &Going, step: Option<&Step>) -> Result<Terms, StepError> {
        let Going::Tool { tool, .. } = going else {
            return Ok(Terms {
                scope: format!("model:{}", self.hold.shared.models.authority()),
                breaker: self.version.agent.model.breaker,
                limit: None,
            });
        };
        let agent = &self.version.agent;
        let scope = format!("tool:{}.{tool}", agent.name);
        let Some(tool) = agent.tool(tool) else {
            return Ok(Terms {
                scope,
                breaker: Breaker::default(),
                limit: None,
            });
        };
        let limit = match &tool.limit {
            None => None,
            Some(limit) => Some(Limit {
                key: self.limit_key(making, tool, step)?,
                concurrency: limit.concurrency,
                rate: limit.rate,
            }),
        };
        Ok(Terms {
            scope,
            breaker: tool.breaker,
            limit,
        })
    }

    /// Which calls a call shares its tool's limits with.
    fn limit_key(&self, making: &Moves, tool: &Tool, step: Option<&Step>) -> Result<String, StepError> {
        let Some(limit) = tool.limit.as_ref().filter(|limit| limit.key.is_some()) else {
            return Ok(String::new());
        };
        let unfit = |what: String| {
            StepError::new(ErrorClass::InvalidInput, "invalid_input", what)
                .suggest("correct what is named and call the tool again; it has not been run")
        };
        let gone = || unfit("the call's input is gone".to_owned());
        let step = step.ok_or_else(gone)?;
        let input = match &step.body {
            StepBody::Probe { of, .. } => {
                let probed = making
                    .steps
                    .iter()
                    .chain(&self.journal.steps)
                    .find(|step| step.seq == *of);
                probed.and_then(|probed| self.probe_input(probed).ok())
            }
            StepBody::Tool { .. } | StepBody::Model { .. } => self.call_input(step),
        };
        let Some(Value::Object(fields)) = input else {
            return Err(gone());
        };
        limit.key(&fields).map_err(unfit)
    }

    /// What an answer means for a call.
    fn judge(&self, answer: &Admission, mut admitted: Admitted, asked_at: Instant) -> Result<Admitted, Kept> {
        let gates = &self.hold.shared.gates;
        let scope = (self.tenant.as_str(), admitted.scope.as_str());
        let until = answer.until.unwrap_or(answer.at);
        let kept = match answer.pass {
            engine::Pass::Admitted => None,
            #[cfg(feature = "planted-faults")]
            engine::Pass::Trial if engine::planted_fault::is_chosen(crate::planted_fault::TWO_TRIAL_CALLS) => None,
            engine::Pass::Trial => Some(Kept::By(Gate::Trial)),
            engine::Pass::Open => Some(Kept::Open(until)),
            engine::Pass::Slot => Some(Kept::By(Gate::Slot)),
            engine::Pass::Rate => Some(Kept::Rate(until)),
        };
        let pass = Pass {
            generation: answer.generation,
            failures: answer.failures,
            is_trial: answer.is_trial,
        };
        match kept {
            Some(Kept::Open(_) | Kept::By(Gate::Trial)) => gates.forget(scope.0, scope.1),
            None if !pass.is_trial && admitted.breaker.is_some() => gates.found_closed(scope, pass, asked_at),
            None | Some(_) => {}
        }
        if let Some((_, known)) = &mut admitted.breaker {
            *known = pass;
        }
        kept.map_or(Ok(admitted), Err)
    }

    /// A call that had waited has its time for attempts from now on, and says when it was let out.
    fn let_out(&self, making: &mut Moves, (seq, call): (u32, &AdmitCall), answer: &Admission) {
        if call.rate_calls.is_some() {
            making.draft.note(seq, "admitted_at", json!(answer.at));
        }
        let stood_here = self.step(seq).is_some_and(|before| before.attempt == 0);
        if !stood_here && !answer.has_waited {
            return;
        }
        if let Some(step) = making.steps.iter_mut().rfind(|step| step.seq == seq) {
            step.budget_from = self.hold.now();
            making.draft.renew_budget(seq);
        }
    }

    /// Records that a call does not go out now, in the place of its intent.
    fn keep_back(&self, making: &mut Moves, seq: u32, reason: Kept) {
        let before = self.step(seq).cloned();
        let Some(place) = making.steps.iter().rposition(|step| step.seq == seq) else {
            return;
        };
        let mut step = making.steps[place].clone();
        step.attempt = step.attempt.saturating_sub(1);
        step.attempt_started_at = before
            .as_ref()
            .map_or(step.attempt_started_at, |before| before.attempt_started_at);
        step.error = before.as_ref().and_then(|before| before.error.clone());
        step.state = StepState::Waiting;
        let event = match reason {
            Kept::Refused(error) => self.end_unsent(&mut step, error),
            Kept::Open(until) if is_told(&step) || (step.attempt > 0 && self.horizon_passed(&step, until)) => {
                let error = breaker_open(&self.target(&step), Some(&instant(until)));
                self.end_unsent(&mut step, error)
            }
            Kept::By(Gate::Trial) if is_told(&step) => {
                let error = breaker_open(&self.target(&step), None);
                self.end_unsent(&mut step, error)
            }
            Kept::Open(until) => {
                step.due_at = Some(until);
                making.held.push(HeldBack { seq, by: Gate::Trial });
                let error = breaker_open(&self.target(&step), Some(&instant(until)));
                let data = json!({"attempt": step.attempt, "code": error.code, "due_at": until});
                step.error = Some(error);
                ("step.retry_scheduled", data)
            }
            Kept::Rate(until) => {
                step.due_at = Some(until);
                ("step.held_back", json!({"by": "rate", "due_at": until}))
            }
            Kept::By(gate) => {
                making.held.push(HeldBack { seq, by: gate });
                let stood_here = |before: &Step| before.state == StepState::Waiting && before.due_at.is_none();
                if before.as_ref().is_some_and(stood_here) {
                    making.draft.forget(seq);
                    making.steps.remove(place);
                    return;
                }
                step.due_at = None;
                ("step.held_back", json!({"by": gate.as_str()}))
            }
        };
        making.draft.instead(change(&step, None), event);
        making.steps[place] = step;
    }

    /// Ends a step without another attempt.
    fn end_unsent(&self, step: &mut Step, mut error: StepError) -> (&'static str, Value) {
        step.due_at = None;
        if step.maybe_applied && effect(step).leaves_doubt() {
            let reason = UnknownReason::RetriesExhausted;
            step.state = StepState::Unknown;
            let data = json!({"attempt": step.attempt, "reason": reason, "code": error.code});
            step.error = Some(error);
            return ("step.unknown", data);
        }
        step.state = StepState::Failed;
        let data = json!({"attempt": step.attempt, "code": error.code});
        step.error = Some(error.clone());
        error.fatal |= self.fails_the_run(step);
        let told = self.told_of_error(step, &error);
        if let StepBody::Tool { outcome, .. } = &mut step.body {
            *outcome = (!error.fatal).then_some(told);
        }
        step.error = Some(error);
        ("step.failed", data)
    }

    fn target(&self, step: &Step) -> String {
        match &step.body {
            StepBody::Model { .. } => format!("the model at {}", self.hold.shared.models.authority()),
            StepBody::Tool { name, .. } | StepBody::Probe { name, .. } => name.clone(),
        }
    }

    /// Tells the gates what became of a call that was let out, once that is recorded.
    pub(super) async fn report(&mut self, seq: u32, (mark, code): (Mark, Option<String>)) -> Result<(), EngineError> {
        let reports: Vec<CallReport> = self.account(seq, (mark, code)).into_iter().collect();
        self.send_reports(&reports).await
    }

    /// Gives back what was let out and is not sent after all.
    pub(super) async fn give_up_places(&mut self, seqs: &[u32]) -> Result<(), EngineError> {
        let reports = seqs.iter().filter_map(|seq| self.account(*seq, (Mark::Neutral, None)));
        let reports: Vec<CallReport> = reports.collect();
        self.send_reports(&reports).await
    }

    async fn send_reports(&self, reports: &[CallReport]) -> Result<(), EngineError> {
        if reports.is_empty() {
            return Ok(());
        }
        let (engine, claim) = (&self.hold.shared.engine, self.hold.scribe.claim);
        let told = self.hold.scribe.until_answered(|| engine.report_calls(&claim, reports));
        told.await
    }

    /// What is to be told of a call; nothing, where it has no slot and says what its breaker knows.
    fn account(&mut self, seq: u32, (mark, code): (Mark, Option<String>)) -> Option<CallReport> {
        let Admitted {
            scope, breaker, slot, ..
        } = self.admitted.remove(&seq)?;
        let gates = &self.hold.shared.gates;
        let failures = gates.failures(&self.tenant, &scope, mark);
        let counts = breaker.filter(|(_, pass)| match mark {
            Mark::Failed => true,
            Mark::Succeeded => pass.is_trial || pass.failures.max(failures) > 0,
            Mark::RateLimited | Mark::Neutral => pass.is_trial,
        });
        if counts.is_none() && slot.is_none() {
            return None;
        }
        if counts.is_some() {
            gates.forget(&self.tenant, &scope);
        }
        let policy = breaker.map(|(policy, _)| policy).unwrap_or_default();
        Some(CallReport {
            step_seq: stored(seq),
            scope,
            key: slot,
            generation: counts.map(|(_, pass)| pass.generation),
            outcome: mark.as_str(),
            error_code: code,
            failures_max: stored(policy.failures),
            cooldown_seconds: stored(policy.cooldown_seconds),
        })
    }

    /// Has what was called, or has room here now, ask again.
    pub(super) fn look_at_gates(&mut self) {
        let is_called = self.hold.wakes() > self.gates_asked_at;
        let waited_for = self.room.get_mut().unwrap_or_else(PoisonError::into_inner);
        let has_room = waited_for.is_some() || self.hold.shared.gates.room.available_permits() > 0;
        let (steps, now) = (&mut self.journal.steps, self.hold.now());
        self.journal.held_back.retain(|held| {
            let goes = match held.by {
                Gate::Worker => has_room,
                Gate::Slot | Gate::Trial => is_called,
            };
            let Some(step) = steps
                .iter_mut()
                .find(|step| step.seq == held.seq && step.state == StepState::Waiting)
            else {
                return false;
            };
            if goes {
                step.due_at = None;
            }
            !goes && step.due_at.is_none_or(|due| due > now)
        });
    }

    /// Whether something waits for room among this worker's own calls.
    pub(super) fn waits_for_room(&self) -> bool {
        self.journal.held_back.iter().any(|held| held.by == Gate::Worker)
    }
}

impl Report {
    /// What it tells of the target, and the code of what went wrong.
    pub(super) fn mark(&self) -> (Mark, Option<String>) {
        match self {
            Self::Model(attempt) => (Mark::of(&attempt.outcome), code(&attempt.outcome)),
            Self::Tool(attempt) => (Mark::of(&attempt.outcome), code(&attempt.outcome)),
            // It has answered; whether its write is committed is the engine's own matter.
            Self::Unrecorded(_) => (Mark::Succeeded, None),
            Self::Cut => (Mark::Neutral, None),
        }
    }
}

fn code<T>(outcome: &AttemptOutcome<T>) -> Option<String> {
    match outcome {
        AttemptOutcome::Done(_) => None,
        AttemptOutcome::NotSent(error)
        | AttemptOutcome::NotApplied { error, .. }
        | AttemptOutcome::Ambiguous { error, .. } => Some(error.code.clone()),
    }
}

/// Whether the model is told at once where the target is not to be called: nothing of the call has gone out yet.
fn is_told(step: &Step) -> bool {
    let begun = match step.state {
        StepState::Running => step.attempt > 1,
        StepState::Waiting
        | StepState::Interrupted
        | StepState::Succeeded
        | StepState::Failed
        | StepState::Cancelled
        | StepState::Unknown => step.attempt > 0,
    };
    matches!(step.body, StepBody::Tool { .. }) && !begun
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn stored(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
