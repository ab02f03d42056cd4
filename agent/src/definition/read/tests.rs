use super::{Mistake, Readout, read};
use crate::definition::{
    Agent, CommandLimits, CommandTool, FunctionTool, HttpTool, Model, OnError, OnRefusal, ToolAction, digest_text,
};
use crate::effect::Effect;
use proptest::prelude::*;
use serde_json::json;

mod fallbacks;
mod gates;
mod schemas;
mod sql;
mod tools;

const REFUND_DESK: &str = include_str!("../../../../examples/refund-desk/agent.toml");

/// The shortest file that can be applied.
const SHORTEST: &str = "name = \"desk\"\n[model]\nname = \"claude-sonnet-5-5\"\nmax_tokens = 1024\n";

fn applied(text: &str) -> Readout {
    read(text).unwrap_or_else(|mistakes| panic!("{}", told(&mistakes).join("\n")))
}

fn mistakes(text: &str) -> Vec<String> {
    told(&read(text).unwrap_err())
}

fn warnings(text: &str) -> Vec<String> {
    told(&applied(text).warnings)
}

fn told(mistakes: &[Mistake]) -> Vec<String> {
    mistakes.iter().map(ToString::to_string).collect()
}

/// The one mistake of that text.
fn mistake(text: &str) -> String {
    let [mistake] = mistakes(text)
        .try_into()
        .unwrap_or_else(|all: Vec<String>| panic!("{}", all.join("\n")));
    mistake
}

#[test]
fn the_example_is_applied_without_a_warning() {
    let Readout { agent, warnings } = applied(REFUND_DESK);

    assert!(warnings.is_empty(), "{}", told(&warnings).join("\n"));
    let shape: Vec<(&str, Effect)> = agent
        .tools
        .iter()
        .map(|tool| (tool.name.as_str(), tool.effect))
        .collect();
    assert_eq!(
        shape,
        [
            ("look_up_order", Effect::ReadOnly),
            ("read_refund_policy", Effect::ReadOnly),
            ("refund_order", Effect::Idempotent)
        ]
    );
}

#[test]
fn what_the_file_leaves_out_has_a_default() {
    let Agent {
        model,
        limits,
        on_refusal,
        tools,
        description,
        system,
        ..
    } = applied(SHORTEST).agent;

    assert_eq!((model.api_version.as_str(), model.stream), (Model::API_VERSION, true));
    assert_eq!((model.timeout_seconds, model.idle_timeout_seconds), (600, 120));
    let retry = &model.retry;
    assert_eq!(
        (
            retry.attempts_max,
            retry.initial_ms,
            retry.cap_ms,
            retry.horizon_seconds
        ),
        (5, 1_000, 60_000, 3_600)
    );
    assert_eq!(
        (
            limits.turns_max,
            limits.tool_calls_per_turn_max,
            limits.wall_clock_seconds
        ),
        (20, 8, 2_592_000)
    );
    assert_eq!(
        (on_refusal, tools.len(), description, system),
        (OnRefusal::Fail, 0, None, None)
    );
}

#[test]
fn a_retry_table_overrides_only_what_it_names() {
    let text = format!("{SHORTEST}[model.retry]\nattempts_max = 2\n");

    let retry = applied(&text).agent.model.retry;

    assert_eq!(
        (retry.attempts_max, retry.initial_ms, retry.horizon_seconds),
        (2, 1_000, 3_600)
    );
}

#[test]
fn every_mistake_is_told_at_once_and_in_order() {
    let text = r#"name = "Refund Desk"
on_refusal = "shrug"
sytem = "…"
[model]
name = "claude-sonnet-5-5"
max_tokens = 0
stream = "yes"
api_version = "2024-01-01"
[limits]
turns_max = 1001
[[tool]]
name = "look up"
kind = "http"
effect = "maybe"
method = "FETCH"
"#;

    let all = mistakes(text);

    let starts: Vec<&str> = all
        .iter()
        .map(|mistake| mistake.split_once(", expected").unwrap().0)
        .collect();
    assert_eq!(
        starts,
        [
            "line 1: name: found \"Refund Desk\"",
            "line 2: on_refusal: found \"shrug\"",
            "line 3: sytem: found an unknown key",
            "line 6: model.max_tokens: found 0",
            "line 7: model.stream: found \"yes\"",
            "line 8: model.api_version: found \"2024-01-01\"",
            "line 10: limits.turns_max: found 1001",
            "line 11: tool[0].input: found nothing",
            "line 11: tool[0].url: found nothing",
            "line 12: tool[0].name: found \"look up\"",
            "line 14: tool[0].effect: found \"maybe\"",
            "line 15: tool[0].method: found \"FETCH\"",
        ],
        "{}",
        all.join("\n")
    );
    assert!(all.contains(
        &"line 14: tool[0].effect: found \"maybe\", expected one of read_only, idempotent, transactional, at_most_once".to_owned()
    ));
}

