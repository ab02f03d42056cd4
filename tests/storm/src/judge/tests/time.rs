//! What depends on time: stalls, pick-ups, and what the nemesis did.

use super::good::{CANCELLED, Good, IDLE, S, SURVIVOR, VICTIM, id};
use super::{broken, history};
use crate::judge::law::pick_up::PickUp;
use crate::judge::law::stall::{Place, longest};
use crate::judge::law::windows::{Aim, windows};
use crate::judge::row::{EventKind, RequestKind, RunState};
use crate::judge::span::Span;
use crate::record::{Asked, Deed, LedgerRecord, Micros, Outcome, Window};

#[test]
fn what_is_left_of_a_span_lies_in_none_of_the_others() {
    let span = Span::new(10, 20);
    assert_eq!(span.outside([]), 10);
    assert_eq!(
        span.outside([Span::new(0, 12), Span::new(11, 13), Span::new(18, 30)]),
        5
    );
    assert_eq!(span.outside([Span::new(12, 18), Span::new(13, 14)]), 4);
    assert_eq!(span.outside([Span::new(0, 30)]), 0);
    assert_eq!(span.outside([Span::new(0, 5), Span::new(25, 30)]), 10);
}

/// A run that is claimed, and of which nothing is heard until it ends, so much later.
fn silent_for(good: &mut Good, length: Micros) {
    let number = CANCELLED + 1;
    good.starts(number);
    good.event(number, EventKind::Claimed, Some(SURVIVOR.0));
    good.now += length;
    ends(good, number);
}

pub(super) fn ends(good: &mut Good, number: u64) {
    good.event(number, EventKind::Cancelled, Some(SURVIVOR.0));
    let at = good.now;
    let run = good.run(number);
    run.state = RunState::Cancelled;
    run.cancel_requested_at = Some(at);
    run.ended_at = Some(at);
    good.request(number, RequestKind::Cancel);
    good.asked(Asked::Cancel, number, Outcome::Acknowledged(id(number).to_string()));
    good.records.taken.at = good.now;
}

#[test]
fn a_stall_is_found() {
    let mut good = Good::new();
    silent_for(&mut good, 21 * S);
    assert_eq!(broken(good), ["stall"]);

    let mut good = Good::new();
    silent_for(&mut good, 19 * S);
    let history = history(good);
    let longest = longest(&history)
        .into_iter()
        .find(|gap| gap.place == Place::Driven)
        .unwrap();
    assert_eq!((longest.run, longest.length / S), (id(CANCELLED + 1), 19));
    assert_eq!(super::findings(&history).len(), 0);
}

#[test]
fn on_a_machine_that_others_want_too_a_stall_is_longer() {
    let mut good = Good::new();
    silent_for(&mut good, 39 * S);
    good.records.machine.slowness = 2.0;
    assert_eq!(broken(good), [""; 0]);
}

#[test]
fn time_without_the_database_is_no_stall() {
    let mut good = Good::new();
    let number = CANCELLED + 1;
    good.starts(number);
    good.event(number, EventKind::Claimed, Some(SURVIVOR.0));
    good.did(Deed::PostgresKilled, None);
    good.now += 15 * S;
    good.did(Deed::PostgresReady, None);
    good.now += 15 * S;
    ends(&mut good, number);
    assert_eq!(broken(good), [""; 0]);
}

#[test]
fn a_pause_is_no_stall() {
    let mut good = Good::new();
    let number = CANCELLED + 1;
    good.starts(number);
    good.event(number, EventKind::Claimed, Some(SURVIVOR.0));
    good.request(number, RequestKind::Pause);
    good.now += 30 * S;
    good.request(number, RequestKind::Resume);
    ends(&mut good, number);
    assert_eq!(broken(good), [""; 0]);
}

#[test]
fn the_queue_before_the_first_claim_is_no_stall_for_half_a_minute() {
    for (waited, expected) in [(29, vec![]), (31, vec!["stall"])] {
        let mut good = Good::new();
        let number = CANCELLED + 1;
        good.starts(number);
        good.now += waited * S;
        good.event(number, EventKind::Claimed, Some(SURVIVOR.0));
        ends(&mut good, number);
        assert_eq!(broken(good), expected);
    }
}

#[test]
fn a_run_that_nobody_ever_claims_stalls() {
    for (cancelled, expected) in [(true, vec!["stall"]), (false, vec!["ended", "stall"])] {
        let mut good = Good::new();
        let number = CANCELLED + 1;
        good.starts(number);
        good.now += 31 * S;
        if cancelled {
            ends(&mut good, number);
            good.records.events.last_mut().unwrap().worker_id = None;
        }
        good.records.taken.at = good.now;
        assert_eq!(broken(good), expected);
    }
}

