//! One holder at a time: along a run's events, each write stands under the fence of whoever held the run by then.
//!
//! This is the law that catches stale writes. The events tell who wrote; the rows of steps and attempts tell it once
//! more, in case a write left no event.

use super::Finding;
use crate::judge::history::{History, RunHistory};
use crate::judge::name;
use crate::judge::row::{Event, EventKind, Step};
use uuid::Uuid;

pub(super) fn fence(history: &History) -> Vec<Finding> {
    let mut findings = Vec::new();
    for run in history.runs.values() {
        let mut holding = Holding { fence: 0, worker: None };
        for event in &run.events {
            if let Some(what) = holding.follow(history, event) {
                let what = format!("event {} ({}): {what}", event.seq, name(&event.kind));
                findings.push(Finding::new(what).run(run.row.id).at(event.at));
            }
        }
        let broken = run
            .steps
            .iter()
            .filter_map(|step| unlike_its_events(history, run, step));
        findings.extend(broken.map(|what| Finding::new(what).run(run.row.id)));
    }
    findings
}

/// Who holds a run.
struct Holding {
    /// The highest so far.
    fence: i64,
    worker: Option<Uuid>,
}

impl Holding {
    /// Goes on by an event; why it should not be there.
    fn follow(&mut self, history: &History, event: &Event) -> Option<String> {
        let (before, holder) = (self.fence, self.worker);
        self.fence = before.max(event.fence);
        if event.kind == EventKind::Claimed {
            self.worker = event.worker_id;
        } else if event.gives_up() {
            self.worker = None;
        }
        let (by, fence) = (history.worker(event.worker_id), event.fence);
        let held = match holder {
            Some(holder) => format!("held by {} under fence {before}", history.worker(Some(holder))),
            None => format!("held by nobody, the last fence was {before}"),
        };
        if event.kind == EventKind::Claimed {
            let fits = event.worker_id.is_some() && holder.is_none() && fence == before + 1;
            return (!fits).then(|| format!("claimed by {by} under fence {fence}, while {held}"));
        }
        let fits = fence == before && event.worker_id == holder;
        (!fits).then(|| format!("stale write accepted, by {by} under fence {fence}, while {held}"))
    }
}

/// A step's row, or that of one of its attempts, that was not written by whoever its events name.
fn unlike_its_events(history: &History, run: &RunHistory, step: &Step) -> Option<String> {
    // Whoever steers a run from outside, or asks people about a step, leaves these columns as they are.
    let events: Vec<&Event> = run
        .events_of(step.seq)
        .filter(|event| event.worker_id.is_some() && event.kind != EventKind::ApprovalOpened)
        .collect();
    let begins = |attempt: i32| {
        if attempt == 1 && step.begins_unrecorded() {
            return (!events.is_empty()).then_some(0);
        }
        let begins = |event: &&Event| event.kind == EventKind::StepStarted && event.attempt == Some(attempt);
        events.iter().position(begins)
    };
    for attempt in run.attempts_of(step.seq) {
        let Some(start) = begins(attempt.attempt) else {
            continue;
        };
        let until = begins(attempt.attempt + 1).unwrap_or(events.len());
        let (first, last) = (events.get(start)?, events.get(until.checked_sub(1)?)?);
        let fits =
            first.worker_id == Some(attempt.worker_id) && last.fence == attempt.fence && first.at == attempt.started_at;
        if !fits {
            return Some(format!(
                "stale write accepted: attempt {} of step {} is {}'s under fence {}, and by the events {}'s under fence {}",
                attempt.attempt,
                step.seq,
                history.worker(Some(attempt.worker_id)),
                attempt.fence,
                history.worker(first.worker_id),
                last.fence,
            ));
        }
    }
    let last = events.last()?;
    (step.attempt == 0 && last.fence != step.fence).then(|| {
        format!(
            "stale write accepted: step {} is under fence {}, and by the events under {}",
            step.seq, step.fence, last.fence
        )
    })
}
