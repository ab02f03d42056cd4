//! A person's word counts once, and binds; and whoever has to be asked is asked.

use super::{Finding, seconds};
use crate::judge::history::{History, RunHistory};
use crate::judge::row::{Approval, RunState, StepState};
use crate::record::{Asked, DriverRecord, Micros, Outcome};
use std::collections::HashMap;

/// A decision's time is that of its transaction's begin, and it may have waited for the run's lock.
const GRACE: Micros = 2_000_000;

pub(super) fn decisions(history: &History) -> Vec<Finding> {
    let mut told: HashMap<&str, Vec<&DriverRecord>> = HashMap::new();
    for record in history.driver.iter().filter(|record| record.asked == Asked::Decide) {
        if let (Some(decision), Outcome::Acknowledged(_)) = (&record.decision, &record.outcome) {
            told.entry(decision.approval.as_str()).or_default().push(record);
        }
    }
    let of_runs = history.runs.values().flat_map(|run| {
        let of_approvals = run.approvals.iter().flat_map(|approval| {
            let told = told
                .get(approval.id.to_string().as_str())
                .map(Vec::as_slice)
                .unwrap_or_default();
            said(approval, told)
                .into_iter()
                .chain(early(approval))
                .chain(unbound(run, approval))
        });
        let broken = of_approvals.chain(unasked(run)).collect::<Vec<_>>();
        broken.into_iter().map(|what| Finding::new(what).run(run.row.id))
    });
    let known = |id: &str| {
        let mut approvals = history.runs.values().flat_map(|run| &run.approvals);
        approvals.any(|approval| approval.id.to_string() == id)
    };
    let lost = told.iter().filter(|(id, _)| !known(id)).flat_map(|(id, records)| {
        let what = format!("a decision about approval {id} was acknowledged, and there is none");
        records
            .iter()
            .map(move |record| Finding::new(what.clone()).at(record.at))
    });
    of_runs.chain(lost).collect()
}

/// What was acknowledged against what is there.
fn said(approval: &Approval, told: &[&DriverRecord]) -> Vec<String> {
    let mut broken = Vec::new();
    if let [_, _, ..] = told {
        broken.push(format!("approval {} was decided {} times", approval.id, told.len()));
    }
    for decision in told.iter().filter_map(|record| record.decision.as_ref()) {
        if approval.verb.as_ref() != Some(&decision.verb) {
            let there = approval.verb.as_deref().unwrap_or("nothing");
            broken.push(format!(
                "approval {} was decided: {}, and {there} is there",
                approval.id, decision.verb
            ));
        }
    }
    broken
}

/// That a call did not happen nobody can say while it may be on its way.
fn early(approval: &Approval) -> Option<String> {
    let early = approval.settles_at? - approval.decided_at?;
    let denied = approval.verb.as_deref() == Some("did_not_happen");
    (denied && early > GRACE).then(|| {
        format!(
            "approval {} was decided: did_not_happen, {} before that could be known",
            approval.id,
            seconds(early)
        )
    })
}

/// A decision that nothing came of.
fn unbound(run: &RunHistory, approval: &Approval) -> Option<String> {
    let (verb, step) = (approval.verb.as_deref()?, run.step(approval.step_seq?)?);
    let goes_on = Some(step.attempt) > approval.attempt;
    let newest = run.approvals.iter().rfind(|other| other.step_seq == approval.step_seq);
    let waits_as_a_whole = run.row.wait_reason.as_deref() == Some("crashes");
    if newest.is_some_and(|newest| newest.id != approval.id) || waits_as_a_whole {
        return None;
    }
    let is_done = match verb {
        "happened" => step.state == StepState::Succeeded && !goes_on,
        "give_up" | "reject" => step.state == StepState::Failed && !goes_on,
        // Where the run was cancelled it stays undone; and nothing new is begun while something else is asked.
        _ => {
            let is_open = run.approvals.iter().any(|other| other.state == "open");
            goes_on || is_open || step.state == StepState::Cancelled || run.row.cancel_requested_at.is_some()
        }
    };
    (!is_done).then(|| {
        format!(
            "approval {} was decided: {verb}, and step {} is {} after attempt {}",
            approval.id,
            step.seq,
            step.state.as_str(),
            step.attempt
        )
    })
}

/// A call whose outcome nobody knows, of a run that waits for people or has ended, and nobody is asked.
fn unasked(run: &RunHistory) -> Vec<String> {
    let is_asked = run.waits_for_a_person() && run.row.wait_reason.as_deref() != Some("crashes");
    // It goes on by itself, perhaps to ask a probe first.
    let goes_on = run.events.last().is_some_and(|event| event.until.is_some());
    if (!is_asked && run.row.state != RunState::Cancelled) || goes_on {
        return Vec::new();
    }
    let unknown = run.steps.iter().filter(|step| step.state == StepState::Unknown);
    let unasked = unknown.filter(|step| {
        let about =
            |approval: &&Approval| approval.step_seq == Some(step.seq) && approval.attempt == Some(step.attempt);
        !run.approvals
            .iter()
            .filter(about)
            .any(|approval| approval.state == "open")
    });
    unasked
        .map(|step| format!("step {} is unknown, and nobody is asked about it", step.seq))
        .collect()
}
