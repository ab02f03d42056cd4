//! Doing little is no way to keep the laws: what was given up was given up for a reason that the world bears out.

use super::Finding;
use super::effects::refused;
use crate::judge::history::{Arrival, History, RunHistory};
use crate::judge::row::{EventKind, RunState, Step, StepState};
use crate::judge::span::Span;
use crate::record::{Declared, Deed, Front, Micros, NemesisRecord};

/// Of a hundred runs, so many may wait because an idempotent call was given up. In a healthy storm it is 2 to 4, all of
/// them calls that ended by an error that does not pass.
const EXHAUSTED_MAX: usize = 8;
/// Of fewer runs, a share says nothing.
const RUNS_MIN: usize = 100;

/// Before an attempt's intent and after its end, what befell its worker may have had a part in it.
const NEAR: Micros = 2_000_000;

pub(super) fn given_up(history: &History) -> Vec<Finding> {
    let mut findings = Vec::new();
    for run in history.runs.values() {
        for step in run.steps.iter().filter(|step| step.is_call()) {
            let given_up = GivenUp {
                history,
                run,
                step,
                calls: history.calls_of(step).collect(),
            };
            if let Some(what) = given_up.unfounded() {
                let (seq, name, state) = (step.seq, &step.name, step.state.as_str());
                let finding = Finding::new(format!("step {seq} ({name}) is {state}, {what}")).run(run.row.id);
                let finding = step.attempt_started_at.into_iter().fold(finding, Finding::at);
                findings.push(
                    step.asks_for()
                        .iter()
                        .fold(finding, |finding, name| finding.effect(name)),
                );
            }
        }
    }
    findings.extend(too_many(history));
    findings
}

/// The net below: whatever the reason, healthy storms have few of them.
fn too_many(history: &History) -> Option<Finding> {
    let is_exhausted = |run: &&RunHistory| {
        run.row.state == RunState::Waiting && run.row.wait_reason.as_deref() == Some("retries_exhausted")
    };
    let (exhausted, runs) = (history.runs.values().filter(is_exhausted).count(), history.runs.len());
    (runs >= RUNS_MIN && exhausted * 100 > runs * EXHAUSTED_MAX).then(|| {
        let what = format!("{exhausted} of {runs} runs wait because of retries_exhausted");
        Finding::new(format!("{what}, and no more than {EXHAUSTED_MAX} of a hundred should"))
    })
}

/// A call that perhaps was given up.
struct GivenUp<'a> {
    history: &'a History,
    run: &'a RunHistory,
    step: &'a Step,
    /// All that were made for it.
    calls: Vec<&'a Arrival>,
}

