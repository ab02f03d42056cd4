//! What was given up was given up for a reason that the world bears out.

use super::broken;
use super::good::{CANCELLED, Good, S, SURVIVOR, id};
use crate::judge::row::{EventKind, RequestKind, RunState, StepState};
use crate::record::{Asked, Declared, Deed, Front, LedgerRecord, Outcome};

/// Its only call was answered like this, and not applied unless it says so; it ends as it is said.
fn ends_as(good: &mut Good, place: (u64, i32), (reply, applied): (&str, bool), (kind, state): (EventKind, StepState)) {
    let arrival = good.arrival_of(place.0, place.1);
    good.answered(arrival, reply, false);
    if !applied {
        good.unapply(arrival);
    }
    let step = good.step(place.0, place.1);
    step.state = state;
    step.result = None;
    let ends = good.events_of(place.0, EventKind::StepSucceeded);
    ends.filter(|event| event.step_seq == Some(place.1))
        .for_each(|event| event.kind = kind);
}

const FAILED: (EventKind, StepState) = (EventKind::StepFailed, StepState::Failed);
const UNKNOWN: (EventKind, StepState) = (EventKind::StepUnknown, StepState::Unknown);

#[test]
fn a_failure_needs_a_refusal_that_does_not_pass() {
    for (front, reply, expected) in [
        (Front::Http, "422", vec![]),
        (Front::Http, "429", vec!["given_up"]),
        (Front::Http, "503", vec!["given_up"]),
        (Front::Command, "exit_10", vec![]),
        (Front::Command, "exit_75", vec!["given_up"]),
        (Front::Function, "not_applied", vec!["given_up"]),
    ] {
        let mut good = Good::new();
        let place = good.tool_of(Declared::Idempotent, front);
        ends_as(&mut good, place, (reply, false), FAILED);
        assert_eq!(broken(good), expected, "{reply}");
    }
}

#[test]
fn a_failure_needs_a_call() {
    let mut good = Good::new();
    let place = good.tool_of(Declared::Idempotent, Front::Http);
    let wanted = good.arrival_of(place.0, place.1);
    ends_as(&mut good, place, ("422", false), FAILED);
    good.records.ledger.retain(|record| match record {
        LedgerRecord::Arrival { arrival, .. }
        | LedgerRecord::Applied { arrival, .. }
        | LedgerRecord::Reply { arrival, .. } => *arrival != wanted,
        LedgerRecord::Looked { .. } => true,
    });
    assert_eq!(broken(good), ["given_up"]);
}

#[test]
fn what_changes_nothing_may_fail_in_doubt_and_not_without_a_reason() {
    for (front, reply, expected) in [
        (Front::Http, "422", vec![]),
        (Front::Http, "500", vec!["given_up"]),
        (Front::Function, "panic", vec![]),
        (Front::Function, "transient", vec!["given_up"]),
    ] {
        let mut good = Good::new();
        let place = good.tool_of(Declared::ReadOnly, front);
        ends_as(&mut good, place, (reply, true), FAILED);
        assert_eq!(broken(good), expected, "{reply}");
    }
}

/// A run of one call that went wrong like this and is unknown, in a run that waits for a person because of it.
fn is_given_up(declared: Declared, front: Front, reply: &str) -> (Good, (u64, i32)) {
    let mut good = Good::new();
    let place = good.tool_of(declared, front);
    ends_as(&mut good, place, (reply, true), UNKNOWN);
    let end = good.events_of(place.0, EventKind::Succeeded).next().unwrap();
    end.kind = EventKind::Parked;
    let run = good.run(place.0);
    run.state = RunState::Waiting;
    run.ended_at = None;
    run.waiting_for = Some("approval".to_owned());
    run.wait_reason = Some(
        match declared {
            Declared::AtMostOnce => "unknown_outcome",
            Declared::ReadOnly | Declared::Idempotent => "retries_exhausted",
        }
        .to_owned(),
    );
    (good, place)
}

#[test]
fn an_idempotent_call_is_given_up_for_an_error_that_does_not_pass() {
    for (front, reply, expected) in [
        (Front::Command, "exit_1", vec![]),
        (Front::Command, "kill", vec!["given_up"]),
        (Front::Function, "panic", vec![]),
        (Front::Http, "500", vec!["given_up"]),
        (Front::Http, "nothing", vec!["given_up"]),
    ] {
        let (good, _) = is_given_up(Declared::Idempotent, front, reply);
        assert_eq!(broken(good), expected, "{reply}");
    }
}

#[test]
fn a_crash_is_no_reason_to_give_an_idempotent_call_up() {
    let (mut good, place) = is_given_up(Declared::Idempotent, Front::Http, "nothing");
    let begun = good.step(place.0, place.1).attempt_started_at.unwrap();
    good.did(Deed::WorkerKilled, Some(SURVIVOR.1));
    good.records.nemesis.last_mut().unwrap().at = begun;
    assert_eq!(broken(good), ["given_up"]);
}

