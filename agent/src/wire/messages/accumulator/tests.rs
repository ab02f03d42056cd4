use super::*;
use crate::wire::messages::raw::json_string;
use crate::wire::messages::{parse_reply, text_of, tool_calls};
use proptest::prelude::*;
use serde_json::{Value, json};

const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"later":{ "n":1e1 },"usage":{"input_tokens":10,"cache_read_input_tokens":3,"output_tokens":1}}}"#;
const STOP: &str = r#"{"type":"message_stop"}"#;

fn feed(accumulator: &mut Accumulator, events: &[&str]) -> Result<Vec<Progress>, WireError> {
    events.iter().map(|data| accumulator.event("", data)).collect()
}

fn whole(events: &[&str]) -> String {
    let mut accumulator = Accumulator::default();
    feed(&mut accumulator, events).unwrap();
    accumulator.finish().unwrap()
}

fn broken(events: &[&str]) -> WireError {
    feed(&mut Accumulator::default(), events).unwrap_err()
}

#[test]
fn a_stream_assembles_to_the_shape_of_a_reply_that_was_not_streamed() {
    let text = whole(&[
        START,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"ping"}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hel"}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"lo"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null,"stop_details":{"a":1}},"usage":{"output_tokens":7},"context_management":{"applied_edits":[]}}"#,
        STOP,
    ]);

    assert_eq!(
        text,
        concat!(
            r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"Hello"}],"#,
            r#""stop_reason":"end_turn","stop_sequence":null,"later":{ "n":1e1 },"#,
            r#""usage":{"input_tokens":10,"cache_read_input_tokens":3,"output_tokens":7},"#,
            r#""stop_details":{"a":1},"context_management":{"applied_edits":[]}}"#
        )
    );
}

#[test]
fn usage_is_overwritten_and_null_says_nothing() {
    let mut accumulator = Accumulator::default();
    feed(
        &mut accumulator,
        &[
            START,
            r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":5,"input_tokens":null,"later":null}}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":null},"usage":{"output_tokens":9,"cache_read_input_tokens":4}}"#,
        ],
    )
    .unwrap();

    let usage = accumulator.partial_usage().unwrap();

    assert_eq!(
        usage,
        r#"{"input_tokens":10,"cache_read_input_tokens":4,"output_tokens":9,"later":null}"#
    );
    feed(&mut accumulator, &[STOP]).unwrap();
    assert_eq!(
        parse_reply(&accumulator.finish().unwrap())
            .unwrap()
            .stop_reason
            .as_deref(),
        Some("end_turn")
    );
}

#[test]
fn text_is_shown_as_it_comes() {
    let progress = feed(
        &mut Accumulator::default(),
        &[
            START,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}"#,
            r#"{"type":"content_block_stop","index":0}"#,
            STOP,
            r#"{"type":"ping"}"#,
        ],
    )
    .unwrap();

    let other = || Progress::Other;
    let expected = [
        other(),
        other(),
        Progress::TextDelta("Hi".to_owned()),
        other(),
        Progress::Complete,
        other(),
    ];
    assert_eq!(progress, expected);
}

