//! What was asked for, and what came of it.

use super::good::{CANCELLED, Good, RECLAIMED, S, SURVIVOR, id, result};
use super::{broken, history};
use crate::judge::row::{EventKind, RequestKind, RunState, StepState};
use crate::plan::Kind;
use crate::record::{Asked, Outcome};

#[test]
fn a_run_that_was_acknowledged_and_is_not_there_is_found() {
    let mut good = Good::new();
    good.asked(Asked::Start, 5000, Outcome::Acknowledged(id(5000).to_string()));
    assert_eq!(broken(good), ["acknowledged"]);
}

#[test]
fn two_ids_for_one_planned_run_are_found() {
    let mut good = Good::new();
    good.asked(Asked::Start, 1, Outcome::Acknowledged(id(2).to_string()));
    assert_eq!(broken(good), ["acknowledged"]);
}

#[test]
fn a_planned_run_that_was_made_twice_is_found() {
    let mut good = Good::new();
    let again = CANCELLED + 1;
    good.starts(again);
    good.event(again, EventKind::Cancelled, None);
    good.records.driver.pop();
    let template = good.run(CANCELLED).clone();
    let run = good.run(again);
    run.number = Some(CANCELLED.to_string());
    run.state = RunState::Cancelled;
    run.cancel_requested_at = template.cancel_requested_at;
    run.ended_at = template.ended_at;
    assert_eq!(broken(good), ["acknowledged"]);
}

#[test]
fn a_run_that_nobody_asked_for_is_found() {
    let mut good = Good::new();
    good.records.driver.retain(|record| record.run != 1);
    assert_eq!(broken(good), ["acknowledged"]);
}

#[test]
fn a_run_that_was_refused_and_is_there_is_found() {
    let mut good = Good::new();
    let told = good.records.driver.iter_mut().find(|record| record.run == 1).unwrap();
    told.outcome = Outcome::Refused("no_such_agent".to_owned());
    assert_eq!(broken(good), ["acknowledged"]);
}

#[test]
fn a_cancel_that_was_acknowledged_and_left_no_trace_is_found() {
    let mut good = Good::new();
    good.asked(Asked::Cancel, 1, Outcome::Acknowledged(id(1).to_string()));
    assert_eq!(broken(good), ["acknowledged"]);
}

#[test]
fn a_start_that_was_refused_and_acknowledged_is_found() {
    for other in [
        Outcome::Acknowledged(id(1).to_string()),
        Outcome::Indeterminate("reset".to_owned()),
    ] {
        for order in [0, 1] {
            let mut good = Good::new();
            let mut told = [other.clone(), Outcome::Refused("key_reused".to_owned())];
            told.rotate_left(order);
            good.records.driver.retain(|record| record.run != 1);
            told.into_iter()
                .for_each(|outcome| good.asked(Asked::Start, 1, outcome));
            assert_eq!(broken(good), ["acknowledged"]);
        }
    }
}

#[test]
fn a_run_that_had_not_ended_and_refused_to_be_steered_as_if_it_had_is_found() {
    for asked in [Asked::Cancel, Asked::Pause, Asked::Resume] {
        for (before_end, expected) in [(2 * S, vec!["acknowledged"]), (S / 2, vec![])] {
            let mut good = Good::new();
            let end = good.run(1).ended_at.unwrap();
            good.asked(asked, 1, Outcome::Refused("run_has_ended".to_owned()));
            good.records.driver.last_mut().unwrap().at = end - before_end;
            assert_eq!(broken(good), expected);
        }
    }
}

#[test]
fn a_resume_that_took_effect_unheard_may_be_refused() {
    let mut good = Good::new();
    let end = good.run(1).ended_at.unwrap();
    for kind in [RequestKind::Pause, RequestKind::Resume] {
        good.request(1, kind);
        good.records.requests.last_mut().unwrap().at = end - 10 * S;
    }
    for outcome in [
        Outcome::Indeterminate("reset".to_owned()),
        Outcome::Refused("not_resumable".to_owned()),
    ] {
        good.asked(Asked::Resume, 1, outcome);
        good.records.driver.last_mut().unwrap().at = end - 2 * S;
    }
    good.records.driver.last_mut().unwrap().at += 1;
    assert_eq!(broken(good), [""; 0]);
}

#[test]
fn what_was_acknowledged_and_has_no_row_is_found() {
    for asked in [Asked::Pause, Asked::Resume] {
        let mut good = Good::new();
        let end = good.run(1).ended_at.unwrap();
        good.asked(asked, 1, Outcome::Acknowledged(id(1).to_string()));
        good.records.driver.last_mut().unwrap().at = end - 1;
        assert_eq!(broken(good), ["acknowledged"]);
    }
    let mut good = Good::new();
    good.records
        .requests
        .retain(|request| request.kind != RequestKind::Cancel);
    assert_eq!(broken(good), ["acknowledged"]);
}

