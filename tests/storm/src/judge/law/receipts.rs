//! What is asked for over SQL is part of the application's own transaction: both are there, or neither.

use super::Finding;
use crate::judge::history::{History, RunHistory};
use crate::judge::row::Receipt;
use crate::record::{Asked, DriverRecord, Outcome, name};
use std::collections::{BTreeSet, HashMap};
use uuid::Uuid;

pub(super) fn receipts(history: &History) -> Vec<Finding> {
    let there: HashMap<&str, &Receipt> = history
        .receipts
        .iter()
        .map(|receipt| (receipt.id.as_str(), receipt))
        .collect();
    let mut findings = Vec::new();
    let mut known = BTreeSet::new();
    for record in &history.driver {
        let Some(id) = &record.receipt else { continue };
        known.insert(id.as_str());
        let what = match (&record.outcome, there.contains_key(id.as_str())) {
            (Outcome::Acknowledged(_), false) => "was acknowledged, and the row beside it is not there",
            (Outcome::RolledBack(_), true) => "was rolled back, and the row beside it is there",
            (Outcome::RolledBack(run), false) if remains(history, record, run) => "was rolled back, and is there",
            _ => continue,
        };
        findings.push(Finding::new(format!("a {} {what}", name(&record.asked))).at(record.at));
    }
    for receipt in &history.receipts {
        let asked = name(&receipt.asked);
        if !known.contains(receipt.id.as_str()) {
            findings.push(Finding::new(format!(
                "nobody wrote the row beside a {asked}, {}",
                receipt.id
            )));
        }
        let run = Uuid::parse_str(&receipt.run).ok();
        let run = run.and_then(|id| history.runs.get(&id));
        if !run.is_some_and(|run| is_done(run, receipt)) {
            let what = format!(
                "the row beside a {asked} of {} is there, and the {asked} is not",
                receipt.run
            );
            findings.push(
                run.into_iter()
                    .fold(Finding::new(what), |finding, run| finding.run(run.row.id)),
            );
        }
    }
    findings
}

/// Whether what was asked for beside a row is there.
fn is_done(run: &RunHistory, receipt: &Receipt) -> bool {
    let of = receipt.of.as_deref().unwrap_or_default();
    match receipt.asked {
        Asked::Start => true,
        Asked::Cancel => run.row.cancel_requested_at.is_some(),
        Asked::Pause | Asked::Resume => !run.requests.is_empty() || run.row.ended_at.is_some(),
        Asked::Signal => run.signals.iter().any(|signal| signal.id == of),
        Asked::Decide => {
            let mut approvals = run.approvals.iter().filter(|approval| approval.verb.is_some());
            approvals.any(|approval| approval.id.to_string() == of)
        }
    }
}

/// Whether what was rolled back is there, and nobody asked for it otherwise.
fn remains(history: &History, record: &DriverRecord, run: &str) -> bool {
    let same = |other: &&DriverRecord| {
        let is_same = (other.run, other.asked, other.signal) == (record.run, record.asked, record.signal);
        is_same && matches!(other.outcome, Outcome::Acknowledged(_) | Outcome::Indeterminate(_))
    };
    let run = Uuid::parse_str(run).ok().and_then(|id| history.runs.get(&id));
    if history.driver.iter().any(|other| same(&other)) {
        // A start that was rolled back had an id of its own, unless the run was there before.
        let acknowledged = |other: &DriverRecord| match (&other.outcome, &record.outcome) {
            (Outcome::Acknowledged(id), Outcome::RolledBack(undone)) => id == undone,
            _ => false,
        };
        return record.asked == Asked::Start && run.is_some() && !history.driver.iter().any(acknowledged);
    }
    match record.asked {
        Asked::Start => run.is_some(),
        Asked::Cancel => run.is_some_and(|run| run.row.cancel_requested_at.is_some()),
        Asked::Signal | Asked::Pause | Asked::Resume | Asked::Decide => false,
    }
}
