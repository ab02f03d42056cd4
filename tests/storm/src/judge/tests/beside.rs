//! What workflows do beside calls: signals, children and transactions.

use super::broken;
use super::good::{CANCELLED, Good, S, id};
use crate::judge::row::{EventKind, Run, RunState, Sale, StepKind, StepState};
use crate::plan::parent_of;
use crate::record::{Asked, Outcome};

/// The first run with so many steps of this kind, and the numbers of these.
fn with(good: &Good, kind: StepKind, least: usize) -> (u64, Vec<i32>) {
    let of = |number: u64| {
        let steps = good.records.steps.iter();
        let own = steps.filter(|step| step.run_id == id(number) && step.kind == kind);
        own.map(|step| step.seq).collect::<Vec<i32>>()
    };
    let mut runs = (0..CANCELLED).map(|number| (number, of(number)));
    runs.find(|(_, steps)| steps.len() >= least)
        .unwrap_or_else(|| panic!("no run with {least} steps {kind:?}"))
}

/// The first child.
fn child(good: &mut Good) -> &mut Run {
    let mut runs = good.records.runs.iter_mut();
    runs.find(|run| run.parent_id.is_some()).unwrap()
}

fn number(run: &Run) -> u64 {
    run.number.as_ref().unwrap().parse().unwrap()
}

/// What its output says that it heard.
fn hears(good: &mut Good, number: u64, place: usize, heard: serde_json::Value) {
    let told = good.run(number).result.clone().unwrap();
    let mut told: serde_json::Value = serde_json::from_str(&told).unwrap();
    told["heard"][place] = heard;
    good.run(number).result = Some(told.to_string());
}

#[test]
fn a_signal_that_was_acknowledged_and_is_not_there_is_found() {
    let mut good = Good::new();
    good.asked(Asked::Signal, 1, Outcome::Acknowledged(id(1).to_string()));
    good.records.driver.last_mut().unwrap().signal = Some(7);
    assert_eq!(broken(good), ["signals"]);
}

#[test]
fn a_signal_that_nobody_sent_is_found() {
    let mut good = Good::new();
    good.signal(1, 7);
    good.records.driver.pop();
    assert_eq!(broken(good), ["signals"]);
}

#[test]
fn a_signal_that_nobody_got_an_answer_to_may_be_there() {
    let mut good = Good::new();
    good.signal(1, 7);
    good.records.driver.last_mut().unwrap().outcome = Outcome::Indeterminate("reset".to_owned());
    assert_eq!(broken(good), [""; 0]);
}

#[test]
fn a_signal_that_is_there_twice_is_found() {
    let mut good = Good::new();
    good.signal(1, 7);
    let again = good.records.signals.last().unwrap().clone();
    good.records.signals.push(again);
    assert_eq!(broken(good), ["signals"]);
}

#[test]
fn a_signal_with_other_words_than_were_sent_is_found() {
    let mut good = Good::new();
    good.signal(1, 7);
    good.records.signals.last_mut().unwrap().payload = "8".to_owned();
    assert_eq!(broken(good), ["signals"]);
}

#[test]
fn signals_in_another_order_than_they_were_sent_in_are_found() {
    let mut good = Good::new();
    good.signal(1, 7);
    good.signal(1, 6);
    assert_eq!(broken(good), ["signals"]);
}

#[test]
fn a_signal_that_was_taken_twice_is_found() {
    let mut good = Good::new();
    let (number, waits) = with(&good, StepKind::Signal, 2);
    let first = good.step(number, waits[0]).result.clone();
    good.step(number, waits[1]).result = first;
    hears(&mut good, number, 1, 0.into());
    assert_eq!(broken(good), ["signals"]);
}

#[test]
fn signals_that_were_taken_out_of_order_are_found() {
    let mut good = Good::new();
    let (number, waits) = with(&good, StepKind::Signal, 2);
    let first = good.step(number, waits[0]).result.take();
    let second = good.step(number, waits[1]).result.take();
    good.step(number, waits[0]).result = second;
    good.step(number, waits[1]).result = first;
    hears(&mut good, number, 0, 1.into());
    hears(&mut good, number, 1, 0.into());
    assert_eq!(broken(good), ["signals"]);
}

