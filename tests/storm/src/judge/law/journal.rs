//! What was recorded of a run, held against itself.

use super::{Finding, seconds};
use crate::judge::history::{History, RunHistory};
use crate::judge::name;
use crate::judge::row::{Event, EventKind, RunState, Step, StepKind, StepState};
use crate::record::Micros;

/// A record whose transaction had begun before the cancel was committed may still begin attempts.
const CANCEL_GRACE: Micros = 1_000_000;

pub(super) fn dense(history: &History) -> Vec<Finding> {
    let mut findings = Vec::new();
    for run in history.runs.values() {
        let finding = |what| Finding::new(what).run(run.row.id);
        let mut events = (1..).zip(&run.events);
        if let Some((expected, event)) = events.find(|(expected, event)| event.seq != *expected) {
            findings.push(finding(format!("event {expected} is not there, or there twice")).at(event.at));
            continue;
        }
        let (row, there) = (run.row.event_seq, run.events.len());
        // The holder of a running one counts by itself.
        if run.row.state != RunState::Running && usize::try_from(row) != Ok(there) {
            findings.push(finding(format!("its row counts {row} events, and {there} are there")));
        }
    }
    findings
}

pub(super) fn after_end(history: &History) -> Vec<Finding> {
    history
        .runs
        .values()
        .flat_map(|run| followers(run).chain(late_attempts(history, run)))
        .collect()
}

/// Events after an end.
fn followers(run: &RunHistory) -> impl Iterator<Item = Finding> {
    let mut end: Option<&Event> = None;
    run.events.iter().filter_map(move |event| {
        let before = end;
        match event.kind {
            EventKind::Succeeded | EventKind::Cancelled | EventKind::Failed => end = end.or(Some(event)),
            EventKind::Resumed if before.is_some_and(|end| end.kind == EventKind::Failed) => {
                end = None;
                return None;
            }
            EventKind::Started
            | EventKind::Claimed
            | EventKind::Parked
            | EventKind::Woken
            | EventKind::Released
            | EventKind::Paused
            | EventKind::Resumed
            | EventKind::Reclaimed
            | EventKind::StepStarted
            | EventKind::StepSucceeded
            | EventKind::StepFailed
            | EventKind::StepRetryScheduled
            | EventKind::StepGivenBack
            | EventKind::StepHeldBack
            | EventKind::StepUnknown
            | EventKind::StepCancelled
            | EventKind::ApprovalOpened => {}
        }
        // What nobody knew when it ended, a person has told since.
        if event.verb.is_some() && event.ends_step().is_some() {
            return None;
        }
        let what = format!(
            "event {} ({}) follows its end, event {}",
            event.seq,
            name(&event.kind),
            before?.seq
        );
        Some(Finding::new(what).run(run.row.id).at(event.at))
    })
}

/// Attempts that were begun after the end, or after a cancel.
fn late_attempts(history: &History, run: &RunHistory) -> impl Iterator<Item = Finding> {
    let end = run.row.ended_at.map(|at| (at, "its end"));
    let cancel = run
        .row
        .cancel_requested_at
        .map(|at| (at + history.slowed(CANCEL_GRACE), "all grace after its cancel"));
    run.attempts.iter().filter_map(move |attempt| {
        // Of an attempt that was recorded when it was over, nobody knows when it was begun.
        let step = run.step(attempt.step_seq);
        let recorded_late = attempt.attempt == 1 && step.is_some_and(|step| step.begins_unrecorded() || step.is_wait());
        let limit = end.into_iter().chain(cancel.filter(|_| !recorded_late)).min();
        let (limit, of) = limit.filter(|(limit, _)| attempt.started_at > *limit)?;
        let what = format!(
            "attempt {} of step {} was begun by {} {} after {of}",
            attempt.attempt,
            attempt.step_seq,
            history.worker(Some(attempt.worker_id)),
            seconds(attempt.started_at - limit),
        );
        Some(Finding::new(what).run(run.row.id).at(attempt.started_at))
    })
}

pub(super) fn one_end(history: &History) -> Vec<Finding> {
    let mut findings = Vec::new();
    for run in history.runs.values() {
        let broken = run.steps.iter().flat_map(|step| {
            let numbers = misnumbered(run, step);
            let ends = ends(run, step);
            ends.into_iter()
                .chain(numbers)
                .map(|what| format!("step {} ({}): {what}", step.seq, step.name))
        });
        findings.extend(broken.map(|what| Finding::new(what).run(run.row.id)));
        let strays = run
            .events
            .iter()
            .filter(|event| event.step_seq.is_some_and(|step| run.step(step).is_none()));
        findings.extend(strays.map(|event| {
            let what = format!(
                "event {} ({}) is of a step that is not there",
                event.seq,
                name(&event.kind)
            );
            Finding::new(what).run(run.row.id).at(event.at)
        }));
    }
    findings
}

/// Ends that are not the only one, not the last word, or not what the step's row says.
fn ends(run: &RunHistory, step: &Step) -> Option<String> {
    let mut events = run.events_of(step.seq).skip_while(|event| event.ends_step().is_none());
    let end = events.next();
    if let (Some(end), Some(after)) = (end, events.next()) {
        let (ended, follows) = (name(&end.kind), name(&after.kind));
        return Some(format!(
            "{ended} (event {}) is followed by {follows} (event {})",
            end.seq, after.seq
        ));
    }
    let row = match step.state {
        StepState::Succeeded | StepState::Failed | StepState::Cancelled => Some(step.state),
        StepState::Waiting | StepState::Running | StepState::Unknown => None,
    };
    let recorded = end.and_then(Event::ends_step);
    (recorded != row).then(|| {
        let recorded = recorded.map_or("no end", StepState::as_str);
        format!("its row is {}, and its events tell of {recorded}", step.state.as_str())
    })
}

/// Attempts whose numbers have gaps, go too far, or are not those of the events.
fn misnumbered(run: &RunHistory, step: &Step) -> Option<String> {
    let rows: Vec<i32> = run.attempts_of(step.seq).map(|attempt| attempt.attempt).collect();
    let started = run
        .events_of(step.seq)
        .filter(|event| event.kind == EventKind::StepStarted);
    let told: Vec<i32> = started.map(|event| event.attempt.unwrap_or_default()).collect();
    let dense: Vec<i32> = (1..=step.attempt).collect();
    // A sleep is begun once, and what begins unrecorded tells of its first attempt by what came of it.
    let told = match step.kind {
        StepKind::Timer if told == [0] => vec![1],
        // One whose wait was over at once has no more than its end.
        StepKind::Signal | StepKind::Join if told.is_empty() || told == [0] => vec![1],
        _ if step.begins_unrecorded() => [1].into_iter().chain(told).collect(),
        StepKind::Task
        | StepKind::Timer
        | StepKind::Tool
        | StepKind::Probe
        | StepKind::Model
        | StepKind::Signal
        | StepKind::Start
        | StepKind::Join
        | StepKind::Transaction => told,
    };
    if step.attempt > step.attempts_max {
        return Some(format!("attempt {} of {}", step.attempt, step.attempts_max));
    }
    if rows != dense {
        return Some(format!(
            "attempt {} is its last, and the rows are {rows:?}",
            step.attempt
        ));
    }
    (told != dense).then(|| format!("attempt {} is its last, and the events tell of {told:?}", step.attempt))
}
