//! What becomes of a run whose time is over.

use super::decision;
use crate::Effect::{AtMostOnce, Idempotent, ReadOnly};
use crate::fixture::{agent, answered, at, calls, journal, model, reply, text, tool_step};
use crate::journal::{Step, StepState};
use crate::next_action::{Action, next_action};

/// What is decided when the time of a run with these steps has just run out.
fn at_the_end(steps: Vec<Step>) -> String {
    let mut journal = journal(steps);
    journal.deadline = Some(at(10));
    decision(&journal)
}

fn turn(names: &[&str], steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    std::iter::once(answered(1, 1, calls(names))).chain(steps).collect()
}

#[test]
fn nothing_is_started_any_more() {
    assert_eq!(at_the_end(Vec::new()), "fail deadline_exceeded");
    assert_eq!(at_the_end(turn(&["look"], [])), "fail deadline_exceeded");
}

#[test]
fn before_it_the_run_goes_on() {
    let mut journal = journal(Vec::new());
    journal.deadline = Some(at(11));

    assert_eq!(decision(&journal), "model 1");
}

#[test]
fn an_answer_that_came_too_late_does_not_count() {
    assert_eq!(
        at_the_end(vec![answered(1, 1, reply("end_turn", &text("Done.")))]),
        "fail deadline_exceeded"
    );
}

#[test]
fn what_is_out_is_waited_for_and_what_waits_is_not_tried_again_meanwhile() {
    let steps = [
        tool_step(2, (1, 0), AtMostOnce, StepState::Running),
        tool_step(3, (1, 1), Idempotent, StepState::Waiting).due(5),
    ];

    assert_eq!(at_the_end(turn(&["pay", "book"], steps)), "await");
}

#[test]
fn what_waits_is_given_up_and_stays_unknown_where_it_may_have_happened() {
    let waiting = |seq, index, effect| tool_step(seq, (1, index), effect, StepState::Waiting).due(5);
    let steps = [
        waiting(2, 0, ReadOnly).in_doubt(),
        waiting(3, 1, Idempotent),
        waiting(4, 2, Idempotent).in_doubt(),
        waiting(5, 3, AtMostOnce),
        waiting(6, 4, AtMostOnce).in_doubt(),
    ];

    assert_eq!(
        at_the_end(turn(&["look", "book", "book", "pay", "pay"], steps)),
        "give up 2 as failed: deadline_exceeded, give up 3 as failed: deadline_exceeded, \
         give up 4 as retries_exhausted: deadline_exceeded, give up 5 as failed: deadline_exceeded, \
         give up 6 as unknown_outcome: unknown_outcome"
    );
}

#[test]
fn a_call_that_falls_due_after_it_is_not_sent() {
    assert_eq!(
        at_the_end(vec![model(1, 1, StepState::Waiting).due(5)]),
        "give up 1 as failed: deadline_exceeded"
    );
}

#[test]
fn what_a_lost_worker_left_is_not_sent_again() {
    let interrupted = |seq, index, effect| tool_step(seq, (1, index), effect, StepState::Interrupted);
    let steps = [
        interrupted(2, 0, ReadOnly),
        interrupted(3, 1, Idempotent),
        interrupted(4, 2, AtMostOnce),
    ];

    assert_eq!(
        at_the_end(turn(&["look", "book", "pay"], steps)),
        "give up 2 as failed: deadline_exceeded, give up 3 as retries_exhausted: deadline_exceeded, \
         give up 4 as unknown_outcome: unknown_outcome"
    );
}

#[test]
fn an_unknown_call_parks_the_run_for_good() {
    let unknown = |effect| tool_step(2, (1, 0), effect, StepState::Unknown).in_doubt();

    assert_eq!(
        at_the_end(turn(&["pay"], [unknown(AtMostOnce)])),
        "park for unknown_outcome"
    );
    assert_eq!(
        at_the_end(turn(&["book"], [unknown(Idempotent)])),
        "park for retries_exhausted"
    );
    assert_eq!(
        at_the_end(turn(&["book"], [unknown(Idempotent).resumed()])),
        "ask about 2"
    );
}

#[test]
fn once_everything_is_given_up_the_run_fails() {
    let failed = tool_step(2, (1, 0), Idempotent, StepState::Failed);

    assert_eq!(at_the_end(turn(&["book"], [failed])), "fail deadline_exceeded");
}

#[test]
fn what_is_suggested_holds_for_the_agents_limit_and_for_a_callers_deadline() {
    let mut journal = journal(Vec::new());
    journal.deadline = Some(at(10));

    let Action::Fail(error) = next_action(&agent(), &journal, at(10)) else {
        panic!("it does not fail");
    };

    let told = error.suggestion.unwrap();
    assert!(told.contains("deadline_at"), "{told}");
    assert!(told.contains("limits.wall_clock_seconds"), "{told}");
}