#[test]
fn a_wait_that_was_over_though_a_signal_had_come_is_found() {
    for (late, expected) in [(false, vec!["signals"]), (true, vec![])] {
        let mut good = Good::new();
        let (number, waits) = with(&good, StepKind::Signal, 1);
        let last = *waits.last().unwrap();
        good.step(number, last).result = Some("null".to_owned());
        hears(&mut good, number, waits.len() - 1, serde_json::Value::Null);
        if late {
            let decided = good.step(number, last).ended_at.unwrap();
            let sent = good.records.driver.iter_mut();
            let own = sent.filter(|record| record.run == number && record.asked == Asked::Signal);
            own.last().unwrap().at = decided + 1;
        }
        assert_eq!(broken(good), expected, "late: {late}");
    }
}

#[test]
fn a_run_that_waits_for_a_signal_that_is_there_is_found() {
    let mut good = Good::new();
    let (number, waits) = with(&good, StepKind::Signal, 1);
    let last = *waits.last().unwrap();
    good.step(number, last).state = StepState::Waiting;
    good.step(number, last).result = None;
    let run = good.run(number);
    (run.state, run.ended_at) = (RunState::Waiting, None);
    run.waiting_for = Some("signal".to_owned());
    assert!(broken(good).contains(&"signals"));
}

#[test]
fn a_run_that_succeeded_without_its_waits_is_found() {
    let mut good = Good::new();
    let (number, waits) = with(&good, StepKind::Signal, 1);
    let last = *waits.last().unwrap();
    good.step(number, last).kind = StepKind::Timer;
    let told = good.run(number).result.clone().unwrap();
    let mut told: serde_json::Value = serde_json::from_str(&told).unwrap();
    told["heard"].as_array_mut().unwrap().pop();
    good.run(number).result = Some(told.to_string());
    assert_eq!(broken(good), ["signals"]);
}

#[test]
fn a_wait_that_tells_its_workflow_of_something_else_is_found() {
    let mut good = Good::new();
    let (number, _) = with(&good, StepKind::Signal, 1);
    hears(&mut good, number, 0, 5.into());
    assert_eq!(broken(good), ["content"]);
}

#[test]
fn a_signal_that_a_run_refused_as_if_it_had_ended_is_found() {
    for (before_end, expected) in [(2 * S, vec!["acknowledged"]), (S / 2, vec![])] {
        let mut good = Good::new();
        let end = good.run(1).ended_at.unwrap();
        good.asked(Asked::Signal, 1, Outcome::Refused("run_has_ended".to_owned()));
        let record = good.records.driver.last_mut().unwrap();
        (record.at, record.signal) = (end - before_end, Some(7));
        assert_eq!(broken(good), expected);
    }
}

#[test]
fn a_child_that_was_started_twice_is_found() {
    let mut good = Good::new();
    let (first, parent) = {
        let child = child(&mut good);
        (number(child), child.parent_id)
    };
    let again = CANCELLED + 1;
    good.starts(again);
    good.records.driver.pop();
    good.event(again, EventKind::Cancelled, None);
    let at = good.now;
    let run = good.run(again);
    run.number = Some(first.to_string());
    (run.parent_id, run.on_parent_end) = (parent, Some("cancel".to_owned()));
    (run.state, run.ended_at) = (RunState::Cancelled, Some(at));
    // Who cancelled it, and what it left undone, is for others to tell.
    assert!(broken(good).contains(&"children"));
}

#[test]
fn a_child_of_another_run_than_was_planned_is_found() {
    for parent in [None, Some(id(CANCELLED))] {
        let mut good = Good::new();
        child(&mut good).on_parent_end = Some("abandon".to_owned());
        child(&mut good).parent_id = parent;
        assert_eq!(broken(good), ["children"]);
    }
}

#[test]
fn a_run_that_was_asked_for_and_has_a_parent_is_found() {
    let mut good = Good::new();
    good.run(1).parent_id = Some(id(2));
    assert_eq!(broken(good), ["children"]);
}

#[test]
fn a_child_that_outlives_its_parent_is_found() {
    let mut good = Good::new();
    let number = good.doubtful;
    let run = good.run(number);
    (run.parent_id, run.on_parent_end) = (Some(id(CANCELLED)), Some("cancel".to_owned()));
    assert_eq!(broken(good), ["children"]);
}

