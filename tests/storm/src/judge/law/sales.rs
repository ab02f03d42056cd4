//! Transactions: what a step wrote into the application's own table is there exactly as often as the step succeeded.

use super::Finding;
use crate::judge::history::{History, RunHistory};
use crate::judge::row::{RunState, Step, StepKind, StepState};
use crate::plan::Then;
use std::collections::BTreeMap;

pub(super) fn sales(history: &History) -> Vec<Finding> {
    // By the run's number and what was sold.
    let mut rows: BTreeMap<(String, String), usize> = BTreeMap::new();
    for sale in &history.sales {
        *rows.entry((sale.run.clone(), sale.item.clone())).or_default() += 1;
    }
    let mut findings = Vec::new();
    for run in history.runs.values() {
        let number = run.row.number.as_deref().unwrap_or_default();
        for item in planned(history, run) {
            let there = rows.remove(&(number.to_owned(), item.clone())).unwrap_or_default();
            let steps: Vec<&Step> = run.steps.iter().filter(|step| sells(step, &item)).collect();
            let done = steps.iter().filter(|step| step.state == StepState::Succeeded).count();
            if there != done {
                let what = format!("{item} was sold {done} times by its steps, and {there} rows tell of it");
                findings.push(Finding::new(what).run(run.row.id));
            }
            if run.row.state == RunState::Succeeded && steps.len() != 1 {
                let what = format!("it succeeded, and {} steps sell {item}", steps.len());
                findings.push(Finding::new(what).run(run.row.id));
            }
        }
        let strange = run.steps.iter().filter(|step| step.kind == StepKind::Transaction);
        let strange = strange.filter(|step| !planned(history, run).iter().any(|item| sells(step, item)));
        findings.extend(
            strange.map(|step| Finding::new(format!("step {} sells what was not planned", step.seq)).run(run.row.id)),
        );
    }
    findings.extend(rows.into_iter().map(|((run, item), count)| {
        Finding::new(format!(
            "{item} of run {run} of the plan has {count} rows, and no run is to sell it"
        ))
    }));
    findings
}

/// What the run sells.
fn planned(history: &History, run: &RunHistory) -> Vec<String> {
    let Some(number) = run.number else {
        return Vec::new();
    };
    let beside = history.plan.beside(&history.plan.run(number)).into_iter();
    let sales = beside.filter(|(_, then)| *then == Then::Sell);
    sales.map(|(turn, _)| format!("t{turn}")).collect()
}

fn sells(step: &Step, item: &str) -> bool {
    let input = step
        .input
        .as_deref()
        .and_then(|input| serde_json::from_str::<String>(input).ok());
    step.kind == StepKind::Transaction && input.as_deref() == Some(item)
}