#[test]
fn a_parking_for_longer_than_anything_asks_for_is_found() {
    for (parked, expected) in [(4, vec![]), (6, vec!["stall"])] {
        let mut good = Good::new();
        let number = CANCELLED + 1;
        good.starts(number);
        good.event(number, EventKind::Claimed, Some(SURVIVOR.0));
        let due = good.now + parked * S;
        let event = good.event(number, EventKind::Parked, Some(SURVIVOR.0));
        (event.until, event.parked_for) = (Some(due), Some("timer".to_owned()));
        good.now = due;
        good.event(number, EventKind::Woken, None);
        good.event(number, EventKind::Claimed, Some(SURVIVOR.0));
        ends(&mut good, number);
        assert_eq!(broken(good), expected);
    }
}

#[test]
fn a_wait_is_no_stall_until_its_time_is_over() {
    for (late, expected) in [(1, vec![]), (25, vec!["stall"])] {
        let mut good = Good::new();
        let number = CANCELLED + 1;
        good.starts(number);
        good.event(number, EventKind::Claimed, Some(SURVIVOR.0));
        let due = good.now + 30 * S;
        good.event(number, EventKind::Parked, Some(SURVIVOR.0)).until = Some(due);
        good.now = due + late * S;
        good.event(number, EventKind::Woken, None);
        good.event(number, EventKind::Claimed, Some(SURVIVOR.0));
        ends(&mut good, number);
        assert_eq!(broken(good), expected);
    }
}

#[test]
fn a_run_that_nobody_takes_up_again_stalls_to_the_end() {
    let mut good = Good::new();
    let number = good.doubtful;
    good.event(number, EventKind::Resumed, None).came_from = Some("waiting".to_owned());
    good.run(number).state = RunState::Queued;
    good.records.taken.at = good.now + 30 * S;
    assert_eq!(broken(good), ["ended", "stall"]);
}

#[test]
fn a_driver_that_broke_is_found() {
    let mut good = Good::new();
    let number = CANCELLED + 1;
    good.starts(number);
    good.event(number, EventKind::Claimed, Some(SURVIVOR.0));
    good.event(number, EventKind::Released, Some(SURVIVOR.0)).why = Some("driver_broke".to_owned());
    ends(&mut good, number);
    good.records.events.last_mut().unwrap().worker_id = None;
    assert_eq!(broken(good), ["workers"]);
}

#[test]
fn a_worker_that_ended_by_itself_is_found() {
    let mut good = Good::new();
    good.did(Deed::WorkerEnded, Some(SURVIVOR.1));
    assert_eq!(broken(good), ["workers"]);
}

/// So many runs lose their worker, and are claimed again after so long.
fn losses(good: &mut Good, count: u64, after: Micros) {
    losses_from(good, CANCELLED + 1, (count, after));
}

/// The same by another death.
fn losses_from(good: &mut Good, first: u64, (count, after): (u64, Micros)) {
    good.records.nemesis.retain(|record| record.deed != Deed::Quiet);
    let numbers: Vec<u64> = (first..first + count).collect();
    for number in &numbers {
        good.starts(*number);
        good.event(*number, EventKind::Claimed, Some(VICTIM.0));
    }
    good.did(Deed::WorkerKilled, Some(VICTIM.1));
    good.now += after;
    for number in numbers {
        let reclaimed = good.event(number, EventKind::Reclaimed, Some(VICTIM.0));
        (reclaimed.crashes, reclaimed.quarantined) = (Some(1), Some(false));
        good.event(number, EventKind::Claimed, Some(SURVIVOR.0));
        ends(good, number);
    }
    good.now += 10 * S;
    good.did(Deed::DatabaseCut, Some(SURVIVOR.1));
    good.did(Deed::Quiet, None);
    good.records.taken.at = good.now;
}

#[test]
fn a_slow_pick_up_is_found() {
    let two_deaths = |after| {
        let mut good = Good::new();
        losses(&mut good, 75, after);
        losses_from(&mut good, CANCELLED + 1000, (75, after));
        broken(good)
    };
    assert_eq!(two_deaths(5 * S), ["pick_up"]);
    assert_eq!(two_deaths(3 * S), [""; 0]);
}

#[test]
fn a_pick_up_is_promised_where_there_are_healthy_workers() {
    let mut good = Good::new();
    good.did(Deed::WorkerStopped, Some(IDLE));
    losses(&mut good, 75, 5 * S);
    losses_from(&mut good, CANCELLED + 1000, (75, 5 * S));
    assert_eq!(PickUp::of(&history(good.clone())).count(), 151);
    assert_eq!(broken(good), [""; 0]);
}

#[test]
fn what_one_death_made_late_is_an_accident() {
    let mut good = Good::new();
    losses(&mut good, 150, 5 * S);
    losses_from(&mut good, CANCELLED + 1000, (150, 3 * S));
    assert_eq!(broken(good), [""; 0]);
}

#[test]
fn a_few_losses_prove_nothing_and_are_told() {
    let mut good = Good::new();
    losses(&mut good, 50, 5 * S);
    let history = history(good);
    assert_eq!(super::findings(&history).len(), 0);
    let losses = PickUp::of(&history);
    assert_eq!(losses.count(), 51);
    assert_eq!(losses.percentile(50).map(|took| took / S), Some(5));
    assert_eq!(losses.percentile(1).map(|took| took / S), Some(2));
}

