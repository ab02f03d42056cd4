//! What was asked for, and what came of it.

use super::{Finding, seconds};
use crate::judge::history::{History, RunHistory};
use crate::judge::name;
use crate::judge::row::{Request, RequestKind, RunState, StepState};
use crate::plan::parent_of;
use crate::record::{Asked, Declared, DriverRecord, Micros, Outcome};
use std::collections::{BTreeMap, HashSet};
use uuid::Uuid;

/// So many crashes since its last recorded result park a run for a person, and no fewer.
const CRASHES_MAX: usize = 5;

/// An end's time is that of its transaction's begin, and the answer's that of its record; neither is much off.
const END_GRACE: Micros = 1_000_000;

pub(super) fn acknowledged(history: &History) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut asked: BTreeMap<u64, Vec<&DriverRecord>> = BTreeMap::new();
    for record in &history.driver {
        asked.entry(record.run).or_default().push(record);
    }
    let mut runs: BTreeMap<Option<u64>, Vec<Uuid>> = BTreeMap::new();
    for (id, run) in &history.runs {
        runs.entry(run.number).or_default().push(*id);
    }
    for (number, records) in &asked {
        findings.extend(broken_words(history, *number, records));
        findings.extend(refusals(history, records));
    }
    for (number, ids) in &runs {
        let Some(number) = number else {
            findings.extend(
                ids.iter()
                    .map(|id| Finding::new("a run whose input names no number").run(*id)),
            );
            continue;
        };
        // Children are for another law.
        if parent_of(*number).is_some() {
            continue;
        }
        if let [_, more @ ..] = ids.as_slice() {
            let again =
                |id: &Uuid| Finding::new(format!("run {number} of the plan was made {} times", ids.len())).run(*id);
            findings.extend(more.iter().map(again));
        }
        let is_start = |record: &&&DriverRecord| record.asked == Asked::Start;
        let starts: Vec<_> = asked.get(number).into_iter().flatten().filter(is_start).collect();
        if starts.is_empty() {
            let uninvited = |id: &Uuid| Finding::new(format!("nobody asked for run {number} of the plan")).run(*id);
            findings.extend(ids.iter().map(uninvited));
        } else if starts.iter().all(|start| matches!(start.outcome, Outcome::Refused(_))) {
            let refused =
                |id: &Uuid| Finding::new(format!("run {number} of the plan was refused, and is there")).run(*id);
            findings.extend(ids.iter().map(refused));
        }
    }
    findings.extend(
        history
            .strays
            .iter()
            .map(|(id, rows)| Finding::new(format!("the run is not there, and {rows} rows belong to it")).run(*id)),
    );
    findings
}

/// Of one planned run: acknowledgements that do not agree, or that the database knows nothing of.
fn broken_words(history: &History, number: u64, records: &[&DriverRecord]) -> Vec<Finding> {
    let mut findings = Vec::new();
    // Each id that was told, and when first.
    let mut told: Vec<(&str, Micros)> = Vec::new();
    for record in records {
        let Outcome::Acknowledged(id) = &record.outcome else {
            continue;
        };
        let run = Uuid::parse_str(id).ok().and_then(|id| history.runs.get(&id));
        if let Some(run) = run.filter(|run| record.asked == Asked::Cancel && run.row.cancel_requested_at.is_none()) {
            let what = "a cancel was acknowledged, and no trace of it is there";
            findings.push(Finding::new(what).run(run.row.id).at(record.at));
        }
        if let Some(run) = run.filter(|run| !leaves_a_row(run, record)) {
            let what = format!("a {} was acknowledged, and no row tells of it", name(&record.asked));
            findings.push(Finding::new(what).run(run.row.id).at(record.at));
        }
        if told.iter().any(|(known, _)| known == id) {
            continue;
        }
        told.push((id, record.at));
        if run.is_none_or(|run| run.number != Some(number)) {
            let is = if run.is_none() { "not there" } else { "another" };
            let what = format!("run {number} of the plan was acknowledged as {id}, which is {is}");
            findings.push(Finding::new(what).at(record.at));
        }
    }
    if let [(first, _), more @ ..] = told.as_slice() {
        findings.extend(more.iter().map(|(id, at)| {
            Finding::new(format!(
                "run {number} of the plan was acknowledged as {first} and as {id}"
            ))
            .at(*at)
        }));
    }
    findings
}

/// Whether what was acknowledged stands in the table of requests, where it has to.
fn leaves_a_row(run: &RunHistory, record: &DriverRecord) -> bool {
    let kind = match record.asked {
        // The rows of signals and decisions are for other laws.
        Asked::Start | Asked::Signal | Asked::Decide => return true,
        Asked::Cancel => RequestKind::Cancel,
        Asked::Pause => RequestKind::Pause,
        Asked::Resume => RequestKind::Resume,
    };
    let asked = |request: &Request| request.kind == kind && request.at <= record.at;
    run.requests.iter().any(asked)
        || run
            .row
            .ended_at
            .is_some_and(|end| end <= record.at && kind != RequestKind::Cancel)
}

