//! What was recorded of a run.

use super::broken;
use super::good::{CANCELLED, Good, RECLAIMED, S, SURVIVOR, VICTIM};
use crate::judge::row::{EventKind, RequestKind, RunState, StepState};
use crate::record::{Asked, Declared, LedgerRecord, Outcome};

#[test]
fn a_gap_in_the_numbers_of_events_is_found() {
    let mut good = Good::new();
    good.events_of(1, EventKind::Succeeded).for_each(|event| event.seq += 1);
    good.run(1).event_seq += 1;
    assert_eq!(broken(good), ["dense"]);
}

#[test]
fn a_number_that_was_given_twice_is_found() {
    let mut good = Good::new();
    good.events_of(1, EventKind::Succeeded).for_each(|event| event.seq -= 1);
    assert_eq!(broken(good), ["dense"]);
}

#[test]
fn a_row_that_counts_other_events_is_found() {
    let mut good = Good::new();
    good.run(1).event_seq += 1;
    assert_eq!(broken(good), ["dense"]);
}

#[test]
fn an_event_after_an_end_is_found() {
    for (number, kind) in [
        (1, EventKind::Woken),
        (CANCELLED, EventKind::Woken),
        (1, EventKind::Resumed),
    ] {
        let mut good = Good::new();
        good.event(number, kind, None);
        good.records.taken.at = good.now;
        assert_eq!(broken(good), ["after_end"], "{kind:?}");
    }
}

#[test]
fn a_run_that_failed_may_be_resumed() {
    let mut good = Good::new();
    good.events_of(1, EventKind::Succeeded)
        .for_each(|event| event.kind = EventKind::Failed);
    good.event(1, EventKind::Resumed, None).came_from = Some("failed".to_owned());
    good.event(1, EventKind::Claimed, Some(SURVIVOR.0));
    good.event(1, EventKind::Succeeded, Some(SURVIVOR.0));
    let now = good.now;
    good.run(1).ended_at = Some(now);
    good.records.taken.at = now;
    assert_eq!(broken(good), [""; 0]);
}

#[test]
fn an_attempt_after_an_end_is_found() {
    let mut good = Good::new();
    let (number, seq) = good.tool(Declared::Idempotent);
    good.run(number).ended_at = good.step(number, seq).attempt_started_at.map(|at| at - 1);
    assert_eq!(broken(good), ["after_end"]);
}

#[test]
fn an_attempt_long_after_a_cancel_is_found() {
    for (later, expected) in [(S - 1, vec![]), (S + 1, vec!["after_end"])] {
        let mut good = Good::new();
        let number = good.doubtful;
        let begun = good.step(number, 2).attempt_started_at.unwrap();
        let parked = good.events_of(number, EventKind::Parked).next_back().unwrap();
        parked.kind = EventKind::Cancelled;
        let at = parked.at;
        let run = good.run(number);
        run.state = RunState::Cancelled;
        run.waiting_for = None;
        run.cancel_requested_at = Some(begun - later);
        run.ended_at = Some(at);
        good.request(number, RequestKind::Cancel);
        good.asked(Asked::Cancel, number, Outcome::Indeterminate("reset".to_owned()));
        assert_eq!(broken(good), expected);
    }
}

#[test]
fn a_stale_write_is_found() {
    // The event of a worker that has lost the run, under its old fence.
    let mut good = Good::new();
    let stale = good.events_of(RECLAIMED, EventKind::StepStarted).next_back().unwrap();
    (stale.fence, stale.worker_id) = (1, Some(VICTIM.0));
    assert_eq!(broken(good), ["fence"]);
}

#[test]
fn a_write_of_another_worker_under_the_same_fence_is_found() {
    let mut good = Good::new();
    good.events_of(1, EventKind::Succeeded)
        .for_each(|event| event.worker_id = Some(VICTIM.0));
    assert_eq!(broken(good), ["fence"]);
}

#[test]
fn a_write_between_two_holders_is_found() {
    let mut good = Good::new();
    let claim = good.events_of(RECLAIMED, EventKind::Claimed).next_back().unwrap();
    (claim.kind, claim.fence, claim.worker_id) = (EventKind::Released, 1, Some(VICTIM.0));
    // What a killed worker sends late is no matter of who writes.
    good.calls_of_run(RECLAIMED, |call| {
        if let LedgerRecord::Arrival { worker, .. } = call {
            *worker = Some(VICTIM.1.to_owned());
        }
    });
    assert_eq!(broken(good), ["fence"]);
}

#[test]
fn a_claim_that_does_not_take_the_next_fence_is_found() {
    for fence in [1, 3] {
        let mut good = Good::new();
        good.events_of(RECLAIMED, EventKind::Claimed).next_back().unwrap().fence = fence;
        assert_eq!(broken(good), ["fence"]);
    }
}

#[test]
fn a_claim_of_a_run_that_is_held_is_found() {
    let mut good = Good::new();
    good.events_of(RECLAIMED, EventKind::Reclaimed).for_each(|event| {
        event.kind = EventKind::Woken;
        event.worker_id = None;
    });
    assert_eq!(broken(good), ["fence"]);
}

#[test]
fn a_row_that_was_written_under_an_old_fence_is_found() {
    let mut good = Good::new();
    let (number, seq) = good.tool(Declared::Idempotent);
    good.step(number, seq).fence -= 1;
    assert_eq!(broken(good), ["fence"]);
}

#[test]
fn a_row_that_was_written_by_another_worker_is_found() {
    let mut good = Good::new();
    let number = good.doubtful;
    good.step(number, 2).worker_id = VICTIM.0;
    assert_eq!(broken(good), ["fence"]);
}

#[test]
fn a_second_end_of_a_step_is_found() {
    let mut good = Good::new();
    let (number, seq) = good.tool(Declared::Idempotent);
    let next = {
        let mut after = good.records.events.iter_mut().skip_while(|event| {
            event.step_seq != Some(seq)
                || event.kind != EventKind::StepSucceeded
                || event.run_id != super::good::id(number)
        });
        after.next();
        after.next().unwrap()
    };
    // The next step's begin becomes this one's second end.
    (next.kind, next.step_seq) = (EventKind::StepSucceeded, Some(seq));
    assert_eq!(broken(good), ["one_end"]);
}

#[test]
fn a_row_with_another_end_than_its_events_is_found() {
    let mut good = Good::new();
    good.step(1, 1).state = StepState::Failed;
    assert_eq!(broken(good), ["one_end"]);
}

#[test]
fn an_attempt_too_many_is_found() {
    let mut good = Good::new();
    good.step(1, 1).attempts_max = 0;
    assert_eq!(broken(good), ["one_end"]);
}

#[test]
fn a_gap_in_the_numbers_of_attempts_is_found() {
    let mut good = Good::new();
    good.step(1, 1).attempt = 2;
    assert_eq!(broken(good), ["one_end"]);
}

#[test]
fn an_attempt_that_no_event_tells_of_is_found() {
    let mut good = Good::new();
    good.events_of(1, EventKind::StepStarted).next().unwrap().attempt = Some(2);
    assert_eq!(broken(good), ["one_end"]);
}

#[test]
fn an_event_of_a_step_that_is_not_there_is_found() {
    let mut good = Good::new();
    good.event(good.doubtful, EventKind::StepUnknown, None).step_seq = Some(99);
    good.records.taken.at = good.now;
    assert_eq!(broken(good), ["one_end"]);
}
