use serde_json::{Value, json};

use super::*;
use crate::perform::{Prompt, compose};

fn played(answer: &Answer) -> (Vec<Event>, Ending) {
    let body = json!({"model": "claude-sonnet-5", "messages": [{"role": "user", "content": "hello"}]});
    let message = compose(
        answer,
        &Prompt {
            body: &body,
            body_bytes: 400,
            order: 1,
        },
    )
    .unwrap();
    events(&message, answer)
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.name).collect()
}

fn data(event: &Event) -> Value {
    serde_json::from_str(&event.data).unwrap()
}

fn joined(events: &[Event], field: &str) -> String {
    events
        .iter()
        .filter_map(|event| data(event)["delta"][field].as_str().map(str::to_owned))
        .collect()
}

#[test]
fn events_come_in_the_order_of_the_contract() {
    let (events, ending) = played(&Answer::text("Short.").thinking("Hm.").call("look_up", json!({})));
    assert_eq!(
        names(&events),
        [
            "message_start",
            "content_block_start", // thinking
            "ping",
            "content_block_delta",
            "content_block_delta", // signature
            "content_block_stop",
            "content_block_start", // text
            "content_block_delta",
            "content_block_stop",
            "content_block_start", // a call without input has no delta
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
    );
    assert_eq!(ending, Ending::Whole);
    for event in &events {
        assert_eq!(data(event)["type"], event.name);
    }
    assert_eq!(data(&events[4])["delta"]["type"], "signature_delta");
    assert_eq!(data(&events[9])["content_block"]["input"], json!({}));
    assert_eq!(data(&events[9])["index"], 2);
    assert_eq!(data(&events[11])["delta"]["stop_reason"], "tool_use");
}

#[test]
fn the_first_event_holds_an_empty_message_and_the_last_usage_is_cumulative() {
    let answer = Answer::text("Hi.").usage(crate::UsageNumbers::of(900, 40));
    let (events, _) = played(&answer);
    let start = data(&events[0])["message"].clone();
    assert_eq!((&start["content"], &start["stop_reason"]), (&json!([]), &Value::Null));
    assert_eq!(
        (&start["role"], &start["model"]),
        (&json!("assistant"), &json!("claude-sonnet-5"))
    );
    assert_eq!(
        (&start["usage"]["input_tokens"], &start["usage"]["output_tokens"]),
        (&json!(900), &json!(1))
    );
    let end = data(&events[events.len() - 2]);
    assert_eq!(
        (&end["usage"]["input_tokens"], &end["usage"]["output_tokens"]),
        (&json!(900), &json!(40))
    );
}

#[test]
fn the_input_of_a_call_comes_in_awkward_fragments_that_join_to_it() {
    let input = json!({"reason": "Größe \u{1f600} \"falsch\"", "amount_cents": 4250});
    let (events, _) = played(&Answer::calling("refund", input.clone()));
    let fragments: Vec<String> = events
        .iter()
        .filter_map(|event| data(event)["delta"]["partial_json"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(fragments[0], "");
    let is_inside_an_escape = |fragment: &String| fragment.rfind("\\u").is_some_and(|at| fragment.len() - at < 6);
    assert!(fragments.iter().any(is_inside_an_escape), "{fragments:?}");
    assert_eq!(serde_json::from_str::<Value>(&fragments.concat()).unwrap(), input);
}

#[test]
fn a_long_text_comes_in_pieces_that_join_to_it() {
    let text = "Grüße aus dem Süden, wo die Bestellung angekommen ist. ".repeat(4);
    let (events, _) = played(&Answer::text(text.as_str()));
    assert_eq!(joined(&events, "text"), text);
    assert!(
        names(&events)
            .iter()
            .filter(|name| **name == "content_block_delta")
            .count()
            > 3
    );
}

#[test]
fn a_raw_block_stays_as_it_is_to_the_byte() {
    let block = "{\"type\":\"hologram\",  \"z\":1, \"a\":[1.0e2],\n \"a\":2}";
    let (events, _) = played(&Answer::text("Look:").raw(block));
    let start = events.iter().find(|event| event.data.contains("hologram")).unwrap();
    assert!(start.data.contains(block));
    let frame = start.frame();
    let lines: Vec<&str> = frame.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(lines.join("\n"), start.data);
}

#[test]
fn an_answer_that_ran_out_of_room_stops_within_the_input_of_its_last_call() {
    let input = json!({"order_id": "ORD-1007", "reason": "arrived broken"});
    let answer = Answer::calling("first", input.clone())
        .call("last", input.clone())
        .stopping_for("max_tokens");
    let (events, ending) = played(&answer);
    let of_block = |index: usize| -> String {
        let of = events.iter().map(data).filter(|data| data["index"] == index);
        of.filter_map(|data| data["delta"]["partial_json"].as_str().map(str::to_owned))
            .collect()
    };
    assert_eq!(serde_json::from_str::<Value>(&of_block(0)).unwrap(), input);
    assert!(!of_block(1).is_empty());
    assert!(serde_json::from_str::<Value>(&of_block(1)).is_err());
    assert_eq!(ending, Ending::Whole);
    assert_eq!(names(&events).last(), Some(&"message_stop"));
}

#[test]
fn a_stream_is_cut_where_the_script_says() {
    let (events, ending) = played(&Answer::text("Hi.").cut_after(2));
    assert_eq!(
        (names(&events), ending),
        (vec!["message_start", "content_block_start"], Ending::Cut)
    );
    let (events, ending) = played(&Answer::text("Hi.").cut_before("message_stop"));
    assert_eq!((names(&events).last(), ending), (Some(&"message_delta"), Ending::Cut));
}

#[test]
fn an_error_event_is_the_last_and_stands_where_the_script_says() {
    let (events, ending) = played(&Answer::text("Hi.").error_event(2, "overloaded_error"));
    assert_eq!(
        (names(&events), ending),
        (vec!["message_start", "content_block_start", "error"], Ending::Whole)
    );
    assert_eq!(data(&events[2])["error"]["type"], "overloaded_error");
    let (events, _) = played(&Answer::text("Hi.").error_event(99, "api_error"));
    assert!(!names(&events).contains(&"message_stop"));
}
