//! Nothing twice.

use super::broken;
use super::good::{CANCELLED, Good, id};
use crate::judge::row::{EventKind, RunState, StepState};
use crate::record::{Declared, Front, LedgerRecord};

/// Changes the record of a step's first call.
fn spoil(good: &mut Good, (number, seq): (u64, i32), spoil: impl Fn(&mut LedgerRecord)) {
    let arrival = good.arrival_of(number, seq);
    spoil(good.arrival(arrival));
}

/// A step's end becomes another.
fn ends_as(good: &mut Good, (number, seq): (u64, i32), kind: EventKind, state: StepState) {
    good.step(number, seq).state = state;
    let ends = good.events_of(number, EventKind::StepSucceeded);
    ends.filter(|event| event.step_seq == Some(seq))
        .for_each(|event| event.kind = kind);
}

/// Another attempt of a step whose run goes on again for it, and its call.
fn calls_again(good: &mut Good, (number, seq): (u64, i32)) -> u64 {
    good.again(number, seq);
    let arrival = good.arrives(number, seq);
    good.reply(arrival, "reset", false);
    arrival
}

/// A run that has begun anew, with one call that is out: its number and step.
pub(super) fn under_way(good: &mut Good, declared: Declared) -> (u64, i32) {
    let (donor, seq) = good.tool(declared);
    // Everything from the call's end on is undone.
    let own = |run| run == id(donor);
    let end = good
        .records
        .events
        .iter()
        .find(|event| own(event.run_id) && event.step_seq == Some(seq) && event.kind == EventKind::StepSucceeded);
    let (end, at) = end.map(|event| (event.seq, event.at)).unwrap();
    good.records
        .events
        .retain(|event| !own(event.run_id) || event.seq < end);
    good.records.steps.retain(|step| !own(step.run_id) || step.seq <= seq);
    let later = good.records.ledger.iter().filter_map(|record| match record {
        LedgerRecord::Arrival {
            at: came, arrival, run, ..
        } => (*came > at && *run == Some(id(donor).to_string())).then_some(*arrival),
        LedgerRecord::Applied { .. } | LedgerRecord::Reply { .. } | LedgerRecord::Looked { .. } => None,
    });
    let later: Vec<u64> = later.collect();
    good.records.ledger.retain(|record| match record {
        LedgerRecord::Arrival { arrival, .. }
        | LedgerRecord::Applied { arrival, .. }
        | LedgerRecord::Reply { arrival, .. } => !later.contains(arrival),
        LedgerRecord::Looked { .. } => true,
    });
    good.step(donor, seq).state = StepState::Running;
    let run = good.run(donor);
    run.event_seq = end - 1;
    run.state = RunState::Waiting;
    run.ended_at = None;
    run.waiting_for = Some("approval".to_owned());
    run.wait_reason = Some("unknown_outcome".to_owned());
    (donor, seq)
}

/// Ends the call as one that nobody knows of, and parks its run for it.
fn park(good: &mut Good, (number, seq): (u64, i32)) {
    good.step_event(number, EventKind::StepUnknown, seq);
    let holder = good.records.events.last().and_then(|event| event.worker_id);
    good.event(number, EventKind::Parked, holder);
    good.records.taken.at = good.now;
}

#[test]
fn a_call_that_nobody_planned_is_found() {
    let mut good = Good::new();
    let place = good.tool(Declared::ReadOnly);
    let first = good.arrival_of(place.0, place.1);
    let LedgerRecord::Arrival { key, .. } = good.arrival(first).clone() else {
        panic!("no arrival");
    };
    let extra = good.arrives_in_time(place.0, place.1);
    if let LedgerRecord::Arrival { effect, key: its, .. } = good.arrival(extra) {
        *effect = "r99999-t1-c0".to_owned();
        *its = key;
    }
    assert_eq!(broken(good), ["planned"]);
}

#[test]
fn a_call_on_behalf_of_another_run_is_found() {
    let mut good = Good::new();
    let place = good.tool(Declared::ReadOnly);
    spoil(&mut good, place, |record| {
        if let LedgerRecord::Arrival { run, .. } = record {
            *run = Some(id(CANCELLED).to_string());
        }
    });
    assert_eq!(broken(good), ["planned"]);
}

#[test]
fn a_call_that_came_as_something_else_is_found() {
    let mut good = Good::new();
    let place = good.tool(Declared::ReadOnly);
    spoil(&mut good, place, |record| {
        if let LedgerRecord::Arrival { declared, .. } = record {
            *declared = Declared::Idempotent;
        }
    });
    assert_eq!(broken(good), ["planned"]);
}

#[test]
fn a_step_that_asks_for_what_was_not_planned_is_found() {
    let mut good = Good::new();
    let (number, seq) = good.tool(Declared::ReadOnly);
    good.step(number, seq).name = "http_at_most_once_".to_owned();
    assert_eq!(broken(good), ["planned"]);
}

