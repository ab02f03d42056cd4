//! Nothing twice: what was asked for in the world, held against what was recorded.

use super::Finding;
use super::sender::may_be_late;
use crate::judge::history::{Arrival, Effect, History, Planned, RunHistory};
use crate::judge::row::{Event, EventKind, RunState, Step, StepState};
use crate::plan::Call;
use crate::record::{Declared, Front};
use std::collections::BTreeSet;
use uuid::Uuid;

pub(super) fn planned(history: &History) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, effect) in &history.effects {
        let strange = effect.arrivals.iter().filter_map(|arrival| {
            let what = unplanned(effect, arrival)?;
            Some(
                Finding::new(format!("call {}: {what}", arrival.number))
                    .effect(name)
                    .at(arrival.at),
            )
        });
        findings.extend(strange);
        findings.extend(not_done(history, effect).map(|finding| finding.effect(name)));
    }
    for run in history.runs.values() {
        let planned = run.number.map(|number| history.plan.run(number).kind);
        if planned.is_some_and(|kind| kind != run.row.kind) {
            findings.push(Finding::new("it is of another kind than was planned").run(run.row.id));
        }
        findings.extend(unmade(history, run));
        let calls = run.steps.iter().filter(|step| step.is_call());
        let strange = calls.filter(|step| {
            let effect = step.asks_for().and_then(|name| history.effects.get(&name));
            let planned = effect.and_then(|effect| effect.planned.as_ref());
            planned.is_none_or(|planned| planned.run != run.row.id || !agrees(step, planned))
        });
        findings.extend(strange.map(|step| {
            let asks = step.asks_for().unwrap_or_else(|| "nothing".to_owned());
            let finding = Finding::new(format!(
                "step {} ({}) asks for {asks}, which was not planned",
                step.seq, step.name
            ));
            finding.run(run.row.id)
        }));
    }
    findings
}

/// Of a turn that asks for too many calls those beyond the limit are answered, and not made.
fn unmade(history: &History, run: &RunHistory) -> Option<Finding> {
    let planned = history.plan.unmade(&history.plan.run(run.number?));
    let unmade = run.steps.iter().filter(|step| step.is_unmade()).count();
    let has_asked_for_all = run.row.state == RunState::Succeeded;
    let is_right = unmade == planned || (unmade < planned && !has_asked_for_all);
    let what = format!("{unmade} of its calls were answered without being made, and {planned} were to be");
    (!is_right).then(|| Finding::new(what).run(run.row.id))
}

fn agrees(step: &Step, planned: &Planned) -> bool {
    let in_its_place = planned.key.as_ref().is_none_or(|key| *key == step.key);
    step.name == planned.call.tool() && step.effect == planned.call.declared && in_its_place
}

fn unplanned(effect: &Effect, arrival: &Arrival) -> Option<String> {
    let Some(planned) = &effect.planned else {
        return Some("nobody planned it".to_owned());
    };
    let came = Call {
        front: arrival.front,
        declared: arrival.declared,
    };
    if came != planned.call {
        return Some(format!(
            "it came as {}, and was planned as {}",
            came.tool(),
            planned.call.tool()
        ));
    }
    let run = planned.run.to_string();
    let told = arrival.run.as_deref().unwrap_or("nobody");
    (told != run).then(|| format!("it came on behalf of {told}, and was planned for {run}"))
}

/// A run that succeeded without it.
fn not_done(history: &History, effect: &Effect) -> Option<Finding> {
    let run = history.runs.get(&effect.planned.as_ref()?.run)?;
    if run.row.state != RunState::Succeeded {
        return None;
    }
    let standing: Vec<&Step> = history.standing_steps(effect).collect();
    let what = match standing.as_slice() {
        [step] if matches!(step.state, StepState::Succeeded | StepState::Failed) => return None,
        [step] => format!("the run succeeded, and step {} is {}", step.seq, step.state.as_str()),
        [] => "the run succeeded, and no step asks for it".to_owned(),
        several => format!("the run succeeded, and {} steps ask for it", several.len()),
    };
    Some(Finding::new(what).run(run.row.id))
}

