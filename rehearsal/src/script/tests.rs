use serde_json::json;

use super::*;

const WHOLE: &str = r#"
# comment
[[rule]]
name = "look things up"
when.turn = 1
when.text_contains = "order"
answer.text = "Let me look."
answer.calls = [
    { name = "look_up_order", input = { order_id = "{{input.order_id}}", depth = 2 } },
    { name = "read_refund_policy" },
]
answer.usage = { input_tokens = 900, output_tokens = 40 }

[[rule]]
when = { last_tool = "look_up_order", times = 1 }
[rule.answer]
error = { status = 429, retry_after_seconds = 3, error_code = "ramp_limit_exceeded" }

[[rule]]
answer.text = "Done."
answer.cut_before = "message_stop"
"#;

#[track_caller]
fn mistake(toml: &str) -> String {
    Script::from_toml(toml).expect_err("should be a mistake").to_string()
}

#[test]
fn a_script_is_read_with_all_its_parts() {
    let script = Script::from_toml(WHOLE).unwrap();
    let [first, second, third] = script.rules.as_slice() else {
        panic!("three rules")
    };
    assert_eq!(first.name.as_deref(), Some("look things up"));
    assert_eq!(first.when.turn, Some(1));
    assert_eq!(first.answer.calls[0].input["depth"], json!(2));
    assert!(first.answer.calls[1].input.is_empty());
    assert_eq!(first.answer.usage, UsageNumbers::of(900, 40));
    assert_eq!(second.answer.error.as_ref().unwrap().kind(), "rate_limit_error");
    assert_eq!(second.when.times, Some(1));
    assert_eq!(third.answer.cut_before.as_deref(), Some("message_stop"));
    assert_eq!([first.line, second.line, third.line], [Some(3), Some(14), Some(19)]);
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let message = mistake("[[rule]]\nwhen.turn = 1\nanswer.txt = \"hi\"\n");
    assert!(
        message.starts_with("line 3 of the script: unknown field `txt`, expected one of"),
        "{message}"
    );
    let message = mistake("[[rule]]\nwhen.tern = 1\nanswer.text = \"hi\"\n");
    assert!(
        message.starts_with("line 2 of the script: unknown field `tern`"),
        "{message}"
    );
    let message = mistake("[[rules]]\nanswer.text = \"hi\"\n");
    assert!(message.contains("unknown field `rules`, expected `rule`"), "{message}");
}

#[test]
fn a_wrong_type_is_named_with_its_line() {
    let message = mistake("[[rule]]\n\nwhen.turn = \"one\"\nanswer.text = \"hi\"\n");
    assert!(
        message.starts_with("line 3 of the script: invalid type: string \"one\""),
        "{message}"
    );
}

#[test]
fn what_is_not_toml_is_named_with_its_line() {
    let message = mistake("[[rule]]\nanswer.text = \"hi\n");
    assert!(message.starts_with("line 2 of the script:"), "{message}");
}

#[test]
fn a_script_without_rules_is_refused() {
    assert!(matches!(Script::from_toml(""), Err(ScriptError::Empty)));
}

#[test]
fn a_rule_that_cannot_be_meant_is_named_with_its_line() {
    let cases = [
        ("when.turn = 0\nanswer.text = 'x'", "turns are counted from 1"),
        ("when.times = 0\nanswer.text = 'x'", "would never apply"),
        ("answer.delay_ms = 3", "it answers nothing"),
        ("answer.text = '{{order}}'", "unknown placeholder {{order}}"),
        ("answer.text = '{{input'", "without `}}`"),
        (
            "answer.calls = [{ name = 'a', input = { deep = ['{{nope}}'] } }]",
            "unknown placeholder {{nope}}",
        ),
        ("answer.calls = [{ name = 'look up' }]", "`look up` is not a tool name"),
        (
            "answer.calls = [{ name = 'a', id = 'x' }, { name = 'b', id = 'x' }]",
            "two calls have the same id",
        ),
        (
            "answer.calls = [{ name = 'a', input = { day = 2026-01-01 } }]",
            "JSON has no dates",
        ),
        ("answer.raw = ['{']", "a raw block is not JSON"),
        ("answer.raw = ['[]']", "must be an object with a `type`"),
        ("answer.error.status = 200", "status 200 is not an error"),
        ("answer.error.status = 500\nanswer.text = 'x'", "can have nothing else"),
        (
            "answer.text = 'x'\nanswer.cut_after = 1\nanswer.cut_before = 'ping'",
            "only one of",
        ),
        ("answer.text = 'x'\nanswer.cut_before = 'the_end'", "names no event"),
        (
            "answer.text = 'x'\nanswer.stop_reason = 'pause_turn'",
            "server_tool_use",
        ),
    ];
    for (rule, expected) in cases {
        let message = mistake(&format!("# a script\n[[rule]]\n{rule}\n"));
        assert!(message.starts_with("line 2 of the script, rule 1: "), "{message}");
        assert!(message.contains(expected), "{expected:?} is not in {message:?}");
    }
}

#[test]
fn a_rule_behind_one_that_always_applies_is_refused() {
    let script = Script::new()
        .rule(Rule::always().named("all").answers(Answer::text("x")))
        .rule(Rule::on_turn(2).answers(Answer::text("y")));
    assert_eq!(
        script.check().unwrap_err().to_string(),
        "rule 2: it is never reached, because all always applies"
    );
}

#[test]
fn an_empty_answer_may_be_meant() {
    Script::from_toml("[[rule]]\nanswer.stop_reason = 'end_turn'\n").unwrap();
}

#[test]
fn a_missing_file_is_named() {
    let error = Script::read(std::path::Path::new("/nowhere/script.toml")).unwrap_err();
    assert_eq!(error.to_string(), "could not read the script /nowhere/script.toml");
}

#[test]
fn the_script_of_the_demo_can_be_played() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/refund-desk/rehearsal.toml");
    Script::read(std::path::Path::new(path)).unwrap();
}

/// The keys that a table may have, as the reader itself names them when it meets one that it does not know.
fn keys_beside(unknown: &str) -> Vec<String> {
    let told = Script::from_toml(unknown).unwrap_err().to_string();
    let (_, expected) = told
        .split_once("expected")
        .expect("the mistake names what was expected");
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_page_on_scripts_names_every_key_and_its_example_can_be_played() {
    let page = include_str!("../../../docs/rehearsal.md");
    for example in page.split("```toml\n").skip(1) {
        let (example, _) = example.split_once("```").expect("a block ends");
        Script::from_toml(example).expect("an example can be played");
    }

    for table in [
        "",
        "when.",
        "answer.",
        "answer.usage.",
        "answer.error.",
        "answer.error_event.",
    ] {
        let keys = keys_beside(&format!("[[rule]]\n{table}nonsense = 1\n"));
        assert!(!keys.is_empty(), "{table}");
        for key in keys {
            assert!(page.contains(&format!("`{key}`")), "{table}{key} is not on the page");
        }
    }
    for key in keys_beside("[[rule]]\nanswer.calls = [{ name = \"a\", nonsense = 1 }]\n") {
        assert!(
            page.contains(&format!("| `{key}` |")),
            "answer.calls.{key} is not on the page"
        );
    }
}
