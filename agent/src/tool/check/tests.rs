use super::{INPUT_BYTES_MAX, InputSchema};
use crate::error::{ErrorClass, StepError};
use proptest::prelude::*;
use serde_json::{Value, json};

fn refund() -> InputSchema {
    compiled(&json!({
        "type": "object",
        "required": ["order_id", "amount_cents"],
        "additionalProperties": false,
        "properties": {
            "order_id": {"type": "string", "pattern": "^ORD-[0-9]{4,8}$"},
            "amount_cents": {"type": "integer", "minimum": 1, "maximum": 20_000},
            "reason": {"type": "string", "minLength": 1, "maxLength": 20},
            "channel": {"enum": ["mail", "chat"]},
        },
    }))
}

fn compiled(schema: &Value) -> InputSchema {
    InputSchema::compile(schema).unwrap()
}

/// Takes any object.
fn anything() -> InputSchema {
    compiled(&json!({"type": "object"}))
}

fn refused(schema: &InputSchema, text: &str) -> StepError {
    let error = schema.check_input(text).unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::InvalidInput, "invalid_input")
    );
    assert!(error.suggestion.is_some() && !error.fatal, "{error:?}");
    error
}

#[test]
fn an_input_that_keeps_the_schema_comes_back_as_a_value() {
    let input = refund()
        .check_input(r#"{"order_id": "ORD-1001", "amount_cents": 1999}"#)
        .unwrap();

    assert_eq!(input, json!({"order_id": "ORD-1001", "amount_cents": 1999}));
}

#[test]
fn every_violation_is_named_by_its_place() {
    let text = r#"{"order_id": "12", "amount_cents": 20001, "reason": "", "channel": "fax"}"#;

    let message = refused(&refund(), text).message;

    for place in ["/order_id: ", "/amount_cents: ", "/reason: ", "/channel: "] {
        assert!(message.contains(place), "{place} in {message}");
    }
}

#[test]
fn a_missing_or_unknown_property_is_named() {
    let message = refused(&refund(), r#"{"amount_cents": 1, "currency": "EUR"}"#).message;

    assert!(message.contains("\"order_id\" is a required property"), "{message}");
    assert!(message.contains("currency"), "{message}");
}

#[test]
fn at_most_five_violations_are_told() {
    let schema = compiled(&json!({"type": "object", "additionalProperties": {"type": "integer"}}));
    let text = json!({"a": "", "b": "", "c": "", "d": "", "e": "", "f": "", "g": ""}).to_string();

    let message = refused(&schema, &text).message;

    assert_eq!(message.matches("is not of type").count(), 5, "{message}");
    assert!(message.ends_with("and more"), "{message}");
}

#[test]
fn a_violation_that_quotes_a_long_input_is_cut() {
    let text = json!({"order_id": "é".repeat(5_000), "amount_cents": 1}).to_string();

    assert!(refused(&refund(), &text).message.chars().count() < 500);
}

#[test]
fn what_is_not_json_is_refused() {
    for text in [
        "",
        "{",
        "{\"a\": 1,}",
        "nope",
        "{\"a\": NaN}",
        "{} {}",
        "{\"a\": 1e999}",
    ] {
        assert!(refused(&anything(), text).message.contains("not valid JSON"), "{text}");
    }
}

#[test]
fn what_is_no_object_is_refused() {
    for (text, kind) in [
        ("[]", "an array"),
        ("null", "null"),
        ("1", "a number"),
        ("\"x\"", "text"),
        ("true", "a boolean"),
    ] {
        assert!(refused(&anything(), text).message.contains(kind), "{text}");
    }
}

#[test]
fn a_lone_surrogate_is_refused() {
    for text in [r#"{"a": "\ud800"}"#, r#"{"a": "\udc00x"}"#, r#"{"\ud83d": 1}"#] {
        refused(&anything(), text);
    }
    anything().check_input(r#"{"a": "\ud83d\ude00"}"#).unwrap();
}

#[test]
fn a_nul_character_is_refused_by_its_place() {
    let message = refused(&anything(), r#"{"a": [{"b/c": "x\u0000y"}]}"#).message;
    assert!(message.starts_with("/a/0/b~1c: "), "{message}");

    let message = refused(&anything(), r#"{"a\u0000": 1}"#).message;
    assert!(!message.contains('\0'), "{message}");
}

#[test]
fn nesting_is_bounded() {
    let nested = |levels: usize| format!("{{\"a\": {}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));

    anything().check_input(&nested(64)).unwrap();
    for levels in [65, 1_000, 400_000] {
        assert!(refused(&anything(), &nested(levels)).message.contains("deeper than 64"));
    }
    anything()
        .check_input(&format!("{{\"a\": \"{}\"}}", "[{".repeat(100)))
        .unwrap();
}

#[test]
fn size_is_bounded() {
    let sized = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));

    anything().check_input(&sized(INPUT_BYTES_MAX)).unwrap();
    refused(&anything(), &sized(INPUT_BYTES_MAX + 1));
}

#[test]
fn an_integer_that_would_lose_digits_is_refused() {
    for number in [
        "18446744073709551616",
        "-9223372036854775809",
        "123456789012345678901234567890",
    ] {
        let message = refused(&anything(), &format!("{{\"a\": {number}}}")).message;
        assert!(message.contains("too large to be kept exactly"), "{message}");
    }
    for number in ["18446744073709551615", "-9223372036854775808", "0", "-0", "1e30", "1.5"] {
        anything().check_input(&format!("{{\"a\": {number}}}")).unwrap();
    }
}

#[test]
fn defaults_are_filled_in_at_every_depth_before_validation() {
    let schema = compiled(&json!({
        "type": "object",
        "required": ["page", "sort"],
        "properties": {
            "page": {"type": "integer", "default": 1},
            "sort": {
                "type": "object",
                "default": {},
                "required": ["by"],
                "properties": {"by": {"type": "string", "default": "date"}},
            },
            "filters": {"type": "array", "items": {"properties": {"negate": {"default": false}}}},
        },
    }));

    let input = schema.check_input(r#"{"filters": [{}, {"negate": true}]}"#).unwrap();

    assert_eq!(
        input,
        json!({"page": 1, "sort": {"by": "date"}, "filters": [{"negate": false}, {"negate": true}]})
    );
    assert_eq!(schema.check_input(r#"{"page": 7}"#).unwrap()["page"], 7);
    assert!(refused(&schema, r#"{"page": null}"#).message.contains("/page: "));
}

#[test]
fn defaults_cannot_be_multiplied_without_end() {
    let schema = compiled(&json!({
        "type": "object",
        "properties": {"lines": {"items": {"properties": {"note": {"default": "x".repeat(10_000)}}}}},
    }));

    let text = format!("{{\"lines\": [{}]}}", vec!["{}"; 1_000].join(","));

    assert!(refused(&schema, &text).message.contains("defaults"));
}

#[test]
fn known_formats_are_checked_and_unknown_ones_are_not() {
    let schema = compiled(&json!({
        "type": "object",
        "properties": {"mail": {"format": "email"}, "day": {"format": "date"}, "count": {"format": "uint32"}},
    }));

    schema
        .check_input(r#"{"mail": "ann@shop.test", "day": "2026-10-26", "count": 3}"#)
        .unwrap();
    refused(&schema, r#"{"mail": "nobody"}"#);
    refused(&schema, r#"{"day": "tomorrow"}"#);
}

#[test]
fn a_schema_that_does_not_compile_or_points_elsewhere_is_an_error() {
    for schema in [
        json!({"type": "objekt"}),
        json!({"type": "object", "properties": {"a": {"pattern": "("}}}),
        json!({"$ref": "https://shop.test/schema.json"}),
        json!({"$ref": "file:///etc/passwd"}),
        json!({"$ref": "#/$defs/missing"}),
    ] {
        let error = InputSchema::compile(&schema).unwrap_err();
        assert_eq!(
            (error.class, error.code.as_str()),
            (ErrorClass::Permanent, "invalid_schema"),
            "{schema}"
        );
    }
}

#[test]
fn a_schema_that_refers_to_itself_does_not_run_for_ever() {
    for schema in [
        json!({"type": "object", "$ref": "#"}),
        json!({"type": "object", "allOf": [{"$ref": "#"}]}),
        json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}},
            "$defs": {"x": {"$ref": "#/$defs/y"}, "y": {"anyOf": [{"$ref": "#/$defs/x"}, {"type": "null"}]}}}),
        json!({"type": "object", "properties": {"a": {"$ref": "#"}}}),
    ] {
        let _ = InputSchema::compile(&schema).and_then(|schema| schema.check_input(r#"{"a": {"a": {}}}"#));
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_check_stumble(text in any::<String>(), json in r#"[{}\[\]":,0-9eE.\\utrfalsn -]{0,60}"#) {
        for text in [text, json] {
            if let Ok(input) = anything().check_input(&text) {
                prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), input);
            }
        }
    }
}
