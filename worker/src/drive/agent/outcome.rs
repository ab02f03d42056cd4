//! What an attempt's report makes of its step.

use super::attempt::{Finished, Report};
use super::begin::change;
use super::stop::end_cancelled;
use super::{Driver, Flow};
use crate::crash_point::crash_point;
use crate::scribe::{Draft, Written};
use crate::tool::Attempt;
use agent::effect::{Attempts, verdict};
use agent::sanitise::Sanitiser;
use agent::time_limit::turn_deadline;
use agent::wire::messages::{SPEND_CAP, parse_reply};
use agent::{AttemptOutcome, Effect, ErrorClass, Step, StepBody, StepError, StepState, Verdict};
use chrono::TimeDelta;
use engine::retry::Schedule;
use engine::{EngineError, LateResult, StepChange};
use serde_json::{Value, json};
use std::time::Duration;
use tracing::warn;

/// A step after an attempt, and what is recorded beside it.
pub(super) struct After {
    pub(super) step: Step,
    /// A model's message, as it is stored.
    pub(super) message: Option<String>,
    pub(super) evidence: Value,
    pub(super) event: (&'static str, Value),
}

/// Why an attempt failed, and whether it is certain that nothing was done.
pub(super) struct Failure {
    pub(super) error: StepError,
    pub(super) known_not_applied: bool,
    pub(super) retry_after: Option<Duration>,
}

impl Driver {
    /// Records an attempt's result.
    pub(super) async fn take_result(&mut self, finished: Finished) -> Result<Flow, EngineError> {
        crash_point!("result.received");
        let Some(step) = self.step(finished.seq).cloned() else {
            return Ok(Flow::GoOn);
        };
        let (seq, mark) = (finished.seq, finished.report.mark());
        let after = match finished.report {
            Report::Model(attempt) => match answered(attempt.outcome) {
                Ok(message) => self.model_answered(step, message, attempt.evidence),
                Err(failure) => self.attempt_failed(step, *failure, attempt.evidence),
            },
            Report::Tool(attempt) => self.tool_attempted(step, attempt),
            Report::Unrecorded(unrecorded) => {
                let flow = self.commit(step, *unrecorded).await?;
                self.report(seq, mark).await?;
                return Ok(flow);
            }
            Report::Cut => self.attempt_cut(step),
        };
        let flow = self.settle(after).await?;
        self.report(seq, mark).await?;
        Ok(flow)
    }

    /// Records what an attempt made of its step.
    pub(super) async fn settle(&mut self, after: After) -> Result<Flow, EngineError> {
        let mut draft = Draft::default();
        let mut written = change(&after.step, Some(&after.evidence));
        written.result = after.message.or(written.result);
        let late = late_result(&after.step, &written);
        let kept = self.is_kept(&after.step).then(|| after.step.clone());
        draft.change(written);
        draft.event(after.event.0, after.step.seq, Some(after.event.1));
        let flow = match self.record(draft, vec![after.step]).await? {
            Written::Now(_) => {
                if let Some(step) = kept {
                    self.remember(&step).await;
                }
                Flow::GoOn
            }
            Written::Refused(_) => Flow::GoOn,
            Written::ClaimLost => {
                self.report_late(late).await;
                Flow::Done
            }
        };
        crash_point!("result.recorded");
        Ok(flow)
    }

    /// Keeps a result that came after the run had moved on, for people who must judge what happened.
    async fn report_late(&self, late: Option<LateResult>) {
        let Some(late) = late else { return };
        let (engine, claim) = (&self.hold.shared.engine, self.hold.scribe.claim);
        if let Err(error) = engine.report_late(&claim, &late).await {
            warn!(
                "a late result of step {} of run {} is lost: {error}",
                late.step_seq, claim.run
            );
        }
    }

    /// What a tool's attempt came to, once its rules have changed what is not to be stored or shown.
    fn tool_attempted(&self, step: Step, attempt: Attempt) -> After {
        let Attempt { outcome, mut evidence } = attempt;
        match answered(outcome) {
            Ok(told) => self.tool_done(step, told, evidence),
            Err(mut failure) => {
                if let Some(rules) = self.rules_of(&step) {
                    rules.evidence(&mut evidence);
                    failure.error = rules.error(failure.error);
                }
                self.attempt_failed(step, *failure, evidence)
            }
        }
    }