#[test]
fn a_run_that_succeeded_without_all_its_effects_is_found() {
    let mut good = Good::new();
    let (number, seq) = good.tool(Declared::ReadOnly);
    ends_as(&mut good, (number, seq), EventKind::StepCancelled, StepState::Cancelled);
    assert_eq!(broken(good), ["planned"]);
}

#[test]
fn two_steps_for_one_effect_are_found() {
    let mut good = Good::new();
    let (number, seq) = good.tool(Declared::ReadOnly);
    let step = good.step(number, seq).clone();
    let other = good.records.steps.iter_mut().find(|other| {
        other.run_id == step.run_id && other.seq > seq && other.name == step.name && other.input != step.input
    });
    if let Some(other) = other {
        other.input = step.input;
    }
    assert!(broken(good).contains(&"planned"));
}

#[test]
fn another_key_for_the_same_effect_is_found() {
    let mut good = Good::new();
    let (number, seq) = good.tool(Declared::ReadOnly);
    let extra = good.arrives_in_time(number, seq);
    let other = good.tool(Declared::Idempotent);
    let key_of_other = good.step(other.0, other.1).key.clone();
    if let LedgerRecord::Arrival { key, .. } = good.arrival(extra) {
        *key = Some(key_of_other);
    }
    assert_eq!(broken(good), ["key"]);
}

#[test]
fn another_body_for_the_same_effect_is_found() {
    let mut good = Good::new();
    let (number, seq) = good.tool(Declared::ReadOnly);
    let extra = good.arrives_in_time(number, seq);
    if let LedgerRecord::Arrival { body_sha256, .. } = good.arrival(extra) {
        *body_sha256 = "another".to_owned();
    }
    assert_eq!(broken(good), ["key"]);
}

#[test]
fn a_step_that_took_the_place_of_a_failed_one_has_a_key_of_its_own() {
    for (replaces, expected) in [(true, vec![]), (false, vec!["key"])] {
        let mut good = Good::new();
        let place = under_way(&mut good, Declared::AtMostOnce);
        let (number, seq) = place;
        let first = good.arrival_of(number, seq);
        good.unapply(first);
        good.records
            .ledger
            .retain(|record| !matches!(record, LedgerRecord::Reply { arrival, .. } if *arrival == first));
        let refused = refusal(&good.step(number, seq).name);
        good.reply(first, refused, false);
        good.step_event(number, EventKind::StepFailed, seq);
        let step = good.step(number, seq).clone();
        let call = super::history(Good::new()).effects[&step.asks_for().unwrap()]
            .planned
            .as_ref()
            .unwrap()
            .call;
        let second = good.intent(number, &step.asks_for().unwrap(), call);
        good.step(number, second).replaces_seq = replaces.then_some(seq);
        let arrival = good.arrives(number, second);
        if let LedgerRecord::Arrival { body_sha256, .. } = good.arrival(arrival) {
            *body_sha256 = step.input.unwrap();
        }
        good.applied(arrival);
        park(&mut good, (number, second));
        assert_eq!(broken(good), expected);
    }
}

/// What the ledger says at this front when it vouches that nothing was done.
fn refusal(tool: &str) -> &'static str {
    match tool.split('_').next() {
        Some("http") => "422",
        Some("command") => "exit_10",
        _ => "not_applied",
    }
}

#[test]
fn an_idempotent_call_that_was_applied_twice_is_found() {
    let mut good = Good::new();
    let (number, seq) = good.tool(Declared::Idempotent);
    let arrival = good.arrives_in_time(number, seq);
    good.applied(arrival);
    assert_eq!(broken(good), ["idempotent"]);
}

#[test]
fn an_idempotent_result_without_its_effect_is_found() {
    let mut good = Good::new();
    let (number, seq) = good.tool(Declared::Idempotent);
    let arrival = good.arrival_of(number, seq);
    good.unapply(arrival);
    assert_eq!(broken(good), ["idempotent"]);
}

#[test]
fn an_idempotent_call_that_failed_and_was_applied_is_found() {
    let mut good = Good::new();
    let place = good.tool_of(Declared::Idempotent, Front::Http);
    ends_as(&mut good, place, EventKind::StepFailed, StepState::Failed);
    let (arrival, refused) = (
        good.arrival_of(place.0, place.1),
        refusal(&good.step(place.0, place.1).name),
    );
    good.answered(arrival, refused, false);
    assert_eq!(broken(good), ["idempotent"]);
}

#[test]
fn an_idempotent_call_may_come_again() {
    let mut good = Good::new();
    let (number, seq) = good.tool(Declared::Idempotent);
    good.arrives_in_time(number, seq);
    assert_eq!(broken(good), [""; 0]);
}

