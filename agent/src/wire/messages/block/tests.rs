use super::*;

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

/// The block that a start and its deltas make.
fn streamed(start: &str, deltas: &[&str]) -> String {
    let mut block = Block::start(&raw(start)).unwrap();
    for delta in deltas {
        block.apply(&raw(delta)).unwrap();
    }
    block.stop().unwrap();
    block.stopped().unwrap().get().to_owned()
}

fn tool_use(partial: &[&str]) -> String {
    let deltas: Vec<String> = partial
        .iter()
        .map(|json| format!(r#"{{"type":"input_json_delta","partial_json":{}}}"#, json_string(json)))
        .collect();
    let deltas: Vec<&str> = deltas.iter().map(String::as_str).collect();
    streamed(
        r#"{"type":"tool_use","id":"toolu_1","name":"refund","input":{}}"#,
        &deltas,
    )
}

#[test]
fn a_tool_input_is_the_text_the_model_wrote() {
    let block = tool_use(&["", "{\"order\": \"A\\", "u00e9\",\n \"n\":1.0", "0e2}"]);

    assert_eq!(
        block,
        "{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"refund\",\"input\":{\"order\": \"A\\u00e9\",\n \"n\":1.00e2}}"
    );
}

#[test]
fn a_tool_input_without_deltas_is_empty() {
    let expected = r#"{"type":"tool_use","id":"toolu_1","name":"refund","input":{}}"#;
    assert_eq!(tool_use(&[]), expected);
    assert_eq!(tool_use(&[""]), expected);
    assert_eq!(
        streamed(r#"{"type":"tool_use","id":"toolu_1","name":"refund"}"#, &[]),
        expected
    );
}

#[test]
fn a_tool_input_that_came_whole_with_the_start_is_kept() {
    let start = r#"{"type":"tool_use","id":"t","name":"n","input":{"a": 1}}"#;
    assert_eq!(streamed(start, &[]), start);
}

#[test]
fn a_tool_input_that_is_no_object_is_kept_as_text() {
    for invalid in ["{\"order\": \"A", "[1]", "\"text\"", "null", "{} {}"] {
        let block = RawObject::parse(&tool_use(&[invalid])).unwrap();
        let input = block.object("input").unwrap();
        assert_eq!(input.string(INVALID_JSON).as_deref(), Some(invalid));
    }
}

#[test]
fn thinking_keeps_its_signature_and_unknown_members() {
    let block = streamed(
        r#"{"type":"thinking","later":[ 1 ],"thinking":"","signature":""}"#,
        &[
            r#"{"type":"thinking_delta","thinking":"Let me "}"#,
            r#"{"type":"thinking_delta","thinking":"see"}"#,
            r#"{"type":"signature_delta","signature":"c2ln"}"#,
        ],
    );

    assert_eq!(
        block,
        r#"{"type":"thinking","later":[ 1 ],"thinking":"Let me see","signature":"c2ln"}"#
    );
}

#[test]
fn citations_are_appended_as_they_came() {
    let block = streamed(
        r#"{"type":"text","text":"a","citations":[{"n":0}]}"#,
        &[
            r#"{"type":"citations_delta","citation":{"n": 1}}"#,
            r#"{"type":"text_delta","text":"b"}"#,
            r#"{"type":"citations_delta","citation":{"n": 2}}"#,
        ],
    );

    assert_eq!(
        block,
        r#"{"type":"text","text":"ab","citations":[{"n":0},{"n": 1},{"n": 2}]}"#
    );
}

#[test]
fn an_unknown_block_is_the_text_it_came_as() {
    let start = "{ \"type\":\"from_tomorrow\",\n\"text\": \"\\u0041\", \"n\":1e0 }";
    let mut block = Block::start(&raw(start)).unwrap();

    let applied = block.apply(&raw(r#"{"type":"text_delta","text":"B"}"#)).unwrap();
    block.stop().unwrap();

    assert!(matches!(applied, Applied::Unknown));
    assert_eq!(block.stopped().unwrap().get(), start);
}

#[test]
fn a_delta_after_the_stop_is_an_error() {
    let mut block = Block::start(&raw(r#"{"type":"text","text":""}"#)).unwrap();
    block.stop().unwrap();

    assert!(block.apply(&raw(r#"{"type":"text_delta","text":"B"}"#)).is_err());
    assert!(block.stop().is_err());
}
