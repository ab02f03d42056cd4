//! What a model step leads to.

use super::{decided, decision, decision_of};
use crate::Effect;
use crate::definition::OnRefusal;
use crate::error::StepError;
use crate::fixture::{agent, answered, calls, error, journal, model, reply, text, tool_step};
use crate::journal::{Step, StepState};
use crate::next_action::REQUEST_CHANGED;
use crate::turn::PAUSES_MAX;
use crate::wire::messages::SPEND_CAP;
use serde_json::json;

fn failed(seq: u32, turn: u32, error: StepError) -> Step {
    model(seq, turn, StepState::Failed).failed_with(error)
}

#[test]
fn a_run_begins_with_its_model() {
    assert_eq!(decided(Vec::new()), "model 1");
}

#[test]
fn each_stop_reason_leads_on_or_to_an_end() {
    let table = [
        ("end_turn", r#"finish "Done.""#),
        ("stop_sequence", r#"finish "Done.""#),
        ("pause_turn", "model 2"),
        // The worker fails such a step at once; a step recorded otherwise by another release fails its run.
        ("tool_use", "fail malformed_reply"),
        ("max_tokens", "fail max_tokens"),
        ("model_context_window_exceeded", "fail context_window_exceeded"),
        ("refusal", "fail refusal"),
        ("compaction", "fail unknown_stop_reason"),
    ];
    for (stop_reason, expected) in table {
        let step = answered(1, 1, reply(stop_reason, &text("Done.")));
        assert_eq!(decided(vec![step]), expected, "{stop_reason}");
    }
}

#[test]
fn a_model_step_that_failed_fails_its_run() {
    for code in [
        "max_tokens",
        "context_window_exceeded",
        "tools_were_off",
        "refusal",
        "http_400",
    ] {
        assert_eq!(decided(vec![failed(1, 1, error(code))]), format!("fail {code}"));
    }
}

#[test]
fn a_model_step_that_failed_without_a_word_still_fails_its_run() {
    assert_eq!(decided(vec![model(1, 1, StepState::Failed)]), "fail unknown_error");
}

#[test]
fn what_only_a_person_can_mend_parks_the_run() {
    assert_eq!(
        decided(vec![failed(1, 1, error("unknown_stop_reason"))]),
        "park for unknown_stop_reason"
    );
    assert_eq!(decided(vec![failed(1, 1, error(SPEND_CAP))]), "park for spend_cap");
}

#[test]
fn a_refusal_fails_the_run_or_asks_as_the_agent_says() {
    let mut agent = agent();
    let journal = journal(vec![failed(1, 1, error("refusal"))]);
    assert_eq!(decision_of(&agent, &journal), "fail refusal");

    agent.on_refusal = OnRefusal::Ask;
    assert_eq!(decision_of(&agent, &journal), "park for refusal");
}

#[test]
fn a_changed_request_is_decided_anew_in_the_same_turn() {
    let steps = vec![
        answered(1, 1, calls(&["look"])),
        tool_step(2, (1, 0), Effect::ReadOnly, StepState::Succeeded),
        failed(3, 2, error(REQUEST_CHANGED)),
    ];

    assert_eq!(decided(steps), "model 2 instead of 3");
}

#[test]
fn a_failed_model_step_that_was_resumed_over_is_replaced() {
    for code in ["max_tokens", "refusal", "unknown_stop_reason", SPEND_CAP] {
        let step = failed(1, 1, error(code)).resumed();
        assert_eq!(decided(vec![step]), "model 1 instead of 1", "{code}");
    }
}

#[test]
fn a_cancelled_model_step_is_replaced() {
    assert_eq!(decided(vec![model(1, 1, StepState::Cancelled)]), "model 1 instead of 1");
}

#[test]
fn a_model_step_without_its_reply_is_replaced() {
    assert_eq!(decided(vec![model(1, 1, StepState::Succeeded)]), "model 1 instead of 1");
}

#[test]
fn a_running_model_call_is_awaited_and_a_waiting_one_waited_for() {
    assert_eq!(decided(vec![model(1, 1, StepState::Running)]), "await");
    assert_eq!(decided(vec![model(1, 1, StepState::Waiting).due(11)]), "wait until 11");
    assert_eq!(decided(vec![model(1, 1, StepState::Waiting).due(10)]), "again 1 due");
    assert_eq!(decided(vec![model(1, 1, StepState::Waiting)]), "again 1 due");
}

#[test]
fn an_interrupted_model_call_is_made_again() {
    assert_eq!(
        decided(vec![model(1, 1, StepState::Interrupted)]),
        "again 1 interrupted"
    );
}

#[test]
fn a_model_step_that_a_hand_made_unknown_waits_for_a_person_and_not_in_a_circle() {
    assert_eq!(
        decided(vec![model(1, 1, StepState::Unknown)]),
        "park for retries_exhausted"
    );
    assert_eq!(
        decided(vec![model(1, 1, StepState::Unknown).resumed()]),
        "again 1 resumed"
    );
}

#[test]
fn pauses_are_sent_back_so_many_times_and_no_more() {
    let mut agent = agent();
    agent.limits.turns_max = 1_000;
    let pauses = |count: usize| {
        let steps = (1..).take(count);
        journal(
            steps
                .map(|turn| answered(turn, turn, reply("pause_turn", &text("Searching."))))
                .collect(),
        )
    };

    assert_eq!(
        decision_of(&agent, &pauses(PAUSES_MAX)),
        format!("model {}", PAUSES_MAX + 1)
    );
    assert_eq!(decision_of(&agent, &pauses(PAUSES_MAX + 1)), "fail pause_limit");
}

#[test]
fn an_empty_answer_is_asked_about_once_and_then_believed() {
    let empty = |seq| answered(seq, seq, reply("end_turn", &json!([])));

    assert_eq!(decided(vec![empty(1)]), "model 2");
    assert_eq!(decided(vec![empty(1), empty(2)]), r#"finish """#);
    assert_eq!(
        decided(vec![empty(1), answered(2, 2, reply("end_turn", &text("Done.")))]),
        r#"finish "Done.""#
    );
}

#[test]
fn tools_are_off_on_the_last_turn() {
    let mut agent = agent();
    agent.limits.turns_max = 2;
    let steps = vec![
        answered(1, 1, calls(&["look"])),
        tool_step(2, (1, 0), Effect::ReadOnly, StepState::Succeeded),
    ];

    assert_eq!(decision_of(&agent, &journal(steps)), "model 2 with tools off");
}

#[test]
fn no_turn_comes_after_the_last() {
    let mut agent = agent();
    agent.limits.turns_max = 1;
    for last in [reply("pause_turn", &text("Searching.")), reply("end_turn", &json!([]))] {
        let journal = journal(vec![answered(1, 1, last)]);
        assert_eq!(decision_of(&agent, &journal), "fail turn_limit");
    }
}

#[test]
fn a_replaced_call_of_the_last_turn_still_has_its_tools_off() {
    let mut agent = agent();
    agent.limits.turns_max = 1;
    let journal = journal(vec![failed(1, 1, error("tools_were_off")).resumed()]);

    assert_eq!(decision_of(&agent, &journal), "model 1 with tools off instead of 1");
}

#[test]
fn the_same_facts_give_the_same_action() {
    let journal = journal(vec![answered(1, 1, calls(&["look", "pay", "nobody"]))]);

    assert_eq!(decision(&journal), decision(&journal.clone()));
}