#[test]
fn an_idempotent_call_whose_attempts_are_used_up_is_given_up() {
    let (mut good, place) = is_given_up(Declared::Idempotent, Front::Http, "nothing");
    let step = good.step(place.0, place.1);
    (step.attempt, step.attempts_max) = (20, 20);
    assert!(!broken(good.clone()).contains(&"given_up"));
    let step = good.step(place.0, place.1);
    (step.attempt, step.attempts_max) = (3, 3);
    assert!(broken(good).contains(&"given_up"), "three are not all that it has");
}

#[test]
fn an_idempotent_call_of_a_cancelled_run_may_stay_in_doubt() {
    let (mut good, (number, _)) = is_given_up(Declared::Idempotent, Front::Http, "nothing");
    good.events_of(number, EventKind::Parked)
        .for_each(|event| event.kind = EventKind::Cancelled);
    let at = good.now;
    let run = good.run(number);
    run.state = RunState::Cancelled;
    (run.cancel_requested_at, run.ended_at) = (Some(at), Some(at));
    good.request(number, RequestKind::Cancel);
    good.asked(Asked::Cancel, number, Outcome::Acknowledged(id(number).to_string()));
    assert_eq!(broken(good), [""; 0]);
}

#[test]
fn a_refusal_is_no_doubt_unless_there_was_one_before() {
    let (mut good, place) = is_given_up(Declared::Idempotent, Front::Command, "exit_10");
    let arrival = good.arrival_of(place.0, place.1);
    good.unapply(arrival);
    assert_eq!(broken(good.clone()), ["given_up"]);
    // As the second of two attempts, the first of which nobody heard of.
    let step = good.step(place.0, place.1);
    step.attempt = 2;
    if let LedgerRecord::Arrival { attempt, .. } = good.arrival(arrival) {
        *attempt = Some(2);
    }
    assert!(!broken(good).contains(&"given_up"));
}

#[test]
fn a_call_that_may_not_be_repeated_is_unknown_where_its_answer_left_it_in_doubt() {
    for (reply, applied, expected) in [
        ("reset", true, vec![]),
        ("500", true, vec![]),
        ("429", false, vec!["given_up"]),
    ] {
        let (mut good, place) = is_given_up(Declared::AtMostOnce, Front::Http, reply);
        if !applied {
            let arrival = good.arrival_of(place.0, place.1);
            good.unapply(arrival);
        }
        // Nothing else may have had a part in it.
        good.records
            .nemesis
            .retain(|record| record.deed != Deed::PostgresKilled);
        assert_eq!(broken(good), expected, "{reply}");
    }
}

#[test]
fn a_good_answer_is_unknown_only_where_it_may_have_been_lost() {
    let answered = || {
        let (mut good, place) = is_given_up(Declared::AtMostOnce, Front::Http, "200");
        let arrival = good.arrival_of(place.0, place.1);
        good.answered(arrival, "200", true);
        good.records
            .nemesis
            .retain(|record| record.deed != Deed::PostgresKilled);
        (good, place)
    };
    assert_eq!(broken(answered().0), ["given_up"]);

    for deed in [Deed::WorkerKilled, Deed::ToolsCut] {
        let (mut good, place) = answered();
        let begun = good.step(place.0, place.1).attempt_started_at.unwrap();
        good.did(deed, Some(SURVIVOR.1));
        good.records.nemesis.last_mut().unwrap().at = begun + S;
        assert_eq!(broken(good), [""; 0], "{deed:?}");
    }
}

#[test]
fn too_many_that_are_given_up_are_found_whatever_the_reason() {
    for (share, expected) in [(7, vec![]), (10, vec!["given_up"])] {
        let (mut good, _) = is_given_up(Declared::Idempotent, Front::Command, "exit_1");
        for number in 1..=200_u64 {
            let number = CANCELLED + number;
            good.starts(number);
            good.event(number, EventKind::Cancelled, None);
            let at = good.now;
            let run = good.run(number);
            (run.state, run.cancel_requested_at, run.ended_at) = (RunState::Cancelled, Some(at), Some(at));
            good.request(number, RequestKind::Cancel);
            good.asked(Asked::Cancel, number, Outcome::Acknowledged(id(number).to_string()));
        }
        for number in 1..=2 * share {
            let number = CANCELLED + number;
            let run = good.run(number);
            run.state = RunState::Waiting;
            (run.waiting_for, run.wait_reason) = (Some("approval".to_owned()), Some("retries_exhausted".to_owned()));
            (run.cancel_requested_at, run.ended_at) = (None, None);
        }
        let found = broken(good);
        assert_eq!(found.contains(&"given_up"), !expected.is_empty(), "{found:?}");
    }
}
