//! Whether everything held, by the outside ledger and by the journal. Pure.

use engine::query::{AttemptRow, MessageRow, RunDetail};
use rehearsal::payments::Record;
use serde::Serialize;
use std::collections::BTreeSet;

/// What there is to judge by.
#[derive(Debug)]
pub(super) struct Evidence {
    pub(super) run: RunDetail,
    pub(super) journal: Vec<AttemptRow>,
    pub(super) transcript: Vec<MessageRow>,
    pub(super) ledger: Vec<Record>,
}

/// One promise, and whether it held.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    /// The promise.
    pub(super) promise: String,
    /// Whether it held.
    pub(super) held: bool,
    /// What was seen.
    pub(super) seen: String,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) checks: Vec<Check>,
}

impl Verdict {
    /// Whether every promise held.
    pub(super) fn held(&self) -> bool {
        self.checks.iter().all(|check| check.held)
    }

    /// The promises that did not.
    pub(super) fn broken(&self) -> Vec<&str> {
        let broken = self.checks.iter().filter(|check| !check.held);
        broken.map(|check| check.promise.as_str()).collect()
    }
}

/// Judges.
pub(super) fn judge(evidence: &Evidence) -> Verdict {
    let Evidence {
        run,
        journal,
        transcript,
        ledger,
    } = evidence;
    let workers: BTreeSet<&str> = journal.iter().filter_map(|row| row.worker.as_deref()).collect();
    let keys: BTreeSet<Option<&str>> = ledger.iter().map(|record| record.key.as_deref()).collect();
    let paid: Vec<&Record> = ledger.iter().filter(|record| record.applied).collect();
    let refund = paid.first().and_then(|record| record.refund_id.as_deref());
    let names_it = refund.is_some_and(|refund| {
        transcript
            .iter()
            .any(|message| message.text.as_deref().is_some_and(|text| text.contains(refund)))
    });
    let errors = transcript.iter().filter(|message| message.is_error).count();
    let one_key = keys.len() == 1 && !keys.contains(&None);
    let check = |promise: &str, held: bool, seen: String| Check {
        promise: promise.to_owned(),
        held,
        seen,
    };
    Verdict {
        checks: vec![
            check("the run succeeded", run.state == "succeeded", run.state.clone()),
            check(
                "two workers drove it",
                workers.len() == 2,
                workers.into_iter().collect::<Vec<_>>().join(", "),
            ),
            check(
                "the refund arrived twice, under one key",
                ledger.len() >= 2 && one_key,
                format!("arrivals: {}, keys: {}", ledger.len(), keys.len()),
            ),
            check("it was paid once", paid.len() == 1, format!("payments: {}", paid.len())),
            check(
                "every tool did what it was asked",
                errors == 0,
                format!("errors: {errors}"),
            ),
            check(
                "the conversation names that refund",
                names_it,
                refund.unwrap_or("no refund").to_owned(),
            ),
        ],
    }
}

#[cfg(test)]
mod tests;
