//! What a tool says of calls that fail, of their order, and of what is changed in them.

use super::*;
use crate::fallback::{CachePolicy, Escalation, Fallback, Priority};
use crate::sanitise::{Change, Rule};

/// A file with a tool `look`, with these lines, and a tool `pay` with those.
fn desk(look: &str, pay: &str) -> String {
    let description = "description = \"Looks an order up. Use it first, not to search.\"\nkind = \"function\"";
    let input = "input = { type = \"object\", additionalProperties = false, properties = { id = { type = \"string\", \
                 description = \"The number\" } } }";
    format!(
        "{SHORTEST}[[tool]]\nname = \"look\"\neffect = \"read_only\"\n{description}\n{input}\n{look}\n\
         [[tool]]\nname = \"pay\"\neffect = \"at_most_once\"\n{description}\n{input}\n{pay}\n"
    )
}

#[test]
fn a_cache_has_defaults_and_is_for_tools_that_change_nothing() {
    let cache = |text: &str| applied(&desk(text, "")).agent.tools[0].cache.clone().unwrap();

    let default = CachePolicy {
        ttl_seconds: 300,
        stale_on_error_seconds: 0,
        per_requester: false,
    };
    assert_eq!(cache("cache = {}"), default);
    let all = cache("cache = { ttl_seconds = 60, stale_on_error_seconds = 3600, per_requester = true }");
    assert_eq!(
        (all.ttl_seconds, all.stale_on_error_seconds, all.per_requester),
        (60, 3_600, true)
    );
    for (look, pay, expected) in [
        (
            "",
            "cache = {}",
            "tool[1].cache: found a cache for a tool that is at_most_once",
        ),
        ("cache = { ttl_seconds = 0 }", "", "tool[0].cache.ttl_seconds: found 0"),
        (
            "cache = { stale_on_error_seconds = 5 }",
            "",
            "tool[0].cache.stale_on_error_seconds: found 5, below ttl_seconds",
        ),
        ("cache = { ttl = 5 }", "", "tool[0].cache.ttl: found an unknown key"),
    ] {
        let told = mistake(&desk(look, pay));
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn fallbacks_are_read_with_what_they_are_labelled() {
    let text = "fallback = [\n{ input = { id = \"{id}\" } },\n{ sampled = true, input = { id = \"{rows}\" } },\n\
                { tool = \"look\", sampled = true, rows = 500, input = { id = \"1\" }, note = \"The first.\" },\n\
                { person = { priority = \"high\" } },\n]";

    let fallbacks = applied(&desk(text, "")).agent.tools[0].fallback.clone();

    let shape: Vec<_> = fallbacks
        .iter()
        .map(|fallback| match fallback {
            Fallback::Call(call) => (
                call.tool.clone(),
                call.simplified,
                call.sample_rows,
                call.note.is_some(),
            ),
            Fallback::Person(_) => ("a person".to_owned(), false, None, false),
        })
        .collect();
    assert_eq!(
        shape,
        [
            ("look".to_owned(), true, None, false),
            ("look".to_owned(), false, Some(10_000), false),
            ("look".to_owned(), false, Some(500), true),
            ("a person".to_owned(), false, None, false),
        ]
    );
    let Some(Fallback::Person(Escalation { priority, .. })) = fallbacks.last() else {
        panic!("{fallbacks:?}")
    };
    assert_eq!(*priority, Priority::High);
}

#[test]
fn a_fallback_that_leads_nowhere_is_a_mistake() {
    for (look, expected) in [
        ("{ tool = \"nobody\" }", "fallback[0].tool: found \"nobody\""),
        (
            "{ tool = \"pay\" }",
            "fallback[0].tool: found \"pay\", which is at_most_once",
        ),
        ("{ tool = \"look\" }", "a fallback that is the same call once more"),
        (
            "{ input = { id = \"{order}\" } }",
            "{order}, which is no field of \"look\"",
        ),
        (
            "{ input = { number = \"{id}\" } }",
            "number, which is no field of \"look\"",
        ),
        ("{ input = { id = \"{env:SECRET}\" } }", "{env:SECRET}"),
        ("{ rows = 5, input = { id = \"1\" } }", "rows of what is no sample"),
        (
            "{ person = { priority = \"now\" } }",
            "fallback[0].person.priority: found \"now\"",
        ),
        (
            "{ person = {} }, { input = { id = \"1\" } }",
            "a person before other fallbacks",
        ),
        (
            "{ tool = \"look\", when = 5 }",
            "fallback[0].when: found an unknown key",
        ),
        ("7", "fallback[0]: found 7"),
    ] {
        let all = mistakes(&desk(&format!("fallback = [{look}]"), ""));
        assert!(all.iter().any(|told| told.contains(expected)), "{look}: {all:?}");
    }
}

#[test]
fn tools_that_come_after_each_other_in_a_ring_are_refused_with_the_ring() {
    let agent = applied(&desk("", "after = [\"look\"]\nparallel = false")).agent;
    assert_eq!(
        (&agent.tools[1].after, agent.tools[1].parallel),
        (&vec!["look".to_owned()], false)
    );

    let ring = mistake(&desk("after = [\"pay\"]", "after = [\"look\"]"));
    assert!(
        ring.contains("tool[0].after: found a ring: look after pay after look"),
        "{ring}"
    );
    assert!(mistake(&desk("after = [\"look\"]", "")).contains("a ring: look after look"));
    assert!(mistake(&desk("after = [\"nobody\"]", "")).contains("tool[0].after[0]: found \"nobody\""));
}

#[test]
fn rules_that_sanitise_are_read_and_broken_ones_are_mistakes() {
    let text = "[tool.sanitise]\ninput = [{ trim = true }]\noutput = [\n{ replace = '\\d{16}', with = \"[card]\" },\n\
                { redact = \"/email\" },\n{ max_chars = 9, at = \"/orders/*/note\" },\n]";

    let rules = applied(&desk(text, "")).agent.tools[0].sanitise.clone();

    assert_eq!(
        rules.input,
        [Rule {
            at: None,
            change: Change::Trim
        }]
    );
    assert_eq!(rules.output.len(), 3);
    assert_eq!(rules.output[2].at.as_deref(), Some("/orders/*/note"));
    for (rule, expected) in [
        ("{ replace = '(', with = \"\" }", "output[0].replace: found \"(\": "),
        ("{ replace = '(?=x)', with = \"\" }", "look-around"),
        ("{ replace = 'x' }", "output[0].with: found nothing"),
        ("{ redact = \"email\" }", "output[0].redact: found \"email\""),
        ("{ trim = true, max_chars = 5 }", "2 changes in one rule"),
        ("{ at = \"/x\" }", "0 changes in one rule"),
        ("{ max_chars = 0 }", "output[0].max_chars: found 0"),
        ("\"trim\"", "output[0]: found \"trim\""),
    ] {
        let all = mistakes(&desk(&format!("sanitise = {{ output = [{rule}] }}"), ""));
        assert!(all.iter().any(|told| told.contains(expected)), "{rule}: {all:?}");
    }
}

#[test]
fn calls_at_the_same_time_and_the_summary_can_be_switched_off() {
    let agent = applied(SHORTEST).agent;
    assert!(agent.limits.parallel_tool_calls && agent.summarise_failures);

    let text = format!("summarise_failures = false\n{SHORTEST}[limits]\nparallel_tool_calls = false\n");
    let agent = applied(&text).agent;
    assert!(!agent.limits.parallel_tool_calls && !agent.summarise_failures);
}
