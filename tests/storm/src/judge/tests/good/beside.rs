//! What only the workflows of the good history do.

use super::{CANCELLED, Good, SUCCEEDED, SURVIVOR, id};
use crate::judge::row::{EventKind, Sale, Signal, StepKind};
use crate::plan::{Call, Plan, SIGNAL, Then, child_number};
use crate::record::{Asked, Outcome};

impl Good {
    /// The output of a workflow's run.
    pub(super) fn told(&self, number: u64) -> serde_json::Value {
        let run = self.plan.run(number);
        let count = |wanted: fn(&Then) -> bool| {
            let beside = self.plan.beside(&run).into_iter();
            beside.filter(|(_, then)| wanted(then)).count()
        };
        let heard: Vec<usize> = (0..count(|then| matches!(then, Then::Wait { .. }))).collect();
        serde_json::json!({
            "done": self.plan.effects(&run).len(),
            "heard": heard,
            "joined": count(|then| *then == Then::Child),
            "sold": count(|then| *then == Then::Sell),
        })
    }

    /// A wait for the next signal, which comes meanwhile.
    pub(super) fn waits(&mut self, number: u64) {
        let seq = self.begin(number, StepKind::Signal, SIGNAL);
        self.records.events.last_mut().unwrap().attempt = None;
        let place = self
            .records
            .signals
            .iter()
            .filter(|signal| signal.run_id == id(number))
            .count() as u64;
        self.signal(number, place);
        self.step_event(number, EventKind::StepSucceeded, seq);
        self.records.events.last_mut().unwrap().attempt = None;
        let took = self.records.signals.last().unwrap();
        let took = serde_json::json!({"wake": took.wake, "id": took.id, "sender": "storm", "payload": place});
        self.step(number, seq).result = Some(took.to_string());
    }

    /// A signal that comes and is acknowledged.
    pub(in crate::judge::tests) fn signal(&mut self, number: u64, place: u64) {
        let wake = i64::try_from(self.records.signals.len()).unwrap() + 1;
        self.records.signals.push(Signal {
            run_id: id(number),
            name: SIGNAL.to_owned(),
            wake,
            id: self.plan.signal_id(number, place),
            payload: place.to_string(),
        });
        self.asked(Asked::Signal, number, Outcome::Acknowledged(id(number).to_string()));
        self.records.driver.last_mut().unwrap().signal = Some(place);
    }

    /// A child that is started, driven and waited for.
    pub(super) fn has_a_child(&mut self, number: u64, turn: u64) {
        let child = child_number(number, turn);
        let seq = self.begin(number, StepKind::Start, "storm");
        self.leaves_no_trace(number);
        self.starts(child);
        self.records.driver.pop();
        self.run(child).parent_id = Some(id(number));
        self.run(child).on_parent_end = Some("cancel".to_owned());
        self.step_event(number, EventKind::StepSucceeded, seq);
        self.is_recorded_late(number, seq);
        let told = serde_json::json!({"run_id": id(child)}).to_string();
        self.step(number, seq).result = Some(told.clone());
        let seq = self.begin(number, StepKind::Join, "join");
        self.records.events.last_mut().unwrap().attempt = None;
        self.event(child, EventKind::Claimed, Some(SURVIVOR.0));
        self.drive(child, 1);
        self.step_event(number, EventKind::StepSucceeded, seq);
        self.records.events.last_mut().unwrap().attempt = None;
        let result = self.run(child).result.clone();
        let step = self.step(number, seq);
        step.input = Some(told);
        step.result = result;
    }

    /// A transaction.
    pub(super) fn sells(&mut self, number: u64, turn: u64) {
        let seq = self.begin(number, StepKind::Transaction, "sell");
        self.leaves_no_trace(number);
        self.records.sales.push(Sale {
            run: number.to_string(),
            item: format!("t{turn}"),
        });
        self.step_event(number, EventKind::StepSucceeded, seq);
        self.is_recorded_late(number, seq);
        self.step(number, seq).input = Some(format!(r#""t{turn}""#));
    }

    /// A workflow's sleep.
    pub(super) fn sleep(&mut self, number: u64) {
        let seq = self.begin(number, StepKind::Timer, "sleep");
        self.records.events.last_mut().unwrap().attempt = None;
        self.step_event(number, EventKind::StepSucceeded, seq);
        self.records.events.last_mut().unwrap().attempt = None;
    }

    /// The first run behind those that succeeded of which this is so.
    pub(super) fn found(&self, wanted: impl Fn(&Plan, u64) -> bool) -> u64 {
        (SUCCEEDED..CANCELLED)
            .find(|number| wanted(&self.plan, *number))
            .unwrap()
    }

    /// What was begun a moment ago has no event that says so.
    fn leaves_no_trace(&mut self, number: u64) {
        self.records.events.pop();
        self.run(number).event_seq -= 1;
    }

    /// A workflow's call; its step. One that may be repeated leaves no trace before it is over.
    pub(in crate::judge::tests) fn task(&mut self, number: u64, effect: &str, call: Call) -> i32 {
        let seq = self.begin(number, StepKind::Task, &call.tool());
        let identity = self.plan.identities(&self.plan.run(number)).remove(effect).unwrap();
        let step = self.step(number, seq);
        step.effect = call.declared;
        step.key = format!("{}-{identity}", id(number));
        step.input = Some(format!(r#"{{"effect":"{effect}"}}"#));
        if step.begins_unrecorded() {
            self.leaves_no_trace(number);
        }
        seq
    }

    /// A step has its row since its end, whose event has no attempt's number.
    pub(super) fn is_recorded_late(&mut self, number: u64, seq: i32) {
        let end = self.records.events.last_mut().unwrap();
        end.attempt = None;
        let at = end.at;
        self.step(number, seq).attempt_started_at = Some(at);
    }
}
