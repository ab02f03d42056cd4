use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use super::*;
use crate::{
    client::{self, Reply},
    record::AnswerKind,
    script::{Answer, ErrorAnswer, Rule},
};

const HEADERS: [(&str, &str); 2] = [("x-api-key", "sk-secret"), ("anthropic-version", "2026-10-21")];
const LIMIT: Duration = Duration::from_secs(10);

fn body(stream: bool, messages: Value) -> Value {
    json!({
        "model": "claude-sonnet-5",
        "max_tokens": 1024,
        "stream": stream,
        "tools": [{"name": "look_up", "input_schema": {"type": "object"}}],
        "messages": messages,
    })
}

fn hello(stream: bool) -> Value {
    body(stream, json!([{"role": "user", "content": "{\"order_id\":\"ORD-7\"}"}]))
}

async fn always(answer: Answer) -> Rehearsal {
    Rehearsal::start(Script::new().rule(Rule::always().named("only").answers(answer)))
        .await
        .unwrap()
}

async fn ask(rehearsal: &Rehearsal, body: &Value) -> Reply {
    client::post(
        &format!("{}/v1/messages", rehearsal.base_url()),
        &HEADERS,
        &body.to_string(),
    )
    .await
}

#[tokio::test]
async fn a_message_comes_whole_with_the_headers_of_the_api() {
    let rehearsal = always(Answer::text("On it.").call("look_up", json!({"order_id": "{{input.order_id}}"}))).await;

    let reply = ask(&rehearsal, &hello(false)).await;

    assert_eq!((reply.status, reply.is_whole), (200, true));
    assert_eq!(reply.headers["content-type"], "application/json");
    assert!(reply.headers["request-id"].starts_with("req_"));
    assert_eq!(reply.headers["anthropic-ratelimit-requests-limit"], "4000");
    assert!(reply.headers["anthropic-ratelimit-output-tokens-reset"].ends_with('Z'));
    let message = reply.json();
    assert_eq!(
        (&message["type"], &message["stop_reason"]),
        (&json!("message"), &json!("tool_use"))
    );
    assert_eq!(message["content"][0], json!({"type": "text", "text": "On it."}));
    assert_eq!(message["content"][1]["input"], json!({"order_id": "ORD-7"}));
    assert!(message["content"][1]["id"].as_str().unwrap().starts_with("toolu_"));
    assert!(message["usage"]["input_tokens"].as_u64().unwrap() > 1);
}

#[tokio::test]
async fn a_stream_comes_whole_and_says_the_same_as_the_message() {
    let rehearsal = always(Answer::calling("look_up", json!({"order_id": "{{input.order_id}}"}))).await;

    let whole = ask(&rehearsal, &hello(false)).await.json();
    let reply = ask(&rehearsal, &hello(true)).await;

    assert_eq!((reply.status, reply.is_whole), (200, true));
    assert!(reply.headers["content-type"].starts_with("text/event-stream"));
    let events = reply.events();
    assert_eq!(events.first().unwrap().0, "message_start");
    assert_eq!(events.last().unwrap().0, "message_stop");
    let started = events.iter().find(|(name, _)| name == "content_block_start").unwrap();
    assert_eq!(started.1["content_block"]["id"], whole["content"][0]["id"]);
    let fragments: String = events
        .iter()
        .filter_map(|(_, data)| data["delta"]["partial_json"].as_str())
        .collect();
    assert_eq!(
        serde_json::from_str::<Value>(&fragments).unwrap(),
        whole["content"][0]["input"]
    );
}

