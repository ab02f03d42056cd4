use super::{error_outcome, input_text, transcript};
use crate::Effect::{AtMostOnce, ReadOnly};
use crate::definition::Agent;
use crate::error::{ErrorClass, StepError};
use crate::fixture::contract::judge;
use crate::fixture::{agent, answered, call_block, calls, error, journal, model, raw, reply, text, tool_step};
use crate::journal::{Journal, Step, StepBody, StepState};
use crate::time_limit::{Bound, CallLimit};
use crate::wire::messages::Role;
use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::time::Duration;

mod history;

/// The messages that are sent, once they were found to keep the provider's contract.
fn sent(journal: &Journal) -> Vec<(&'static str, Value)> {
    let messages = transcript(&agent(), journal).unwrap();
    judge(&messages).unwrap_or_else(|broken| panic!("{broken} in {messages:#?}"));
    messages
        .iter()
        .map(|message| {
            (
                message.role.as_str(),
                serde_json::from_str(message.content.get()).unwrap(),
            )
        })
        .collect()
}

fn sent_of(steps: Vec<Step>) -> Vec<(&'static str, Value)> {
    sent(&journal(steps))
}

/// The code of the error that a result tells of.
fn code_of(result: &Value) -> String {
    let told: Value = serde_json::from_str(result["content"].as_str().unwrap()).unwrap();
    told["code"].as_str().unwrap().to_owned()
}

#[test]
fn a_run_begins_with_its_input() {
    assert_eq!(sent_of(Vec::new()), [("user", text("Refund order 7."))]);
}

#[test]
fn an_input_that_is_no_string_is_sent_as_its_json() {
    assert_eq!(input_text(&raw(&json!("seven\n"))), "seven\n");
    assert_eq!(input_text(&raw(&json!({"order": 7}))), r#"{"order":7}"#);
    assert_eq!(input_text(&raw(&Value::Null)), "null");
}

#[test]
fn assistant_content_goes_back_byte_for_byte_with_blocks_that_nobody_knows() {
    let content = r#"[ {"type":"novelty", "a" : 1.0, "a":2}, {"type":"text","text":"\u0041"},
        {"id":"c0","type":"tool_use","name":"look","input":{"n":1e2}} ]"#;
    let mut said = calls(&[]);
    said.content = RawValue::from_string(content.to_owned()).unwrap();
    let journal = journal(vec![
        answered(1, 1, said),
        tool_step(2, (1, 0), ReadOnly, StepState::Succeeded),
    ]);

    let messages = transcript(&agent(), &journal).unwrap();

    assert_eq!(messages[1].role, Role::Assistant);
    assert_eq!(messages[1].content.get(), content);
}

#[test]
fn every_call_is_answered_in_the_order_asked_whatever_the_order_of_the_steps() {
    let steps = vec![
        answered(1, 1, calls(&["look", "pay"])),
        tool_step(2, (1, 1), AtMostOnce, StepState::Succeeded),
        tool_step(3, (1, 0), ReadOnly, StepState::Succeeded),
    ];

    assert_eq!(
        sent_of(steps)[2],
        (
            "user",
            json!([
                {"type": "tool_result", "tool_use_id": "c0", "content": "look is done"},
                {"type": "tool_result", "tool_use_id": "c1", "content": "pay is done"},
            ])
        )
    );
}

#[test]
fn a_failed_call_is_told_as_an_error_with_its_suggestion() {
    let trouble = StepError::new(ErrorClass::UserError, "no_such_order", "there is no order 7").suggest("ask for it");
    let mut failed = tool_step(2, (1, 0), ReadOnly, StepState::Failed);
    if let StepBody::Tool { outcome, .. } = &mut failed.body {
        *outcome = Some(error_outcome(&trouble));
    }
    let sent = sent_of(vec![answered(1, 1, calls(&["look"])), failed]);

    let result = &sent[2].1[0];
    assert_eq!(result["is_error"], true);
    assert_eq!(
        serde_json::from_str::<Value>(result["content"].as_str().unwrap()).unwrap(),
        json!({
            "status": "error",
            "error_type": "user_error",
            "code": "no_such_order",
            "message": "there is no order 7",
            "suggestion": "ask for it",
        })
    );
}

/// The last message after a turn of which some calls failed.
fn told_of(agent: &Agent, failed: &[bool]) -> Vec<Value> {
    let steps = failed.iter().zip(0..).map(|(failed, index)| {
        let mut step = tool_step(2 + index, (1, index), ReadOnly, StepState::Succeeded);
        if let (true, StepBody::Tool { outcome, .. }) = (*failed, &mut step.body) {
            step.state = StepState::Failed;
            *outcome = Some(error_outcome(&error("http_503")));
        }
        step
    });
    let names = vec!["look"; failed.len()];
    let journal = journal(std::iter::once(answered(1, 1, calls(&names))).chain(steps).collect());
    let messages = transcript(agent, &journal).unwrap();
    judge(&messages).unwrap();
    serde_json::from_str(messages.last().unwrap().content.get()).unwrap()
}