#[test]
fn a_run_that_must_wait_is_no_slow_pick_up() {
    let count = |good| PickUp::of(&history(good)).count();
    let mut good = Good::new();
    losses(&mut good, 2, 5 * S);
    good.events_of(CANCELLED + 1, EventKind::Reclaimed)
        .for_each(|event| event.crashes = Some(2));
    assert_eq!(count(good), 2, "one is a suspect");

    let mut good = Good::new();
    losses(&mut good, 2, 5 * S);
    good.events_of(CANCELLED + 1, EventKind::Reclaimed)
        .for_each(|event| event.at -= 6 * S);
    assert_eq!(count(good), 2, "one was taken back before its worker was killed");

    let mut good = Good::new();
    let before = good.now;
    losses(&mut good, 2, 5 * S);
    good.request(CANCELLED + 1, RequestKind::Pause);
    good.records.requests.last_mut().unwrap().at = before;
    assert_eq!(count(good), 2, "one was paused");

    let mut good = Good::new();
    losses(&mut good, 2, 5 * S);
    good.records.nemesis.iter_mut().for_each(|record| {
        if record.deed == Deed::WorkerKilled {
            record.deed = Deed::WorkerStopped;
        }
    });
    assert_eq!(count(good), 3, "a worker that is stopped for good is as good as dead");
}

#[test]
fn a_drained_worker_loses_nothing() {
    let mut good = Good::new();
    losses(&mut good, 150, 5 * S);
    good.records.nemesis.iter_mut().for_each(|record| {
        if record.deed == Deed::WorkerKilled {
            record.deed = Deed::WorkerDrained;
        }
    });
    good.records.events.iter_mut().for_each(|event| {
        if event.kind == EventKind::Reclaimed {
            event.kind = EventKind::Released;
        }
    });
    assert_eq!(PickUp::of(&history(good)).count(), 0);
}

#[test]
fn what_is_left_to_the_last_worker_is_no_slow_pick_up() {
    let mut good = Good::new();
    losses(&mut good, 75, 5 * S);
    losses_from(&mut good, CANCELLED + 1000, (75, 5 * S));
    // Nothing but the clearing away of workers lies between their end and the quiet.
    good.records.nemesis.retain(|record| record.deed != Deed::DatabaseCut);
    assert_eq!(broken(good), [""; 0]);
}

/// The faults last for a minute, and each window is said to be hit.
fn minute(good: &mut Good) {
    good.records.nemesis.retain(|record| record.deed != Deed::Quiet);
    good.now += 60 * S;
    for window in Window::ALL {
        good.did(Deed::AnswerLost, Some(SURVIVOR.1));
        good.records.nemesis.last_mut().unwrap().window = Some(window);
    }
    good.did(Deed::Quiet, None);
    good.records.taken.at = good.now;
}

/// A call of the survivor's that is out when the windows are hit, and applied by then or a minute later.
fn call_is_out(good: &mut Good, number: u64, applied_at: Micros) {
    let seq = 2;
    let step_event = good.events_of(number, EventKind::StepUnknown).next().unwrap();
    step_event.attempt = None;
    let arrival = good.arrival_of(number, seq);
    good.unapply(arrival);
    good.records.ledger.push(LedgerRecord::Applied {
        at: applied_at,
        arrival,
    });
}

#[test]
fn a_storm_that_did_not_blow_is_void() {
    let mut good = Good::new();
    minute(&mut good);
    // Two windows need the ledger's word, and one call cannot give it for both.
    assert_eq!(broken(good), ["windows"]);
}

#[test]
fn windows_count_where_the_ledger_bears_them_out() {
    let aims = |applied_after: Micros| {
        let mut good = Good::new();
        let applied_at = good.now + applied_after;
        minute(&mut good);
        let number = good.doubtful;
        call_is_out(&mut good, number, applied_at);
        let windows = windows(&history(good));
        (windows[&Window::SentUnapplied], windows[&Window::AppliedUnanswered])
    };
    let (hit, unproven) = (
        Aim {
            hit: 1,
            ..Aim::default()
        },
        Aim {
            unproven: 1,
            ..Aim::default()
        },
    );
    assert_eq!(aims(0), (unproven, hit));
    assert_eq!(aims(100 * S), (hit, unproven));
}

#[test]
fn a_storm_without_deaths_is_void() {
    for deed in [Deed::WorkerKilled, Deed::PostgresKilled] {
        let mut good = Good::new();
        minute(&mut good);
        let without = history(good);
        let mut good = Good::new();
        minute(&mut good);
        good.records.nemesis.retain(|record| record.deed != deed);
        let findings = |history| {
            super::findings(&history)
                .into_iter()
                .map(|(_, found)| found.len())
                .sum::<usize>()
        };
        assert!(findings(history(good)) > findings(without), "{deed:?}");
    }
}
