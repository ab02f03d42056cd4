//! Runs of the workflow: what leaves no intent is held to its key, and what leaves one to its intent.

use super::broken;
use super::good::{Good, S, id};
use crate::judge::row::{EventKind, StepKind, StepState};
use crate::plan::Kind;
use crate::record::{Declared, LedgerRecord};

/// Changes the record of a step's first call.
fn spoil(good: &mut Good, (number, seq): (u64, i32), spoil: impl Fn(&mut LedgerRecord)) {
    let arrival = good.arrival_of(number, seq);
    spoil(good.arrival(arrival));
}

#[test]
fn a_step_that_may_be_repeated_needs_the_key_of_its_place() {
    let mut good = Good::new();
    let place = good.call(StepKind::Task, Declared::ReadOnly);
    let other = good.call(StepKind::Task, Declared::Idempotent);
    let others = good.step(other.0, other.1).key.clone();
    spoil(&mut good, place, |record| {
        if let LedgerRecord::Arrival { key, .. } = record {
            *key = Some(others.clone());
        }
    });
    assert_eq!(broken(good), ["intent"]);
}

#[test]
fn a_later_attempt_of_a_step_that_may_be_repeated_needs_its_intent() {
    let mut good = Good::new();
    let place = good.call(StepKind::Task, Declared::ReadOnly);
    spoil(&mut good, place, |record| {
        if let LedgerRecord::Arrival { attempt, .. } = record {
            *attempt = Some(2);
        }
    });
    assert_eq!(broken(good), ["intent"]);
}

#[test]
fn a_step_that_may_not_be_repeated_needs_its_intent_before_its_call() {
    let mut good = Good::new();
    let (number, seq) = good.call(StepKind::Task, Declared::AtMostOnce);
    let begun = good.step(number, seq).attempt_started_at.unwrap();
    spoil(&mut good, (number, seq), |record| {
        if let LedgerRecord::Arrival { at, .. } = record {
            *at = begun - 1;
        }
    });
    assert_eq!(broken(good), ["intent"]);
}

#[test]
fn a_step_under_another_key_than_that_of_its_place_is_found() {
    let mut good = Good::new();
    let (number, seq) = good.call(StepKind::Task, Declared::ReadOnly);
    good.step(number, seq).key.push('2');
    assert_eq!(broken(good), ["planned"]);
}

#[test]
fn a_run_of_another_kind_than_was_planned_is_found() {
    let mut good = Good::new();
    let (number, _) = good.call(StepKind::Task, Declared::ReadOnly);
    good.run(number).kind = Kind::Agent;
    assert_eq!(broken(good), ["planned"]);
}

#[test]
fn a_step_of_a_workflow_that_was_applied_twice_is_found() {
    for declared in [Declared::Idempotent, Declared::AtMostOnce] {
        let mut good = Good::new();
        let (number, seq) = good.call(StepKind::Task, declared);
        let arrival = good.arrival_of(number, seq);
        good.applied(arrival);
        assert_eq!(broken(good), [declared.as_str()]);
    }
}

#[test]
fn a_result_that_another_worker_wrote_is_found() {
    let mut good = Good::new();
    let (number, seq) = good.call(StepKind::Task, Declared::Idempotent);
    good.step(number, seq).fence += 1;
    assert_eq!(broken(good), ["fence"]);
}

#[test]
fn a_step_that_has_two_ends_is_found() {
    let mut good = Good::new();
    let (number, seq) = good.call(StepKind::Task, Declared::Idempotent);
    good.step(number, seq).state = StepState::Waiting;
    assert!(broken(good).contains(&"one_end"));
}

#[test]
fn a_step_that_may_be_repeated_may_be_recorded_long_after_a_cancel() {
    let mut good = Good::new();
    let (number, seq) = good.call(StepKind::Task, Declared::Idempotent);
    let recorded = good.step(number, seq).attempt_started_at.unwrap();
    // Its run succeeded, which no run does after a cancel: that, and the others' attempts, are for others to tell.
    good.run(number).cancel_requested_at = Some(recorded - 2 * S);
    good.records
        .steps
        .retain(|step| step.run_id != id(number) || step.begins_unrecorded());
    assert!(!broken(good).contains(&"after_end"));
}

#[test]
fn a_call_that_left_no_trace_is_no_finding_where_its_run_did_not_succeed() {
    let mut good = Good::new();
    let (number, seq) = good.call(StepKind::Task, Declared::Idempotent);
    let run = id(number);
    good.records.steps.retain(|step| step.run_id != run || step.seq != seq);
    good.records
        .events
        .retain(|event| event.run_id != run || event.step_seq != Some(seq));
    for (event, seq) in good
        .records
        .events
        .iter_mut()
        .filter(|event| event.run_id == run)
        .zip(1..)
    {
        event.seq = seq;
    }
    good.run(number).event_seq -= 1;
    let done = good
        .records
        .steps
        .iter()
        .filter(|step| step.run_id == run && step.is_call());
    let done = done.count();
    let told = good.run(number).result.clone().unwrap();
    let mut told: serde_json::Value = serde_json::from_str(&told).unwrap();
    told["done"] = done.into();
    good.run(number).result = Some(told.to_string());
    // It did.
    assert_eq!(broken(good.clone()), ["planned"]);
    good.events_of(number, EventKind::Succeeded)
        .for_each(|event| event.kind = EventKind::Cancelled);
    good.is_cancelled_in_the_end(number);
    assert_eq!(broken(good), [""; 0]);
}