#[tokio::test]
async fn what_the_model_said_can_be_sent_back_as_it_came() {
    let answer = Answer::text("On it.")
        .thinking("Hm.")
        .raw(r#"{"type":"hologram"}"#)
        .call("look_up", json!({}));
    let script = Script::new()
        .rule(Rule::on_turn(1).answers(answer))
        .rule(Rule::on_turn(2).answers(Answer::text("x")));
    let rehearsal = Rehearsal::start(script).await.unwrap();
    let said = ask(&rehearsal, &hello(false)).await.json();
    let id = said["content"][3]["id"].clone();

    let reply = ask(
        &rehearsal,
        &body(
            false,
            json!([
                {"role": "user", "content": "{\"order_id\":\"ORD-7\"}"},
                {"role": "assistant", "content": said["content"]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": "found"}]},
            ]),
        ),
    )
    .await;

    assert_eq!(
        (reply.status, reply.json()["content"][0]["text"].clone()),
        (200, json!("x"))
    );
}

#[tokio::test]
async fn ids_differ_by_conversation_and_turn_but_not_by_try() {
    let rehearsal = always(Answer::calling("look_up", json!({}))).await;
    let first = |text: &str| json!([{"role": "user", "content": text}]);
    let later = json!([
        {"role": "user", "content": "a"}, {"role": "assistant", "content": "hm"}, {"role": "user", "content": "b"},
    ]);
    let mut ids = Vec::new();
    for messages in [first("a"), first("a"), first("b"), later] {
        ids.push(ask(&rehearsal, &body(false, messages)).await.json()["content"][0]["id"].to_string());
    }
    assert_eq!(ids[0], ids[1]);
    assert!(ids[0] != ids[2] && ids[0] != ids[3] && ids[2] != ids[3], "{ids:?}");
}

#[tokio::test]
async fn a_cut_stream_ends_without_its_end_after_all_its_events_arrived() {
    let rehearsal = always(Answer::calling("look_up", json!({"a": 1})).cut_before("message_stop")).await;

    let reply = ask(&rehearsal, &hello(true)).await;

    assert_eq!((reply.status, reply.is_whole), (200, false));
    assert_eq!(reply.events().last().unwrap().0, "message_delta");
    assert_eq!(rehearsal.asked()[0].answer, AnswerKind::Cut);
}

#[tokio::test]
async fn a_stream_cut_after_no_event_has_headers_only() {
    let rehearsal = always(Answer::text("x").cut_after(0)).await;

    let reply = ask(&rehearsal, &hello(true)).await;

    assert_eq!((reply.status, reply.body.as_str(), reply.is_whole), (200, "", false));
}

#[tokio::test]
async fn a_cut_message_comes_by_half() {
    let rehearsal = always(Answer::text("x").cut_after(1)).await;

    let reply = ask(&rehearsal, &hello(false)).await;

    assert_eq!((reply.status, reply.is_whole), (200, false));
    assert!(reply.body.starts_with('{'));
    assert!(serde_json::from_str::<Value>(&reply.body).is_err());
}

#[tokio::test]
async fn an_error_event_comes_after_200_and_as_an_http_error_without_streaming() {
    let rehearsal = always(Answer::text("x").error_event(1, "overloaded_error")).await;

    let streamed = ask(&rehearsal, &hello(true)).await;
    let whole = ask(&rehearsal, &hello(false)).await;

    let (name, data) = streamed.events().pop().unwrap();
    assert_eq!(
        (streamed.status, name.as_str(), &data["error"]["type"]),
        (200, "error", &json!("overloaded_error"))
    );
    assert_eq!(
        (whole.status, &whole.json()["error"]["type"]),
        (529, &json!("overloaded_error"))
    );
}

#[tokio::test]
async fn an_error_has_the_body_and_headers_of_the_api() {
    let error = ErrorAnswer {
        status: 429,
        retry_after_seconds: Some(7),
        error_code: Some("ramp_limit_exceeded".to_owned()),
        ..ErrorAnswer::default()
    };
    let rehearsal = always(Answer::failing(error)).await;

    let reply = ask(&rehearsal, &hello(true)).await;

    assert_eq!((reply.status, reply.headers["retry-after"].as_str()), (429, "7"));
    assert_eq!(reply.headers["anthropic-ratelimit-requests-remaining"], "0");
    let body = reply.json();
    assert_eq!(
        (&body["type"], &body["error"]["type"]),
        (&json!("error"), &json!("rate_limit_error"))
    );
    assert_eq!(body["error"]["details"]["error_code"], "ramp_limit_exceeded");
    assert_eq!(body["request_id"], reply.headers["request-id"].as_str());
}

#[tokio::test]
async fn a_request_that_breaks_the_contract_is_refused_and_uses_up_no_rule() {
    let script = Script::new().rule(Rule::always().times(1).answers(Answer::text("x")));
    let rehearsal = Rehearsal::start(script).await.unwrap();
    let mut broken = hello(false);
    broken.as_object_mut().unwrap().remove("max_tokens");

    assert_eq!(
        ask(&rehearsal, &broken).await.json()["error"]["message"],
        "max_tokens: Field required"
    );
    assert_eq!(ask(&rehearsal, &hello(false)).await.status, 200);
    assert_eq!(ask(&rehearsal, &hello(false)).await.status, 400);

    let asked = rehearsal.asked();
    assert!(matches!(asked[0].answer, AnswerKind::Refused { status: 400, .. }));
    assert!(matches!(asked[2].answer, AnswerKind::OffScript { .. }));
}

#[tokio::test]
async fn a_body_that_is_not_json_and_a_missing_key_are_refused() {
    let rehearsal = always(Answer::text("x")).await;
    let url = format!("{}/v1/messages", rehearsal.base_url());

    assert_eq!(
        client::post(&url, &HEADERS, "{").await.json()["error"]["type"],
        "invalid_request_error"
    );
    let reply = client::post(&url, &HEADERS[1..], &hello(false).to_string()).await;
    assert_eq!(
        (reply.status, &reply.json()["error"]["type"]),
        (401, &json!("authentication_error"))
    );
    let bearer = [("authorization", "Bearer sk-secret"), HEADERS[1]];
    assert_eq!(client::post(&url, &bearer, &hello(false).to_string()).await.status, 200);
}

#[tokio::test]
async fn a_large_body_is_taken() {
    let rehearsal = always(Answer::text("x")).await;
    let large = body(false, json!([{"role": "user", "content": "x".repeat(3 * 1024 * 1024)}]));
    assert_eq!(ask(&rehearsal, &large).await.status, 200);
}

#[tokio::test]
async fn tokens_are_counted_and_other_paths_are_not_found() {
    let rehearsal = always(Answer::text("x")).await;
    let mut counted = hello(false);
    for field in ["max_tokens", "stream"] {
        counted.as_object_mut().unwrap().remove(field);
    }

    let url = format!("{}/v1/messages/count_tokens", rehearsal.base_url());
    let reply = client::post(&url, &HEADERS, &counted.to_string()).await;
    assert!(reply.json()["input_tokens"].as_u64().unwrap() > 10);
    let reply = client::get(&format!("{}/v1/models", rehearsal.base_url())).await;
    assert_eq!(
        (reply.status, &reply.json()["error"]["type"]),
        (404, &json!("not_found_error"))
    );
}

#[tokio::test]
async fn what_was_asked_is_written_down_before_it_is_answered_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("asked.jsonl");
    let script = Script::new().rule(
        Rule::always()
            .named("slow")
            .answers(Answer::text("x").after(Duration::from_secs(3600))),
    );
    let options = RehearsalOptions {
        record: Some(record.clone()),
        ..RehearsalOptions::loopback()
    };
    let rehearsal = Rehearsal::start_with(script, options).await.unwrap();
    let url = format!("{}/v1/messages", rehearsal.base_url());

    let _unanswered = client::send(&url, &HEADERS, &hello(true).to_string()).await;
    tokio::time::timeout(LIMIT, rehearsal.wait_for_asked(1))
        .await
        .expect("the request should arrive");

    let text = std::fs::read_to_string(&record).unwrap();
    assert!(!text.contains("sk-secret"), "{text}");
    let line: Asked = serde_json::from_str(text.trim()).unwrap();
    assert_eq!(vec![line.clone()], rehearsal.asked());
    assert_eq!(
        (line.order, line.rule.as_deref(), line.answer),
        (1, Some("slow"), AnswerKind::Stream)
    );
    assert_eq!(line.body, hello(true).to_string());
    assert_eq!(line.headers["anthropic-version"], "2026-10-21");
}

#[tokio::test]
async fn a_stop_cuts_a_stream_that_is_being_played() {
    let rehearsal = always(Answer::text("x").between_events(Duration::from_secs(3600))).await;
    let url = format!("{}/v1/messages", rehearsal.base_url());
    let mut stream = client::send(&url, &HEADERS, &hello(true).to_string()).await;
    let mut bytes = vec![0; 16 * 1024];
    let mut read = 0;
    while !String::from_utf8_lossy(&bytes[..read]).contains("message_start") {
        let more = tokio::time::timeout(LIMIT, stream.read(&mut bytes[read..]))
            .await
            .expect("events")
            .unwrap();
        assert!(more > 0, "the connection ended early");
        read += more;
    }

    tokio::time::timeout(LIMIT, rehearsal.stop())
        .await
        .expect("the stop should not wait for the script");

    bytes.truncate(read);
    stream.read_to_end(&mut bytes).await.unwrap();
    let reply = client::read(&bytes);
    assert_eq!((reply.is_whole, reply.events().len()), (false, 1));
}

#[tokio::test]
async fn a_script_that_cannot_be_played_is_not_started() {
    assert!(matches!(
        Rehearsal::start(Script::new()).await,
        Err(RehearsalError::Script(ScriptError::Empty))
    ));
}

#[tokio::test]
async fn the_demo_plays_from_lookup_to_refund_to_report() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/refund-desk/rehearsal.toml");
    let rehearsal = Rehearsal::start(Script::read(std::path::Path::new(path)).unwrap())
        .await
        .unwrap();
    let input = r#"{"order_id":"ORD-1007","reason":"arrived broken"}"#;
    let mut messages = vec![json!({"role": "user", "content": input})];
    let mut calls = Vec::new();
    let text = loop {
        let mut request = body(false, Value::Array(messages.clone()));
        request["system"] = json!("You work at the refund desk of an online shop.");
        let said = ask(&rehearsal, &request).await.json();
        messages.push(json!({"role": "assistant", "content": said["content"]}));
        let blocks = said["content"].as_array().unwrap().iter();
        let made: Vec<Value> = blocks.filter(|block| block["type"] == "tool_use").cloned().collect();
        if made.is_empty() {
            break said["content"][0]["text"].as_str().unwrap().to_owned();
        }
        let result = |call: &Value| json!({"type": "tool_result", "tool_use_id": call["id"], "content": "fine"});
        messages.push(json!({"role": "user", "content": made.iter().map(result).collect::<Vec<_>>()}));
        calls.extend(
            made.into_iter()
                .map(|call| (call["name"].clone(), call["input"].clone())),
        );
    };
    assert_eq!(
        calls,
        [
            (json!("look_up_order"), json!({"order_id": "ORD-1007"})),
            (json!("read_refund_policy"), json!({})),
            (
                json!("refund_order"),
                json!({"order_id": "ORD-1007", "amount_cents": 4250, "reason": "arrived broken"})
            ),
        ]
    );
    assert!(text.contains("ORD-1007") && text.contains("42.50"), "{text}");
}
