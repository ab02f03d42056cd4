use serde_json::{Value, json};

use super::*;

fn body(messages: Value) -> Value {
    json!({
        "model": "claude-sonnet-5",
        "max_tokens": 1024,
        "tools": [{"name": "look_up", "description": "Looks up.", "input_schema": {"type": "object"}}],
        "messages": messages,
    })
}

fn request(body: &Value) -> Request<'_> {
    Request {
        version: Some(VERSION_2026),
        has_key: true,
        has_beta: false,
        endpoint: Endpoint::Messages,
        body,
    }
}

#[track_caller]
fn assert_refused(body: &Value, message: &str) {
    let refusal = judge(&request(body)).expect_err("should be refused");
    assert!(
        refusal.message.contains(message),
        "{message:?} is not in {:?}",
        refusal.message
    );
    assert_eq!((refusal.status, refusal.kind), (400, "invalid_request_error"));
}

fn with(field: &str, value: Value) -> Value {
    let mut body = body(json!([{"role": "user", "content": "hello"}]));
    body[field] = value;
    body
}

fn without(field: &str) -> Value {
    let mut body = body(json!([{"role": "user", "content": "hello"}]));
    body.as_object_mut().unwrap().remove(field);
    body
}

fn call(id: &str) -> Value {
    json!({"type": "tool_use", "id": id, "name": "look_up", "input": {}})
}

fn result(id: &str) -> Value {
    json!({"type": "tool_result", "tool_use_id": id, "content": "found"})
}

/// A conversation with two calls and this answer to them.
fn answered_with(content: Value) -> Value {
    body(json!([
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": [{"type": "text", "text": "Looking."}, call("toolu_a"), call("toolu_b")]},
        {"role": "user", "content": content},
    ]))
}

#[test]
fn a_sound_request_passes() {
    judge(&request(&answered_with(json!([
        result("toolu_b"),
        {"type": "tool_result", "tool_use_id": "toolu_a", "is_error": true},
        {"type": "text", "text": "Go on."},
    ]))))
    .unwrap();
}

#[test]
fn a_request_without_key_or_version_is_refused() {
    let body = body(json!([{"role": "user", "content": "hello"}]));
    let no_key = judge(&Request {
        has_key: false,
        ..request(&body)
    })
    .unwrap_err();
    assert_eq!((no_key.status, no_key.kind), (401, "authentication_error"));
    let no_version = judge(&Request {
        version: None,
        ..request(&body)
    })
    .unwrap_err();
    assert_eq!(no_version.message, "anthropic-version: header is required");
    let odd_version = judge(&Request {
        version: Some("2025-01-01"),
        ..request(&body)
    })
    .unwrap_err();
    assert!(odd_version.message.contains("not a valid version"));
}

#[test]
fn required_fields_must_be_there() {
    assert_refused(&without("max_tokens"), "max_tokens: Field required");
    assert_refused(&without("model"), "model: Field required");
    assert_refused(&without("messages"), "messages: Field required");
    assert_refused(&with("messages", json!([])), "at least one message");
    assert_refused(&with("max_tokens", json!(-1)), "max_tokens");
    assert_refused(&with("model", json!("")), "model");
}

#[test]
fn unknown_fields_are_refused_unless_a_beta_is_on() {
    let body = with("frequency_penalty", json!(1));
    assert_refused(&body, "frequency_penalty: Extra inputs are not permitted");
    judge(&Request {
        has_beta: true,
        ..request(&body)
    })
    .unwrap();
}

#[test]
fn sampling_parameters_are_refused_on_the_new_version_only() {
    let body = with("temperature", json!(1.0));
    assert_refused(&body, "temperature");
    judge(&Request {
        version: Some(VERSION_2023),
        ..request(&body)
    })
    .unwrap();
}

#[test]
fn the_first_message_must_be_of_the_user() {
    let body = body(json!([{"role": "assistant", "content": "hi"}, {"role": "user", "content": "hello"}]));
    assert_refused(&body, "first message must use the \"user\" role");
}

#[test]
fn the_last_message_must_not_be_a_prefill() {
    let body = body(json!([{"role": "user", "content": "hello"}, {"role": "assistant", "content": "{"}]));
    assert_refused(&body, "prefill");
}