#[test]
fn an_unknown_key_is_told_with_the_one_that_was_probably_meant() {
    let text = format!("{SHORTEST}max_token = 5\nzzz = 1\n");

    let all = mistakes(&text);

    assert_eq!(
        all[0],
        "line 5: model.max_token: found an unknown key, expected max_tokens (did you mean that?)"
    );
    assert!(
        all[1].starts_with("line 6: model.zzz: found an unknown key, expected one of name, api_version,"),
        "{}",
        all[1]
    );
}

#[test]
fn several_syntax_errors_are_told_and_what_could_be_read_is_judged() {
    let text = "name = \"desk\"\ndescription = \non_refusal = \"shrug\"\n[model]\nname = \"claude\nmax_tokens = 0\n[limits]\nturns_max = 0\n";

    let all = mistakes(text);

    let lines: Vec<&str> = all.iter().map(|mistake| mistake.split(':').next().unwrap()).collect();
    assert_eq!(
        lines,
        ["line 2", "line 3", "line 5", "line 6", "line 8"],
        "{}",
        all.join("\n")
    );
}

#[test]
fn a_key_given_twice_is_a_mistake() {
    assert!(
        mistake("name = \"desk\"\nname = \"dusk\"\n[model]\nname = \"m\"\nmax_tokens = 1\n")
            .starts_with("line 2: found duplicate key")
    );
}

#[test]
fn what_is_missing_is_told_where_its_table_begins() {
    assert_eq!(
        mistakes("description = \"x\"\n"),
        [
            "line 1: name: found nothing, expected lower-case letters, digits and -, at most 63, beginning with a letter or digit",
            "line 1: model: found nothing, expected a [model] table with name and max_tokens",
        ]
    );
    let all = mistakes("name = \"desk\"\n\n[model]\n");
    assert!(
        all.iter().all(|mistake| mistake.starts_with("line 3: model.")),
        "{}",
        all.join("\n")
    );
}

#[test]
fn numbers_keep_their_bounds_and_say_why() {
    for (key, least, most) in [
        ("limits.turns_max", 1_u64, 1_000_u64),
        ("limits.tool_calls_per_turn_max", 1, 64),
        ("limits.wall_clock_seconds", 1, 31_536_000),
        ("model.timeout_seconds", 1, 86_400),
        ("model.idle_timeout_seconds", 1, 86_400),
        ("model.retry.attempts_max", 1, 100),
    ] {
        let with = |value: &str| {
            format!(
                "{key} = {value}\n{}",
                SHORTEST.replace("[model]\n", "model.").replace("\nmax", "\nmodel.max")
            )
        };
        for value in [least, most] {
            applied(&with(&value.to_string()));
        }
        for value in [
            (least - 1).to_string(),
            (most + 1).to_string(),
            "-1".into(),
            "1.5".into(),
            "\"1\"".into(),
        ] {
            let mistake = mistake(&with(&value));
            let expected = format!("line 1: {key}: found {value}, expected a whole number from {least} to {most} (");
            assert!(mistake.starts_with(&expected), "{mistake}");
        }
    }
}

#[test]
fn numbers_may_be_written_as_toml_allows() {
    let text = format!("{SHORTEST}timeout_seconds = 0x10\n[limits]\nturns_max = +1_000\n");

    let agent = applied(&text).agent;

    assert_eq!((agent.model.timeout_seconds, agent.limits.turns_max), (16, 1_000));
}

#[test]
fn a_first_delay_above_the_longest_is_a_mistake() {
    let text = format!("{SHORTEST}[model.retry]\ninitial_ms = 70_000\n");

    assert!(mistake(&text).starts_with("line 6: model.retry.initial_ms: found a first delay of 70000 ms above"));
}

