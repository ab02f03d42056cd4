//! The account of a storm, for a person at a terminal and, with the same content, for programs.

use super::history::History;
use super::law::pick_up::PickUp;
use super::law::stall::{self, Gap};
use super::law::windows::{Aim, is_too_short, windows};
use super::law::{Finding, seconds};
use super::row::{EventKind, RunState};
use super::{Findings, name};
use crate::plan::Kind;
use crate::record::{Micros, Outcome, Window};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;

/// Findings of one law that are shown; all of them are in the verdict.
const SHOWN_MAX: usize = 10;

/// The figures.
#[derive(Debug, Serialize)]
pub(super) struct Account {
    seed: u64,
    began: Micros,
    /// From the first deed to the dump.
    lasted: Micros,
    /// From the first worker's start to the quiet.
    faults_lasted: Micros,
    runs: BTreeMap<String, usize>,
    /// How many of them are of the workflow.
    workflows: usize,
    acknowledged: usize,
    indeterminate: usize,
    refused: usize,
    steps: usize,
    attempts: usize,
    claims: usize,
    reclaims: usize,
    broken_drivers: usize,
    late_results_refused: usize,
    ledger: BTreeMap<String, Calls>,
    deeds: BTreeMap<String, usize>,
    windows: BTreeMap<Window, Aim>,
    pick_up: Pace,
    #[serde(skip)]
    stalls: Vec<Gap>,
    longest_stall: Option<Micros>,
    slowness: f64,
}

/// Of the calls of one tool.
#[derive(Debug, Default, Serialize)]
struct Calls {
    effects: usize,
    arrivals: usize,
    applied: usize,
    answered: usize,
}

#[derive(Debug, Serialize)]
struct Pace {
    losses: usize,
    p50: Option<Micros>,
    p99: Option<Micros>,
    longest: Option<Micros>,
}

impl Account {
    pub(super) fn of(history: &History) -> Self {
        let faults = history.faults();
        let mut runs = BTreeMap::new();
        for run in history.runs.values() {
            *runs
                .entry(end(run.row.state, run.row.wait_reason.as_deref()))
                .or_default() += 1;
        }
        let told =
            |wanted: fn(&Outcome) -> bool| history.driver.iter().filter(|record| wanted(&record.outcome)).count();
        let events = |wanted: EventKind| {
            let events = history.runs.values().flat_map(|run| &run.events);
            events.filter(|event| event.kind == wanted).count()
        };
        let mut deeds = BTreeMap::new();
        for record in &history.nemesis {
            *deeds.entry(name(&record.deed)).or_default() += 1;
        }
        let mut broken = history.runs.values().flat_map(|run| &run.events);
        let losses = PickUp::of(history);
        let stalls = stall::longest(history);
        Self {
            seed: history.plan.seed,
            began: history.began,
            lasted: history.ended - history.began,
            faults_lasted: faults.until - faults.from,
            runs,
            workflows: history
                .runs
                .values()
                .filter(|run| run.row.kind == Kind::Workflow)
                .count(),
            acknowledged: told(|outcome| matches!(outcome, Outcome::Acknowledged(_))),
            indeterminate: told(|outcome| matches!(outcome, Outcome::Indeterminate(_))),
            refused: told(|outcome| matches!(outcome, Outcome::Refused(_))),
            steps: history.runs.values().map(|run| run.steps.len()).sum(),
            attempts: history.runs.values().map(|run| run.attempts.len()).sum(),
            claims: events(EventKind::Claimed),
            reclaims: events(EventKind::Reclaimed),
            broken_drivers: broken.by_ref().filter(|event| event.is_broken_driver()).count(),
            late_results_refused: history.late_results,
            ledger: ledger(history),
            deeds,
            windows: windows(history),
            slowness: history.machine.slowness,
            pick_up: Pace {
                losses: losses.count(),
                p50: losses.percentile(50),
                p99: losses.percentile(99),
                longest: losses.slowest().map(|loss| loss.took),
            },
            longest_stall: stalls.iter().map(|gap| gap.length).max(),
            stalls,
        }
    }

    /// Everything, for programs.
    pub(super) fn verdict(&self, findings: &Findings) -> serde_json::Value {
        let broken: BTreeMap<&str, &Vec<Finding>> = findings.iter().map(|(law, found)| (law.name, found)).collect();
        json!({
            "seed": self.seed,
            "held": findings.is_empty(),
            "counts": self,
            "findings": broken,
        })
    }

    /// Everything but the last line, for people.
    pub(super) fn text(&self, findings: &Findings) -> String {
        let mut text = format!(
            "A storm of {}, its faults of {}\n\n",
            seconds(self.lasted),
            seconds(self.faults_lasted)
        );
        let mut row = |label: &str, value: String| text.push_str(&format!("{label:<12}{value}\n"));
        let runs = self.runs.values().sum::<usize>();
        row("runs", format!("{runs}, {} of them workflows", self.workflows));
        for (end, count) in &self.runs {
            row("", format!("{count:>6}  {end}"));
        }
        row(
            "answers",
            format!(
                "{} acknowledged, {} indeterminate, {} refused",
                self.acknowledged, self.indeterminate, self.refused
            ),
        );
        row(
            "steps",
            format!(
                "{} in {} attempts, {} per second",
                self.steps,
                self.attempts,
                self.steps_per_second()
            ),
        );
        row(
            "claims",
            format!("{}, and {} taken back from dead workers", self.claims, self.reclaims),
        );
        row(
            "refused",
            format!(
                "{} late writes, by the workers' logs; {} drivers broke",
                self.late_results_refused, self.broken_drivers
            ),
        );
        row("pick-up", self.pick_up.text());
        row(
            "machine",
            format!("{:.1} times as slow as one of the storm's own", self.slowness),
        );
        for (index, gap) in self.stalls.iter().enumerate() {
            let label = if index == 0 { "silence" } else { "" };
            row(label, format!("at most {}, run {}", gap.text(), gap.run));
        }
        text.push('\n');
        text.push_str(&self.tables());
        text.push_str(&told(findings, self.began));
        text
    }

