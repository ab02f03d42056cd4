//! A small history in which all is well, for tests to spoil.
//!
//! Two workers and a few runs, with all their planned calls. One worker is killed, Postgres too; one run is cancelled,
//! one waits for a person.

use crate::judge::records::Records;
use crate::judge::row::{
    Attempt, Event, EventKind, Request, RequestKind, Run, RunState, Step, StepKind, StepState, Taken, Worker,
};
use crate::plan::{ANSWER, Call, Kind, Plan, Then};
use crate::record::{
    Asked, Declared, Deed, Door, DriverRecord, Front, LedgerRecord, Machine, Micros, NemesisRecord, Outcome,
};
use std::collections::BTreeSet;
use uuid::Uuid;

mod beside;
mod people;

pub(super) use people::open_approval;

pub(super) const SEED: u64 = 7;
/// A second.
pub(super) const S: Micros = 1_000_000;
/// Between two things that happen.
const TICK: Micros = 1000;
const BEGAN: Micros = 1_700_000_000 * S;

/// The worker that is killed, and its run.
pub(super) const VICTIM: (Uuid, &str) = (Uuid::from_u128(0xa1), "storm-1-1");
/// The worker that does the rest.
pub(super) const SURVIVOR: (Uuid, &str) = (Uuid::from_u128(0xa2), "storm-2-1");
/// A worker that gets nothing to do.
pub(super) const IDLE: &str = "storm-3-1";
/// Lost its worker after its first answer.
pub(super) const RECLAIMED: u64 = 0;
/// Was cancelled before anybody claimed it.
pub(super) const CANCELLED: u64 = 1000;
/// The runs before it succeeded.
const SUCCEEDED: u64 = 9;

#[derive(Clone)]
pub(super) struct Good {
    pub(super) records: Records,
    pub(super) now: Micros,
    /// The run whose `at_most_once` call was applied, and the reply was lost.
    pub(super) doubtful: u64,
    /// A run that waits for signals more than once.
    pub(super) patient: u64,
    plan: Plan,
}

pub(super) const fn id(number: u64) -> Uuid {
    Uuid::from_u128(0xb000 + number as u128)
}

