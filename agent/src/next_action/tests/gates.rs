//! Calls that may not go out until they are called.

use super::{at, told};
use crate::effect::Effect;
use crate::fixture::{agent, answered, calls, journal, model, tool_step};
use crate::journal::{Gate, HeldBack, Journal, StepState};
use crate::next_action::next_action;

/// A turn with two calls: the first waits, and something holds it back.
fn held(by: Gate, sibling: StepState) -> Journal {
    let mut waiting = tool_step(2, (1, 0), Effect::ReadOnly, StepState::Waiting);
    waiting.attempt = 0;
    let steps = vec![
        answered(1, 1, calls(&["look", "look"])),
        waiting,
        tool_step(3, (1, 1), Effect::ReadOnly, sibling),
    ];
    let mut journal = journal(steps);
    journal.held_back.push(HeldBack { seq: 2, by });
    journal
}

fn next(journal: &Journal) -> String {
    told(&next_action(&agent(), journal, at(1)))
}

#[test]
fn a_run_whose_call_waits_for_a_slot_is_parked_once_nothing_is_out() {
    assert_eq!(next(&held(Gate::Slot, StepState::Running)), "await");
    assert_eq!(next(&held(Gate::Slot, StepState::Succeeded)), "park for slot");
}

#[test]
fn a_call_that_only_this_worker_can_let_out_is_waited_for_here() {
    assert_eq!(next(&held(Gate::Worker, StepState::Succeeded)), "await");
}

#[test]
fn a_call_that_is_called_goes_out() {
    let mut called = held(Gate::Slot, StepState::Succeeded);
    called.held_back.clear();
    assert_eq!(next(&called), "again 2 due");
}

#[test]
fn a_call_whose_breaker_is_open_goes_out_at_its_time() {
    let mut open = held(Gate::Trial, StepState::Succeeded);
    open.steps[1].due_at = Some(at(60));
    assert_eq!(next(&open), "park for breaker until 60");
    open.steps[1].due_at = Some(at(1));
    assert_eq!(next(&open), "again 2 due");
}

#[test]
fn a_model_call_that_is_held_back_parks_the_run() {
    let mut journal = journal(vec![model(1, 1, StepState::Waiting)]);
    journal.held_back.push(HeldBack {
        seq: 1,
        by: Gate::Trial,
    });
    assert_eq!(next(&journal), "park for breaker");
}

#[test]
fn nothing_is_held_back_beyond_the_runs_time() {
    let mut late = held(Gate::Slot, StepState::Succeeded);
    late.deadline = Some(at(1));
    assert_eq!(next(&late), "give up 2 as failed: deadline_exceeded");
}