/// Of one planned run: what was refused without a reason.
fn refusals(history: &History, records: &[&DriverRecord]) -> Vec<Finding> {
    let started = records.iter().any(|record| {
        let refused = matches!(record.outcome, Outcome::Refused(_));
        record.asked == Asked::Start && !refused
    });
    let mut acknowledged = records.iter().filter_map(|record| match &record.outcome {
        Outcome::Acknowledged(id) => Uuid::parse_str(id).ok(),
        Outcome::Indeterminate(_) | Outcome::Refused(_) | Outcome::RolledBack(_) => None,
    });
    let run = acknowledged.find_map(|id| history.runs.get(&id));
    let broken = |record: &&DriverRecord| {
        let Outcome::Refused(code) = &record.outcome else {
            return None;
        };
        let what = match record.asked {
            // All that are planned can be started.
            Asked::Start => {
                started.then(|| format!("a start was refused ({code}), and not each time it was asked for"))?
            }
            // Somebody else was faster, the run went on without it, or it is too early to say.
            Asked::Decide if matches!(code.as_str(), "too_early" | "already_decided" | "approval_closed") => {
                return None;
            }
            Asked::Decide => format!("a decision was refused ({code})"),
            Asked::Cancel | Asked::Pause | Asked::Resume | Asked::Signal => {
                let asked_before = |other: &&DriverRecord| other.at < record.at && other.asked == record.asked;
                let asked_before = records.iter().any(asked_before);
                let run = run.filter(|run| !may_refuse(run, record, asked_before))?;
                let end = run.row.ended_at.map_or_else(
                    || "has not ended".to_owned(),
                    |end| format!("ended {} later", seconds(end - record.at)),
                );
                format!("a {} was refused ({code}), and the run {end}", name(&record.asked))
            }
        };
        let finding = Finding::new(what).at(record.at);
        Some(run.iter().fold(finding, |finding, run| finding.run(run.row.id)))
    };
    records.iter().filter_map(broken).collect()
}

/// Whether the run had ended by then, or had been resumed by an earlier request that nobody got an answer to.
fn may_refuse(run: &RunHistory, record: &DriverRecord, asked_before: bool) -> bool {
    let ended = run.row.ended_at.is_some_and(|end| end <= record.at + END_GRACE);
    let resumed = run.requests.iter().any(|request| request.kind == RequestKind::Resume);
    ended || (record.asked == Asked::Resume && asked_before && resumed)
}

pub(super) fn ended(history: &History) -> Vec<Finding> {
    let cancels = history.driver.iter().filter(|record| record.asked == Asked::Cancel);
    let cancelled: HashSet<u64> = cancels.map(|record| record.run).collect();
    let broken = |run: &RunHistory| {
        let parent = run.row.parent_id.and_then(|id| history.runs.get(&id));
        let with_parent = parent.is_some_and(|parent| parent.row.cancel_requested_at.is_some());
        let asked = run.number.is_some_and(|number| cancelled.contains(&number));
        let what = unfinished(history, run, asked || with_parent)?;
        let finding = Finding::new(what).run(run.row.id);
        let last = run.row.ended_at.or_else(|| run.events.last().map(|event| event.at));
        Some(last.into_iter().fold(finding, Finding::at))
    };
    history.runs.values().filter_map(broken).collect()
}

/// Why this is no end.
fn unfinished(history: &History, run: &RunHistory, cancel_asked: bool) -> Option<String> {
    let row = &run.row;
    if row.paused_at.is_some() {
        return Some(format!("still paused, {}", state(row.state)));
    }
    match row.state {
        RunState::Succeeded if row.cancel_requested_at.is_some() => {
            Some("succeeded, though a cancel came first".to_owned())
        }
        RunState::Succeeded => None,
        RunState::Cancelled if cancel_asked => None,
        RunState::Cancelled => Some("cancelled, and nobody asked for it".to_owned()),
        RunState::Failed => {
            let error = row
                .error
                .as_ref()
                .map_or_else(|| "no error".to_owned(), ToString::to_string);
            Some(format!("failed: {error}"))
        }
        RunState::Queued | RunState::Running => Some(format!("still {}", state(row.state))),
        // It goes on once somebody has looked at the child.
        RunState::Waiting
            if row.waiting_for.as_deref() == Some("child")
                && history.children(row.id).any(RunHistory::waits_for_a_person) =>
        {
            None
        }
        RunState::Waiting => ungrounded(run),
    }
}

/// Why this is no wait for a person.
fn ungrounded(run: &RunHistory) -> Option<String> {
    let row = &run.row;
    let waiting_for = row.waiting_for.as_deref().unwrap_or("nothing");
    let reason = row.wait_reason.as_deref().unwrap_or("no reason");
    if waiting_for != "approval" {
        return Some(format!("still waiting, for {waiting_for} ({reason})"));
    }
    let unknown = |declared: Option<Declared>| {
        let wanted = |effect: Declared| declared.is_none_or(|declared| declared == effect);
        run.steps
            .iter()
            .any(|step| step.state == StepState::Unknown && wanted(step.effect))
    };
    match reason {
        "unknown_outcome" if !unknown(Some(Declared::AtMostOnce)) => {
            Some("waits for a word on an unknown outcome, and no outcome is unknown".to_owned())
        }
        "retries_exhausted" if !unknown(None) => {
            Some("waits as if retries were exhausted, and no step is unknown".to_owned())
        }
        "crashes" if run.crashes() < CRASHES_MAX => Some(format!(
            "waits for its crashes, and had {} since its last result",
            run.crashes()
        )),
        "unknown_outcome" | "retries_exhausted" | "crashes" => None,
        other => Some(format!("waits for a person, because of {other}")),
    }
}

const fn state(state: RunState) -> &'static str {
    match state {
        RunState::Queued => "queued",
        RunState::Running => "running",
        RunState::Waiting => "waiting",
        RunState::Succeeded => "succeeded",
        RunState::Failed => "failed",
        RunState::Cancelled => "cancelled",
    }
}
