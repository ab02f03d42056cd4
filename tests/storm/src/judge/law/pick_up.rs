//! How soon what a dead worker held is claimed again.

use super::{Finding, SUSPECT_FROM, seconds};
use crate::judge::history::{History, RunHistory};
use crate::judge::row::{Event, EventKind, RequestKind};
use crate::judge::span::Span;
use crate::record::{Deed, Micros, NemesisRecord};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// What the workers of a storm are started with.
const LEASE: Micros = 2_000_000;
/// What is promised: within the lease and two seconds.
const PICK_UP_MAX: Micros = LEASE + 2_000_000;
/// A healthy worker is what the promise needs; of a single one that is left nobody knows whether it has room.
const HEALTHY_MIN: usize = 2;
/// A worker that has just started has its lease to take and its first claim to make.
const STARTED_WITHIN: Micros = 500_000;
/// Of fewer runs, the slowest of a hundred says nothing.
const SAMPLES_MIN: usize = 100;

/// A run that lost its worker, and how long nobody had it.
#[derive(Debug, Clone)]
pub(in crate::judge) struct Loss {
    pub(in crate::judge) run: Uuid,
    /// The name of the worker that was lost.
    pub(in crate::judge) worker: String,
    pub(in crate::judge) at: Micros,
    /// From then to the next claim, without the time for which the database was away.
    pub(in crate::judge) took: Micros,
    /// Whether the database was away for a part of it.
    pub(in crate::judge) outage: bool,
    /// Whether there were workers meanwhile that nothing was done to.
    pub(in crate::judge) promised: bool,
}

/// All losses that count, the slowest last; and the bound that they are to keep.
pub(in crate::judge) struct PickUp(Vec<Loss>, Micros);

impl PickUp {
    pub(in crate::judge) fn of(history: &History) -> Self {
        let tenures = tenures(history);
        let last = calm_from(history) - PICK_UP_MAX;
        let mut seen = HashSet::new();
        let mut losses = Vec::new();
        for (worker, at) in deaths(history).filter(|(_, at)| *at <= last) {
            let held = tenures.get(worker).into_iter().flatten();
            for tenure in held.filter(|tenure| tenure.is_cut_short(at)) {
                if seen.insert((tenure.run.row.id, tenure.claim.fence)) {
                    losses.extend(tenure.loss(history, worker, at));
                }
            }
        }
        losses.sort_by_key(|loss| loss.took);
        Self(losses, history.slowed(PICK_UP_MAX))
    }

    pub(in crate::judge) fn count(&self) -> usize {
        self.0.len()
    }

    /// What so many of a hundred stayed within; by nearest rank.
    pub(in crate::judge) fn percentile(&self, percent: usize) -> Option<Micros> {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).map(|loss| loss.took)
    }

    /// Whether those that were late against the promise come from more than one death, and from more than one of a
    /// hundred. Those of one death are not independent: the same claim, or the same busy second, made all of them late.
    fn is_no_accident(&self) -> bool {
        let in_time = self.0.partition_point(|loss| loss.took <= self.1);
        let late = deaths_of(self.0[in_time..].iter().filter(|loss| loss.promised));
        late > 1 && late * 100 > deaths_of(&self.0)
    }

    pub(in crate::judge) fn slowest(&self) -> Option<&Loss> {
        self.0.last()
    }
}

pub(super) fn pick_up(history: &History) -> Vec<Finding> {
    let losses = PickUp::of(history);
    let slow = losses
        .percentile(99)
        .filter(|p99| losses.count() >= SAMPLES_MIN && *p99 > losses.1);
    let Some(p99) = slow.filter(|_| losses.is_no_accident()) else {
        return Vec::new();
    };
    let (bound, count) = (seconds(losses.1), losses.count());
    let mut findings = vec![Finding::new(format!(
        "p99 of {count} is {}, and {bound} is promised",
        seconds(p99)
    ))];
    let late = losses.0.iter().rev().take_while(|loss| loss.took > losses.1);
    findings.extend(late.map(|loss| {
        let outage = if loss.outage {
            ", and the time for which the database was away"
        } else {
            ""
        };
        let what = format!(
            "lost with {}, claimed again after {}{outage}",
            loss.worker,
            seconds(loss.took)
        );
        Finding::new(what).run(loss.run).at(loss.at)
    }));
    findings
}

/// How many deaths there were behind them.
fn deaths_of<'a>(losses: impl IntoIterator<Item = &'a Loss>) -> usize {
    let deaths: HashSet<(&str, Micros)> = losses.into_iter().map(|loss| (loss.worker.as_str(), loss.at)).collect();
    deaths.len()
}

/// Who was killed, or stopped for longer than a lease, and when.
fn deaths(history: &History) -> impl Iterator<Item = (&str, Micros)> {
    let records = history.nemesis.iter().enumerate();
    records.filter_map(|(index, record)| {
        let worker = record.worker.as_deref()?;
        let is_dead = match record.deed {
            Deed::WorkerKilled => true,
            Deed::WorkerStopped => {
                let its_own = history.nemesis[index + 1..]
                    .iter()
                    .filter(|later| later.worker.as_deref() == Some(worker));
                let mut after =
                    its_own.filter(|later| matches!(later.deed, Deed::WorkerContinued | Deed::WorkerKilled));
                after.next().is_none_or(|later| later.at - record.at > LEASE)
            }
            Deed::WorkerStarted
            | Deed::WorkerContinued
            | Deed::WorkerEnded
            // It has given back what it held.
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
            | Deed::Quiet => false,
        };
        is_dead.then_some((worker, record.at))
    })
}