#[test]
fn the_name_of_an_event_may_stand_outside_its_data() {
    let mut accumulator = Accumulator::default();
    accumulator.event("message_start", START).unwrap();
    accumulator.event("message", r#"{"type":"ping"}"#).unwrap();
    accumulator.event("message_stop", "{}").unwrap();

    assert!(accumulator.finish().is_ok());
}

#[test]
fn unknown_blocks_are_kept_and_unknown_deltas_and_events_passed_over() {
    let odd = r#"{ "type":"from_tomorrow",  "x":[1.50,"\u0041"] }"#;
    let delta = r#"{"type":"tomorrow_delta", "y":1 }"#;
    let mut accumulator = Accumulator::default();
    feed(
        &mut accumulator,
        &[
            START,
            r#"{"type":"weather","rain":true}"#,
            "[DONE]",
            &format!(r#"{{"type":"content_block_start","index":0,"content_block":{odd}}}"#),
            &format!(r#"{{"type":"content_block_delta","index":0,"delta":{delta}}}"#),
            r#"{"type":"content_block_stop","index":0}"#,
            STOP,
        ],
    )
    .unwrap();

    let unknown: Vec<&str> = accumulator.unknown().iter().map(|delta| delta.get()).collect();
    assert_eq!(unknown, [delta]);
    let reply = parse_reply(&accumulator.finish().unwrap()).unwrap();
    assert_eq!(reply.content.get(), format!("[{odd}]"));
}

#[test]
fn a_stream_cut_after_a_tools_block_gives_no_calls_but_leaves_evidence() {
    let mut accumulator = Accumulator::default();
    feed(
        &mut accumulator,
        &[
            START,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"a","name":"n","input":{}}}"#,
            r#"{"type":"content_block_stop","index":0}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":7}}"#,
        ],
    )
    .unwrap();

    assert_eq!(accumulator.message_id().as_deref(), Some("msg_1"));
    assert!(accumulator.partial_usage().unwrap().contains(r#""output_tokens":7"#));
    assert!(accumulator.has_started());
    assert_eq!(accumulator.finish().unwrap_err(), WireError::Incomplete);
}

#[test]
fn an_error_event_breaks_the_stream() {
    let error = broken(&[
        START,
        r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
    ]);

    assert!(matches!(error, WireError::Api(api) if api.kind == "overloaded_error"));
    let nameless = Accumulator::default().event("error", "oops").unwrap_err();
    assert!(matches!(nameless, WireError::Api(api) if api.kind == "unknown_error"));
}

#[test]
fn events_out_of_order_break_the_stream() {
    let open = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
    let close = r#"{"type":"content_block_stop","index":0}"#;
    let text = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x"}}"#;
    let full = r#"{"type":"message_start","message":{"type":"message","role":"assistant","content":[{"type":"text","text":"x"}]}}"#;
    let orders: &[&[&str]] = &[
        &[open],
        &[STOP],
        &[START, START],
        &[START, text],
        &[START, open, open],
        &[START, open, close, close],
        &[START, open, close, text],
        &[START, open, STOP],
        &[r#"{"type":"message_delta","delta":{}}"#],
        &[full],
    ];
    for order in orders {
        assert!(matches!(broken(order), WireError::Malformed(_)), "{order:?}");
    }
}

#[test]
fn unreadable_data_breaks_the_stream() {
    for (event, data) in [
        ("message_start", "{"),
        ("message_start", "{}"),
        ("content_block_start", r#"{"index":0}"#),
        ("content_block_delta", r#"{"index":-1,"delta":{}}"#),
        ("content_block_stop", r#"{"index":"0"}"#),
    ] {
        let mut accumulator = Accumulator::default();
        if event != "message_start" {
            accumulator.event("message_start", START).unwrap();
        }
        assert!(
            matches!(accumulator.event(event, data), Err(WireError::Malformed(_))),
            "{event} {data}"
        );
    }
}

#[test]
fn a_reply_beyond_the_limit_breaks_the_stream() {
    let mut accumulator = Accumulator::default();
    let open = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
    feed(&mut accumulator, &[START, open]).unwrap();
    let mebibyte = "x".repeat(1024 * 1024);
    let delta =
        format!(r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{mebibyte}"}}}}"#);

    let error = (0..20).find_map(|_| accumulator.event("", &delta).err());

    assert_eq!(error, Some(WireError::TooLarge));
}

/// A block as generated: what it shall be, and the events' data between its start and stop.
#[derive(Debug, Clone)]
enum Generated {
    Text(Vec<String>),
    Thinking(Vec<String>, String),
    ToolUse(Value, Vec<usize>),
    Unknown(Value),
}

impl Generated {
    fn start(&self) -> String {
        match self {
            Self::Text(_) => r#"{"type":"text","text":""}"#.to_owned(),
            Self::Thinking(..) => r#"{"type":"thinking","thinking":"","signature":""}"#.to_owned(),
            Self::ToolUse(..) => r#"{"type":"tool_use","id":"call","name":"tool","input":{}}"#.to_owned(),
            Self::Unknown(value) => format!(r#"{{ "type":"later","value": {value} }}"#),
        }
    }

    fn deltas(&self) -> Vec<String> {
        let member =
            |kind: &str, key: &str, text: &str| format!(r#"{{"type":"{kind}","{key}":{}}}"#, json_string(text));
        match self {
            Self::Text(parts) => parts.iter().map(|part| member("text_delta", "text", part)).collect(),
            Self::Thinking(parts, signature) => parts
                .iter()
                .map(|part| member("thinking_delta", "thinking", part))
                .chain([member("signature_delta", "signature", signature)])
                .collect(),
            Self::ToolUse(input, cuts) => split(&input.to_string(), cuts)
                .iter()
                .map(|part| member("input_json_delta", "partial_json", part))
                .collect(),
            Self::Unknown(_) => vec![r#"{"type":"later_delta"}"#.to_owned()],
        }
    }

    fn whole(&self) -> String {
        match self {
            Self::Text(parts) => json!({"type": "text", "text": parts.concat()}).to_string(),
            Self::Thinking(parts, signature) => {
                json!({"type": "thinking", "thinking": parts.concat(), "signature": signature}).to_string()
            }
            Self::ToolUse(input, _) => format!(r#"{{"type":"tool_use","id":"call","name":"tool","input":{input}}}"#),
            Self::Unknown(_) => self.start(),
        }
    }
}

/// Cuts between characters, wherever that falls in the JSON.
fn split(text: &str, cuts: &[usize]) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (characters.len() + 1)).collect();
    cuts.extend([0, characters.len()]);
    cuts.sort_unstable();
    cuts.windows(2)
        .map(|pair| characters[pair[0]..pair[1]].iter().collect())
        .collect()
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn generated() -> impl Strategy<Value = Generated> {
    let parts = || prop::collection::vec(any::<String>(), 1..5);
    let input = prop::collection::btree_map(any::<String>(), value(), 0..4)
        .prop_map(|map| Value::Object(map.into_iter().collect()));
    prop_oneof![
        parts().prop_map(Generated::Text),
        (parts(), "[a-zA-Z0-9+/=]{0,40}").prop_map(|(parts, signature)| Generated::Thinking(parts, signature)),
        (input, prop::collection::vec(any::<usize>(), 0..8)).prop_map(|(input, cuts)| Generated::ToolUse(input, cuts)),
        value().prop_map(Generated::Unknown),
    ]
}

/// Every block's events in their order; `picks` says whose turn it is.
fn interleave(blocks: &[Generated], picks: &[usize]) -> Vec<String> {
    let mut queues: Vec<Vec<String>> = blocks
        .iter()
        .enumerate()
        .map(|(index, block)| {
            let mut queue = vec![format!(r#"{{"type":"content_block_stop","index":{index}}}"#)];
            let delta = |delta| format!(r#"{{"type":"content_block_delta","index":{index},"delta":{delta}}}"#);
            queue.extend(block.deltas().into_iter().rev().map(delta));
            queue.push(format!(
                r#"{{"type":"content_block_start","index":{index},"content_block":{}}}"#,
                block.start()
            ));
            queue
        })
        .collect();
    let mut events = Vec::new();
    let mut picks = picks.iter().chain(std::iter::repeat(&0));
    while queues.iter().any(|queue| !queue.is_empty()) {
        queues.retain(|queue| !queue.is_empty());
        let pick = picks.next().map_or(0, |pick| pick % queues.len());
        events.extend(queues[pick].pop());
    }
    events
}

proptest! {
    #[test]
    fn any_split_of_a_message_assembles_to_the_same_content(
        blocks in prop::collection::vec(generated(), 0..5),
        picks in prop::collection::vec(any::<usize>(), 0..40),
    ) {
        let mut events = vec![START.to_owned()];
        events.extend(interleave(&blocks, &picks));
        events.push(STOP.to_owned());
        let events: Vec<&str> = events.iter().map(String::as_str).collect();

        let reply = parse_reply(&whole(&events)).unwrap();

        let content: Vec<&RawValue> = serde_json::from_str(reply.content.get()).unwrap();
        prop_assert_eq!(content.len(), blocks.len());
        for (block, expected) in content.iter().zip(&blocks) {
            match expected {
                // Assembled strings may be escaped in another way; the rest is text for text.
                Generated::Text(_) | Generated::Thinking(..) => prop_assert_eq!(
                    serde_json::from_str::<Value>(block.get()).unwrap(),
                    serde_json::from_str::<Value>(&expected.whole()).unwrap()
                ),
                Generated::ToolUse(..) | Generated::Unknown(_) => prop_assert_eq!(block.get(), expected.whole()),
            }
        }
        let calls = blocks.iter().filter(|block| matches!(block, Generated::ToolUse(..))).count();
        prop_assert_eq!(tool_calls(&reply.content).len(), calls);
        let texts: Vec<String> = blocks.iter().filter_map(|block| match block {
            Generated::Text(parts) => Some(parts.concat()),
            Generated::Thinking(..) | Generated::ToolUse(..) | Generated::Unknown(_) => None,
        }).collect();
        prop_assert_eq!(text_of(&reply.content), texts.join("\n\n"));
    }
}