    /// A call that was carried out, with what it answered as it may be stored and shown.
    pub(super) fn tool_done(&self, step: Step, mut told: agent::ToolOutcome, mut evidence: Value) -> After {
        if let Some(rules) = self.rules_of(&step) {
            rules.evidence(&mut evidence);
            told = rules.output(told);
        }
        let told = self.labelled(&step, told);
        tool_answered(step, told, evidence)
    }

    fn rules_of(&self, step: &Step) -> Option<&Sanitiser> {
        match &step.body {
            StepBody::Tool { name, .. } | StepBody::Probe { name, .. } => self.version.sanitisers.get(name),
            StepBody::Model { .. } => None,
        }
    }

    /// A complete reply. One that cannot be gone on from fails the step, and is kept.
    fn model_answered(&self, mut step: Step, message: String, evidence: Value) -> After {
        let reply = match parse_reply(&message) {
            Ok(reply) => reply,
            Err(error) => {
                let error = StepError::new(ErrorClass::Permanent, "malformed_reply", error.to_string());
                return self.failed(step, (error, evidence));
            }
        };
        let stop_reason = reply.stop_reason.clone();
        let read = agent::turn::accept(&self.version.agent, &self.journal, (step.turn, &reply));
        step.body = StepBody::Model { reply: Some(reply) };
        let event = match read {
            Ok(_) => {
                step.state = StepState::Succeeded;
                step.error = None;
                (
                    "step.succeeded",
                    json!({"attempt": step.attempt, "stop_reason": stop_reason}),
                )
            }
            Err(error) => {
                step.state = StepState::Failed;
                let event = (
                    "step.failed",
                    json!({"attempt": step.attempt, "code": error.code, "stop_reason": stop_reason}),
                );
                step.error = Some(error);
                event
            }
        };
        After {
            step,
            message: Some(message),
            evidence,
            event,
        }
    }

    pub(super) fn attempt_failed(&self, mut step: Step, failure: Failure, evidence: Value) -> After {
        let Failure {
            mut error,
            known_not_applied,
            retry_after,
        } = failure;
        #[cfg(feature = "planted-faults")]
        let known_not_applied = crate::planted_fault::known_undone(known_not_applied);
        step.maybe_applied |= !known_not_applied;
        let schedule = self.retry_policy(&step).map(|retry| Schedule {
            initial: Duration::from_millis(retry.initial_ms),
            cap: Duration::from_millis(retry.cap_ms),
        });
        let delay = schedule.map_or(Duration::ZERO, |schedule| schedule.delay(step.attempt, retry_after));
        let due_at = self.hold.now() + TimeDelta::from_std(delay).unwrap_or(TimeDelta::MAX);
        let attempts = Attempts {
            attempt: step.attempt,
            attempts_max: step.attempts_max,
            maybe_applied: step.maybe_applied,
            horizon_passed: self.horizon_passed(&step, due_at),
        };
        #[cfg(feature = "planted-faults")]
        let attempts = Attempts {
            attempt: crate::planted_fault::counted(attempts.attempt),
            ..attempts
        };
        // A spend cap does not pass by itself within any horizon: a person must act.
        let judged = if error.code == SPEND_CAP && matches!(step.body, StepBody::Model { .. }) {
            Verdict::Failed
        } else {
            verdict(effect(&step), error.class, known_not_applied, attempts)
        };
        match judged {
            Verdict::Retry => {
                let event = (
                    "step.retry_scheduled",
                    json!({"attempt": step.attempt, "code": error.code, "due_at": due_at}),
                );
                step.state = StepState::Waiting;
                step.due_at = Some(due_at);
                step.error = Some(error);
                After {
                    step,
                    message: None,
                    evidence,
                    event,
                }
            }
            Verdict::Failed => {
                (step.state, step.error) = (StepState::Failed, Some(error.clone()));
                error.fatal |= self.fails_the_run(&step);
                self.failed(step, (error, evidence))
            }
            Verdict::Unknown(reason) => {
                let event = (
                    "step.unknown",
                    json!({"attempt": step.attempt, "reason": reason, "code": error.code}),
                );
                step.state = StepState::Unknown;
                step.due_at = None;
                step.error = Some(error);
                After {
                    step,
                    message: None,
                    evidence,
                    event,
                }
            }
        }
    }