    fn steps_per_second(&self) -> i64 {
        let milliseconds = (self.lasted / 1000).max(1);
        i64::try_from(self.steps).unwrap_or(i64::MAX).saturating_mul(1000) / milliseconds
    }

    fn tables(&self) -> String {
        let mut text = format!(
            "{:<24}{:>9}{:>9}{:>9}{:>9}\n",
            "ledger", "effects", "calls", "applied", "told"
        );
        for (tool, calls) in &self.ledger {
            let Calls {
                effects,
                arrivals,
                applied,
                answered,
            } = calls;
            text.push_str(&format!(
                "  {tool:<22}{effects:>9}{arrivals:>9}{applied:>9}{answered:>9}\n"
            ));
        }
        text.push_str(&format!("\n{:<24}{:>9}\n", "deeds", "times"));
        for (deed, count) in &self.deeds {
            text.push_str(&format!("  {deed:<22}{count:>9}\n"));
        }
        text.push_str(&format!(
            "\n{:<24}{:>9}{:>9}{:>9}\n",
            "windows", "hit", "unproven", "missed"
        ));
        for (window, aim) in &self.windows {
            let Aim { hit, unproven, missed } = aim;
            text.push_str(&format!("  {:<22}{hit:>9}{unproven:>9}{missed:>9}\n", name(window)));
        }
        text.push('\n');
        text
    }
}

impl Pace {
    fn text(&self) -> String {
        match (self.p50, self.p99, self.longest) {
            (Some(p50), Some(p99), Some(longest)) => {
                let (p50, p99, longest) = (seconds(p50), seconds(p99), seconds(longest));
                format!(
                    "p50 {p50}, p99 {p99}, {longest} at most, of {} runs that lost their workers",
                    self.losses
                )
            }
            _ => "no run lost its worker".to_owned(),
        }
    }
}

/// The last line of all.
pub(super) fn last_line(seed: u64, verdict: Verdict) -> String {
    match verdict {
        Verdict::Held => format!("storm: held · seed {seed}"),
        Verdict::HeldTooShort => format!("storm: held · seed {seed} · too short to prove anything"),
        Verdict::Broken => format!("storm: BROKEN · seed {seed}"),
    }
}

/// What is to be said of a storm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Held,
    /// Nothing was found, and little was looked at.
    HeldTooShort,
    Broken,
}

impl Verdict {
    pub(super) fn of(history: &History, findings: &Findings) -> Self {
        match (findings.is_empty(), is_too_short(history)) {
            (false, _) => Self::Broken,
            (true, true) => Self::HeldTooShort,
            (true, false) => Self::Held,
        }
    }
}

fn end(state: RunState, reason: Option<&str>) -> String {
    match state {
        RunState::Waiting => format!("waiting: {}", reason.unwrap_or("no reason")),
        RunState::Queued | RunState::Running | RunState::Succeeded | RunState::Failed | RunState::Cancelled => {
            name(&state)
        }
    }
}

fn ledger(history: &History) -> BTreeMap<String, Calls> {
    let mut ledger: BTreeMap<String, Calls> = BTreeMap::new();
    for effect in history.effects.values() {
        let Some(first) = effect.arrivals.first() else {
            continue;
        };
        let calls = ledger
            .entry(format!("{} {}", first.front.as_str(), first.declared.as_str()))
            .or_default();
        calls.effects += 1;
        calls.arrivals += effect.arrivals.len();
        calls.applied += effect.applied().count();
        let told = effect
            .arrivals
            .iter()
            .filter(|arrival| arrival.reply.as_ref().is_some_and(|reply| reply.delivered));
        calls.answered += told.count();
    }
    ledger
}

/// What was found, law by law.
fn told(findings: &Findings, began: Micros) -> String {
    let mut text = String::new();
    for (law, found) in findings {
        text.push_str(&format!("{}: {} · {}\n", law.name, found.len(), law.says));
        for finding in found.iter().take(SHOWN_MAX) {
            let at = finding.at.map(|at| format!("at {}", seconds(at - began)));
            let run = finding.run.map(|run| format!("run {run}"));
            let place: Vec<String> = run.into_iter().chain(finding.effect.clone()).chain(at).collect();
            text.push_str(&format!("  {}\n", finding.what));
            if !place.is_empty() {
                text.push_str(&format!("      {}\n", place.join(" · ")));
            }
        }
        if found.len() > SHOWN_MAX {
            text.push_str(&format!("  and {} more, in verdict.json\n", found.len() - SHOWN_MAX));
        }
        text.push('\n');
    }
    text
}
