//! What is bounded is counted: a call's attempts, and the workers that a run has lost.

use super::Finding;
use crate::judge::history::{History, RunHistory};
use crate::judge::row::{Event, EventKind, Step};

pub(super) fn caps(history: &History) -> Vec<Finding> {
    let broken = history.runs.values().flat_map(|run| {
        let calls = run.steps.iter().filter(|step| step.is_call());
        let attempts = calls.filter_map(|step| too_many(run, step));
        let broken = attempts.chain(miscounted(run));
        broken.map(|(event, what)| Finding::new(what).run(run.row.id).at(event.at))
    });
    broken.collect()
}

/// A call that was tried again more often than was planned. What a lost worker or a shutdown cut costs nothing, and a
/// person's word gives it as many again.
fn too_many<'a>(run: &'a RunHistory, step: &Step) -> Option<(&'a Event, String)> {
    let cap = usize::try_from(step.effect.attempts_max()).unwrap_or(usize::MAX);
    let mut failed = 0;
    for event in run.events_of(step.seq) {
        if event.kind == EventKind::StepRetryScheduled {
            failed += 1;
        } else if event.kind == EventKind::StepUnknown {
            failed = 0;
        }
        if failed >= cap {
            let (seq, name) = (step.seq, &step.name);
            let what = format!("step {seq} ({name}) is to be tried again {failed} times, and may be tried {cap} times");
            return Some((event, what));
        }
    }
    None
}

/// Losses of its worker that were not added up. What a step came to may have wiped them out.
fn miscounted(run: &RunHistory) -> Vec<(&Event, String)> {
    let mut broken = Vec::new();
    let mut lost = 0;
    for event in &run.events {
        if event.is_crash() {
            lost += 1;
        } else if wipes(event) {
            lost = 0;
        }
        if let (EventKind::Reclaimed, Some(counted)) = (event.kind, event.crashes)
            && counted < lost
        {
            let what = format!(
                "event {} counts {counted} lost workers, and there were {lost}",
                event.seq
            );
            broken.push((event, what));
        }
    }
    broken
}

fn wipes(event: &Event) -> bool {
    let of_a_step = event.step_seq.is_some() && event.kind != EventKind::StepStarted;
    of_a_step || matches!(event.kind, EventKind::Resumed | EventKind::Woken)
}
