//! Signals: each that was acknowledged is there once, waits take them in the order of their coming, and none that had come
//! is passed over.

use super::Finding;
use crate::judge::history::{History, RunHistory};
use crate::judge::row::{RunState, Signal, Step, StepKind, StepState};
use crate::plan::{SIGNAL, Then};
use crate::record::{Asked, DriverRecord, Micros, Outcome};
use std::collections::{BTreeMap, BTreeSet};

/// What the driver knows of one run's signals, by their places.
#[derive(Default)]
struct Told {
    asked: BTreeSet<u64>,
    /// When it was first acknowledged.
    acknowledged: BTreeMap<u64, Micros>,
}

pub(super) fn signals(history: &History) -> Vec<Finding> {
    let mut told: BTreeMap<u64, Told> = BTreeMap::new();
    for record in history.driver.iter().filter(|record| record.asked == Asked::Signal) {
        told.entry(record.run).or_default().hear(record);
    }
    let none = Told::default();
    let broken = history.runs.values().flat_map(|run| {
        let told = run.number.and_then(|number| told.get(&number)).unwrap_or(&none);
        let mut broken = words(history, run, told);
        broken.extend(taken(run));
        broken.extend(passed_over(history, run, told));
        broken.extend(unheard(history, run));
        broken.into_iter().map(|what| Finding::new(what).run(run.row.id))
    });
    broken.collect()
}

impl Told {
    fn hear(&mut self, record: &DriverRecord) {
        let Some(place) = record.signal else { return };
        self.asked.insert(place);
        if let Outcome::Acknowledged(_) = record.outcome {
            self.acknowledged.entry(place).or_insert(record.at);
        }
    }
}

/// What was said against what is there.
fn words(history: &History, run: &RunHistory, told: &Told) -> Vec<String> {
    let mut broken = Vec::new();
    let number = run.number.unwrap_or_default();
    for place in told.acknowledged.keys() {
        let id = history.plan.signal_id(number, *place);
        let there = run.signals.iter().filter(|signal| signal.id == id).count();
        if there != 1 {
            broken.push(format!("signal {place} was acknowledged, and is there {there} times"));
        }
    }
    for signal in &run.signals {
        let place = told
            .asked
            .iter()
            .find(|place| history.plan.signal_id(number, **place) == signal.id);
        match place {
            None => broken.push(format!("nobody sent signal {}", signal.id)),
            Some(place) if signal.name != SIGNAL || signal.payload != place.to_string() => {
                broken.push(format!(
                    "signal {place} is there as {} with {}",
                    signal.name, signal.payload
                ));
            }
            Some(_) => {}
        }
    }
    // Each was sent once the one before it was acknowledged.
    let places: Vec<Option<u64>> = run.signals.iter().map(|signal| signal.payload.parse().ok()).collect();
    if !places.is_sorted() {
        broken.push(format!("its signals came in the order {places:?}"));
    }
    broken
}

/// Waits that are over, in their order.
fn waits(run: &RunHistory) -> impl Iterator<Item = &Step> {
    let steps = run.steps.iter();
    steps.filter(|step| step.kind == StepKind::Signal && step.state == StepState::Succeeded)
}

fn payload(signal: &Signal) -> Option<serde_json::Value> {
    serde_json::from_str(&signal.payload).ok()
}

/// The n-th signal is taken by the n-th wait that took any.
fn taken(run: &RunHistory) -> Vec<String> {
    let takes = waits(run).filter_map(|step| Some((step, step.took()?)));
    let broken = takes.enumerate().filter_map(|(place, (step, took))| {
        let due = run.signals.get(place);
        let is_due =
            |due: &&Signal| due.wake == took.wake && due.id == took.id && payload(due) == Some(took.payload.clone());
        if due.filter(is_due).is_some() {
            return None;
        }
        let due = due.map_or("none was left", |due| &due.id);
        Some(format!(
            "step {} took signal {} (wake {}), and {due} was due",
            step.seq, took.id, took.wake
        ))
    });
    broken.collect()
}

/// A wait that was given up although a signal for it had been acknowledged, or that goes on although there is one.
fn passed_over(history: &History, run: &RunHistory, told: &Told) -> Vec<String> {
    let mut broken = Vec::new();
    let mut left = run.signals.iter();
    let number = run.number.unwrap_or_default();
    let acknowledged = |signal: &Signal| {
        let places = told.acknowledged.iter();
        let mut own = places.filter(|(place, _)| history.plan.signal_id(number, **place) == signal.id);
        own.next().map(|(_, at)| *at)
    };
    for step in run.steps.iter().filter(|step| step.kind == StepKind::Signal) {
        match step.state {
            StepState::Succeeded if step.took().is_some() => {
                left.next();
            }
            StepState::Succeeded => {
                let first = left.clone().next();
                if let (Some(signal), Some(decided)) = (first, step.ended_at)
                    // The decision's time is that of its transaction's begin: what was acknowledged before, it could see.
                    && acknowledged(signal).is_some_and(|at| at < decided)
                {
                    broken.push(format!(
                        "the wait of step {} was over without a signal, though {} had come",
                        step.seq, signal.id
                    ));
                }
            }
            StepState::Waiting if run.row.ended_at.is_none() && run.row.waiting_for.as_deref() != Some("approval") => {
                if let Some(signal) = left.clone().next() {
                    broken.push(format!("step {} still waits, and {} is there", step.seq, signal.id));
                }
            }
            StepState::Waiting | StepState::Running | StepState::Failed | StepState::Cancelled | StepState::Unknown => {
            }
        }
    }
    broken
}

/// A run that succeeded has waited as often as was planned.
fn unheard(history: &History, run: &RunHistory) -> Option<String> {
    let plan = history.plan.run(run.number?);
    let planned = history.plan.beside(&plan).into_iter();
    let planned = planned.filter(|(_, then)| matches!(then, Then::Wait { .. })).count();
    let over = waits(run).count();
    (run.row.state == RunState::Succeeded && over != planned)
        .then(|| format!("it succeeded with {over} waits, and {planned} were planned"))
}
