use super::{Turn, accept, read, tools_off};
use crate::error::ErrorClass;
use crate::fixture::{agent, answered, call_block, calls, journal, model, raw, reply, text};
use crate::journal::{Journal, ModelReply, StepBody, StepState};
use serde_json::json;

/// What the first turn's reply means, as one line.
fn meaning(reply: &ModelReply) -> String {
    match read(&agent(), 1, reply) {
        Ok(Turn::Calls(calls)) => {
            let names: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
            format!("calls {}", names.join(", "))
        }
        Ok(Turn::Paused) => "paused".to_owned(),
        Ok(Turn::Empty) => "empty".to_owned(),
        Ok(Turn::Answer(answer)) => format!("answer {answer:?}"),
        Err(error) => format!("{} {}", error.class.as_str(), error.code),
    }
}

#[test]
fn each_stop_reason_has_its_meaning() {
    let table = [
        ("end_turn", r#"answer "Done.""#),
        ("stop_sequence", r#"answer "Done.""#),
        ("tool_use", "permanent malformed_reply"),
        ("pause_turn", "paused"),
        ("max_tokens", "permanent max_tokens"),
        ("model_context_window_exceeded", "permanent context_window_exceeded"),
        ("refusal", "permanent refusal"),
        ("compaction", "unknown unknown_stop_reason"),
    ];
    for (stop_reason, expected) in table {
        assert_eq!(meaning(&reply(stop_reason, &text("Done."))), expected, "{stop_reason}");
    }
}

#[test]
fn a_reply_without_a_stop_reason_is_kept_and_waits_for_a_person() {
    let mut silent = reply("end_turn", &text("Done."));
    silent.stop_reason = None;

    let error = read(&agent(), 1, &silent).unwrap_err();

    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Unknown, "unknown_stop_reason")
    );
}

#[test]
fn calls_are_run_where_the_model_stopped_for_them_or_at_its_turns_end() {
    let mut asked = calls(&["look", "pay"]);
    for stop_reason in ["tool_use", "end_turn"] {
        asked.stop_reason = Some(stop_reason.to_owned());
        assert_eq!(meaning(&asked), "calls look, pay", "{stop_reason}");
    }
}

#[test]
fn calls_of_a_cut_turn_are_never_run() {
    let mut asked = calls(&["look", "pay"]);
    for stop_reason in [
        "stop_sequence",
        "pause_turn",
        "max_tokens",
        "model_context_window_exceeded",
        "refusal",
        "compaction",
    ] {
        asked.stop_reason = Some(stop_reason.to_owned());
        assert!(!meaning(&asked).starts_with("calls"), "{stop_reason}");
    }
}

#[test]
fn two_calls_with_one_id_are_refused_wherever_the_run_would_go_on_from_them() {
    let twins = json!([call_block("c0", "look"), call_block("c0", "pay")]);
    for stop_reason in ["tool_use", "end_turn", "stop_sequence", "pause_turn"] {
        assert_eq!(
            meaning(&reply(stop_reason, &twins)),
            "permanent malformed_reply",
            "{stop_reason}"
        );
    }
}

/// What becomes of a second turn that calls with the first turn's ids.
fn repeated(journal: &Journal) -> String {
    match accept(&agent(), journal, (2, &calls(&["pay"]))) {
        Ok(_) => "accepted".to_owned(),
        Err(error) => format!("{} {}", error.class.as_str(), error.code),
    }
}

#[test]
fn a_call_with_the_id_of_an_earlier_turn_is_refused() {
    assert_eq!(
        repeated(&journal(vec![answered(1, 1, calls(&["look"]))])),
        "permanent malformed_reply"
    );
    let other = reply("tool_use", &json!([call_block("other", "look")]));
    assert_eq!(repeated(&journal(vec![answered(1, 1, other)])), "accepted");
}

#[test]
fn a_call_with_the_id_of_an_earlier_conversation_is_refused() {
    let mut journal = journal(Vec::new());
    journal.history = vec![
        raw(&json!({"role": "user", "content": "Refund order 6."})),
        raw(&json!({"role": "assistant", "content": [call_block("c0", "pay")]})),
    ];

    assert_eq!(repeated(&journal), "permanent malformed_reply");
}

#[test]
fn an_id_of_a_reply_that_was_never_gone_on_from_may_come_again() {
    let mut failed = model(1, 1, StepState::Failed);
    failed.body = StepBody::Model {
        reply: Some(calls(&["look"])),
    };

    assert_eq!(repeated(&journal(vec![failed])), "accepted");
}

#[test]
fn blank_text_and_bare_thinking_are_no_answer() {
    let table = [
        json!([]),
        json!([{"type": "text", "text": " \n"}]),
        json!([{"type": "thinking", "thinking": "hm", "signature": "s"}]),
    ];
    for content in table {
        assert_eq!(meaning(&reply("end_turn", &content)), "empty", "{content}");
    }
}

#[test]
fn tools_are_off_on_the_last_turn_alone_and_a_call_then_is_an_error() {
    let agent = agent();
    let last = agent.limits.turns_max;
    assert!(!tools_off(&agent, last - 1));
    assert!(tools_off(&agent, last));

    let error = read(&agent, last, &calls(&["look"])).unwrap_err();

    assert_eq!(error.code, "tools_were_off");
}

#[test]
fn an_agent_without_tools_has_none_to_switch_off() {
    let mut agent = agent();
    agent.tools.clear();

    assert!(!tools_off(&agent, agent.limits.turns_max));
}

#[test]
fn a_refusal_tells_its_category_where_there_is_one() {
    let mut refused = reply("refusal", &json!([]));
    assert_eq!(read(&agent(), 1, &refused).unwrap_err().message, "the model refused");

    refused.stop_details = Some(raw(&json!({"category": "weapons"})));
    assert_eq!(
        read(&agent(), 1, &refused).unwrap_err().message,
        "the model refused (weapons)"
    );
}
