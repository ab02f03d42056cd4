//! What the calls of a turn lead to.

use super::{decided, decision_of};
use crate::Effect;
use crate::Effect::{AtMostOnce, Idempotent, ReadOnly};
use crate::fixture::{agent, answered, calls, error, journal, reply, text, tool_step};
use crate::journal::{Step, StepState};

/// A turn that called these tools, and what became of the calls.
fn turn(names: &[&str], steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    std::iter::once(answered(1, 1, calls(names))).chain(steps).collect()
}

fn done(seq: u32, index: u32, effect: Effect) -> Step {
    tool_step(seq, (1, index), effect, StepState::Succeeded)
}

fn waiting(seq: u32, index: u32, effect: Effect) -> Step {
    tool_step(seq, (1, index), effect, StepState::Waiting).due(20)
}

fn running(seq: u32, index: u32, effect: Effect) -> Step {
    tool_step(seq, (1, index), effect, StepState::Running)
}

fn unknown(seq: u32, index: u32, effect: Effect) -> Step {
    tool_step(seq, (1, index), effect, StepState::Unknown).in_doubt()
}

fn fatal(seq: u32, index: u32, effect: Effect) -> Step {
    tool_step(seq, (1, index), effect, StepState::Failed).failed_with(error("http_403").fatal())
}

#[test]
fn all_calls_of_a_turn_are_made_at_once() {
    assert_eq!(
        decided(turn(&["look", "book", "pay"], [])),
        "call 1/0 look, call 1/1 book, call 1/2 pay"
    );
}

#[test]
fn an_unknown_tool_is_answered_and_its_siblings_are_called() {
    assert_eq!(
        decided(turn(&["look", "nobody"], [])),
        "call 1/0 look, answer 1/1 tool_not_found"
    );
}

#[test]
fn calls_beyond_the_cap_are_answered_without_being_made() {
    assert_eq!(
        decided(turn(&["look", "look", "look", "look", "look", "nobody"], [])),
        "call 1/0 look, call 1/1 look, call 1/2 look, call 1/3 look, answer 1/4 tool_call_limit, \
         answer 1/5 tool_call_limit"
    );
}

#[test]
fn once_all_calls_have_an_end_the_model_is_called() {
    let failed = tool_step(3, (1, 1), AtMostOnce, StepState::Failed).failed_with(error("http_404"));

    assert_eq!(
        decided(turn(&["look", "pay"], [done(2, 0, ReadOnly), failed])),
        "model 2"
    );
}

#[test]
fn a_running_call_is_awaited_until_a_sibling_falls_due() {
    assert_eq!(
        decided(turn(
            &["look", "book"],
            [running(2, 0, ReadOnly), done(3, 1, Idempotent)]
        )),
        "await"
    );
    assert_eq!(
        decided(turn(
            &["look", "book"],
            [running(2, 0, ReadOnly), waiting(3, 1, Idempotent)]
        )),
        "await until 20"
    );
}

#[test]
fn a_due_call_is_tried_again_while_its_siblings_run() {
    let due = tool_step(3, (1, 1), Idempotent, StepState::Waiting).due(10);

    assert_eq!(
        decided(turn(&["look", "book"], [running(2, 0, ReadOnly), due])),
        "again 3 due"
    );
}

#[test]
fn of_several_waiting_calls_the_first_to_fall_due_counts() {
    let later = tool_step(2, (1, 0), ReadOnly, StepState::Waiting).due(30);

    assert_eq!(
        decided(turn(&["look", "book"], [later, waiting(3, 1, Idempotent)])),
        "wait until 20"
    );
}

#[test]
fn with_one_call_waiting_one_unknown_and_one_fatal_the_run_parks_until_the_first_is_due() {
    let steps = [
        waiting(2, 0, ReadOnly),
        unknown(3, 1, AtMostOnce),
        fatal(4, 2, Idempotent),
    ];

    assert_eq!(
        decided(turn(&["look", "pay", "book"], steps)),
        "park for unknown_outcome until 20"
    );
}

#[test]
fn with_one_call_unknown_and_one_fatal_the_person_is_asked_before_the_run_fails() {
    assert_eq!(
        decided(turn(
            &["pay", "book"],
            [unknown(2, 0, AtMostOnce), fatal(3, 1, Idempotent)]
        )),
        "park for unknown_outcome"
    );
}

#[test]
fn a_fatal_call_fails_the_run_only_after_its_siblings_have_ended() {
    assert_eq!(
        decided(turn(
            &["book", "look"],
            [fatal(2, 0, Idempotent), running(3, 1, ReadOnly)]
        )),
        "await"
    );
    assert_eq!(
        decided(turn(
            &["book", "look"],
            [fatal(2, 0, Idempotent), waiting(3, 1, ReadOnly)]
        )),
        "wait until 20"
    );
    assert_eq!(
        decided(turn(&["book", "look"], [fatal(2, 0, Idempotent), done(3, 1, ReadOnly)])),
        "fail http_403"
    );
}

#[test]
fn a_running_call_is_awaited_before_the_run_parks() {
    assert_eq!(
        decided(turn(
            &["pay", "look"],
            [unknown(2, 0, AtMostOnce), running(3, 1, ReadOnly)]
        )),
        "await"
    );
}

#[test]
fn an_unknown_call_parks_the_run_with_its_reason() {
    assert_eq!(
        decided(turn(&["pay"], [unknown(2, 0, AtMostOnce)])),
        "park for unknown_outcome"
    );
    assert_eq!(
        decided(turn(&["book"], [unknown(2, 0, Idempotent)])),
        "park for retries_exhausted"
    );
}