impl GivenUp<'_> {
    /// Why it should not have been.
    fn unfounded(&self) -> Option<String> {
        match (self.step.state, self.step.effect) {
            (StepState::Failed, _) if self.run.is_given_up_by_a_person(self.step.seq) => None,
            (StepState::Failed, _) => self.unfounded_failure(),
            (StepState::Unknown, Declared::AtMostOnce) => self.unfounded_doubt(),
            (StepState::Unknown, Declared::Idempotent) => self.unfounded_despair(),
            (StepState::Unknown, Declared::ReadOnly) => Some("and changes nothing".to_owned()),
            (StepState::Waiting | StepState::Running | StepState::Succeeded | StepState::Cancelled, _) => None,
        }
    }

    fn unfounded_failure(&self) -> Option<String> {
        if self.calls.is_empty() {
            return Some("and no call of it ever arrived".to_owned());
        }
        if self.step.effect == Declared::ReadOnly && self.is_used_up() {
            return None;
        }
        let number = self.step.attempt;
        let Some(last) = self.attempt(number) else {
            return Some(format!("and its attempt {number} never arrived"));
        };
        let is_final = is_permanent(last) || self.is_used_up();
        let is_certain = self.step.effect == Declared::ReadOnly || refused(last);
        (!is_final || !is_certain).then(|| format!("after {}", told(last)))
    }

    /// Of a call that may not be repeated.
    fn unfounded_doubt(&self) -> Option<String> {
        let number = self.step.attempt;
        let last = self.attempt(number);
        if last.is_some_and(leaves_doubt) || self.is_disturbed() {
            return None;
        }
        let after = last.map_or_else(|| format!("and its attempt {number} never arrived"), told);
        let worker = self.history.worker(Some(self.step.worker_id));
        Some(format!("after {after}, and nothing befell {worker}"))
    }

    /// Of a call that may be repeated: that its worker was lost is no reason.
    fn unfounded_despair(&self) -> Option<String> {
        if self.run.row.cancel_requested_at.is_some() || self.is_used_up() {
            return None;
        }
        let number = self.step.attempt;
        let Some(last) = self.attempt(number) else {
            return Some(format!(
                "and its attempt {number} of {} never arrived",
                self.step.attempts_max
            ));
        };
        if !is_permanent(last) {
            return Some(format!(
                "after attempt {number} of {}, {}",
                self.step.attempts_max,
                told(last)
            ));
        }
        // A worker that was lost may have called under the same number.
        let in_doubt = !refused(last)
            || (1..number).any(|earlier| !self.is_known_undone(earlier))
            || self
                .calls
                .iter()
                .any(|call| call.number != last.number && call.attempt == last.attempt);
        (!in_doubt).then(|| format!("and was never in doubt, after {}", told(last)))
    }

    /// The call of this attempt: that of the worker whose attempt was recorded, before one of a worker that was lost.
    fn attempt(&self, number: i32) -> Option<&Arrival> {
        let number = u32::try_from(number).ok();
        let recorded = self.history.worker(Some(self.step.worker_id));
        let mut calls = self.calls.iter().filter(|arrival| arrival.attempt == number);
        let is_recorded = |arrival: &&&Arrival| arrival.worker.as_deref() == Some(recorded.as_str());
        calls.clone().rfind(is_recorded).or_else(|| calls.next_back()).copied()
    }

    fn is_used_up(&self) -> bool {
        self.step.attempt >= self.step.attempts_max.max(self.step.effect.attempts_max())
    }

    /// Whether the world vouched for it, and that was recorded.
    fn is_known_undone(&self, number: i32) -> bool {
        let mut events = self.run.events_of(self.step.seq);
        let recorded = events.any(|event| event.kind == EventKind::StepRetryScheduled && event.attempt == Some(number));
        recorded && self.attempt(number).is_some_and(refused)
    }

    /// Whether something befell its worker that may have lost the call or its answer.
    fn is_disturbed(&self) -> bool {
        let history = self.history;
        let from = self.step.attempt_started_at.unwrap_or(history.began);
        let mut events = self.run.events_of(self.step.seq);
        let told = events
            .rfind(|event| event.kind == EventKind::StepUnknown)
            .map(|event| event.at);
        let until = told.or(self.run.row.ended_at).unwrap_or(history.ended);
        let near = Span::new(from - NEAR, until + NEAR);
        let worker = history.worker(Some(self.step.worker_id));
        let befell = |record: &NemesisRecord| {
            let its_own = record.worker.as_deref() == Some(worker.as_str());
            its_own && may_lose_a_call(record.deed) && near.touches(Span::new(record.at, record.at))
        };
        history.nemesis.iter().any(befell) || history.downtime.iter().any(|away| near.touches(*away))
    }
}

const fn may_lose_a_call(deed: Deed) -> bool {
    match deed {
        Deed::WorkerKilled
        | Deed::WorkerStopped
        | Deed::WorkerContinued
        | Deed::WorkerEnded
        | Deed::DatabaseCut
        | Deed::AnswerLost
        | Deed::ToolsCut => true,
        Deed::WorkerStarted
        // It waits for a call that may not be repeated.
        | Deed::WorkerDrained
        | Deed::PostgresKilled
        | Deed::PostgresReady
        | Deed::ApiKilled
        | Deed::ApiReady
        | Deed::NotificationsOff
        | Deed::NotificationsOn
        | Deed::Missed
        | Deed::Quiet => false,
    }
}

/// Whether the answer says that to ask again is of no use.
fn is_permanent(arrival: &Arrival) -> bool {
    let what = arrival.reply.as_ref().map_or("", |reply| reply.what.as_str());
    match arrival.front {
        Front::Http => refused(arrival) && what != "429",
        Front::Command => matches!(what, "exit_1" | "exit_10"),
        Front::Function => what == "panic",
    }
}

/// Whether the caller could not know what came of it, though nothing befell it.
fn leaves_doubt(arrival: &Arrival) -> bool {
    let Some(reply) = &arrival.reply else {
        return true;
    };
    // Of what comes slowly the last byte may have come too late.
    (!reply.delivered || reply.what == "drip") && !refused(arrival)
}

fn told(arrival: &Arrival) -> String {
    let reply = arrival.reply.as_ref().map_or("no reply", |reply| reply.what.as_str());
    format!("call {} ({}, {reply})", arrival.number, arrival.conduct)
}