/// A result as it is recorded.
pub(super) fn result(effect: &str, kind: Kind, receipt: u64) -> String {
    let told = format!(r#"{{"effect":"{effect}","receipt":{receipt}}}"#);
    match kind {
        Kind::Agent => serde_json::json!({ "content": told }).to_string(),
        Kind::Workflow => serde_json::json!(told).to_string(),
    }
}

impl Good {
    pub(super) fn new() -> Self {
        let worker = |(id, name): (Uuid, &str)| Worker {
            id,
            name: name.to_owned(),
            lease_expires_at: BEGAN,
        };
        let mut good = Self {
            records: Records {
                ledger: Vec::new(),
                driver: Vec::new(),
                nemesis: Vec::new(),
                shown: Vec::new(),
                runs: Vec::new(),
                steps: Vec::new(),
                attempts: Vec::new(),
                events: Vec::new(),
                requests: Vec::new(),
                signals: Vec::new(),
                sales: Vec::new(),
                receipts: Vec::new(),
                approvals: Vec::new(),
                workers: vec![worker(VICTIM), worker(SURVIVOR)],
                taken: Taken { at: 0 },
                late_results: 0,
                machine: Machine { slowness: 1.0 },
            },
            now: BEGAN,
            doubtful: 0,
            patient: 0,
            plan: Plan::of(SEED),
        };
        good.did(Deed::WorkerStarted, Some(VICTIM.1));
        good.did(Deed::WorkerStarted, Some(SURVIVOR.1));
        good.did(Deed::WorkerStarted, Some(IDLE));
        good.loses_its_worker();
        good.patient = good.found(|plan, number| plan.signals(&plan.run(number)) > 2);
        let with_a_child = good.found(|plan, number| !plan.children(&plan.run(number)).is_empty());
        let selling = good.found(|plan, number| {
            plan.beside(&plan.run(number))
                .iter()
                .any(|(_, then)| *then == Then::Sell)
        });
        let beside: BTreeSet<u64> = [good.patient, with_a_child, selling].into();
        for number in (1..SUCCEEDED).chain(beside) {
            good.starts(number);
            good.event(number, EventKind::Claimed, Some(SURVIVOR.0));
            good.drive(number, 1);
        }
        good.is_left_in_doubt();
        good.is_cancelled();
        good.did(Deed::PostgresKilled, None);
        good.now += S;
        good.did(Deed::PostgresReady, None);
        good.did(Deed::Quiet, Some(SURVIVOR.1));
        good.tick();
        good.records.taken.at = good.now;
        good
    }

    pub(super) fn tick(&mut self) -> Micros {
        self.now += TICK;
        self.now
    }

    fn loses_its_worker(&mut self) {
        self.starts(RECLAIMED);
        self.event(RECLAIMED, EventKind::Claimed, Some(VICTIM.0));
        self.model(RECLAIMED);
        self.did(Deed::WorkerKilled, Some(VICTIM.1));
        self.now += 2 * S;
        let reclaimed = self.event(RECLAIMED, EventKind::Reclaimed, Some(VICTIM.0));
        reclaimed.crashes = Some(1);
        reclaimed.quarantined = Some(false);
        self.event(RECLAIMED, EventKind::Claimed, Some(SURVIVOR.0));
        self.calls(RECLAIMED, 1);
        self.drive(RECLAIMED, 2);
    }

    fn is_left_in_doubt(&mut self) {
        let runs = (SUCCEEDED..).map(|number| self.plan.run(number));
        let runs = runs.filter(|run| run.kind == Kind::Agent);
        let calls = runs.map(|run| (run.number, self.plan.effects(&run)));
        let mut calls = calls.flat_map(|(number, calls)| calls.into_iter().map(move |call| (number, call)));
        let doubtful = |(effect, call): &(String, Call)| {
            effect.contains("-t1-") && call.declared == Declared::AtMostOnce && call.front == Front::Http
        };
        let (number, (effect, call)) = calls.find(|(_, call)| doubtful(call)).unwrap();
        self.doubtful = number;
        self.starts(number);
        self.event(number, EventKind::Claimed, Some(SURVIVOR.0));
        self.model(number);
        let seq = self.intent(number, &effect, call);
        let arrival = self.arrives(number, seq);
        self.applied(arrival);
        self.reply(arrival, "reset", false);
        self.step_event(number, EventKind::StepUnknown, seq);
        self.event(number, EventKind::Parked, Some(SURVIVOR.0));
        let run = self.run(number);
        run.state = RunState::Waiting;
        run.waiting_for = Some("approval".to_owned());
        run.wait_reason = Some("unknown_outcome".to_owned());
    }

    fn is_cancelled(&mut self) {
        self.starts(CANCELLED);
        self.event(CANCELLED, EventKind::Cancelled, None);
        let at = self.now;
        let run = self.run(CANCELLED);
        run.state = RunState::Cancelled;
        run.cancel_requested_at = Some(at);
        run.ended_at = Some(at);
        self.request(CANCELLED, RequestKind::Cancel);
        self.asked(
            Asked::Cancel,
            CANCELLED,
            Outcome::Acknowledged(id(CANCELLED).to_string()),
        );
    }

    /// A run that succeeded was cancelled instead.
    pub(super) fn is_cancelled_in_the_end(&mut self, number: u64) {
        let run = self.run(number);
        run.state = RunState::Cancelled;
        run.cancel_requested_at = run.ended_at;
        self.request(number, RequestKind::Cancel);
        self.asked(Asked::Cancel, number, Outcome::Acknowledged(id(number).to_string()));
    }

    /// All turns from this one on, and the end.
    fn drive(&mut self, number: u64, from: usize) {
        let run = self.plan.run(number);
        match run.kind {
            Kind::Agent => {
                for turn in from..=self.plan.shape(&run).turns.len() {
                    self.model(number);
                    self.calls(number, turn);
                }
                self.model(number);
            }
            Kind::Workflow => {
                for (turn, planned) in (1_u64..).zip(self.plan.workflow(&run).turns.clone()) {
                    self.calls(number, turn as usize);
                    self.sleep(number);
                    match planned.then {
                        None => {}
                        Some(Then::Wait { .. }) => self.waits(number),
                        Some(Then::Child) => self.has_a_child(number, turn),
                        Some(Then::Sell) => self.sells(number, turn),
                    }
                }
            }
        }
        let holder = self.holder(number);
        self.event(number, EventKind::Succeeded, holder);
        let result = match run.kind {
            Kind::Agent => format!(r#"{{"answer":"{ANSWER}"}}"#),
            Kind::Workflow => self.told(number).to_string(),
        };
        let at = self.now;
        let run = self.run(number);
        run.result = Some(result);
        run.state = RunState::Succeeded;
        run.ended_at = Some(at);
    }

    /// A turn's calls, each answered at once.
    fn calls(&mut self, number: u64, turn: usize) {
        let prefix = format!("r{number}-t{turn}-");
        let run = self.plan.run(number);
        let planned = self.plan.effects(&run);
        for (effect, call) in planned.into_iter().filter(|(effect, _)| effect.starts_with(&prefix)) {
            let seq = match run.kind {
                Kind::Agent => self.intent(number, &effect, call),
                Kind::Workflow => self.task(number, &effect, call),
            };
            let arrival = self.arrives(number, seq);
            self.applied(arrival);
            self.reply(arrival, "200", true);
            self.step_event(number, EventKind::StepSucceeded, seq);
            self.step(number, seq).result = Some(result(&effect, run.kind, arrival));
            if self.step(number, seq).begins_unrecorded() {
                self.is_recorded_late(number, seq);
            }
        }
    }

    /// Asked for and acknowledged.
    pub(super) fn starts(&mut self, number: u64) {
        self.records.runs.push(Run {
            id: id(number),
            kind: self.plan.run(number).kind,
            number: Some(number.to_string()),
            state: RunState::Queued,
            waiting_for: None,
            wait_reason: None,
            event_seq: 0,
            error: None,
            result: None,
            paused_at: None,
            cancel_requested_at: None,
            ended_at: None,
            parent_id: None,
            on_parent_end: None,
        });
        self.event(number, EventKind::Started, None);
        self.asked(Asked::Start, number, Outcome::Acknowledged(id(number).to_string()));
    }

    pub(super) fn asked(&mut self, asked: Asked, run: u64, outcome: Outcome) {
        let at = self.tick();
        self.records.driver.push(DriverRecord {
            at,
            asked,
            run,
            door: Door::Sql,
            signal: None,
            decision: None,
            receipt: None,
            outcome,
        });
    }

    pub(super) fn request(&mut self, number: u64, kind: RequestKind) {
        let (at, wake) = (self.tick(), self.records.requests.len());
        self.records.requests.push(Request {
            run_id: id(number),
            wake: i64::try_from(wake).unwrap(),
            kind,
            at,
        });
    }

    pub(super) fn did(&mut self, deed: Deed, worker: Option<&str>) {
        let at = self.tick();
        self.records.nemesis.push(NemesisRecord {
            at,
            deed,
            worker: worker.map(ToOwned::to_owned),
            window: None,
            detail: None,
        });
    }

    pub(super) fn run(&mut self, number: u64) -> &mut Run {
        self.records.runs.iter_mut().find(|run| run.id == id(number)).unwrap()
    }

    /// The last one's worker.
    fn holder(&self, number: u64) -> Option<Uuid> {
        let mut claims = self
            .records
            .events
            .iter()
            .filter(|event| event.run_id == id(number) && event.kind == EventKind::Claimed);
        claims.next_back().and_then(|claim| claim.worker_id)
    }

    /// Appends to a run's events; a claim takes the next fence.
    pub(super) fn event(&mut self, number: u64, kind: EventKind, worker: Option<Uuid>) -> &mut Event {
        let at = self.tick();
        let own = self.records.events.iter().filter(|event| event.run_id == id(number));
        let fence = own.map(|event| event.fence).max().unwrap_or_default() + i64::from(kind == EventKind::Claimed);
        let run = self.run(number);
        run.event_seq += 1;
        let seq = run.event_seq;
        self.records.events.push(Event {
            run_id: id(number),
            seq,
            kind,
            step_seq: None,
            worker_id: worker,
            fence,
            at,
            attempt: None,
            crashes: None,
            quarantined: None,
            why: None,
            came_from: None,
            parked_for: None,
            until: None,
            by: None,
            verb: None,
            due_at: None,
        });
        self.records.events.last_mut().unwrap()
    }

    pub(super) fn step(&mut self, number: u64, seq: i32) -> &mut Step {
        self.records
            .steps
            .iter_mut()
            .find(|step| step.run_id == id(number) && step.seq == seq)
            .unwrap()
    }

    /// An event of a step's newest attempt, and what it makes of the row.
    pub(super) fn step_event(&mut self, number: u64, kind: EventKind, seq: i32) {
        let (holder, attempt) = (self.holder(number), self.step(number, seq).attempt);
        let event = self.event(number, kind, holder);
        event.step_seq = Some(seq);
        event.attempt = Some(attempt);
        let fence = event.fence;
        let at = self.now;
        let step = self.step(number, seq);
        step.fence = fence;
        let ends = matches!(
            kind,
            EventKind::StepSucceeded | EventKind::StepFailed | EventKind::StepCancelled
        );
        step.ended_at = ends.then_some(at);
        step.state = match kind {
            EventKind::StepSucceeded => StepState::Succeeded,
            EventKind::StepFailed => StepState::Failed,
            EventKind::StepCancelled => StepState::Cancelled,
            EventKind::StepUnknown => StepState::Unknown,
            EventKind::StepRetryScheduled => StepState::Waiting,
            EventKind::StepStarted
            | EventKind::ApprovalOpened
            | EventKind::StepGivenBack
            | EventKind::StepHeldBack
            | EventKind::Started
            | EventKind::Claimed
            | EventKind::Parked
            | EventKind::Woken
            | EventKind::Released
            | EventKind::Paused
            | EventKind::Resumed
            | EventKind::Reclaimed
            | EventKind::Succeeded
            | EventKind::Failed
            | EventKind::Cancelled => StepState::Running,
        };
    }

    /// Another attempt of a step, by whoever holds the run.
    pub(super) fn again(&mut self, number: u64, seq: i32) {
        let step = self.step(number, seq).clone();
        self.records.attempts.push(Attempt {
            run_id: step.run_id,
            step_seq: seq,
            attempt: step.attempt,
            worker_id: step.worker_id,
            fence: step.fence,
            started_at: step.attempt_started_at.unwrap(),
        });
        let holder = self.holder(number).unwrap();
        let step = self.step(number, seq);
        step.attempt += 1;
        step.worker_id = holder;
        self.step_event(number, EventKind::StepStarted, seq);
        let at = self.now;
        self.step(number, seq).attempt_started_at = Some(at);
    }

    /// A model's answer.
    fn model(&mut self, number: u64) {
        let seq = self.begin(number, StepKind::Model, "model");
        self.step_event(number, EventKind::StepSucceeded, seq);
    }

    /// A recorded intent of a call; its step.
    pub(super) fn intent(&mut self, number: u64, effect: &str, call: Call) -> i32 {
        let seq = self.begin(number, StepKind::Tool, &call.tool());
        let step = self.step(number, seq);
        step.effect = call.declared;
        step.input = Some(format!(r#"{{"effect":"{effect}"}}"#));
        seq
    }

    fn begin(&mut self, number: u64, kind: StepKind, name: &str) -> i32 {
        let own = self.records.steps.iter().filter(|step| step.run_id == id(number));
        let seq = i32::try_from(own.count()).unwrap() + 1;
        self.records.steps.push(Step {
            run_id: id(number),
            seq,
            kind,
            name: name.to_owned(),
            state: StepState::Running,
            effect: Declared::ReadOnly,
            key: format!("{}-{seq}", id(number)),
            attempt: 1,
            attempts_max: 20,
            replaces_seq: None,
            worker_id: self.holder(number).unwrap(),
            fence: 0,
            input: None,
            result: None,
            attempt_started_at: None,
            ended_at: None,
        });
        self.step_event(number, EventKind::StepStarted, seq);
        let at = self.now;
        self.step(number, seq).attempt_started_at = Some(at);
        seq
    }

    /// The call of a step's newest attempt reaches the ledger; its number there.
    pub(super) fn arrives(&mut self, number: u64, seq: i32) -> u64 {
        let at = self.tick();
        let (step, workers) = (self.step(number, seq).clone(), [VICTIM, SURVIVOR]);
        let arrivals = self.records.ledger.iter().filter_map(|record| match record {
            LedgerRecord::Arrival { arrival, .. } => Some(*arrival),
            LedgerRecord::Applied { .. } | LedgerRecord::Reply { .. } | LedgerRecord::Looked { .. } => None,
        });
        let arrival = arrivals.max().unwrap_or_default() + 1;
        let front = Front::ALL
            .into_iter()
            .find(|front| step.name.starts_with(front.as_str()));
        self.records.ledger.push(LedgerRecord::Arrival {
            at,
            arrival,
            front: front.unwrap(),
            declared: step.effect,
            effect: step.asks_for().unwrap(),
            key: Some(step.key),
            body_sha256: step.input.unwrap(),
            worker: workers
                .iter()
                .find(|(id, _)| *id == step.worker_id)
                .map(|(_, name)| (*name).to_owned()),
            attempt: u32::try_from(step.attempt).ok(),
            run: Some(step.run_id.to_string()),
            conduct: "good".to_owned(),
        });
        arrival
    }

    /// The same while its run is still under way.
    pub(super) fn arrives_in_time(&mut self, number: u64, seq: i32) -> u64 {
        let first = self.arrival_of(number, seq);
        let LedgerRecord::Arrival { at: due, .. } = *self.arrival(first) else {
            panic!("no arrival");
        };
        let arrival = self.arrives(number, seq);
        if let LedgerRecord::Arrival { at, .. } = self.arrival(arrival) {
            *at = due;
        }
        arrival
    }

    pub(super) fn applied(&mut self, arrival: u64) {
        let at = self.tick();
        self.records.ledger.push(LedgerRecord::Applied { at, arrival });
    }

    pub(super) fn reply(&mut self, arrival: u64, what: &str, delivered: bool) {
        let (at, what) = (self.tick(), what.to_owned());
        self.records.ledger.push(LedgerRecord::Reply {
            at,
            arrival,
            what,
            delivered,
        });
    }

    /// The first tool step that is declared like this, of any run that succeeded: its run and number.
    pub(super) fn tool(&self, declared: Declared) -> (u64, i32) {
        self.call(StepKind::Tool, declared)
    }

    /// The first tool step that is declared like this and called like that, of any run that succeeded.
    pub(super) fn tool_of(&self, declared: Declared, front: Front) -> (u64, i32) {
        let name = Call { front, declared }.tool();
        let steps = self.records.steps.iter();
        let mut places = steps.filter(|step| step.name == name && step.state == StepState::Succeeded);
        let step = places.find(|step| step.kind == StepKind::Tool);
        let step = step.unwrap_or_else(|| panic!("no {name}"));
        let number = (0..SUCCEEDED).find(|number| id(*number) == step.run_id).unwrap();
        (number, step.seq)
    }

    /// The first such step.
    pub(super) fn call(&self, kind: StepKind, declared: Declared) -> (u64, i32) {
        let wanted = |step: &&Step| step.kind == kind && step.effect == declared && step.state == StepState::Succeeded;
        let step = self.records.steps.iter().find(wanted).unwrap();
        let number = (0..SUCCEEDED).find(|number| id(*number) == step.run_id).unwrap();
        (number, step.seq)
    }

    /// The number under which a step's first call is in the ledger.
    pub(super) fn arrival_of(&self, number: u64, seq: i32) -> u64 {
        let step = |step: &&Step| step.run_id == id(number) && step.seq == seq;
        let step_key = self.records.steps.iter().find(step).unwrap().key.clone();
        let arrivals = self.records.ledger.iter().filter_map(|record| match record {
            LedgerRecord::Arrival { arrival, key, .. } => (key.as_ref() == Some(&step_key)).then_some(*arrival),
            LedgerRecord::Applied { .. } | LedgerRecord::Reply { .. } | LedgerRecord::Looked { .. } => None,
        });
        arrivals.min().unwrap()
    }

    /// Strikes out that a call was applied.
    pub(super) fn unapply(&mut self, wanted: u64) {
        let is = |record: &LedgerRecord| matches!(record, LedgerRecord::Applied { arrival, .. } if *arrival == wanted);
        self.records.ledger.retain(|record| !is(record));
    }

    /// A call was answered like this.
    pub(super) fn answered(&mut self, wanted: u64, now_what: &str, now_delivered: bool) {
        for record in &mut self.records.ledger {
            if let LedgerRecord::Reply {
                arrival,
                what,
                delivered,
                ..
            } = record
                && *arrival == wanted
            {
                now_what.clone_into(what);
                *delivered = now_delivered;
            }
        }
    }

    /// Changes the records of all calls on behalf of a run.
    pub(super) fn calls_of_run(&mut self, number: u64, spoil: impl Fn(&mut LedgerRecord)) {
        let own = |record: &&mut LedgerRecord| matches!(record, LedgerRecord::Arrival { run, .. } if *run == Some(id(number).to_string()));
        self.records.ledger.iter_mut().filter(own).for_each(spoil);
    }

    /// Changes a call's record.
    pub(super) fn arrival(&mut self, wanted: u64) -> &mut LedgerRecord {
        let is =
            |record: &&mut LedgerRecord| matches!(record, LedgerRecord::Arrival { arrival, .. } if *arrival == wanted);
        self.records.ledger.iter_mut().find(is).unwrap()
    }

    pub(super) fn events_of(&mut self, number: u64, kind: EventKind) -> impl DoubleEndedIterator<Item = &mut Event> {
        let events = self.records.events.iter_mut();
        events.filter(move |event| event.run_id == id(number) && event.kind == kind)
    }
}
