use super::{Change, Rule, Sanitise, Sanitiser, compile};
use crate::error::{ErrorClass, StepError};
use crate::fixture::raw;
use crate::journal::ToolOutcome;
use crate::tool::check::InputSchema;
use serde_json::{Value, json};

fn rule(at: Option<&str>, change: Change) -> Rule {
    Rule {
        at: at.map(str::to_owned),
        change,
    }
}

fn replace(pattern: &str, with: &str) -> Change {
    Change::Replace {
        pattern: pattern.to_owned(),
        with: with.to_owned(),
    }
}

fn cards() -> Rule {
    rule(None, replace(r"\b\d{16}\b", "[card]"))
}

fn for_input(rules: Vec<Rule>) -> Sanitiser {
    Sanitiser::of(&Sanitise {
        input: rules,
        output: Vec::new(),
    })
    .unwrap()
}

fn for_output(rules: Vec<Rule>) -> Sanitiser {
    Sanitiser::of(&Sanitise {
        input: Vec::new(),
        output: rules,
    })
    .unwrap()
}

fn told(rules: Vec<Rule>, content: &str) -> ToolOutcome {
    for_output(rules).output(ToolOutcome {
        content: content.to_owned(),
        ..ToolOutcome::default()
    })
}

#[test]
fn an_input_is_changed_before_it_is_checked() {
    let schema = json!({"type": "object", "properties": {"id": {"type": "string", "pattern": "^ORD-[0-9]+$"}}});
    let schema = InputSchema::compile(&schema).unwrap();
    let rules = for_input(vec![rule(None, Change::Trim)]);
    let input = raw(&json!({"id": " ORD-7\n"}));

    assert!(schema.check_input(input.get()).is_err());
    assert_eq!(
        schema.check_sanitised(input.get(), Some(&rules)).unwrap(),
        json!({"id": "ORD-7"})
    );
    let breaking = for_input(vec![rule(Some("/id"), Change::Redact)]);
    assert!(
        schema.check_sanitised(input.get(), Some(&breaking)).is_err(),
        "what the rules made of it is checked"
    );
}

#[test]
fn each_rule_changes_what_it_says_and_nothing_else() {
    let table = [
        (
            rule(Some("/a"), Change::Trim),
            json!({"a": "x", "b": " y ", "c": [{"d": " z "}, {"d": 1}]}),
        ),
        (
            rule(Some("/c/*/d"), Change::Redact),
            json!({"a": " x ", "b": " y ", "c": [{"d": "[redacted]"}, {"d": "[redacted]"}]}),
        ),
        (
            rule(Some("/c/1"), Change::Remove),
            json!({"a": " x ", "b": " y ", "c": [{"d": " z "}]}),
        ),
        (rule(Some("/*"), Change::Remove), json!({})),
        (
            rule(Some("/nowhere/0"), Change::Remove),
            json!({"a": " x ", "b": " y ", "c": [{"d": " z "}, {"d": 1}]}),
        ),
        (
            rule(None, Change::MaxChars(2)),
            json!({"a": " x…", "b": " y…", "c": [{"d": " z…"}, {"d": 1}]}),
        ),
        (
            rule(Some("/c"), replace("z", "$$1")),
            json!({"a": " x ", "b": " y ", "c": [{"d": " $1 "}, {"d": 1}]}),
        ),
    ];
    for (rule, expected) in table {
        let mut input = json!({"a": " x ", "b": " y ", "c": [{"d": " z "}, {"d": 1}]});

        for_input(vec![rule.clone()]).input(&mut input).unwrap();

        assert_eq!(input, expected, "{rule:?}");
    }
}

#[test]
fn an_output_is_changed_as_text_or_at_its_places() {
    assert_eq!(
        told(vec![cards()], "paid with 4111111111111111.").content,
        "paid with [card]."
    );
    let places = vec![
        rule(Some("/customer/email"), Change::Redact),
        rule(Some("/debug"), Change::Remove),
    ];
    let shown = told(
        places.clone(),
        r#"{"customer":{"email":"ann@shop.test"},"debug":"trace","id":7}"#,
    );
    assert_eq!(
        serde_json::from_str::<Value>(&shown.content).unwrap(),
        json!({"customer": {"email": "[redacted]"}, "id": 7})
    );
    let untouched = r#"{ "id" : 7.0 }"#;
    assert_eq!(
        told(places, untouched).content,
        untouched,
        "byte for byte where no place is met"
    );
}

#[test]
fn an_output_in_which_places_cannot_be_found_is_not_shown() {
    let shown = told(
        vec![rule(Some("/email"), Change::Redact)],
        "{\"email\": \"ann@shop.test\", [cut",
    );

    assert!(!shown.content.contains("ann"), "{}", shown.content);
    assert!(shown.content.starts_with("[not shown: "), "{}", shown.content);
    assert_eq!(shown.notes.len(), 1);
}

#[test]
fn errors_and_evidence_are_changed_too() {
    let rules = for_output(vec![cards()]);
    let error = StepError::new(ErrorClass::UserError, "http_422", "no card 4111111111111111").suggest("use another");

    assert_eq!(rules.error(error).message, "no card [card]");
    let mut evidence = json!({"status": 422, "body": ["4111111111111111"]});
    rules.evidence(&mut evidence);
    assert_eq!(evidence, json!({"status": 422, "body": ["[card]"]}));
}

#[test]
fn replacements_do_not_swell_an_input_beyond_its_bound() {
    let rules = for_input(vec![rule(None, replace("a", &"b".repeat(200)))]);
    let mut input = json!({"text": "a".repeat(10_000)});

    let error = rules.input(&mut input).unwrap_err();

    assert_eq!(error.code, "invalid_input");
}

#[test]
fn a_pattern_is_refused_that_is_none_or_grows_too_large() {
    assert!(compile("(").is_err());
    assert!(compile("(?=x)").is_err(), "look-around");
    assert!(compile(r"\w{1000}{1000}").is_err());
    assert!(compile(r"(a+)+$").is_ok(), "linear whatever it looks like");
}
