//! Nothing that waits for a time goes on before it, by the database's clock.

use super::{Finding, seconds};
use crate::judge::history::{History, RunHistory};
use crate::judge::name;
use crate::judge::row::{Event, EventKind, Step, StepKind};
use crate::record::Micros;

/// A worker counts on from the database's clock by its own, which may be a little fast.
const DRIFT: Micros = 50_000;

pub(super) fn timers(history: &History) -> Vec<Finding> {
    let broken = history.runs.values().flat_map(|run| {
        let steps = run
            .steps
            .iter()
            .flat_map(|step| rung(run, step).chain(retried(run, step)));
        let early = woken(run).chain(steps).filter(|(event, due)| event.at < *due - DRIFT);
        early.map(|(event, due)| {
            let (kind, early) = (name(&event.kind), seconds(due - event.at));
            let what = format!("event {} ({kind}) came {early} before its time", event.seq);
            Finding::new(what).run(run.row.id).at(event.at)
        })
    });
    broken.collect()
}

/// Wake-ups of runs that were parked for a time, by nothing but the time.
fn woken(run: &RunHistory) -> impl Iterator<Item = (&Event, Micros)> {
    let pairs = run.events.windows(2).filter_map(|pair| match pair {
        [parked, woken] => Some((parked, woken)),
        _ => None,
    });
    pairs.filter_map(|(parked, woken)| {
        let by_time = parked.kind == EventKind::Parked && woken.kind == EventKind::Woken && woken.by.is_none();
        let is_timer = parked.parked_for.as_deref() == Some("timer");
        (by_time && is_timer).then_some((woken, parked.until?))
    })
}

/// Sleeps, and waits for a signal whose time was over.
fn rung<'a>(run: &'a RunHistory, step: &'a Step) -> impl Iterator<Item = (&'a Event, Micros)> {
    let is_over = match step.kind {
        StepKind::Timer => true,
        StepKind::Signal => step.took().is_none(),
        StepKind::Model
        | StepKind::Tool
        | StepKind::Probe
        | StepKind::Task
        | StepKind::Start
        | StepKind::Join
        | StepKind::Transaction => false,
    };
    let due = run
        .events_of(step.seq)
        .find(|event| event.kind == EventKind::StepStarted);
    let due = due.and_then(|started| started.due_at).filter(|_| is_over);
    let ends = run
        .events_of(step.seq)
        .filter(|event| event.kind == EventKind::StepSucceeded);
    ends.filter_map(move |end| Some((end, due?)))
}

/// Attempts that were to wait a while after the one before.
fn retried<'a>(run: &'a RunHistory, step: &'a Step) -> impl Iterator<Item = (&'a Event, Micros)> {
    let events = run.events_of(step.seq);
    events
        .zip(run.events_of(step.seq).skip(1))
        .filter_map(|(scheduled, started)| {
            let again = scheduled.kind == EventKind::StepRetryScheduled && started.kind == EventKind::StepStarted;
            again.then_some((started, scheduled.due_at?))
        })
}
