//! Nothing stale in the world: a call comes from a worker that holds its run.
//!
//! Nobody can keep a process that was stopped at the wrong instant from sending late, nor a program from outliving its
//! worker; so what was stopped or killed is left out. See `docs/failure-semantics.md`.

use super::{Finding, seconds};
use crate::judge::history::{Arrival, History, RunHistory};
use crate::judge::row::{Event, EventKind};
use crate::record::{Deed, Micros};

/// From a worker's last word on a run to the arrival of what it had sent by then.
const GRACE: Micros = 1_000_000;

/// So long after its going on a worker that was stopped may have something to send.
const AWAKE_AFTER: Micros = 5_000_000;

pub(super) fn sender(history: &History) -> Vec<Finding> {
    let broken = |arrival: &Arrival| {
        let planned = history.effects.get(&arrival.effect)?.planned.as_ref()?;
        let run = history.runs.get(&planned.run)?;
        let worker = arrival.worker.as_deref()?;
        if may_be_late(history, worker, arrival.at) {
            return None;
        }
        let what = format!(
            "call {} of {worker} {}",
            arrival.number,
            out_of_turn(history, run, arrival)?
        );
        Some(
            Finding::new(what)
                .run(run.row.id)
                .effect(&arrival.effect)
                .at(arrival.at),
        )
    };
    history.arrivals().filter_map(broken).collect()
}

/// When its worker's last claim was over, if it was.
fn out_of_turn(history: &History, run: &RunHistory, arrival: &Arrival) -> Option<String> {
    let is_its_own = |event: &Event| {
        event
            .worker_id
            .is_some_and(|id| history.workers.get(&id) == arrival.worker.as_ref())
    };
    let claim = run
        .events
        .iter()
        .rposition(|event| event.kind == EventKind::Claimed && event.at <= arrival.at && is_its_own(event));
    let Some(claim) = claim else {
        return Some("came, and it had never claimed the run".to_owned());
    };
    let end = run.events[claim..].iter().find(|event| event.gives_up())?;
    let late = arrival.at - end.at;
    (late > GRACE).then(|| format!("came {} after its claim was over, event {}", seconds(late), end.seq))
}

/// Whether it had been killed, or stopped not long before.
pub(super) fn may_be_late(history: &History, worker: &str, at: Micros) -> bool {
    history.nemesis.iter().any(|record| {
        let (from, until) = match record.deed {
            Deed::WorkerKilled => (record.at - GRACE, Micros::MAX),
            Deed::WorkerStopped | Deed::WorkerContinued => (record.at - GRACE, record.at + AWAKE_AFTER),
            Deed::WorkerStarted
            | Deed::WorkerEnded
            | Deed::WorkerDrained
            | Deed::PostgresKilled
            | Deed::PostgresReady
            | Deed::ApiKilled
            | Deed::ApiReady
            | Deed::DatabaseCut
            | Deed::AnswerLost
            | Deed::ToolsCut
            | Deed::NotificationsOff
            | Deed::NotificationsOn
            | Deed::Missed
            | Deed::Quiet => return false,
        };
        record.worker.as_deref() == Some(worker) && (from..=until).contains(&at)
    })
}
