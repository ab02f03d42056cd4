//! All that was written down, joined: what each run recorded, and what was asked for in the world on its behalf.
//!
//! Reads and joins, and never judges: a record that belongs to nothing is kept, for a law to find. Start at
//! [`History::read`].

use super::records::Records;
use super::row::{
    Approval, Attempt, Event, Receipt, Request, RequestKind, Run, RunState, Sale, Signal, Step, StepKind,
};
use super::span::Span;
use crate::plan::{Call, Plan};
use crate::record::{Declared, Deed, DriverRecord, Front, LedgerRecord, Machine, Micros, NemesisRecord, Shown};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use uuid::Uuid;

/// What there is to judge.
pub(super) struct History {
    pub(super) plan: Plan,
    /// The first thing that anybody did.
    pub(super) began: Micros,
    /// When the dump was taken.
    pub(super) ended: Micros,
    pub(super) runs: BTreeMap<Uuid, RunHistory>,
    /// Rows of runs that do not exist: how many, by the run's id.
    pub(super) strays: BTreeMap<Uuid, usize>,
    pub(super) effects: BTreeMap<String, Effect>,
    /// Which step has a key: its run and number.
    pub(super) keys: HashMap<String, (Uuid, i32)>,
    /// The name of a worker's process, by the id of one of its registrations.
    pub(super) workers: HashMap<Uuid, String>,
    /// When each registration's lease was over.
    pub(super) leases: HashMap<Uuid, Micros>,
    pub(super) driver: Vec<DriverRecord>,
    pub(super) nemesis: Vec<NemesisRecord>,
    /// What the model was shown.
    pub(super) shown: Vec<Shown>,
    /// What transactions wrote.
    pub(super) sales: Vec<Sale>,
    /// What applications wrote beside what they asked for.
    pub(super) receipts: Vec<Receipt>,
    /// When the world was asked what became of a key, and whether anything had by then.
    pub(super) looked: HashMap<String, Vec<(Micros, bool)>>,
    /// What workers offered for runs that were no longer theirs, and that was refused.
    pub(super) late_results: usize,
    pub(super) machine: Machine,
    /// When the database was away.
    pub(super) downtime: Vec<Span>,
}

/// One run, as it was recorded.
pub(super) struct RunHistory {
    pub(super) row: Run,
    /// The number in the plan, if its input names one.
    pub(super) number: Option<u64>,
    /// By number.
    pub(super) events: Vec<Event>,
    pub(super) steps: Vec<Step>,
    /// All of them, those in the steps' own rows too, by step and number.
    pub(super) attempts: Vec<Attempt>,
    pub(super) requests: Vec<Request>,
    /// In the order in which they came.
    pub(super) signals: Vec<Signal>,
    pub(super) approvals: Vec<Approval>,
}

impl RunHistory {
    pub(super) fn step(&self, seq: i32) -> Option<&Step> {
        self.steps.iter().find(|step| step.seq == seq)
    }

    /// What was recorded of a step, in order.
    pub(super) fn events_of(&self, step: i32) -> impl DoubleEndedIterator<Item = &Event> {
        self.events.iter().filter(move |event| event.step_seq == Some(step))
    }

    pub(super) fn attempts_of(&self, step: i32) -> impl Iterator<Item = &Attempt> {
        self.attempts.iter().filter(move |attempt| attempt.step_seq == step)
    }

    /// What people decided about a step, and when.
    pub(super) fn words(&self, step: i32) -> impl Iterator<Item = (&str, Micros)> {
        let about = self
            .approvals
            .iter()
            .filter(move |approval| approval.step_seq == Some(step));
        about.filter_map(|approval| Some((approval.verb.as_deref()?, approval.decided_at?)))
    }

    /// Whether a person ended a step of which nobody could say what became.
    pub(super) fn is_given_up_by_a_person(&self, step: i32) -> bool {
        self.words(step).any(|(verb, _)| matches!(verb, "give_up" | "reject"))
    }

