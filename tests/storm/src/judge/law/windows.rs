//! What the nemesis did: whether it hit where it aimed, and whether it did enough to prove anything.

use super::{Finding, seconds};
use crate::judge::history::{Arrival, History};
use crate::judge::name;
use crate::record::{Deed, Micros, NemesisRecord, Window};
use std::collections::BTreeMap;

/// A storm that is not meant to prove anything is shorter.
const FAULTS_MIN: Micros = 55_000_000;

/// How a window was aimed at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub(in crate::judge) struct Aim {
    /// It counts.
    pub(in crate::judge) hit: usize,
    /// It was said to be hit, and what was recorded does not bear it out.
    pub(in crate::judge) unproven: usize,
    /// It did not come in time.
    pub(in crate::judge) missed: usize,
}

/// Each window, those never aimed at too.
pub(in crate::judge) fn windows(history: &History) -> BTreeMap<Window, Aim> {
    let mut windows: BTreeMap<Window, Aim> = Window::ALL.into_iter().map(|window| (window, Aim::default())).collect();
    for record in &history.nemesis {
        let Some(window) = record.window else { continue };
        let aim = windows.entry(window).or_default();
        if record.deed == Deed::Missed {
            aim.missed += 1;
        } else if bears_out(history, window, record) {
            aim.hit += 1;
        } else {
            aim.unproven += 1;
        }
    }
    windows
}

/// Whether the ledger and the database saw it so, where they can tell.
fn bears_out(history: &History, window: Window, record: &NemesisRecord) -> bool {
    let its_own = |arrival: &&Arrival| arrival.worker == record.worker && arrival.at <= record.at;
    let mut arrivals = history.arrivals().filter(its_own);
    match window {
        Window::SentUnapplied => arrivals.any(|arrival| arrival.applied.iter().any(|at| *at > record.at)),
        // The answer was kept back on its way, so that it was delivered for all the ledger knows.
        Window::AppliedUnanswered => arrivals.any(|arrival| {
            let applied = arrival.applied.iter().any(|at| *at <= record.at);
            applied && !history.is_answered(arrival)
        }),
        Window::ClaimUncommitted
        | Window::ClaimUnread
        | Window::IntentUnsent
        | Window::ReplyUnrecorded
        | Window::RecordUnanswered
        | Window::RecordAnswerLost
        | Window::ParkUnanswered
        | Window::FinishUnanswered
        | Window::ExtendUnanswered
        | Window::ReclaimUncommitted => true,
    }
}

/// Whether it proves nothing that nothing was found.
pub(in crate::judge) fn is_too_short(history: &History) -> bool {
    let faults = history.faults();
    faults.until - faults.from < FAULTS_MIN
}

pub(super) fn blew(history: &History) -> Vec<Finding> {
    if is_too_short(history) {
        return Vec::new();
    }
    let faults = history.faults();
    let lasted = faults.until - faults.from;
    let mut missing = Vec::new();
    for (deed, what) in [
        (Deed::WorkerKilled, "no worker was killed"),
        (Deed::PostgresKilled, "Postgres was never killed"),
    ] {
        if !history.nemesis.iter().any(|record| record.deed == deed) {
            missing.push(what.to_owned());
        }
    }
    let untouched = windows(history).into_iter().filter(|(_, aim)| aim.hit == 0);
    missing.extend(untouched.map(|(window, aim)| {
        let (missed, unproven) = (aim.missed, aim.unproven);
        format!(
            "the window {} was never hit ({missed} missed, {unproven} not borne out)",
            name(&window)
        )
    }));
    let within = |what: String| Finding::new(format!("{what} within {}", seconds(lasted)));
    missing.into_iter().map(within).collect()
}

pub(super) fn workers(history: &History) -> Vec<Finding> {
    let ended = history.nemesis.iter().filter(|record| record.deed == Deed::WorkerEnded);
    let finding = |record: &NemesisRecord| {
        let worker = record.worker.as_deref().unwrap_or("a worker");
        let detail = record.detail.as_deref().unwrap_or("nobody knows how");
        Finding::new(format!("{worker} ended by itself: {detail}")).at(record.at)
    };
    let drivers = history.runs.values().flat_map(|run| {
        let broken = run.events.iter().filter(|event| event.is_broken_driver());
        broken.map(|event| {
            let worker = history.worker(event.worker_id);
            let what = format!("a driver broke on {worker}, event {}", event.seq);
            Finding::new(what).run(run.row.id).at(event.at)
        })
    });
    ended.map(finding).chain(drivers).collect()
}
