//! Children: each is started once, its parent learns of its end, and none outlives a parent that it is to end with.

use super::Finding;
use crate::judge::history::{History, RunHistory};
use crate::judge::row::{RunState, Step, StepKind, StepState};
use crate::plan::parent_of;
use std::collections::BTreeMap;
use uuid::Uuid;

pub(super) fn children(history: &History) -> Vec<Finding> {
    let mut by_number: BTreeMap<u64, Vec<Uuid>> = BTreeMap::new();
    for (id, run) in &history.runs {
        let child = run.number.filter(|number| parent_of(*number).is_some());
        by_number
            .entry(child.unwrap_or_default())
            .or_default()
            .extend(child.map(|_| *id));
    }
    let again = by_number.values().filter(|ids| ids.len() > 1).flat_map(|ids| {
        let count = ids.len();
        ids.iter()
            .skip(1)
            .map(move |id| Finding::new(format!("a child was started {count} times")).run(*id))
    });
    let of_runs = history.runs.values().flat_map(|run| {
        let mut broken: Vec<String> = Vec::new();
        broken.extend(misplaced(history, run));
        broken.extend(outlives(history, run));
        broken.extend(run.steps.iter().filter_map(|step| misjoined(history, step)));
        broken.extend(missing(history, run, &by_number));
        broken.extend(deaf(history, run));
        broken.into_iter().map(|what| Finding::new(what).run(run.row.id))
    });
    again.chain(of_runs).collect()
}

/// A child of somebody else than was planned.
fn misplaced(history: &History, run: &RunHistory) -> Option<String> {
    let planned = run.number.and_then(parent_of);
    let parent = run.row.parent_id.map(|id| history.runs.get(&id));
    match (planned, parent) {
        (None, None) => None,
        (Some(_), None) => Some("a child that knows no parent".to_owned()),
        (None, Some(_)) => Some("it has a parent, and was asked for from outside".to_owned()),
        (Some(planned), Some(parent)) => {
            let number = parent.and_then(|parent| parent.number);
            let is_planned = |parent: u64| {
                history
                    .plan
                    .children(&history.plan.run(parent))
                    .contains(&run.number?)
                    .then_some(())
            };
            let agrees = number == Some(planned) && is_planned(planned).is_some();
            (!agrees).then(|| format!("a child of run {number:?} of the plan, and {planned} was to start it"))
        }
    }
}

/// Alive, though its parent is not.
fn outlives(history: &History, run: &RunHistory) -> Option<String> {
    let parent = history.runs.get(&run.row.parent_id?)?;
    let bound = run.row.on_parent_end.as_deref() == Some("cancel");
    let lives_on = bound && run.row.ended_at.is_none() && parent.row.ended_at.is_some();
    lives_on.then(|| format!("it is alive, and its parent {} has ended", parent.row.id))
}

/// A wait for a child whose answer is not the child's end.
fn misjoined(history: &History, step: &Step) -> Option<String> {
    if step.kind != StepKind::Join || !matches!(step.state, StepState::Succeeded | StepState::Failed) {
        return None;
    }
    let broken = |what: &str| Some(format!("step {} joined a child that {what}", step.seq));
    let Some(child) = step.child().and_then(|id| history.runs.get(&id)) else {
        return broken("is not there");
    };
    let expected = match child.row.state {
        RunState::Succeeded => StepState::Succeeded,
        RunState::Failed | RunState::Cancelled => StepState::Failed,
        RunState::Queued | RunState::Running | RunState::Waiting => return broken("has not ended"),
    };
    if step.state != expected {
        return broken("ended otherwise");
    }
    if step.state == StepState::Succeeded && step.result != child.row.result {
        return broken("came to another result");
    }
    let early = step
        .ended_at
        .zip(child.row.ended_at)
        .is_some_and(|(told, ended)| told < ended);
    if early { broken("ended only later") } else { None }
}

/// A run that succeeded has started all its children, and waited for each.
fn missing(history: &History, run: &RunHistory, by_number: &BTreeMap<u64, Vec<Uuid>>) -> Vec<String> {
    let Some(number) = run.number.filter(|_| run.row.state == RunState::Succeeded) else {
        return Vec::new();
    };
    let of = |kind: StepKind, child: Uuid| {
        let steps = run.steps.iter().filter(move |step| step.kind == kind);
        steps.filter(|step| step.child() == Some(child)).count()
    };
    let planned = history.plan.children(&history.plan.run(number));
    let broken = planned.into_iter().filter_map(|child| {
        let Some([id, ..]) = by_number.get(&child).map(Vec::as_slice) else {
            return Some(format!("it succeeded, and its child {child} was not started"));
        };
        let (started, joined) = (of(StepKind::Start, *id), of(StepKind::Join, *id));
        ((started, joined) != (1, 1))
            .then(|| format!("it succeeded, and {started} steps started its child {id} and {joined} waited for it"))
    });
    broken.collect()
}

/// A run that is parked for a child that has ended.
fn deaf(history: &History, run: &RunHistory) -> Option<String> {
    let waits = run.row.state == RunState::Waiting && run.row.waiting_for.as_deref() == Some("child");
    let mut open = run
        .steps
        .iter()
        .filter(|step| step.kind == StepKind::Join && step.state == StepState::Waiting);
    let ended = open.find_map(|step| {
        let child = history.runs.get(&step.child()?)?;
        child.row.ended_at.map(|_| child.row.id)
    });
    ended
        .filter(|_| waits)
        .map(|child| format!("it waits for its child {child}, which has ended"))
}