#[test]
fn of_two_unknown_calls_the_one_that_nobody_may_repeat_gives_the_reason() {
    assert_eq!(
        decided(turn(
            &["book", "pay"],
            [unknown(2, 0, Idempotent), unknown(3, 1, AtMostOnce)]
        )),
        "park for unknown_outcome"
    );
}

#[test]
fn a_resume_lets_an_unknown_call_go_on_under_its_key_where_its_effect_allows() {
    assert_eq!(
        decided(turn(&["book"], [unknown(2, 0, Idempotent).resumed()])),
        "again 2 resumed"
    );
    assert_eq!(
        decided(turn(&["look"], [unknown(2, 0, ReadOnly).resumed()])),
        "again 2 resumed"
    );
    assert_eq!(
        decided(turn(&["pay"], [unknown(2, 0, AtMostOnce).resumed()])),
        "park for unknown_outcome"
    );
}

#[test]
fn a_resume_lets_a_fatal_or_cancelled_call_be_made_once_more() {
    assert_eq!(
        decided(turn(&["pay"], [fatal(2, 0, AtMostOnce).resumed()])),
        "call 1/0 pay instead of 2"
    );
    let cancelled = tool_step(2, (1, 0), AtMostOnce, StepState::Cancelled).resumed();
    assert_eq!(decided(turn(&["pay"], [cancelled])), "call 1/0 pay instead of 2");
}

#[test]
fn a_resume_leaves_what_succeeded_or_was_told_to_the_model_alone() {
    let told = tool_step(3, (1, 1), AtMostOnce, StepState::Failed)
        .failed_with(error("http_404"))
        .resumed();

    assert_eq!(
        decided(turn(&["look", "pay"], [done(2, 0, ReadOnly).resumed(), told])),
        "model 2"
    );
}

#[test]
fn a_replacement_counts_in_the_place_of_the_call_it_replaces() {
    let mut again = done(3, 0, AtMostOnce);
    again.replaces = Some(2);

    assert_eq!(
        decided(turn(&["pay"], [fatal(2, 0, AtMostOnce).resumed(), again])),
        "model 2"
    );
}

#[test]
fn an_interrupted_call_is_taken_up_as_its_effect_allows() {
    let interrupted = |seq, index, effect| tool_step(seq, (1, index), effect, StepState::Interrupted);
    let steps = [
        interrupted(2, 0, ReadOnly),
        interrupted(3, 1, Idempotent),
        interrupted(4, 2, AtMostOnce),
    ];

    assert_eq!(
        decided(turn(&["look", "book", "pay"], steps)),
        "again 2 interrupted, again 3 interrupted, give up 4 as unknown_outcome: unknown_outcome"
    );
}

#[test]
fn an_interrupted_call_is_taken_up_before_its_model_is_asked_anything() {
    let interrupted = tool_step(2, (1, 0), AtMostOnce, StepState::Interrupted).resumed();

    assert_eq!(
        decided(turn(&["pay"], [interrupted])),
        "give up 2 as unknown_outcome: unknown_outcome"
    );
}

#[test]
fn a_waiting_at_most_once_call_goes_out_again_only_if_it_is_in_no_doubt() {
    let due = || tool_step(2, (1, 0), AtMostOnce, StepState::Waiting).due(10);

    assert_eq!(decided(turn(&["pay"], [due()])), "again 2 due");
    assert_eq!(
        decided(turn(&["pay"], [due().in_doubt()])),
        "give up 2 as unknown_outcome: unknown_outcome"
    );
}

#[test]
fn a_step_taken_out_by_hand_is_answered_honestly_and_never_called() {
    let whole = turn(
        &["look", "pay", "book"],
        [done(2, 0, ReadOnly), done(3, 1, AtMostOnce), done(4, 2, Idempotent)],
    );
    for (taken_out, expected) in [
        (1, "answer 1/0 result_lost"),
        (2, "answer 1/1 result_lost"),
        (3, "answer 1/2 result_lost"),
    ] {
        let mut steps = whole.clone();
        steps.remove(taken_out);
        assert_eq!(decided(steps), expected);
    }
}

#[test]
fn calls_whose_steps_were_all_taken_out_from_the_middle_are_never_made() {
    let mut steps = turn(&["look", "pay"], [done(2, 0, ReadOnly), done(3, 1, AtMostOnce)]);
    steps.push(tool_step(4, (9, 0), ReadOnly, StepState::Succeeded));
    steps.drain(1..3);

    assert_eq!(decided(steps), "answer 1/0 result_lost, answer 1/1 result_lost");
}

#[test]
fn a_step_taken_out_of_an_earlier_turn_does_not_keep_later_calls_from_being_made() {
    let steps = vec![answered(1, 1, calls(&["look"])), answered(3, 2, calls(&["pay"]))];

    assert_eq!(decided(steps), "call 2/0 pay");
}

#[test]
fn the_last_turns_calls_are_not_made() {
    let mut agent = agent();
    agent.limits.turns_max = 1;
    let journal = journal(turn(&["look", "pay"], []));

    assert_eq!(decision_of(&agent, &journal), "fail tools_were_off");
}

#[test]
fn an_answer_after_calls_finishes_the_run() {
    let mut steps = turn(&["pay"], [done(2, 0, AtMostOnce)]);
    steps.push(answered(3, 2, reply("end_turn", &text("Refunded."))));

    assert_eq!(decided(steps), r#"finish "Refunded.""#);
}