    /// Whether another step took its place.
    pub(super) fn is_replaced(&self, step: i32) -> bool {
        self.steps.iter().any(|later| later.replaces_seq == Some(step))
    }

    /// How often it lost its driver since its last recorded result.
    pub(super) fn crashes(&self) -> usize {
        let resumed = |event: &Event| event.came_from.as_deref().is_some_and(|from| from != "paused");
        let fresh = self
            .events
            .iter()
            .rposition(|event| event.is_result() || resumed(event));
        let since = fresh.map_or(self.events.as_slice(), |fresh| &self.events[fresh..]);
        since.iter().filter(|event| event.is_crash()).count()
    }

    /// Whether it waits for a person, and nothing else will make it go on.
    pub(super) fn waits_for_a_person(&self) -> bool {
        self.row.state == RunState::Waiting && self.row.waiting_for.as_deref() == Some("approval")
    }

    /// When somebody had paused it.
    pub(super) fn pauses(&self, end: Micros) -> Vec<Span> {
        let mut pauses = Vec::new();
        let mut since = None;
        for request in &self.requests {
            match (request.kind, since) {
                (RequestKind::Pause, None) => since = Some(request.at),
                (RequestKind::Pause, Some(_)) | (RequestKind::Resume | RequestKind::Cancel, None) => {}
                (RequestKind::Resume | RequestKind::Cancel, Some(from)) => {
                    pauses.push(Span::new(from, request.at));
                    since = None;
                }
            }
        }
        pauses.extend(since.map(|from| Span::new(from, end)));
        pauses
    }
}

/// One effect: what was planned, what was recorded, and what was done.
pub(super) struct Effect {
    /// Nothing if nobody planned it.
    pub(super) planned: Option<Planned>,
    /// The steps that ask for it.
    pub(super) steps: Vec<(Uuid, i32)>,
    /// In the order in which they came.
    pub(super) arrivals: Vec<Arrival>,
}

#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) run: Uuid,
    pub(super) call: Call,
    /// The key that it has to come under, where that is known before it is made: a workflow's.
    pub(super) key: Option<String>,
}

impl Planned {
    /// Whether its first attempt needs no intent: it may be repeated, and its key follows from where it stands.
    pub(super) fn begins_unrecorded(&self) -> bool {
        self.key.is_some() && self.call.declared != Declared::AtMostOnce
    }
}

impl Effect {
    /// When it took place, each time.
    pub(super) fn applied(&self) -> impl Iterator<Item = Micros> {
        self.arrivals.iter().flat_map(|arrival| arrival.applied.iter().copied())
    }
}

/// A call that came to the ledger, and what became of it.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    pub(super) at: Micros,
    pub(super) number: u64,
    pub(super) front: Front,
    pub(super) declared: Declared,
    pub(super) effect: String,
    pub(super) key: Option<String>,
    pub(super) body_sha256: String,
    pub(super) worker: Option<String>,
    pub(super) attempt: Option<u32>,
    pub(super) run: Option<String>,
    pub(super) conduct: String,
    pub(super) applied: Vec<Micros>,
    pub(super) reply: Option<Reply>,
}

#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) what: String,
    pub(super) delivered: bool,
}

impl History {
    pub(super) fn read(folder: &Path, seed: u64) -> anyhow::Result<Self> {
        Ok(Self::join(Records::read(folder)?, seed))
    }

