//! What becomes of a turn whose time is over.

use super::decision_of;
use crate::Effect::{AtMostOnce, Idempotent, ReadOnly, Transactional};
use crate::fixture::{agent, answered, calls, journal, tool_step};
use crate::journal::{Step, StepState};

/// What is decided at 10 seconds, when the calls of the turn were recorded at 0 and have so many.
fn with_limit(seconds: u64, names: &[&str], steps: impl IntoIterator<Item = Step>) -> String {
    let mut agent = agent();
    agent.limits.turn_seconds = Some(seconds);
    let steps = std::iter::once(answered(1, 1, calls(names))).chain(steps).collect();
    decision_of(&agent, &journal(steps))
}

#[test]
fn what_waits_is_given_up_and_what_may_have_happened_is_unknown() {
    let waiting = |seq, index, effect| tool_step(seq, (1, index), effect, StepState::Waiting).due(60);
    let interrupted = |seq, index, effect| tool_step(seq, (1, index), effect, StepState::Interrupted);
    let steps = [
        waiting(2, 0, ReadOnly).in_doubt(),
        waiting(3, 1, Idempotent).in_doubt(),
        interrupted(4, 2, AtMostOnce),
        interrupted(5, 3, Transactional),
    ];

    assert_eq!(
        with_limit(10, &["look", "book", "pay", "look"], steps),
        "give up 2 as failed: turn_timeout, give up 3 as retries_exhausted: turn_timeout, \
         give up 4 as unknown_outcome: unknown_outcome, give up 5 as failed: turn_timeout"
    );
}

#[test]
fn before_that_and_in_other_turns_everything_goes_on() {
    let waiting = || tool_step(2, (1, 0), ReadOnly, StepState::Waiting).due(5);

    assert_eq!(with_limit(11, &["look"], [waiting()]), "again 2 due");
    let mut later = waiting();
    later.budget_from = crate::fixture::at(5);
    assert_eq!(
        with_limit(10, &["look"], [later]),
        "again 2 due",
        "whoever let it go on gave it its time anew"
    );
}

#[test]
fn what_is_out_ends_by_its_own_limit() {
    let running = tool_step(2, (1, 0), AtMostOnce, StepState::Running);

    assert_eq!(with_limit(10, &["pay"], [running]), "await");
}
