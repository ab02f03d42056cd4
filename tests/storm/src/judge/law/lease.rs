//! A lease is over when the database says so, and not before.

use super::{Finding, seconds};
use crate::judge::history::History;
use crate::judge::row::EventKind;
use crate::record::{Deed, Micros};

/// An event's time is that of its transaction's begin, and the worker may have been closed by another one since then.
const GRACE: Micros = 1_000_000;

/// A lease that was lost is never extended, so that its row still tells when it was over.
pub(super) fn lease(history: &History) -> Vec<Finding> {
    let broken = history.runs.values().flat_map(|run| {
        let taken = run.events.iter().filter(|event| event.kind == EventKind::Reclaimed);
        taken.filter_map(|event| {
            let ended = *history.leases.get(&event.worker_id?)?;
            let worker = history.worker(event.worker_id);
            // One that was told to end gives its lease up by itself.
            let drained = |worker: &str| {
                let drained = history
                    .nemesis
                    .iter()
                    .filter(|record| record.deed == Deed::WorkerDrained);
                drained.clone().any(|record| record.worker.as_deref() == Some(worker))
            };
            (event.at + GRACE < ended && !drained(&worker)).then(|| {
                let early = seconds(ended - event.at);
                let what = format!(
                    "taken back from {worker} {early} before its lease was over, event {}",
                    event.seq
                );
                Finding::new(what).run(run.row.id).at(event.at)
            })
        })
    });
    broken.collect()
}
