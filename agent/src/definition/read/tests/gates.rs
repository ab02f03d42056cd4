use super::*;
use crate::gate::{Breaker, Rate};

/// A file with one tool; `lines` begin in line 11, within the tool's table.
fn tool(lines: &str) -> String {
    format!(
        "{SHORTEST}[[tool]]\nname = \"t\"\nkind = \"command\"\nargv = [\"cat\"]\ndescription = \"Looks an order up. Use it first, not to search.\"\n\
         input = {{ type = \"object\", required = [\"a\"], properties = {{ a = {{ type = \"string\", description = \"A\" }}, b = {{ type = \"string\", description = \"B\" }} }} }}\n{lines}\n"
    )
}

#[test]
fn a_tool_has_a_breaker_and_no_limit_where_nothing_is_said() {
    let agent = applied(&tool("")).agent;
    assert_eq!(agent.tools[0].breaker, Breaker::default());
    assert_eq!(agent.model.breaker, Breaker::default());
    assert_eq!(agent.tools[0].limit, None);
    assert!(!digest_text(&agent).contains("breaker"), "what is usual is not stored");
}

#[test]
fn a_tools_breaker_and_limit_are_read() {
    let lines = "breaker = { failures = 2, cooldown_seconds = 9 }\nlimit = { concurrency = 5, rate = { calls = 60, per_seconds = 30 }, key = \"{a}\" }";
    let tool = applied(&tool(lines)).agent.tools.remove(0);
    assert_eq!((tool.breaker.failures, tool.breaker.cooldown_seconds), (2, 9));
    let limit = tool.limit.unwrap();
    let rate = Rate {
        calls: 60,
        per_seconds: 30,
    };
    assert_eq!((limit.concurrency, limit.rate), (Some(5), Some(rate)));
    assert_eq!(limit.key.as_deref(), Some("{a}"));
}

#[test]
fn every_mistake_in_a_breaker_or_a_limit_is_named() {
    for (lines, found) in [
        (
            "breaker = { failures = 0 }",
            "breaker.failures: found 0, expected a whole number from 1 to 1000",
        ),
        (
            "breaker = { cooldown_seconds = 0 }",
            "breaker.cooldown_seconds: found 0",
        ),
        (
            "breaker = { failure = 5 }",
            "breaker.failure: found an unknown key, expected failures",
        ),
        (
            "breaker = { enabled = false, failures = 5 }",
            "breaker.enabled: found false beside numbers",
        ),
        ("breaker = 5", "breaker: found 5, expected a table"),
        ("limit = {}", "limit: found nothing"),
        ("limit = { concurrency = 0 }", "limit.concurrency: found 0"),
        (
            "limit = { rate = { calls = 60 } }",
            "limit.rate.per_seconds: found nothing",
        ),
        (
            "limit = { rate = { calls = 1001, per_seconds = 60 } }",
            "limit.rate.calls: found 1001",
        ),
        (
            "limit = { concurrency = 1, key = \"{c}\" }",
            "limit.key: found {c}, which is no field of the input",
        ),
        (
            "limit = { concurrency = 1, key = \"{b}\" }",
            "limit.key: found {b}, which an input may leave out",
        ),
        (
            "limit = { concurrency = 1, key = \"all\" }",
            "limit.key: found \"all\", which is the same for all calls",
        ),
        (
            "limit = { concurrency = 1, key = \"{env:TOKEN}\" }",
            "limit.key: found {env:TOKEN}",
        ),
        (
            "limit = { concurrency = 1, key = \"{a\" }",
            "limit.key: found a '{' that is never closed",
        ),
    ] {
        let mistake = mistake(&tool(lines));
        assert!(mistake.contains(&format!("tool[0].{found}")), "{lines}: {mistake}");
    }
}
