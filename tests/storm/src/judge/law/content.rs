//! What is recorded as a result is what the world answered.

use super::Finding;
use crate::judge::history::{History, RunHistory};
use crate::judge::row::{RunState, Step, StepKind, StepState};
use crate::plan::{ANSWER, Kind};
use serde::Deserialize;
use serde_json::{Value, json};

/// What the ledger answers on all fronts.
#[derive(Deserialize)]
struct Receipt {
    effect: String,
    /// The number of the arrival that made the effect take place.
    receipt: u64,
}

pub(super) fn content(history: &History) -> Vec<Finding> {
    let mut findings = Vec::new();
    for run in history.runs.values() {
        let calls = run.steps.iter().filter(|step| step.is_call());
        for step in calls.filter(|step| step.state == StepState::Succeeded) {
            if let Some(what) = is_no_receipt(history, step) {
                let result = step.result.as_deref().unwrap_or("nothing");
                let what = format!("the result of step {} ({}) {what}: {result}", step.seq, step.name);
                let finding = Finding::new(what).run(run.row.id);
                findings.push(
                    step.asks_for()
                        .iter()
                        .fold(finding, |finding, name| finding.effect(name)),
                );
            }
        }
        if run.row.state == RunState::Succeeded
            && let Some(what) = is_no_answer(history, run)
        {
            let result = run.row.result.as_deref().unwrap_or("nothing");
            findings.push(Finding::new(format!("{what}, and it is {result}")).run(run.row.id));
        }
    }
    findings
}

/// A call that nobody made is for other laws.
fn is_no_receipt(history: &History, step: &Step) -> Option<String> {
    let name = step.asks_for()?;
    let effect = history
        .effects
        .get(&name)
        .filter(|effect| !effect.arrivals.is_empty())?;
    let Some(told) = receipt(step) else {
        return Some("holds no receipt".to_owned());
    };
    if told.effect != name {
        return Some(format!("is of {}", told.effect));
    }
    let known = effect.arrivals.iter().any(|arrival| arrival.number == told.receipt);
    (!known).then(|| format!("is of call {}, which did not ask for it", told.receipt))
}

/// A tool's result holds its content, a task's is what its function gave. What the ledger said is the first line.
fn receipt(step: &Step) -> Option<Receipt> {
    let result: Value = serde_json::from_str(step.result.as_deref()?).ok()?;
    let text = result["content"].as_str().or(result.as_str())?;
    serde_json::from_str(text.lines().next()?).ok()
}

fn is_no_answer(history: &History, run: &RunHistory) -> Option<String> {
    let result: Value = run
        .row
        .result
        .as_deref()
        .and_then(|result| serde_json::from_str(result).ok())
        .unwrap_or_default();
    let planned = history.plan.run(run.number?).kind;
    match run.row.kind {
        // For another law.
        kind if kind != planned => None,
        Kind::Agent => (result["answer"] != ANSWER).then(|| format!("its answer should be {ANSWER:?}")),
        Kind::Workflow => {
            let told = told(run);
            (result != told).then(|| format!("its result should be {told}, what came of its steps"))
        }
    }
}

/// What a workflow tells of its steps.
fn told(run: &RunHistory) -> Value {
    let over = |kind: StepKind| {
        let steps = run.steps.iter().filter(move |step| step.kind == kind);
        steps.filter(|step| matches!(step.state, StepState::Succeeded | StepState::Failed))
    };
    let succeeded = |step: &&Step| step.state == StepState::Succeeded;
    let heard = over(StepKind::Signal).map(|step| step.took().map(|took| took.payload));
    json!({
        "done": run.steps.iter().filter(|step| step.is_call()).filter(succeeded).count(),
        "heard": heard.collect::<Vec<_>>(),
        "joined": over(StepKind::Join).filter(succeeded).count(),
        "sold": over(StepKind::Transaction).filter(succeeded).count(),
    })
}