#[test]
fn a_value_of_the_wrong_type_is_told() {
    for (line, key, found) in [
        ("description = 1", "description", "1"),
        ("system = \"  \"", "system", "\"  \""),
        ("system = 2026-10-26", "system", "a date or time"),
        ("limits = []", "limits", "an array"),
        ("tool = 3", "tool", "3"),
        ("tool = [1]", "tool[0]", "1"),
        ("tool = {}", "tool", "a single table"),
        ("on_refusal = {}", "on_refusal", "a table"),
    ] {
        let mistake = mistake(&format!("{line}\n{SHORTEST}"));
        assert!(
            mistake.starts_with(&format!("line 1: {key}: found {found}, expected ")),
            "{mistake}"
        );
    }
}

#[test]
fn an_empty_text_is_told_apart_from_what_is_no_text() {
    let told = |line: &str| mistake(&format!("{line}\n{SHORTEST}"));

    assert_eq!(
        told("system = \"\""),
        "line 1: system: found \"\", expected text that is not empty"
    );
    assert_eq!(told("system = 1"), "line 1: system: found 1, expected text");
}

#[test]
fn a_nul_character_is_refused_wherever_it_stands() {
    for line in ["system = \"a\\u0000b\"", "description = \"\\u0000\""] {
        assert!(mistake(&format!("{line}\n{SHORTEST}")).contains("U+0000"), "{line}");
    }
    assert!(
        mistakes(&format!("\"a\\u0000\" = 1\n{SHORTEST}"))
            .iter()
            .any(|mistake| mistake.contains("U+0000"))
    );
}

#[test]
fn the_size_of_a_file_is_bounded() {
    let text = format!("# {}\n{SHORTEST}", "x".repeat(256 * 1024));

    assert!(mistake(&text).contains("at most 262144 bytes"));
}

#[test]
fn the_number_of_mistakes_told_is_bounded() {
    let text = (0..1_000).map(|index| format!("key{index} = 1\n")).collect::<String>();

    let all = mistakes(&text);

    assert_eq!(all.len(), 101);
    assert!(all[100].contains("902 more mistakes"), "{}", all[100]);
}

#[test]
fn nesting_that_would_overflow_is_refused_by_the_parser() {
    for text in [
        format!("a = {}", "[".repeat(100_000)),
        format!("a = {}", "{a=".repeat(60_000)),
        format!("{} = 1", vec!["a"; 100_000].join(".")),
        format!("[{}]", vec!["a"; 100_000].join(".")),
    ] {
        assert!(!mistakes(&text).is_empty());
    }
}

#[test]
fn a_mistake_in_a_file_with_windows_line_ends_is_told_at_its_line() {
    let text = SHORTEST.replace('\n', "\r\n").replace("1024", "0");

    assert!(mistake(&text).starts_with("line 4: model.max_tokens: found 0"));
}

#[test]
fn the_same_file_in_another_order_is_the_same_version() {
    let shuffled = "[limits]\nturns_max = 20\n[model]\nmax_tokens = 1_024\nname = \"claude-sonnet-5-5\"\n";

    let shuffled = applied(&format!("name = \"desk\"\n{shuffled}")).agent;

    assert_eq!(digest_text(&shuffled), digest_text(&applied(SHORTEST).agent));
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_stumble(text in any::<String>(), toml in "([a-z.\"\\[\\]{}=, 0-9\n]|\\[\\[tool\\]\\]\n){0,60}") {
        let _ = read(&text);
        let _ = read(&toml);
    }

    #[test]
    fn no_cut_or_changed_example_makes_the_reader_stumble(from in 0..REFUND_DESK.len(), length in 0_usize..200, put in "[a-z0-9\"{}=\\[\\].\n]{0,4}") {
        let end = (from + length).min(REFUND_DESK.len());
        let (head, tail) = (REFUND_DESK.get(..from).unwrap_or(""), REFUND_DESK.get(end..).unwrap_or(""));
        if let Err(mistakes) = read(&format!("{head}{put}{tail}")) {
            prop_assert!(!mistakes.is_empty());
            prop_assert!(mistakes.windows(2).all(|pair| pair[0].line <= pair[1].line));
        }
    }
}