    /// Puts together what belongs together.
    pub(super) fn join(records: Records, seed: u64) -> Self {
        let plan = Plan::of(seed);
        let ended = records.taken.at;
        let first = records.nemesis.first().map(|record| record.at);
        let began = first
            .into_iter()
            .chain(records.driver.first().map(|record| record.at))
            .min();
        let downtime = downtime(&records.nemesis, ended);
        let (runs, strays) = file(
            records.runs,
            [
                records.steps.into_iter().map(Row::Step).collect(),
                records.attempts.into_iter().map(Row::Attempt).collect(),
                records.events.into_iter().map(Row::Event).collect(),
                records.requests.into_iter().map(Row::Request).collect(),
                records.signals.into_iter().map(Row::Signal).collect(),
                records.approvals.into_iter().map(Row::Approval).collect(),
            ],
        );
        let steps = runs.values().flat_map(|run| &run.steps);
        let keys = steps.map(|step| (step.key.clone(), (step.run_id, step.seq))).collect();
        let effects = effects(&plan, &runs, arrivals(&records.ledger));
        let looked = looked(&records.ledger);
        Self {
            plan,
            began: began.unwrap_or(ended),
            ended,
            runs,
            strays,
            effects,
            keys,
            leases: records
                .workers
                .iter()
                .map(|worker| (worker.id, worker.lease_expires_at))
                .collect(),
            workers: records
                .workers
                .into_iter()
                .map(|worker| (worker.id, worker.name))
                .collect(),
            driver: records.driver,
            nemesis: records.nemesis,
            shown: records.shown,
            sales: records.sales,
            receipts: records.receipts,
            looked,
            late_results: records.late_results,
            machine: records.machine,
            downtime,
        }
    }

    /// A bound of time, on this machine.
    pub(super) fn slowed(&self, bound: Micros) -> Micros {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "bounds are seconds, and the factor is small"
        )]
        let slowed = (bound as f64 * self.machine.slowness) as Micros;
        slowed
    }

    /// The name of a worker, or its id where nobody knows it.
    pub(super) fn worker(&self, id: Option<Uuid>) -> String {
        match id {
            Some(id) => self.workers.get(&id).cloned().unwrap_or_else(|| id.to_string()),
            None => "nobody".to_owned(),
        }
    }

    /// When the faults began and when they ended.
    pub(super) fn faults(&self) -> Span {
        let at = |deed| {
            self.nemesis
                .iter()
                .find(|record| record.deed == deed)
                .map(|record| record.at)
        };
        let from = at(Deed::WorkerStarted).unwrap_or(self.began);
        Span::new(from, at(Deed::Quiet).unwrap_or(self.ended))
    }

    /// The runs that it started.
    pub(super) fn children(&self, run: Uuid) -> impl Iterator<Item = &RunHistory> {
        self.runs.values().filter(move |child| child.row.parent_id == Some(run))
    }

    /// The step that stands for an effect: the one that no other took the place of. Nothing if there are none or several.
    pub(super) fn standing_step(&self, effect: &Effect) -> Option<&Step> {
        let mut standing = self.standing_steps(effect);
        let step = standing.next();
        step.filter(|_| standing.next().is_none())
    }

    pub(super) fn standing_steps(&self, effect: &Effect) -> impl Iterator<Item = &Step> {
        effect.steps.iter().filter_map(|(run, seq)| {
            let run = self.runs.get(run)?;
            run.step(*seq).filter(|step| !run.is_replaced(step.seq))
        })
    }

    /// Whether the worker that made a call has recorded what came of it.
    pub(super) fn is_answered(&self, arrival: &Arrival) -> bool {
        let step = arrival.key.as_ref().and_then(|key| self.keys.get(key));
        let run = step.and_then(|(run, _)| self.runs.get(run));
        let mut events = run
            .zip(step)
            .into_iter()
            .flat_map(|(run, (_, step))| run.events_of(*step));
        events.any(|event| {
            let number = event.attempt.and_then(|number| u32::try_from(number).ok());
            let worker = event.worker_id.and_then(|worker| self.workers.get(&worker));
            event.is_result() && number == arrival.attempt && worker == arrival.worker.as_ref()
        })
    }

    /// The calls that were made for a step.
    pub(super) fn calls_of<'a>(&'a self, step: &'a Step) -> impl Iterator<Item = &'a Arrival> {
        let effect = step.asks_for().and_then(|name| self.effects.get(&name));
        let arrivals = effect.into_iter().flat_map(|effect| &effect.arrivals);
        arrivals.filter(|arrival| arrival.key.as_ref() == Some(&step.key))
    }

    /// Whether somebody who knows had said within this time that a step's call did not happen: a person, or the world to
    /// its probe.
    pub(super) fn is_denied(&self, (run, step): (&RunHistory, i32), (from, until): (Micros, Micros)) -> bool {
        let within = |at: Micros| (from..=until).contains(&at);
        let mut words = run.words(step);
        let by_a_person = words.any(|(verb, at)| verb == "did_not_happen" && within(at));
        let key = run.step(step).map(|step| step.key.as_str()).unwrap_or_default();
        let looked = self.looked.get(key).map(Vec::as_slice).unwrap_or_default();
        by_a_person || looked.iter().any(|(at, found)| !found && within(*at))
    }

    pub(super) fn arrivals(&self) -> impl Iterator<Item = &Arrival> {
        self.effects.values().flat_map(|effect| &effect.arrivals)
    }
}