/// How many workers were there all the time, and nothing was done to them meanwhile.
fn healthy_workers(history: &History, during: Span) -> usize {
    let mut fit: HashMap<&str, bool> = HashMap::new();
    for record in history.nemesis.iter().filter(|record| record.at <= during.until) {
        let Some(worker) = record.worker.as_deref() else {
            continue;
        };
        match record.deed {
            // One that was stopped finds its lease over and registers anew.
            Deed::WorkerStarted | Deed::WorkerContinued => {
                fit.insert(worker, record.at + STARTED_WITHIN <= during.from);
            }
            Deed::WorkerKilled | Deed::WorkerStopped | Deed::WorkerDrained | Deed::WorkerEnded => {
                fit.insert(worker, false);
            }
            Deed::DatabaseCut | Deed::AnswerLost => {
                fit.entry(worker).and_modify(|fit| *fit &= record.at < during.from);
            }
            Deed::PostgresKilled
            | Deed::PostgresReady
            | Deed::ApiKilled
            | Deed::ApiReady
            | Deed::ToolsCut
            | Deed::NotificationsOff
            | Deed::NotificationsOn
            | Deed::Missed
            | Deed::Quiet => {}
        }
    }
    fit.values().filter(|fit| **fit).count()
}

/// When the last workers were taken away. All that they held is left to a single one, which has no room for so many.
fn calm_from(history: &History) -> Micros {
    let quiet = history.nemesis.iter().rposition(|record| record.deed == Deed::Quiet);
    let Some(quiet) = quiet else {
        return history.ended;
    };
    let clears_away = |record: &&NemesisRecord| match record.deed {
        Deed::WorkerKilled => record.window.is_none(),
        Deed::WorkerStarted
        | Deed::WorkerContinued
        | Deed::WorkerDrained
        | Deed::PostgresReady
        | Deed::ApiReady
        | Deed::NotificationsOn
        | Deed::Quiet => true,
        Deed::WorkerStopped
        | Deed::WorkerEnded
        | Deed::PostgresKilled
        | Deed::ApiKilled
        | Deed::DatabaseCut
        | Deed::AnswerLost
        | Deed::ToolsCut
        | Deed::NotificationsOff
        | Deed::Missed => false,
    };
    let clearing = history.nemesis[..=quiet].iter().rev().take_while(clears_away);
    let first = clearing.filter(|record| record.deed == Deed::WorkerKilled).last();
    first.unwrap_or(&history.nemesis[quiet]).at
}

/// From a claim to what ended it.
struct Tenure<'a> {
    run: &'a RunHistory,
    claim: &'a Event,
    /// The event that gave it up, and all after it.
    rest: &'a [Event],
}

/// By the name of the worker's process.
fn tenures(history: &History) -> HashMap<&str, Vec<Tenure<'_>>> {
    let mut tenures: HashMap<&str, Vec<Tenure<'_>>> = HashMap::new();
    for run in history.runs.values() {
        let claims = run
            .events
            .iter()
            .enumerate()
            .filter(|(_, event)| event.kind == EventKind::Claimed);
        for (index, claim) in claims {
            let Some(worker) = claim.worker_id.and_then(|worker| history.workers.get(&worker)) else {
                continue;
            };
            let rest = &run.events[index + 1..];
            let end = rest.iter().position(Event::gives_up).unwrap_or(rest.len());
            let rest = &rest[end..];
            tenures.entry(worker).or_default().push(Tenure { run, claim, rest });
        }
    }
    tenures
}

impl Tenure<'_> {
    /// Whether it was under way then, and its holder had no part in its end.
    fn is_cut_short(&self, at: Micros) -> bool {
        let taken = |end: &Event| end.kind == EventKind::Reclaimed && end.at > at;
        self.claim.at <= at && self.rest.first().is_none_or(taken)
    }

    /// Nothing if the run had a reason to wait for longer.
    fn loss(&self, history: &History, worker: &str, at: Micros) -> Option<Loss> {
        let again = self.rest.iter().position(|event| event.kind == EventKind::Claimed);
        let between = &self.rest[..again.unwrap_or(self.rest.len())];
        let until = again.map_or(history.ended, |again| self.rest[again].at);
        let span = Span::new(at, until);
        let parked_or_alone = between.first().is_some_and(|taken| {
            taken.quarantined == Some(true) || taken.crashes.is_some_and(|crashes| crashes >= SUSPECT_FROM)
        });
        let cancels = self
            .run
            .requests
            .iter()
            .filter(|request| request.kind == RequestKind::Cancel);
        let cancelled = cancels
            .into_iter()
            .any(|cancel| span.touches(Span::new(cancel.at, cancel.at)));
        let paused = self
            .run
            .pauses(history.ended)
            .into_iter()
            .any(|pause| span.touches(pause));
        let claimable = Span::new(at + LEASE, at + PICK_UP_MAX);
        (!parked_or_alone && !cancelled && !paused).then(|| Loss {
            run: self.run.row.id,
            worker: worker.to_owned(),
            at,
            took: span.outside(history.downtime.iter().copied()),
            outage: history.downtime.iter().any(|away| span.touches(*away)),
            promised: healthy_workers(history, claimable) >= HEALTHY_MIN,
        })
    }
}