#[test]
fn a_call_that_may_not_be_repeated_and_was_applied_twice_is_found() {
    let mut good = Good::new();
    let (number, seq) = good.tool(Declared::AtMostOnce);
    let arrival = good.arrival_of(number, seq);
    good.applied(arrival);
    assert_eq!(broken(good), ["at_most_once"]);
}

#[test]
fn a_call_that_may_not_be_repeated_and_came_again_in_doubt_is_found() {
    let mut good = Good::new();
    let (number, seq) = good.tool(Declared::AtMostOnce);
    let first = good.arrival_of(number, seq);
    good.unapply(first);
    let arrival = good.arrives_in_time(number, seq);
    good.applied(arrival);
    assert_eq!(broken(good), ["at_most_once"]);
}

#[test]
fn a_call_that_may_not_be_repeated_may_come_again_once_it_was_refused() {
    let mut good = Good::new();
    let (number, seq) = under_way(&mut good, Declared::AtMostOnce);
    let first = good.arrival_of(number, seq);
    good.unapply(first);
    good.records
        .ledger
        .retain(|record| !matches!(record, LedgerRecord::Reply { arrival, .. } if *arrival == first));
    let refused = refusal(&good.step(number, seq).name);
    good.reply(first, refused, false);
    good.step_event(number, EventKind::StepRetryScheduled, seq);
    good.step_event(number, EventKind::StepHeldBack, seq);
    let second = calls_again(&mut good, (number, seq));
    good.applied(second);
    park(&mut good, (number, seq));
    assert_eq!(broken(good), [""; 0]);
}

#[test]
fn a_call_that_may_not_be_repeated_and_was_begun_again_in_doubt_is_found() {
    let mut good = Good::new();
    let (number, seq) = under_way(&mut good, Declared::AtMostOnce);
    good.step_event(number, EventKind::StepHeldBack, seq);
    calls_again(&mut good, (number, seq));
    park(&mut good, (number, seq));
    assert_eq!(broken(good), ["at_most_once"]);
}

#[test]
fn a_call_that_was_applied_and_has_another_end_than_done_or_unknown_is_found() {
    for (kind, state) in [
        (EventKind::StepFailed, StepState::Failed),
        (EventKind::StepCancelled, StepState::Cancelled),
        (EventKind::StepRetryScheduled, StepState::Waiting),
        (EventKind::StepGivenBack, StepState::Running),
    ] {
        let mut good = Good::new();
        let place = under_way(&mut good, Declared::AtMostOnce);
        good.step_event(place.0, kind, place.1);
        good.step(place.0, place.1).state = state;
        // Something else is unknown, so that the run has its reason to wait.
        good.run(place.0).wait_reason = Some("crashes".to_owned());
        let found = broken(good);
        assert!(found.contains(&"at_most_once"), "{state:?}: {found:?}");
    }
}

#[test]
fn a_result_that_may_not_be_repeated_without_its_effect_is_found() {
    let mut good = Good::new();
    let (number, seq) = good.tool(Declared::AtMostOnce);
    let arrival = good.arrival_of(number, seq);
    good.unapply(arrival);
    assert_eq!(broken(good), ["at_most_once"]);
}

#[test]
fn a_result_that_was_made_up_is_found() {
    let mut good = Good::new();
    let (number, seq) = good.tool(Declared::ReadOnly);
    let wanted = good.arrival_of(number, seq);
    good.records.ledger.retain(|record| match record {
        LedgerRecord::Arrival { arrival, .. }
        | LedgerRecord::Applied { arrival, .. }
        | LedgerRecord::Reply { arrival, .. } => *arrival != wanted,
        LedgerRecord::Looked { .. } => true,
    });
    assert_eq!(broken(good), ["read_only"]);
}

#[test]
fn a_call_without_an_intent_is_found() {
    let mut good = Good::new();
    let (number, seq) = good.tool(Declared::Idempotent);
    let extra = good.arrives_in_time(number, seq);
    if let LedgerRecord::Arrival { attempt, .. } = good.arrival(extra) {
        *attempt = Some(2);
    }
    assert_eq!(broken(good), ["intent"]);
}

#[test]
fn a_call_without_a_key_is_found() {
    let mut good = Good::new();
    let place = good.tool(Declared::ReadOnly);
    spoil(&mut good, place, |record| {
        if let LedgerRecord::Arrival { key, .. } = record {
            *key = None;
        }
    });
    assert_eq!(broken(good), ["intent"]);
}

#[test]
fn a_call_that_was_made_before_its_intent_is_found() {
    let mut good = Good::new();
    let place = good.tool(Declared::Idempotent);
    let intent = good.step(place.0, place.1).attempt_started_at.unwrap();
    spoil(&mut good, place, |record| {
        if let LedgerRecord::Arrival { at, .. } = record {
            *at = intent - 1;
        }
    });
    assert_eq!(broken(good), ["intent"]);
}
