//! Earlier conversations, as whole or as broken as they come.

use super::*;

fn with_history(history: &[Value]) -> Journal {
    Journal {
        history: history.iter().map(raw).collect(),
        ..journal(Vec::new())
    }
}

fn user(content: &Value) -> Value {
    json!({"role": "user", "content": content})
}

fn assistant(content: &Value) -> Value {
    json!({"role": "assistant", "content": content})
}

fn result(id: &str, content: &str) -> Value {
    json!({"type": "tool_result", "tool_use_id": id, "content": content})
}

fn words(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

/// Where this conversation is followed by the run's input, the results that its second user message gives.
fn repaired(calls: &Value, answers: &[Value]) -> Vec<Value> {
    let mut history = vec![user(&json!("Hello.")), assistant(calls)];
    history.extend_from_slice(answers);
    let (role, Value::Array(blocks)) = sent(&with_history(&history)).swap_remove(2) else {
        panic!("the third message holds no blocks");
    };
    assert_eq!(role, "user");
    blocks
}

fn two_calls() -> Value {
    json!([call_block("a", "look"), call_block("b", "pay")])
}

#[test]
fn a_sound_conversation_goes_first_as_it_came() {
    let history = [
        user(&json!("Hello.")),
        assistant(&two_calls()),
        user(&json!([result("a", "1"), result("b", "2"), words("And?")])),
        assistant(&json!("Both are done.")),
    ];

    let sent = sent(&with_history(&history));

    assert_eq!(sent.len(), 5);
    for (message, given) in sent.iter().zip(&history) {
        assert_eq!(
            (message.0, &message.1),
            (given["role"].as_str().unwrap(), &given["content"])
        );
    }
    assert_eq!(sent[4], ("user", text("Refund order 7.")));
}

#[test]
fn calls_that_nobody_answered_are_told_as_lost_before_the_input() {
    let blocks = repaired(&two_calls(), &[]);

    assert_eq!(
        (code_of(&blocks[0]), code_of(&blocks[1])),
        ("result_lost".to_owned(), "result_lost".to_owned())
    );
    assert_eq!(blocks[2], words("Refund order 7."));
}

#[test]
fn results_that_are_missing_are_told_as_lost_beside_those_that_came() {
    let blocks = repaired(&two_calls(), &[user(&json!([result("b", "2"), words("And?")]))]);

    assert_eq!(code_of(&blocks[0]), "result_lost");
    assert_eq!(blocks[1..3], [result("b", "2"), words("And?")]);
}

#[test]
fn results_spread_over_several_messages_are_brought_together() {
    let blocks = repaired(
        &two_calls(),
        &[user(&json!([result("b", "2")])), user(&json!([result("a", "1")]))],
    );

    assert_eq!(blocks[..2], [result("a", "1"), result("b", "2")]);
}

#[test]
fn results_in_another_order_or_after_text_are_put_first_and_in_order() {
    for answer in [
        json!([result("b", "2"), result("a", "1"), words("And?")]),
        json!([words("And?"), result("a", "1"), result("b", "2")]),
        json!([result("a", "1"), words("And?"), result("b", "2")]),
    ] {
        let blocks = repaired(&two_calls(), &[user(&answer)]);
        assert_eq!(
            blocks[..3],
            [result("a", "1"), result("b", "2"), words("And?")],
            "{answer}"
        );
    }
}

#[test]
fn a_second_result_for_one_call_is_left_out() {
    let answer = json!([result("a", "1"), result("a", "3"), result("b", "2")]);

    assert_eq!(
        repaired(&two_calls(), &[user(&answer)])[..2],
        [result("a", "1"), result("b", "2")]
    );
}

#[test]
fn results_that_nobody_asked_for_are_left_out() {
    let stray = json!([result("z", "9"), words("And?")]);

    assert_eq!(repaired(&json!("Yes."), &[user(&stray)])[0], words("And?"));
    let blocks = repaired(&two_calls(), &[user(&json!([result("z", "9")]))]);
    assert_eq!(code_of(&blocks[0]), "result_lost");
    assert_eq!(blocks.len(), 3);
}

#[test]
fn calls_followed_by_another_assistant_message_are_answered_between_the_two() {
    let history = [
        user(&json!("Hello.")),
        assistant(&two_calls()),
        assistant(&json!("Never mind.")),
    ];

    let sent = sent(&with_history(&history));

    assert_eq!(sent[2].0, "user");
    assert_eq!(sent[3], ("assistant", json!("Never mind.")));
}

#[test]
fn messages_without_content_are_left_out() {
    let history = [
        user(&json!("Hello.")),
        assistant(&json!([])),
        user(&json!([])),
        assistant(&json!(" ")),
        user(&json!("")),
    ];

    assert_eq!(
        sent(&with_history(&history)),
        [("user", json!("Hello.")), ("user", text("Refund order 7."))]
    );
}

#[test]
fn a_conversation_that_cannot_be_sent_is_an_error_of_the_runs_maker() {
    for history in [
        json!({"role": "system", "content": "Obey."}),
        json!({"role": "user"}),
        json!({"role": "user", "content": 7}),
        json!({"role": "assistant", "content": "How can I help?"}),
        json!("Hello."),
    ] {
        let error = transcript(&agent(), &with_history(std::slice::from_ref(&history))).unwrap_err();
        assert_eq!(error.code, "invalid_history", "{history}");
    }
}

fn block() -> impl Strategy<Value = Value> {
    let id = || prop::sample::select(vec!["a", "b", "c", "d"]);
    prop_oneof![
        id().prop_map(|id| result(id, "told")),
        id().prop_map(|id| result(id, "told otherwise")),
        Just(words("Well.")),
        Just(words(" ")),
        Just(json!({"type": "image", "source": {}})),
    ]
}

fn message() -> impl Strategy<Value = Value> {
    let said = (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(thinks, speaks, is_blank)| {
        let mut blocks = Vec::new();
        if thinks {
            blocks.push(json!({"type": "thinking", "thinking": "hm", "signature": "s"}));
        }
        if speaks {
            blocks.push(words(if is_blank { "" } else { "Well." }));
        }
        blocks
    });
    prop_oneof![
        prop::sample::select(vec!["", "Hello."]).prop_map(|text| user(&json!(text))),
        prop::collection::vec(block(), 0..5).prop_map(|blocks| user(&json!(blocks))),
        (said, prop::sample::subsequence(vec!["a", "b", "c"], 0..=3)).prop_map(|(mut blocks, ids)| {
            blocks.extend(ids.into_iter().map(|id| call_block(id, "look")));
            assistant(&json!(blocks))
        }),
    ]
}

proptest! {
    #[test]
    fn any_conversation_is_repaired_until_the_provider_takes_it(messages in prop::collection::vec(message(), 0..8)) {
        let history: Vec<Value> = std::iter::once(user(&json!("Hello."))).chain(messages).collect();
        let messages = transcript(&agent(), &with_history(&history)).unwrap();
        prop_assert_eq!(judge(&messages), Ok(()));
    }
}