/// A row that belongs to a run.
enum Row {
    Step(Step),
    Attempt(Attempt),
    Event(Event),
    Request(Request),
    Signal(Signal),
    Approval(Approval),
}

impl Row {
    const fn run(&self) -> Uuid {
        match self {
            Self::Step(row) => row.run_id,
            Self::Attempt(row) => row.run_id,
            Self::Event(row) => row.run_id,
            Self::Request(row) => row.run_id,
            Self::Signal(row) => row.run_id,
            Self::Approval(row) => row.run_id,
        }
    }
}

/// Puts each row to its run, in order. The rows that have none are counted.
fn file(runs: Vec<Run>, rows: [Vec<Row>; 6]) -> (BTreeMap<Uuid, RunHistory>, BTreeMap<Uuid, usize>) {
    let mut filed: BTreeMap<Uuid, RunHistory> = runs.into_iter().map(|run| (run.id, RunHistory::of(run))).collect();
    let mut strays = BTreeMap::new();
    for row in rows.into_iter().flatten() {
        match filed.get_mut(&row.run()) {
            Some(run) => run.add(row),
            None => *strays.entry(row.run()).or_default() += 1,
        }
    }
    for run in filed.values_mut() {
        run.name_first_attempts();
        run.events.sort_by_key(|event| event.seq);
        run.steps.sort_by_key(|step| step.seq);
        run.attempts.sort_by_key(|attempt| (attempt.step_seq, attempt.attempt));
        run.requests.sort_by_key(|request| request.wake);
        run.signals.sort_by_key(|signal| signal.wake);
    }
    (filed, strays)
}

impl RunHistory {
    fn of(row: Run) -> Self {
        Self {
            number: row.number.as_ref().and_then(|number| number.parse().ok()),
            row,
            events: Vec::new(),
            steps: Vec::new(),
            attempts: Vec::new(),
            requests: Vec::new(),
            signals: Vec::new(),
            approvals: Vec::new(),
        }
    }

    /// What came of a workflow's step at its first attempt is recorded without a number.
    fn name_first_attempts(&mut self) {
        let tasks: HashSet<i32> = self
            .steps
            .iter()
            .filter(|step| step.kind == StepKind::Task || step.begins_unrecorded())
            .map(|step| step.seq)
            .collect();
        let events = self.events.iter_mut();
        // What people or probes tell is no attempt's.
        let events = events.filter(|event| event.by.is_none());
        for event in events.filter(|event| event.step_seq.is_some_and(|step| tasks.contains(&step))) {
            event.attempt = event.attempt.or(Some(1));
        }
    }

    fn add(&mut self, row: Row) {
        match row {
            Row::Step(step) => {
                self.attempts.extend(newest_attempt(&step));
                self.steps.push(step);
            }
            Row::Attempt(attempt) => self.attempts.push(attempt),
            Row::Event(event) => self.events.push(event),
            Row::Request(request) => self.requests.push(request),
            Row::Signal(signal) => self.signals.push(signal),
            Row::Approval(approval) => self.approvals.push(approval),
        }
    }
}