#[test]
fn a_turn_paused_by_a_server_tool_may_be_sent_back_as_it_is() {
    let paused = json!({"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}});
    let body = body(json!([{"role": "user", "content": "hello"}, {"role": "assistant", "content": [paused]}]));
    judge(&request(&body)).unwrap();
}

#[test]
fn empty_content_is_refused() {
    for content in [json!(""), json!("  "), json!([])] {
        assert_refused(
            &body(json!([{"role": "user", "content": content}])),
            "non-empty content",
        );
    }
    assert_refused(
        &body(json!([{"role": "user", "content": [{"type": "text", "text": ""}]}])),
        "must be non-empty",
    );
    assert_refused(
        &body(json!([{"role": "user", "content": [{"type": "text", "text": "\n"}]}])),
        "non-whitespace",
    );
}

#[test]
fn a_call_without_a_result_is_refused() {
    assert_refused(
        &answered_with(json!([result("toolu_a")])),
        "without `tool_result` blocks immediately after: toolu_b",
    );
    assert_refused(
        &answered_with(json!("never mind")),
        "immediately after: toolu_a, toolu_b",
    );
    let mut unanswered = answered_with(json!("x"));
    unanswered["messages"].as_array_mut().unwrap().pop();
    assert_refused(&unanswered, "without `tool_result` blocks");
}

#[test]
fn results_spread_over_two_messages_are_refused() {
    let mut spread = answered_with(json!([result("toolu_a")]));
    spread["messages"]
        .as_array_mut()
        .unwrap()
        .push(json!({"role": "user", "content": [result("toolu_b")]}));
    assert_refused(&spread, "immediately after: toolu_b");
}

#[test]
fn a_result_that_comes_twice_or_belongs_to_no_call_is_refused() {
    let twice = json!([result("toolu_a"), result("toolu_b"), result("toolu_a")]);
    assert_refused(&answered_with(twice), "must have a single result");
    let unknown = json!([result("toolu_a"), result("toolu_b"), result("toolu_c")]);
    assert_refused(&answered_with(unknown), "unexpected `tool_use_id`");
}

#[test]
fn results_must_come_before_text() {
    let late = json!([result("toolu_a"), {"type": "text", "text": "and"}, result("toolu_b")]);
    assert_refused(&answered_with(late), "must come before other content");
}

#[test]
fn two_calls_with_one_id_are_refused() {
    let body = body(json!([
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": [call("toolu_a")]},
        {"role": "user", "content": [result("toolu_a")]},
        {"role": "assistant", "content": [call("toolu_a")]},
        {"role": "user", "content": [result("toolu_a")]},
    ]));
    assert_refused(&body, "ids must be unique");
}

#[test]
fn a_call_must_be_well_formed() {
    let say = |call: Value| {
        body(json!([
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": [result("toolu_a")]},
        ]))
    };
    let call = |name: &str, input: Value| json!({"type": "tool_use", "id": "toolu_a", "name": name, "input": input});
    assert_refused(&say(call("look up", json!({}))), "tool_use.name");
    assert_refused(&say(call("look_up", json!("{}"))), "tool_use.input");
    assert_refused(
        &say(json!({"type": "tool_use", "id": "a b", "name": "look_up", "input": {}})),
        "tool_use.id",
    );
}

#[test]
fn blocks_must_stand_where_they_belong() {
    assert_refused(
        &body(json!([{"role": "user", "content": [call("toolu_a")]}])),
        "cannot be in user messages",
    );
    let body = body(json!([{"role": "user", "content": "x"}, {"role": "assistant", "content": [result("toolu_a")]}]));
    assert_refused(&body, "cannot be in assistant messages");
}

#[test]
fn a_block_of_an_unknown_kind_may_be_sent_back_by_the_assistant_only() {
    let block = json!({"type": "hologram", "depth": 3});
    let echoed = body(json!([
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": [block.clone()]},
        {"role": "user", "content": "go on"},
    ]));
    judge(&request(&echoed)).unwrap();
    assert_refused(&body(json!([{"role": "user", "content": [block]}])), "hologram");
}

#[test]
fn a_thinking_block_must_come_back_unchanged() {
    let said = |thinking: &str| {
        body(json!([
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": thinking, "signature": crate::perform::signature_of("Hm.")},
                {"type": "text", "text": "Yes."},
            ]},
            {"role": "user", "content": "sure?"},
        ]))
    };
    judge(&request(&said("Hm."))).unwrap();
    assert_refused(&said("Hmm."), "signature");
}

#[test]
fn a_tool_choice_needs_tools_and_a_tool_it_knows() {
    let mut toolless = without("tools");
    toolless["tool_choice"] = json!({"type": "auto"});
    assert_refused(&toolless, "may only be specified while providing tools");
    assert_refused(
        &with("tool_choice", json!({"type": "tool", "name": "other"})),
        "'other' not found",
    );
    assert_refused(&with("tool_choice", json!({"type": "required"})), "tool_choice.type");
    judge(&request(&with("tool_choice", json!({"type": "none"})))).unwrap();
    judge(&request(&with(
        "tool_choice",
        json!({"type": "tool", "name": "look_up"}),
    )))
    .unwrap();
}

#[test]
fn the_newest_models_refuse_to_be_forced() {
    let mut forced = with("tool_choice", json!({"type": "any"}));
    forced["model"] = json!("claude-opus-5-5");
    assert_refused(&forced, "not supported by claude-opus-5-5");
}

#[test]
fn a_history_with_calls_needs_tools() {
    let mut history = answered_with(json!([result("toolu_a"), result("toolu_b")]));
    history.as_object_mut().unwrap().remove("tools");
    assert_refused(&history, "must define tools");
}

#[test]
fn tools_must_be_named_well_and_once() {
    let schema = json!({"type": "object"});
    assert_refused(
        &with("tools", json!([{"name": "look up", "input_schema": schema}])),
        "tools.0.name",
    );
    assert_refused(&with("tools", json!([{"name": "look_up"}])), "tools.0.input_schema");
    let twice = json!([{"name": "a", "input_schema": schema}, {"name": "a", "input_schema": schema}]);
    assert_refused(&with("tools", twice), "must be unique");
}

#[test]
fn more_than_four_cache_breakpoints_are_refused() {
    let block = json!({"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}});
    let message = |count| json!([{"role": "user", "content": vec![block.clone(); count]}]);
    judge(&request(&body(message(4)))).unwrap();
    assert_refused(&body(message(5)), "a maximum of 4 blocks");
}

#[test]
fn counting_tokens_takes_no_max_tokens() {
    let body = without("max_tokens");
    judge(&Request {
        endpoint: Endpoint::CountTokens,
        ..request(&body)
    })
    .unwrap();
}