#[test]
fn a_parent_that_was_told_of_another_end_is_found() {
    let mut good = Good::new();
    let (parent, joins) = with(&good, StepKind::Join, 1);
    let ended = good.step(parent, joins[0]).ended_at.unwrap();
    // Another result than its child's.
    let mut spoilt = good.clone();
    spoilt.step(parent, joins[0]).result = Some("7".to_owned());
    assert_eq!(broken(spoilt), ["children"]);
    // Before its child had ended.
    let child = good.step(parent, joins[0]).child().unwrap();
    let run = good.records.runs.iter_mut().find(|run| run.id == child).unwrap();
    run.ended_at = Some(ended + 1);
    assert_eq!(broken(good), ["children"]);
}

#[test]
fn a_parent_that_waits_for_a_child_that_has_ended_is_found() {
    let mut good = Good::new();
    let (parent, joins) = with(&good, StepKind::Join, 1);
    good.step(parent, joins[0]).state = StepState::Waiting;
    let run = good.run(parent);
    (run.state, run.ended_at) = (RunState::Waiting, None);
    run.waiting_for = Some("child".to_owned());
    let found = broken(good);
    assert!(found.contains(&"children") && found.contains(&"ended"), "{found:?}");
}

#[test]
fn a_run_that_succeeded_without_its_child_is_found() {
    let mut good = Good::new();
    let (parent, starts) = with(&good, StepKind::Start, 1);
    good.step(parent, starts[0]).result = None;
    assert_eq!(broken(good), ["children"]);
}

#[test]
fn a_parent_may_wait_for_a_child_that_waits_for_a_person() {
    let mut good = Good::new();
    let (parent, joins) = with(&good, StepKind::Join, 1);
    let child = good.step(parent, joins[0]).child().unwrap();
    for (number, waiting_for) in [(Some(parent), "child"), (None, "approval")] {
        let wanted = number.map_or(child, id);
        let run = good.records.runs.iter_mut().find(|run| run.id == wanted).unwrap();
        (run.state, run.ended_at, run.result) = (RunState::Waiting, None, None);
        run.waiting_for = Some(waiting_for.to_owned());
        run.wait_reason = Some("unknown_outcome".to_owned());
    }
    good.step(parent, joins[0]).state = StepState::Waiting;
    let history = super::history(good);
    let found = super::findings(&history);
    let ended = found.into_iter().find(|(law, _)| law.name == "ended");
    let blamed: Vec<_> = ended.into_iter().flat_map(|(_, findings)| findings).collect();
    // The child's wait has no reason here; its parent's has.
    assert!(blamed.iter().all(|finding| finding.run == Some(child)), "{blamed:?}");
}

#[test]
fn what_was_sold_twice_is_found() {
    let mut good = Good::new();
    let again = good.records.sales[0].clone();
    good.records.sales.push(again);
    assert_eq!(broken(good), ["transactions"]);
}

#[test]
fn a_transaction_that_succeeded_and_left_nothing_is_found() {
    let mut good = Good::new();
    good.records.sales.remove(0);
    assert_eq!(broken(good), ["transactions"]);
}

#[test]
fn a_transaction_that_did_not_succeed_and_left_something_is_found() {
    let mut good = Good::new();
    let (number, sales) = with(&good, StepKind::Transaction, 1);
    good.step(number, sales[0]).kind = StepKind::Timer;
    let told = good.run(number).result.clone().unwrap();
    let mut told: serde_json::Value = serde_json::from_str(&told).unwrap();
    told["sold"] = (told["sold"].as_u64().unwrap() - 1).into();
    good.run(number).result = Some(told.to_string());
    let found = broken(good);
    assert!(found.contains(&"transactions"), "{found:?}");
}

#[test]
fn a_sale_of_nobody_is_found() {
    let mut good = Good::new();
    good.records.sales.push(Sale {
        run: CANCELLED.to_string(),
        item: "t9".to_owned(),
    });
    assert_eq!(broken(good), ["transactions"]);
}

#[test]
fn the_good_history_has_all_of_it() {
    let mut good = Good::new();
    let children = good.records.runs.iter().filter(|run| run.parent_id.is_some());
    assert!(children.count() > 1);
    assert!(parent_of(number(child(&mut good))).is_some());
    assert!(good.records.signals.len() > 1 && good.records.sales.len() > 1);
}
