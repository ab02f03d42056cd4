use super::*;
use crate::wire::messages::ApiError;

const WHOLE: &str = r#"{ "id":"msg_1","type":"message","role":"assistant","model":"m",
  "content":[{"type":"text","text":"One"},{"type":"later","n":1e1},{"type":"tool_use","id":"a","name":"t","input":{"x": 1.0}},
             {"type":"server_tool_use","id":"s","name":"web","input":{}},{"type":"text","text":"Two"},
             {"type":"tool_use","id":"b","name":"u","input":{}}],
  "stop_reason":"tool_use","stop_sequence":null,"usage":{"output_tokens":5} }"#;

#[test]
fn a_whole_body_is_kept_as_it_came() {
    assert_eq!(complete_body(WHOLE).unwrap(), WHOLE);
}

#[test]
fn a_reply_is_read_without_changing_its_content() {
    let reply = parse_reply(WHOLE).unwrap();

    assert_eq!(reply.id.as_deref(), Some("msg_1"));
    assert_eq!(reply.stop_reason.as_deref(), Some("tool_use"));
    assert_eq!(reply.usage.unwrap().get(), r#"{"output_tokens":5}"#);
    assert!(WHOLE.contains(reply.content.get()));
    assert!(reply.stop_details.is_none());
}

#[test]
fn only_client_tools_are_calls_and_their_input_stays_raw() {
    let reply = parse_reply(WHOLE).unwrap();

    let calls = tool_calls(&reply.content);

    let ids: Vec<&str> = calls.iter().map(|call| call.id.as_str()).collect();
    assert_eq!(ids, ["a", "b"]);
    assert_eq!(calls[0].name, "t");
    assert_eq!(calls[0].input.get(), r#"{"x": 1.0}"#);
}

#[test]
fn text_is_the_text_blocks_with_blank_lines_between() {
    assert_eq!(text_of(&parse_reply(WHOLE).unwrap().content), "One\n\nTwo");
    assert_eq!(
        text_of(&RawValue::from_string(r#""plain""#.to_owned()).unwrap()),
        "plain"
    );
    assert_eq!(text_of(&RawValue::from_string("[]".to_owned()).unwrap()), "");
}

#[test]
fn what_is_no_message_is_refused() {
    let not_messages = [
        "",
        "<html>",
        "[]",
        "{}",
        r#"{"type":"completion","role":"assistant","content":[]}"#,
        r#"{"type":"message","role":"user","content":[]}"#,
        r#"{"type":"message","role":"assistant"}"#,
        r#"{"type":"message","role":"assistant","content":"text"}"#,
        r#"{"type":"message","role":"assistant","content":[{"text":"x"}]}"#,
        r#"{"type":"message","role":"assistant","content":[{"type":"tool_use","name":"n","input":{}}]}"#,
        r#"{"type":"message","role":"assistant","content":[],"stop_reason":7}"#,
        r#"{"type":"message","role":"assistant","content":[]} trailing"#,
    ];
    for text in not_messages {
        assert!(matches!(complete_body(text), Err(WireError::Malformed(_))), "{text}");
    }
}

#[test]
fn an_error_body_is_the_providers_error() {
    let body = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}"#;

    let error = complete_body(body).unwrap_err();

    let expected = ApiError {
        kind: "overloaded_error".to_owned(),
        message: "Overloaded".to_owned(),
        error_code: None,
        request_id: Some("req_1".to_owned()),
    };
    assert_eq!(error, WireError::Api(expected));
}

#[test]
fn content_beyond_the_limit_is_refused() {
    let text = "x".repeat(CONTENT_BYTES_MAX);
    let body = format!(r#"{{"type":"message","role":"assistant","content":[{{"type":"text","text":"{text}"}}]}}"#);

    assert_eq!(complete_body(&body).unwrap_err(), WireError::TooLarge);
}

#[test]
fn content_nested_beyond_any_stack_is_kept() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let body = format!(
        r#"{{"type":"message","role":"assistant","content":[{{"type":"tool_use","id":"a","name":"n","input":{{"d":{deep}}}}}]}}"#
    );

    let reply = parse_reply(&body).unwrap();

    assert_eq!(tool_calls(&reply.content).len(), 1);
}