pub(super) fn key(history: &History) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, effect) in history.effects.iter().filter(|(_, effect)| effect.planned.is_some()) {
        let bodies: BTreeSet<&str> = effect
            .arrivals
            .iter()
            .map(|arrival| arrival.body_sha256.as_str())
            .collect();
        let keys: BTreeSet<&str> = effect
            .arrivals
            .iter()
            .filter_map(|arrival| arrival.key.as_deref())
            .collect();
        // A new key is right where a step failed for certain and another took its place.
        let replaced = effect.steps.iter().filter(|(run, step)| {
            let run = history.runs.get(run).filter(|run| run.is_replaced(*step));
            run.and_then(|run| run.step(*step))
                .is_some_and(|step| step.state == StepState::Failed)
        });
        let allowed = 1 + replaced.count();
        let finding = |what: String| {
            let finding = Finding::new(what).effect(name);
            let last = effect.arrivals.last().map(|arrival| arrival.at);
            last.into_iter().fold(finding, Finding::at)
        };
        if bodies.len() > 1 {
            findings.push(finding(format!("it came with {} bodies", bodies.len())));
        }
        if keys.len() > allowed {
            let keys: Vec<&str> = keys.into_iter().collect();
            findings.push(finding(format!(
                "it came with {} keys: {}",
                keys.len(),
                keys.join(", ")
            )));
        }
    }
    findings
}

pub(super) fn idempotent(history: &History) -> Vec<Finding> {
    each(history, Declared::Idempotent, applied_as_recorded)
}

pub(super) fn at_most_once(history: &History) -> Vec<Finding> {
    each(history, Declared::AtMostOnce, |history, effect| {
        let mut broken = applied_as_recorded(history, effect);
        broken.extend(sent_in_doubt(history, effect));
        broken.extend(begun_in_doubt(history, effect));
        broken
    })
}

/// Any number of calls is good, but for none: then the result was made up.
pub(super) fn read_only(history: &History) -> Vec<Finding> {
    each(history, Declared::ReadOnly, |history, effect| {
        let step = history.standing_step(effect);
        let step = step.filter(|step| step.state == StepState::Succeeded && effect.arrivals.is_empty());
        step.map(|step| format!("step {} has a result, and was never called", step.seq))
            .into_iter()
            .collect()
    })
}

/// What is broken of each planned effect that is declared like this.
fn each(history: &History, declared: Declared, broken: impl Fn(&History, &Effect) -> Vec<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, effect) in &history.effects {
        let planned = effect.planned.as_ref();
        let Some(planned) = planned.filter(|planned| planned.call.declared == declared) else {
            continue;
        };
        for what in broken(history, effect) {
            let finding = Finding::new(what).run(planned.run).effect(name);
            let last = effect.arrivals.last().map(|arrival| arrival.at);
            findings.push(last.into_iter().fold(finding, Finding::at));
        }
    }
    findings
}

/// How often it took place, held against what its step says.
fn applied_as_recorded(history: &History, effect: &Effect) -> Vec<String> {
    let mut broken = Vec::new();
    let applied = effect.applied().count();
    let is_stray = |later: &Arrival| {
        effect
            .arrivals
            .iter()
            .any(|earlier| is_stray(history, (earlier, later)))
    };
    let strays = effect.arrivals.iter().filter(|arrival| is_stray(arrival));
    let stray: usize = strays.map(|arrival| arrival.applied.len()).sum();
    let by_us = match effect.planned.as_ref().map(|planned| planned.call.declared) {
        // Its key makes it harmless.
        Some(Declared::Idempotent) => applied,
        _ => applied - stray,
    };
    if by_us > 1 {
        let arrivals = effect.arrivals.iter().filter(|arrival| !arrival.applied.is_empty());
        let calls: Vec<String> = arrivals.map(|arrival| arrival.number.to_string()).collect();
        broken.push(format!("applied {applied} times, by the calls {}", calls.join(", ")));
    }
    let Some(step) = history.standing_step(effect) else {
        // What begins without an intent leaves no trace where its run did not go on to its end.
        let untold = effect.planned.as_ref().is_some_and(Planned::begins_unrecorded);
        if applied > 0 && effect.steps.is_empty() && !untold {
            broken.push("applied, and no step asks for it".to_owned());
        }
        return broken;
    };
    let step_is = |rest: &str| format!("step {} is {}, {rest}", step.seq, step.state.as_str());
    let repeatable = step.effect == Declared::Idempotent;
    // A person may give up what happened.
    let is_given_up = history
        .runs
        .get(&step.run_id)
        .is_some_and(|run| run.is_given_up_by_a_person(step.seq));
    match step.state {
        StepState::Failed if is_given_up => {}
        StepState::Succeeded if applied == 0 => broken.push(step_is("and it was never applied")),
        StepState::Failed | StepState::Cancelled if applied > 0 => broken.push(step_is("and it was applied")),
        // Whether a run may wait or end like this is for another law; here a call that may not be repeated hangs in the air.
        StepState::Running | StepState::Waiting if applied > 0 && !repeatable => {
            broken.push(step_is("and it was applied"));
        }
        StepState::Succeeded
        | StepState::Failed
        | StepState::Cancelled
        | StepState::Running
        | StepState::Waiting
        | StepState::Unknown => {}
    }
    broken
}

