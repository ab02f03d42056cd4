use super::*;
use crate::definition::RetryPolicy;
use crate::wire::messages::Role;
use serde_json::json;
use serde_json::value::RawValue;

fn model() -> Model {
    Model {
        name: "claude-opus-5-5".to_owned(),
        api_version: Model::API_VERSION.to_owned(),
        max_tokens: 4096,
        stream: true,
        timeout_seconds: 600,
        first_byte_timeout_seconds: None,
        idle_timeout_seconds: 120,
        breaker: crate::gate::Breaker::default(),
        retry: RetryPolicy {
            attempts_max: 3,
            initial_ms: 500,
            cap_ms: 8000,
            horizon_seconds: 600,
        },
    }
}

fn message(role: Role, content: &str) -> Message {
    Message {
        role,
        content: RawValue::from_string(content.to_owned()).unwrap(),
    }
}

fn refund_tool() -> ToolSpec {
    ToolSpec {
        name: "refund".to_owned(),
        description: "Refunds an \"order\"".to_owned(),
        input_schema: json!({"type": "object", "required": ["order"], "properties": {"order": {"type": "string"}}}),
        strict: true,
    }
}

fn parts<'a>(model: &'a Model, messages: &'a [Message], tools: &'a [ToolSpec]) -> RequestParts<'a> {
    RequestParts {
        model,
        system: None,
        messages,
        tools,
        tool_choice: ToolChoice::Auto,
    }
}

#[test]
fn a_request_is_the_same_text_on_every_machine() {
    let model = model();
    let messages = [message(Role::User, "\"hi\"")];
    let tools = [refund_tool()];
    let parts = RequestParts {
        system: Some("Be \"brief\".\n"),
        ..parts(&model, &messages, &tools)
    };

    let body = request_body(&parts);

    assert_eq!(
        body,
        concat!(
            r#"{"model":"claude-opus-5-5","max_tokens":4096,"system":"Be \"brief\".\n","#,
            r#""messages":[{"role":"user","content":"hi"}],"#,
            r#""tools":[{"name":"refund","description":"Refunds an \"order\"","#,
            r#""input_schema":{"properties":{"order":{"type":"string"}},"required":["order"],"type":"object"},"strict":true}],"#,
            r#""tool_choice":{"type":"auto"},"stream":true}"#
        )
    );
}

#[test]
fn assistant_content_goes_back_byte_for_byte() {
    let model = model();
    let odd = "[ {\"type\":\"from_tomorrow\",  \"x\":1.50e+3,\"\\u00e9\":\"\\u0041\"},\n\t{\"signature\":\"a\\/b\",\"type\":\"thinking\"} ]";
    let messages = [message(Role::User, "\"hi\""), message(Role::Assistant, odd)];

    let body = request_body(&parts(&model, &messages, &[]));

    assert!(
        body.contains(&format!(r#"{{"role":"assistant","content":{odd}}}"#)),
        "{body}"
    );
}

#[test]
fn without_tools_no_tool_choice_is_sent() {
    let model = model();
    let messages = [message(Role::User, "\"hi\"")];
    let parts = RequestParts {
        tool_choice: ToolChoice::None,
        ..parts(&model, &messages, &[])
    };

    let body: Value = serde_json::from_str(&request_body(&parts)).unwrap();

    assert_eq!(body.get("tools"), None);
    assert_eq!(body.get("tool_choice"), None);
}

#[test]
fn switched_off_tools_stay_in_the_request() {
    let model = model();
    let messages = [message(Role::User, "\"hi\"")];
    let tools = [refund_tool()];
    let parts = RequestParts {
        tool_choice: ToolChoice::None,
        ..parts(&model, &messages, &tools)
    };

    let body: Value = serde_json::from_str(&request_body(&parts)).unwrap();

    assert_eq!(body["tools"][0]["name"], "refund");
    assert_eq!(body["tool_choice"], json!({"type": "none"}));
}

#[test]
fn a_request_says_whether_it_wants_a_stream_and_never_samples() {
    let mut model = model();
    model.stream = false;

    let body: Value = serde_json::from_str(&request_body(&parts(&model, &[], &[]))).unwrap();

    assert_eq!(body["stream"], false);
    for sampling in ["temperature", "top_p", "top_k"] {
        assert_eq!(body.get(sampling), None);
    }
}

#[test]
fn a_model_that_may_call_one_tool_at_a_time_is_told_so() {
    let model = model();
    let messages = [message(Role::User, "\"hi\"")];
    let tools = [refund_tool()];
    let parts = RequestParts {
        tool_choice: ToolChoice::OneAtATime,
        ..parts(&model, &messages, &tools)
    };

    let body: Value = serde_json::from_str(&request_body(&parts)).unwrap();

    assert_eq!(
        body["tool_choice"],
        json!({"type": "auto", "disable_parallel_tool_use": true})
    );
}
