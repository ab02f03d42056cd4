use serde_json::{Value, json};

use super::*;

fn values(first_user_text: &str) -> Values {
    let body = json!({"messages": [
        {"role": "user", "content": [{"type": "text", "text": first_user_text}]},
        {"role": "assistant", "content": "Hm."},
        {"role": "user", "content": "other"},
    ]});
    Values::of(Conversation::new(&body))
}

fn filled(input: Value, first_user_text: &str) -> Value {
    let Value::Object(input) = input else {
        panic!("an object")
    };
    Value::Object(values(first_user_text).fill_input(&input).unwrap())
}

#[test]
fn placeholders_come_from_the_first_user_message() {
    let text = values(r#"{"order_id":"ORD-7","lines":[{"cents":5}]}"#)
        .fill("Turn {{turn}}: {{ input.order_id }} has {{input.lines.0.cents}} in {{input.lines}}.")
        .unwrap();
    assert_eq!(text, r#"Turn 2: ORD-7 has 5 in [{"cents":5}]."#);
    assert_eq!(
        values("plain words").fill("> {{first_user_text}}").unwrap(),
        "> plain words"
    );
}

#[test]
fn a_lone_placeholder_keeps_its_type() {
    let input = json!({"cents": "{{input.cents}}", "text": "{{input.cents}} cents", "nested": [{"all": "{{input}}"}]});
    let expected = json!({"cents": 5, "text": "5 cents", "nested": [{"all": {"cents": 5}}]});
    assert_eq!(filled(input, r#"{"cents":5}"#), expected);
}

#[test]
fn json_inside_a_sentence_is_found() {
    let text = values(r#"Please handle {"order_id":"ORD-7"} today."#)
        .fill("{{input.order_id}}")
        .unwrap();
    assert_eq!(text, "ORD-7");
}

#[test]
fn a_placeholder_without_a_value_is_a_mistake_with_its_name() {
    assert!(
        values("no json")
            .fill("{{input.a}}")
            .unwrap_err()
            .contains("holds no JSON")
    );
    assert!(values("{}").fill("{{input.a}}").unwrap_err().contains("{{input.a}}"));
}

#[test]
fn a_value_that_looks_like_a_placeholder_is_not_filled_again() {
    assert_eq!(values(r#"{"a":"{{turn}}"}"#).fill("{{input.a}}!").unwrap(), "{{turn}}!");
}