/// Calls that came after one that was applied, or of which the caller could not know whether it was.
fn sent_in_doubt(history: &History, effect: &Effect) -> Vec<String> {
    let mut broken = Vec::new();
    for pair in effect.arrivals.windows(2) {
        if let [earlier, later] = pair
            && !vouched_for(earlier)
            && !is_denied(history, effect, (earlier, later))
            && !is_stray(history, (earlier, later))
        {
            let fate = if earlier.applied.is_empty() {
                "may have been"
            } else {
                "was"
            };
            let ended = earlier.reply.as_ref().map_or("no reply", |reply| reply.what.as_str());
            broken.push(format!(
                "sent again as call {} by {} after call {} ({}, {ended}), which {fate} applied",
                later.number,
                later.worker.as_deref().unwrap_or("nobody"),
                earlier.number,
                earlier.conduct,
            ));
        }
    }
    broken
}

/// Whether it was not applied, and somebody who knows had said so before the next one came.
fn is_denied(history: &History, effect: &Effect, (earlier, later): (&Arrival, &Arrival)) -> bool {
    let mut steps = effect
        .steps
        .iter()
        .filter_map(|(run, seq)| Some((history.runs.get(run)?, *seq)));
    earlier.applied.is_empty() && steps.any(|step| history.is_denied(step, (earlier.at, later.at)))
}

/// Whether it came from a worker that had been stopped or killed while it was about to send, long before the other: that
/// nobody can keep from happening.
fn is_stray(history: &History, (earlier, later): (&Arrival, &Arrival)) -> bool {
    let worker = later.worker.as_deref().unwrap_or_default();
    later.attempt < earlier.attempt && may_be_late(history, worker, later.at)
}

/// Whether it was not applied, and the reply vouched for that.
fn vouched_for(arrival: &Arrival) -> bool {
    refused(arrival) && arrival.applied.is_empty()
}

/// Whether the reply says that nothing was done.
pub(super) fn refused(arrival: &Arrival) -> bool {
    let Some(reply) = &arrival.reply else {
        return false;
    };
    match arrival.front {
        Front::Http => {
            let status: Option<u16> = reply.what.parse().ok();
            status.is_some_and(|status| (400..500).contains(&status) && !matches!(status, 408 | 409))
        }
        Front::Command => reply.what == "exit_10",
        Front::Function => reply.what == "not_applied",
    }
}

/// Whether somebody who knows had said, since the attempt before this one, that it did not happen.
fn was_denied(history: &History, (run, step): (Uuid, i32), again: &Event) -> bool {
    let Some(run) = history.runs.get(&run) else {
        return false;
    };
    let earlier = run.events_of(step).filter(|event| event.seq < again.seq);
    let mut begun = earlier.filter(|event| event.kind == EventKind::StepStarted);
    begun
        .next_back()
        .is_some_and(|begun| history.is_denied((run, step), (begun.at, again.at)))
}

/// Attempts that were begun although what came of the one before was not recorded as certain.
fn begun_in_doubt(history: &History, effect: &Effect) -> Vec<String> {
    let mut broken = Vec::new();
    for (run, seq) in &effect.steps {
        let events: Vec<_> = history
            .runs
            .get(run)
            .into_iter()
            .flat_map(|run| run.events_of(*seq))
            // Nothing of it went out.
            .filter(|event| event.kind != EventKind::StepHeldBack)
            .collect();
        for pair in events.windows(2) {
            if let [before, event] = pair
                && event.kind == EventKind::StepStarted
                && before.kind != EventKind::StepRetryScheduled
                && !was_denied(history, (*run, *seq), event)
            {
                let attempt = event.attempt.unwrap_or_default();
                let worker = history.worker(event.worker_id);
                broken.push(format!(
                    "attempt {attempt} of step {seq} was begun in doubt by {worker}, event {}",
                    event.seq
                ));
            }
        }
    }
    broken
}