#[test]
fn rows_of_a_run_that_is_not_there_are_found() {
    let mut good = Good::new();
    good.records.runs.retain(|run| run.id != id(CANCELLED));
    good.records.driver.retain(|record| record.run != CANCELLED);
    assert_eq!(broken(good), ["acknowledged"]);
}

#[test]
fn what_nobody_knows_is_no_promise() {
    let mut good = Good::new();
    good.asked(Asked::Start, 1, Outcome::Indeterminate("reset".to_owned()));
    good.asked(Asked::Cancel, 1, Outcome::Refused("run_has_ended".to_owned()));
    good.asked(Asked::Start, 5000, Outcome::Indeterminate("reset".to_owned()));
    assert_eq!(broken(good), [""; 0]);
}

#[test]
fn a_run_that_failed_is_found() {
    let mut good = Good::new();
    good.run(1).state = RunState::Failed;
    good.events_of(1, EventKind::Succeeded)
        .for_each(|event| event.kind = EventKind::Failed);
    assert_eq!(broken(good), ["ended"]);
}

#[test]
fn a_cancel_that_nobody_asked_for_is_found() {
    let mut good = Good::new();
    good.records.driver.retain(|record| record.asked != Asked::Cancel);
    assert_eq!(broken(good), ["ended"]);
}

#[test]
fn a_run_that_is_still_under_way_is_found() {
    for state in [RunState::Queued, RunState::Running] {
        let mut good = Good::new();
        let number = good.doubtful;
        good.run(number).state = state;
        assert_eq!(broken(good), ["ended"], "{state:?}");
    }
}

#[test]
fn a_run_that_is_still_paused_is_found() {
    let mut good = Good::new();
    let (number, now) = (good.doubtful, good.now);
    good.run(number).paused_at = Some(now);
    assert_eq!(broken(good), ["ended"]);
}

#[test]
fn a_wait_for_anything_but_a_person_is_found() {
    let mut good = Good::new();
    let number = good.doubtful;
    good.run(number).waiting_for = Some("timer".to_owned());
    assert_eq!(broken(good), ["ended"]);
}

#[test]
fn a_wait_without_its_reason_is_found() {
    for reason in ["crashes", "spend_cap"] {
        let mut good = Good::new();
        let number = good.doubtful;
        good.run(number).wait_reason = Some(reason.to_owned());
        assert_eq!(broken(good), ["ended"], "{reason}");
    }
}

#[test]
fn a_wait_on_an_unknown_outcome_needs_one() {
    for reason in ["unknown_outcome", "retries_exhausted"] {
        let mut good = Good::new();
        let number = good.doubtful;
        good.run(number).wait_reason = Some(reason.to_owned());
        assert_eq!(broken(good), [""; 0], "{reason}");

        // Its call is as if it had been answered after all.
        let mut good = Good::new();
        good.run(number).wait_reason = Some(reason.to_owned());
        let arrival = good.arrival_of(number, 2);
        let effect = good.step(number, 2).asks_for().unwrap();
        good.step(number, 2).result = Some(result(&effect, Kind::Agent, arrival));
        good.step(number, 2).state = StepState::Succeeded;
        good.events_of(number, EventKind::StepUnknown)
            .for_each(|event| event.kind = EventKind::StepSucceeded);
        assert_eq!(broken(good), ["ended"], "{reason}");
    }
}

#[test]
fn five_crashes_are_a_reason_to_wait_and_four_are_not() {
    for (crashes, expected) in [(4, vec!["ended"]), (5, vec![])] {
        let mut good = Good::new();
        let number = CANCELLED + 1;
        good.starts(number);
        for crash in 1..=crashes {
            good.event(number, EventKind::Claimed, Some(SURVIVOR.0));
            let reclaimed = good.event(number, EventKind::Reclaimed, Some(SURVIVOR.0));
            reclaimed.crashes = Some(crash);
            reclaimed.quarantined = Some(crash == crashes);
        }
        let run = good.run(number);
        run.state = RunState::Waiting;
        run.waiting_for = Some("approval".to_owned());
        run.wait_reason = Some("crashes".to_owned());
        assert_eq!(broken(good), expected);
    }
}

#[test]
fn crashes_before_a_result_do_not_count() {
    let mut good = Good::new();
    assert_eq!(history(Good::new()).runs[&id(RECLAIMED)].crashes(), 0);
    // Nothing that came after the crash is a result any more.
    let results = good
        .records
        .events
        .iter_mut()
        .filter(|event| event.run_id == id(RECLAIMED) && event.fence > 1);
    results.for_each(|event| event.attempt = None);
    assert_eq!(history(good).runs[&id(RECLAIMED)].crashes(), 1);
}