#[test]
fn a_turn_of_which_most_calls_failed_is_summarised_after_its_results() {
    let told = told_of(&agent(), &[true, false, true]);

    assert_eq!(told.len(), 4);
    assert_eq!(told[3]["type"], "text");
    let text = told[3]["text"].as_str().unwrap();
    assert!(text.starts_with("2 of the 3 calls of this turn failed"), "{text}");
    assert!(text.contains("Retry") && text.contains("approximate"), "{text}");
    for failed in [vec![true, false], vec![true], vec![false, false, true]] {
        assert_eq!(
            told_of(&agent(), &failed).len(),
            failed.len(),
            "not more than half of two: {failed:?}"
        );
    }
}

#[test]
fn requests_of_versions_from_before_the_summary_are_built_as_they_were() {
    let text = crate::definition::digest_text(&agent()).replace(r#""summarise_failures":true,"#, "");
    let old: Agent = serde_json::from_str(&text).unwrap();

    assert!(!old.summarise_failures);
    assert_eq!(told_of(&old, &[true, true]).len(), 2);
}

#[test]
fn a_timeout_tells_which_limit_it_was_and_how_long() {
    let limit = CallLimit {
        timeout: Duration::from_millis(1_500),
        bound: Bound::Idle,
    };
    let timeout = StepError::new(ErrorClass::Timeout, "idle_timeout", "it fell silent").limited(limit);

    let told: Value = serde_json::from_str(&error_outcome(&timeout).content).unwrap();

    assert_eq!(
        (&told["bound_by"], &told["timeout_ms"]),
        (&json!("idle"), &json!(1_500))
    );
}

#[test]
fn a_call_without_a_record_is_told_as_lost() {
    let steps = vec![
        answered(1, 1, calls(&["look", "pay"])),
        tool_step(2, (1, 0), ReadOnly, StepState::Succeeded),
    ];

    assert_eq!(code_of(&sent_of(steps)[2].1[1]), "result_lost");
}

#[test]
fn a_call_that_nobody_can_vouch_for_is_never_told_as_done() {
    let mut unknown = tool_step(2, (1, 0), AtMostOnce, StepState::Succeeded);
    unknown.state = StepState::Unknown;

    assert_eq!(
        code_of(&sent_of(vec![answered(1, 1, calls(&["pay"])), unknown])[2].1[0]),
        "result_lost"
    );
}

#[test]
fn a_call_that_the_end_of_its_turn_cut_off_is_told_as_not_run() {
    let mut paused = calls(&["pay"]);
    paused.stop_reason = Some("pause_turn".to_owned());

    assert_eq!(code_of(&sent_of(vec![answered(1, 1, paused)])[2].1[0]), "not_run");
}

#[test]
fn the_replacement_of_a_step_is_what_is_told() {
    let mut again = tool_step(3, (1, 0), AtMostOnce, StepState::Succeeded);
    again.replaces = Some(2);
    let fatal = tool_step(2, (1, 0), AtMostOnce, StepState::Failed).failed_with(error("http_403").fatal());
    let steps = vec![answered(1, 1, calls(&["pay"])), fatal, again];

    assert_eq!(sent_of(steps)[2].1[0]["content"], "pay is done");
}

#[test]
fn only_model_steps_that_succeeded_are_sent() {
    let failed = Step {
        body: StepBody::Model {
            reply: Some(reply("refusal", &text("No."))),
        },
        ..model(1, 1, StepState::Failed)
    };

    assert_eq!(sent_of(vec![failed, model(2, 1, StepState::Running)]).len(), 1);
}

#[test]
fn an_empty_answer_is_left_out_and_the_model_is_asked_to_go_on() {
    let go_on = json!({"type": "text", "text": "Please continue."});
    let table = [
        json!([]),
        json!([{"type": "text", "text": ""}]),
        json!([{"type": "text", "text": " \n"}]),
        json!([{"type": "thinking", "thinking": "hm", "signature": "s"}]),
        json!([{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": ""}]),
    ];
    for content in table {
        let sent = sent_of(vec![
            answered(1, 1, calls(&["look"])),
            tool_step(2, (1, 0), ReadOnly, StepState::Succeeded),
            answered(3, 2, reply("end_turn", &content)),
        ]);

        assert_eq!(sent.len(), 3, "{content}");
        assert_eq!(sent[2].1[0]["tool_use_id"], "c0");
        assert_eq!(sent[2].1[1], go_on);
    }
}

#[test]
fn blank_text_beside_a_call_is_left_out_and_the_rest_goes_back_byte_for_byte() {
    let call = r#"{"type":"tool_use","id":"c0","name":"look","input":{ "n": 1e2 }}"#;
    let mut said = calls(&[]);
    said.content = RawValue::from_string(format!(r#"[{{"type":"text","text":" "}}, {call}]"#)).unwrap();
    let journal = journal(vec![
        answered(1, 1, said),
        tool_step(2, (1, 0), ReadOnly, StepState::Succeeded),
    ]);

    let messages = transcript(&agent(), &journal).unwrap();

    assert_eq!(judge(&messages), Ok(()));
    assert_eq!(messages[1].content.get(), format!("[{call}]"));
}

#[test]
fn a_paused_turn_goes_back_as_it_is_with_nothing_after_it() {
    let sent = sent_of(vec![answered(1, 1, reply("pause_turn", &text("Searching.")))]);

    assert_eq!(sent.last(), Some(&("assistant", text("Searching."))));
}