    fn failed(&self, mut step: Step, (error, evidence): (StepError, Value)) -> After {
        let event = ("step.failed", json!({"attempt": step.attempt, "code": error.code}));
        step.state = StepState::Failed;
        step.due_at = None;
        let told = (!error.fatal).then(|| self.told_of_error(&step, &error));
        if let StepBody::Tool { outcome, .. } = &mut step.body {
            *outcome = told;
        }
        step.error = Some(error);
        After {
            step,
            message: None,
            evidence,
            event,
        }
    }

    /// We cut it: at a cancel for good, at a shutdown to be gone on with, at no cost to its budget.
    pub(super) fn attempt_cut(&self, mut step: Step) -> After {
        step.maybe_applied |= effect(&step).leaves_doubt();
        step.error = None;
        let (cut, event) = if self.hold.is_cancelled() {
            let event = end_cancelled(&mut step);
            ("cancel", (event, json!({"attempt": step.attempt, "why": "cancel"})))
        } else {
            step.state = StepState::Waiting;
            step.due_at = Some(self.hold.now());
            step.attempts_max += 1;
            ("shutdown", ("step.given_back", json!({"attempt": step.attempt})))
        };
        After {
            step,
            message: None,
            evidence: json!({ "cut": cut }),
            event,
        }
    }

    pub(super) fn horizon_passed(&self, step: &Step, due_at: chrono::DateTime<chrono::Utc>) -> bool {
        let turn = turn_deadline(&self.version.agent, step);
        let turn_is_over = turn.is_some_and(|deadline| deadline <= due_at);
        turn_is_over
            || self.retry_policy(step).is_some_and(|retry| {
                let horizon = i64::try_from(retry.horizon_seconds).unwrap_or(i64::MAX / 1000);
                due_at - step.budget_from > TimeDelta::try_seconds(horizon).unwrap_or(TimeDelta::MAX)
            })
    }
}

/// What is kept of a call's result that comes too late.
fn late_result(step: &Step, written: &StepChange) -> Option<LateResult> {
    let json = |text: &Option<String>| {
        text.as_deref()
            .and_then(|text| serde_json::from_str::<Value>(text).ok())
    };
    matches!(step.body, StepBody::Tool { .. }).then(|| LateResult {
        step_seq: written.seq,
        attempt: written.attempt,
        outcome: json!({
            "state": written.state,
            "result": json(&written.result),
            "error": json(&written.error),
            "evidence": json(&written.evidence),
        })
        .to_string(),
    })
}

pub(super) fn tool_answered(mut step: Step, told: agent::ToolOutcome, evidence: Value) -> After {
    step.state = StepState::Succeeded;
    step.error = None;
    if let StepBody::Tool { outcome, .. } | StepBody::Probe { outcome, .. } = &mut step.body {
        *outcome = Some(told);
    }
    let event = ("step.succeeded", json!({"attempt": step.attempt}));
    After {
        step,
        message: None,
        evidence,
        event,
    }
}

pub(super) fn effect(step: &Step) -> Effect {
    match &step.body {
        StepBody::Model { .. } | StepBody::Probe { .. } => Effect::ReadOnly,
        StepBody::Tool { effect, .. } => *effect,
    }
}

fn answered<T>(outcome: AttemptOutcome<T>) -> Result<T, Box<Failure>> {
    let (error, known_not_applied, retry_after) = match outcome {
        AttemptOutcome::Done(answer) => return Ok(answer),
        AttemptOutcome::NotSent(error) => (error, true, None),
        AttemptOutcome::NotApplied { error, retry_after } => (error, true, retry_after),
        AttemptOutcome::Ambiguous { error, retry_after } => (error, false, retry_after),
    };
    Err(Box::new(Failure {
        error,
        known_not_applied,
        retry_after,
    }))
}
