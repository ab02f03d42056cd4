//! A cell in memory: what each operation must answer, and what the tables must hold after it.
//!
//! Pure. It is told the ids that the database made, and nothing else about it. Start at [`Memory::record`].

mod doors;
mod workers;

use super::rows::{AttemptRow, EventRow, RunRow, StepRow, Tables, Time};
use engine::{Claim, Control, Ending, EventWrite, Place, Recorded, StepBegin, StepChange, Then, Transition};
use serde_json::{Value, json};
use uuid::Uuid;

pub(super) use doors::Refusal;

/// Crashes after which a run waits for a person.
const CRASHES_MAX: i32 = 5;
/// How long an agent's run may take, from when it was due.
const WALL_CLOCK_SECONDS: i64 = 3600;

/// The cell.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    pub(super) tables: Tables,
    /// In the order of their starts.
    pub(super) started: Vec<Uuid>,
    /// Keys of runs.
    keys: Vec<(String, Uuid)>,
    /// The fixed clock.
    pub(super) now: i64,
    transactions: i64,
}

/// What a step or run waits for.
enum Awaited<'a> {
    Signal { name: &'a str, id: &'a str },
    Child(Uuid),
}

pub(super) fn has_ended(state: &str) -> bool {
    ["succeeded", "failed", "cancelled"].contains(&state)
}

pub(super) fn parsed(text: Option<&String>) -> Option<Value> {
    text.map(|text| serde_json::from_str(text).expect("payloads are JSON"))
}

/// The parent of a run that ends, however it ends.
pub(super) fn told(transition: &Transition) -> Option<Uuid> {
    let parent = transition.parent?;
    matches!(transition.then, Then::End(_)).then_some(parent.0)
}

impl Memory {
    pub(super) fn now(&self) -> Time {
        Time(self.now)
    }

    /// The instant of the transaction that is being done, by the database's clock.
    fn by_database(&self) -> Time {
        Time::by_database(self.transactions)
    }

    /// A transaction begins.
    pub(super) fn begin(&mut self) {
        self.transactions += 1;
    }

    pub(super) fn run(&self, id: Uuid) -> &RunRow {
        let found = self.tables.run.iter().find(|run| run.id == id);
        found.expect("only runs of the case are asked for")
    }

    pub(super) fn run_mut(&mut self, id: Uuid) -> &mut RunRow {
        let found = self.tables.run.iter_mut().find(|run| run.id == id);
        found.expect("only runs of the case are asked for")
    }

    pub(super) fn steps(&self, id: Uuid) -> impl Iterator<Item = &StepRow> {
        self.tables.step.iter().filter(move |step| step.run_id == id)
    }

    pub(super) fn last_event(&self, id: Uuid) -> i32 {
        let events = self.tables.event.iter().filter(|event| event.run_id == id);
        i32::try_from(events.count()).expect("few")
    }

    /// What a holder must know; none where the claim is lost.
    pub(super) fn control(&self, claim: &Claim) -> Option<Control> {
        let run = self.run(claim.run.0);
        (run.fence == claim.fence.0 && run.state == "running").then(|| Control {
            wakes: run.wakes,
            cancel_requested: run.cancel_requested_at.is_some(),
            paused: run.paused_at.is_some(),
        })
    }

    /// An event that no step's is and that nobody holds the run for.
    fn log(&mut self, id: Uuid, kind: &str, (at, data): (Time, Option<Value>)) {
        let seq = self.last_event(id) + 1;
        let run = self.run_mut(id);
        run.event_seq = seq;
        let event = EventRow {
            run_id: id,
            seq,
            kind: kind.to_owned(),
            step_seq: None,
            worker_id: None,
            fence: run.fence,
            at,
            data,
        };
        self.tables.event.push(event);
    }

    /// A holder's transition. `at` is the clock by which it is written.
    pub(super) fn record(&mut self, transition: &Transition, at: Time) -> Recorded {
        let Some(control) = self.control(&transition.claim) else {
            return Recorded::ClaimLost;
        };
        let stopped = control.cancel_requested || control.paused;
        let holds = match &transition.then {
            Then::GoOn => true,
            // What was decided was decided in knowledge of everything that had come.
            Then::GoOnUnwoken { wakes } => *wakes == control.wakes,
            Then::Park { wakes, .. } => *wakes == control.wakes && !control.cancel_requested,
            // A cancel that was asked for is the only end left, and there is no such end without it.
            Then::End(ending) => control.cancel_requested == matches!(ending, Ending::Cancelled),
        };
        if !holds || (transition.writes.has_intent && stopped) {
            return Recorded::Refused(control);
        }
        for change in &transition.writes.changed {
            self.change_step(&transition.claim, change, at);
        }
        for begun in &transition.writes.begun {
            self.begin_step(&transition.claim, begun, at);
        }
        for event in &transition.writes.events {
            self.log_of(&transition.claim, event, at);
        }
        if transition.writes.has_result {
            self.run_mut(transition.claim.run.0).crashes = 0;
        }
        self.move_run(transition, at);
        Recorded::Now(control)
    }

    /// A transition by itself: the parent of a run that ends is told.
    pub(super) fn record_and_tell(&mut self, transition: &Transition, at: Time) -> Recorded {
        let recorded = self.record(transition, at);
        if let (Recorded::Now(_), Some(parent)) = (recorded, told(transition)) {
            self.tell_parent(parent, transition.claim.run.0);
        }
        recorded
    }

