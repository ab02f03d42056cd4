use super::ring;
use crate::Effect::{AtMostOnce, Idempotent, ReadOnly};
use crate::definition::Agent;
use crate::fixture::{agent, answered, at, calls, error, journal, told, tool_step};
use crate::journal::{Step, StepState};
use crate::next_action::next_action;
use crate::{Effect, StepError};

/// `pay` comes after `look` and `book`.
fn desk() -> Agent {
    let mut agent = agent();
    for tool in agent.tools.iter_mut().filter(|tool| tool.name == "pay") {
        tool.after = vec!["look".to_owned(), "book".to_owned()];
    }
    agent
}

fn decided(agent: &Agent, names: &[&str], steps: impl IntoIterator<Item = Step>) -> String {
    let steps = std::iter::once(answered(1, 1, calls(names))).chain(steps).collect();
    told(&next_action(agent, &journal(steps), at(10)))
}

fn held(seq: u32, index: u32, effect: Effect) -> Step {
    let mut step = tool_step(seq, (1, index), effect, StepState::Waiting);
    step.attempt = 0;
    step
}

fn done(seq: u32, index: u32, effect: Effect) -> Step {
    tool_step(seq, (1, index), effect, StepState::Succeeded)
}

fn running(seq: u32, index: u32, effect: Effect) -> Step {
    tool_step(seq, (1, index), effect, StepState::Running)
}

fn failed(seq: u32, index: u32, (effect, error): (Effect, StepError)) -> Step {
    tool_step(seq, (1, index), effect, StepState::Failed).failed_with(error)
}

#[test]
fn a_call_waits_until_those_that_its_tool_comes_after_have_ended() {
    let names = ["pay", "look", "book"];

    assert_eq!(
        decided(&desk(), &names, []),
        "hold 1/0 pay, call 1/1 look, call 1/2 book",
        "all are recorded at once"
    );
    let half = [held(2, 0, AtMostOnce), done(3, 1, ReadOnly), running(4, 2, Idempotent)];
    assert_eq!(decided(&desk(), &names, half), "await");
    let ended = [
        held(2, 0, AtMostOnce),
        done(3, 1, ReadOnly),
        failed(4, 2, (Idempotent, error("http_404"))),
    ];
    assert_eq!(
        decided(&desk(), &names, ended),
        "again 2 due",
        "whether they ended well or not"
    );
}

#[test]
fn a_call_waits_for_nobody_who_was_not_called() {
    assert_eq!(decided(&desk(), &["pay", "audit"], []), "call 1/0 pay, call 1/1 audit");
}

#[test]
fn a_call_that_waits_its_turn_waits_as_long_as_nobody_knows_what_became_of_an_earlier_one() {
    let doubt = [
        held(2, 0, AtMostOnce),
        tool_step(3, (1, 1), Idempotent, StepState::Unknown).in_doubt(),
    ];

    assert_eq!(decided(&desk(), &["pay", "book"], doubt), "park for retries_exhausted");
}

#[test]
fn calls_of_a_tool_that_is_not_parallel_are_made_in_the_order_asked() {
    let mut agent = agent();
    agent.tools[1].parallel = false;
    let names = ["book", "look", "book", "book"];

    assert_eq!(
        decided(&agent, &names, []),
        "call 1/0 book, call 1/1 look, hold 1/2 book, hold 1/3 book"
    );
    let steps = [
        done(2, 0, Idempotent),
        done(3, 1, ReadOnly),
        held(4, 2, Idempotent),
        held(5, 3, Idempotent),
    ];
    assert_eq!(decided(&agent, &names, steps), "again 4 due");
}

#[test]
fn an_agent_without_parallel_calls_makes_several_one_by_one_and_in_the_declared_order() {
    let mut agent = desk();
    agent.limits.parallel_tool_calls = false;
    let names = ["pay", "book", "look"];

    assert_eq!(
        decided(&agent, &names, []),
        "hold 1/0 pay, call 1/1 book, hold 1/2 look"
    );
    let steps = [held(2, 0, AtMostOnce), done(3, 1, Idempotent), held(4, 2, ReadOnly)];
    assert_eq!(decided(&agent, &names, steps), "again 4 due");
}

#[test]
fn what_is_to_come_after_a_call_that_fails_the_run_is_not_made() {
    let fatal = || failed(3, 1, (Idempotent, error("http_403").fatal()));
    let names = ["pay", "book"];

    assert_eq!(
        decided(&desk(), &names, [held(2, 0, AtMostOnce), fatal()]),
        "give up 2 as failed: held_back"
    );
    let back = failed(2, 0, (AtMostOnce, super::held_back()));
    assert_eq!(
        decided(&desk(), &names, [back, fatal()]),
        "fail http_403",
        "and the run says what really went wrong"
    );
    let back = failed(2, 0, (AtMostOnce, super::held_back())).resumed();
    assert_eq!(
        decided(&desk(), &names, [back, fatal().resumed()]),
        "hold 1/0 pay instead of 2, call 1/1 book instead of 3",
        "once resumed both are made, in their order"
    );
}

#[test]
fn a_ring_of_tools_is_found_and_named() {
    let mut agent = desk();
    assert_eq!(ring(&agent.tools), None);

    agent.tools[0].after = vec!["pay".to_owned()];

    let mut found = ring(&agent.tools).unwrap();
    found.sort();
    assert_eq!(found, ["look", "pay"]);
    agent.tools[0].after = vec!["look".to_owned()];
    assert_eq!(ring(&agent.tools).unwrap(), ["look"]);
}