/// The one that stands in the step's own row.
fn newest_attempt(step: &Step) -> Option<Attempt> {
    Some(Attempt {
        run_id: step.run_id,
        step_seq: step.seq,
        attempt: step.attempt,
        worker_id: step.worker_id,
        fence: step.fence,
        started_at: step.attempt_started_at?,
    })
}

/// In the order in which they came, each with what became of it.
fn arrivals(ledger: &[LedgerRecord]) -> Vec<Arrival> {
    let mut arrivals = BTreeMap::new();
    for record in ledger {
        match record {
            LedgerRecord::Arrival {
                at,
                arrival: number,
                front,
                declared,
                effect,
                key,
                body_sha256,
                worker,
                attempt,
                run,
                conduct,
            } => {
                let arrival = Arrival {
                    at: *at,
                    number: *number,
                    front: *front,
                    declared: *declared,
                    effect: effect.clone(),
                    key: key.clone(),
                    body_sha256: body_sha256.clone(),
                    worker: worker.clone(),
                    attempt: *attempt,
                    run: run.clone(),
                    conduct: conduct.clone(),
                    applied: Vec::new(),
                    reply: None,
                };
                arrivals.insert(*number, arrival);
            }
            LedgerRecord::Applied { at, arrival } => {
                if let Some(arrival) = arrivals.get_mut(arrival) {
                    arrival.applied.push(*at);
                }
            }
            LedgerRecord::Reply {
                arrival,
                what,
                delivered,
                ..
            } => {
                if let Some(arrival) = arrivals.get_mut(arrival) {
                    arrival.reply = Some(Reply {
                        what: what.clone(),
                        delivered: *delivered,
                    });
                }
            }
            LedgerRecord::Looked { .. } => {}
        }
    }
    arrivals.into_values().collect()
}

/// What was asked of each key, in order.
fn looked(ledger: &[LedgerRecord]) -> HashMap<String, Vec<(Micros, bool)>> {
    let mut looked: HashMap<String, Vec<(Micros, bool)>> = HashMap::new();
    for record in ledger {
        if let LedgerRecord::Looked { at, key, found } = record {
            looked.entry(key.clone()).or_default().push((*at, found.is_some()));
        }
    }
    looked
}

/// Each effect that is planned, asked for or done.
fn effects(plan: &Plan, runs: &BTreeMap<Uuid, RunHistory>, arrivals: Vec<Arrival>) -> BTreeMap<String, Effect> {
    let unheard = || Effect {
        planned: None,
        steps: Vec::new(),
        arrivals: Vec::new(),
    };
    let mut effects: BTreeMap<String, Effect> = BTreeMap::new();
    for (id, run) in runs {
        let Some(planned) = run.number.map(|number| plan.run(number)) else {
            continue;
        };
        let identities = plan.identities(&planned);
        for (name, call) in plan.effects(&planned) {
            let key = identities.get(&name).map(|identity| format!("{id}-{identity}"));
            effects.entry(name).or_insert_with(unheard).planned = Some(Planned { run: *id, call, key });
        }
    }
    for (id, run) in runs {
        for step in run.steps.iter().filter(|step| step.is_call()) {
            if let Some(name) = step.asks_for() {
                effects.entry(name).or_insert_with(unheard).steps.push((*id, step.seq));
            }
        }
    }
    for arrival in arrivals {
        effects
            .entry(arrival.effect.clone())
            .or_insert_with(unheard)
            .arrivals
            .push(arrival);
    }
    effects
}

/// When the database was killed, until it answered again.
fn downtime(nemesis: &[NemesisRecord], end: Micros) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut since = None;
    for record in nemesis {
        if record.deed == Deed::PostgresKilled {
            since = since.or(Some(record.at));
        } else if let (Deed::PostgresReady, Some(from)) = (record.deed, since) {
            spans.push(Span::new(from, record.at));
            since = None;
        }
    }
    spans.extend(since.map(|from| Span::new(from, end)));
    spans
}