    fn begin_step(&mut self, claim: &Claim, step: &StepBegin, at: Time) {
        let (turn, call_index, identity) = match &step.place {
            Place::Turn { turn, call_index } => (Some(*turn), Some(*call_index), None),
            Place::Identity(identity) => (None, None, Some(identity.clone())),
        };
        let row = StepRow {
            run_id: claim.run.0,
            seq: step.seq,
            turn,
            call_index,
            identity,
            kind: step.kind.to_owned(),
            name: step.name.clone(),
            call_id: step.call_id.clone(),
            state: step.state.to_owned(),
            effect: step.effect.to_owned(),
            key: step.key.clone(),
            attempt: step.attempt,
            attempts_max: step.attempts_max,
            maybe_applied: step.maybe_applied,
            replaces_seq: step.replaces_seq,
            worker_id: claim.worker.0,
            fence: claim.fence.0,
            due_at: step.due_at.map(Time::of),
            created_at: at,
            budget_from: at,
            attempt_started_at: (step.attempt > 0).then_some(at),
            attempt_ended_at: None,
            ended_at: has_ended(step.state).then_some(at),
            request: parsed(step.request.as_ref()),
            result: parsed(step.result.as_ref()),
            error: parsed(step.error.as_ref()),
            evidence: None,
        };
        self.tables.step.push(row);
    }

    /// A step that has ended stays as it is.
    fn change_step(&mut self, claim: &Claim, change: &StepChange, at: Time) {
        let mut steps = self.tables.step.iter_mut();
        let Some(step) = steps.find(|step| step.run_id == claim.run.0 && step.seq == change.seq) else {
            return;
        };
        if has_ended(&step.state) {
            return;
        }
        let begins = change.attempt > step.attempt;
        if begins {
            if step.attempt > 0 {
                self.tables.attempt.push(AttemptRow {
                    run_id: step.run_id,
                    step_seq: step.seq,
                    attempt: step.attempt,
                    worker_id: step.worker_id,
                    fence: step.fence,
                    started_at: step.attempt_started_at,
                    ended_at: step.attempt_ended_at,
                    error: step.error.clone(),
                    evidence: step.evidence.clone(),
                });
            }
            step.worker_id = claim.worker.0;
            step.attempt_started_at = Some(at);
            step.attempt_ended_at = None;
        } else if change.evidence.is_some() {
            step.attempt_ended_at = Some(at);
        }
        step.state = change.state.to_owned();
        step.attempt = change.attempt;
        step.attempts_max = change.attempts_max;
        step.maybe_applied = change.maybe_applied;
        step.due_at = change.due_at.map(Time::of);
        step.fence = claim.fence.0;
        step.result = parsed(change.result.as_ref());
        step.error = parsed(change.error.as_ref());
        if begins || change.evidence.is_some() {
            step.evidence = parsed(change.evidence.as_ref());
        }
        step.ended_at = has_ended(change.state).then_some(at);
        if change.fresh_budget {
            step.budget_from = at;
        }
    }

    fn log_of(&mut self, claim: &Claim, event: &EventWrite, at: Time) {
        let run = self.run(claim.run.0);
        let data = match event.kind {
            "run.cancelled" => Some(json!({"by": run.cancel_requested_by, "reason": run.cancel_reason})),
            _ => parsed(event.data.as_ref()),
        };
        self.tables.event.push(EventRow {
            run_id: claim.run.0,
            seq: event.seq,
            kind: event.kind.to_owned(),
            step_seq: event.step_seq,
            worker_id: Some(claim.worker.0),
            fence: claim.fence.0,
            at,
            data,
        });
    }

    fn move_run(&mut self, transition: &Transition, at: Time) {
        let last = self.last_event(transition.claim.run.0);
        let run = self.run_mut(transition.claim.run.0);
        match &transition.then {
            Then::GoOn | Then::GoOnUnwoken { .. } => return,
            Then::Park {
                waiting_for,
                reason,
                until,
                ..
            } => {
                run.state = "waiting".to_owned();
                run.waiting_for = Some(waiting_for.clone());
                run.wait_reason = Some(reason.clone());
                run.due_at = until.map(Time::of);
            }
            Then::End(ending) => {
                run.state = ending.state().to_owned();
                run.ended_at = Some(at);
                (run.paused_at, run.paused_by, run.pause_reason) = (None, None, None);
                match ending {
                    Ending::Succeeded(result) => run.result = parsed(Some(result)),
                    Ending::Failed(error) => run.error = parsed(Some(error)),
                    Ending::Cancelled => {}
                }
            }
        }
        run.worker_id = None;
        run.event_seq = last;
    }

    /// Counts a wake-up, and puts the run back into its queue where a step waits for this very thing.
    fn wake(&mut self, id: Uuid, awaited: &Awaited<'_>) {
        let waits = |step: &StepRow| match awaited {
            Awaited::Signal { name, .. } => step.kind == "signal" && step.name == *name,
            Awaited::Child(child) => {
                let asked = step.request.as_ref().and_then(|request| request["run_id"].as_str());
                step.kind == "child" && asked == Some(child.to_string().as_str())
            }
        };
        let any_waits = self.steps(id).any(|step| step.state == "waiting" && waits(step));
        let at = self.by_database();
        let run = self.run_mut(id);
        run.wakes += 1;
        // A person is waited for until a person has spoken.
        if run.state == "waiting" && run.waiting_for.as_deref() != Some("approval") && any_waits {
            run.state = "queued".to_owned();
            (run.waiting_for, run.wait_reason) = (None, None);
            run.due_at = Some(at);
            let why = match awaited {
                Awaited::Signal { name, id } => json!({"by": "signal", "name": name, "signal": id}),
                Awaited::Child(child) => json!({"by": "child", "run_id": child}),
            };
            self.log(id, "run.woken", (at, Some(why)));
        }
    }

    fn tell_parent(&mut self, parent: Uuid, child: Uuid) {
        if !has_ended(&self.run(parent).state) {
            self.wake(parent, &Awaited::Child(child));
        }
    }
}
