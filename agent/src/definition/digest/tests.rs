use super::{canonical_text, digest_text};
use crate::definition::{
    Agent, CommandLimits, CommandTool, FunctionTool, HttpTool, Limits, Model, OnError, OnRefusal, RetryPolicy, SqlTool,
    Tool, ToolAction,
};
use crate::effect::Effect;
use crate::fallback::{CachePolicy, Escalation, Fallback, Priority, Substitute};
use crate::gate::Breaker;
use crate::sanitise::{Change, Rule, Sanitise};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1.0e9..1.0e9_f64).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(any::<String>(), inner, 0..4).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

prop_compose! {
    fn retry()(attempts_max in any::<u32>(), initial_ms in any::<u64>(), cap_ms in any::<u64>(), horizon_seconds in any::<u64>())
        -> RetryPolicy
    {
        RetryPolicy { attempts_max, initial_ms, cap_ms, horizon_seconds }
    }
}

fn action() -> impl Strategy<Value = ToolAction> {
    let http = (
        any::<String>(),
        any::<String>(),
        btree_map(any::<String>(), any::<String>(), 0..3),
        any::<String>(),
        vec(any::<String>(), 0..3),
        any::<[Option<u32>; 3]>(),
    )
        .prop_map(|(method, url, headers, idempotency_header, allow_hosts, limits)| {
            let [connect, first_byte, idle] = limits;
            ToolAction::Http(HttpTool {
                method,
                url,
                headers,
                idempotency_header,
                allow_hosts,
                connect_timeout_seconds: connect,
                first_byte_timeout_seconds: first_byte,
                idle_timeout_seconds: idle,
            })
        });
    let lists = (
        vec(any::<String>(), 0..3),
        vec(any::<String>(), 0..3),
        vec(any::<i32>(), 0..3),
        vec(any::<i32>(), 0..3),
    );
    let limits = any::<[u32; 5]>().prop_map(|[memory_mib, output_mib, scratch_mib, processes_max, open_files_max]| {
        CommandLimits {
            memory_mib,
            output_mib,
            scratch_mib,
            processes_max,
            open_files_max,
        }
    });
    let command = (lists, option::of(any::<String>()), limits).prop_map(|(lists, working_dir, limits)| {
        let (argv, env, not_applied_exit_codes, transient_exit_codes) = lists;
        ToolAction::Command(CommandTool {
            argv,
            env,
            working_dir,
            not_applied_exit_codes,
            transient_exit_codes,
            limits,
        })
    });
    let function = any::<String>().prop_map(|function| ToolAction::Function(FunctionTool { function }));
    let sql = any::<(String, Option<String>, u32)>().prop_map(|(statement, database, row_limit)| {
        ToolAction::Sql(SqlTool {
            statement,
            database,
            row_limit,
        })
    });
    prop_oneof![http, command, function, sql]
}

type Manner = (Option<CachePolicy>, Vec<Fallback>, Vec<String>, bool, Sanitise);

fn manner() -> impl Strategy<Value = Manner> {
    let cache =
        any::<(u32, u32, bool)>().prop_map(|(ttl_seconds, stale_on_error_seconds, per_requester)| CachePolicy {
            ttl_seconds,
            stale_on_error_seconds,
            per_requester,
        });
    let call = (any::<(String, bool, Option<u32>, Option<String>)>(), json_value()).prop_map(
        |((tool, simplified, sample_rows, note), value)| {
            Fallback::Call(Substitute {
                tool,
                input: Map::from_iter([("field".to_owned(), value)]),
                simplified,
                sample_rows,
                note,
            })
        },
    );
    let priority = prop::sample::select(vec![Priority::Low, Priority::Normal, Priority::High]);
    let person = (priority, any::<Option<String>>())
        .prop_map(|(priority, note)| Fallback::Person(Escalation { priority, note }));
    let change = prop_oneof![
        Just(Change::Trim),
        Just(Change::Redact),
        Just(Change::Remove),
        any::<u32>().prop_map(Change::MaxChars),
        any::<(String, String)>().prop_map(|(pattern, with)| Change::Replace { pattern, with }),
    ];
    let rules = vec(
        (any::<Option<String>>(), change).prop_map(|(at, change)| Rule { at, change }),
        0..3,
    );
    let sanitise = (rules.clone(), rules).prop_map(|(input, output)| Sanitise { input, output });
    let fallbacks = vec(prop_oneof![call, person], 0..3);
    (
        option::of(cache),
        fallbacks,
        vec(any::<String>(), 0..3),
        any::<bool>(),
        sanitise,
    )
}

prop_compose! {
    fn tool()(
        (name, description) in any::<(String, String)>(),
        effect in prop::sample::select(&Effect::ALL[..]),
        input in option::of(json_value().prop_filter("null reads as absent", |value| !value.is_null())),
        strict in any::<bool>(),
        timeout_seconds in any::<u32>(),
        retry in retry(),
        on_error in prop::sample::select(vec![OnError::TellModel, OnError::FailRun]),
        manner in manner(),
        action in action(),
    ) -> Tool {
        let (cache, fallback, after, parallel, sanitise) = manner;
        Tool {
            name, description, effect, input, strict, timeout_seconds, retry, on_error, probe: None, cache, fallback, after,
            parallel, sanitise, breaker: Breaker::default(), limit: None, action,
        }
    }
}

prop_compose! {
    fn model()(
        (name, api_version) in any::<(String, String)>(),
        (max_tokens, timeout_seconds, idle_timeout_seconds) in any::<(u32, u32, u32)>(),
        first_byte_timeout_seconds in any::<Option<u32>>(),
        stream in any::<bool>(),
        retry in retry(),
    ) -> Model {
        Model { name, api_version, max_tokens, stream, timeout_seconds, first_byte_timeout_seconds, idle_timeout_seconds, retry, breaker: Breaker::default() }
    }
}

prop_compose! {
    fn agent()(
        name in any::<String>(),
        (description, system) in any::<(Option<String>, Option<String>)>(),
        model in model(),
        (turns_max, tool_calls_per_turn_max, wall_clock_seconds) in any::<(u32, u32, u64)>(),
        turn_seconds in any::<Option<u64>>(),
        on_refusal in prop::sample::select(vec![OnRefusal::Fail, OnRefusal::Ask]),
        (summarise_failures, parallel_tool_calls) in any::<(bool, bool)>(),
        tools in vec(tool(), 0..3),
    ) -> Agent {
        let limits = Limits { turns_max, tool_calls_per_turn_max, turn_seconds, wall_clock_seconds, parallel_tool_calls };
        Agent { name, description, system, model, limits, on_refusal, summarise_failures, tools }
    }
}

/// The same value with every object's keys put in the other way round, as far as the map keeps an order at all.
fn reversed(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(reversed).collect(),
        Value::Object(fields) => {
            let reversed: Map<String, Value> = fields
                .iter()
                .rev()
                .map(|(name, field)| (name.clone(), reversed(field)))
                .collect();
            Value::Object(reversed)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

#[test]
fn keys_are_in_order_and_nothing_is_between_them() {
    let text = canonical_text(&json!({"b": [1, {"d": null, "c": "\"ü"}], "a": {}, "e": [], "1": 1.0}));

    assert_eq!(text, r#"{"1":1.0,"a":{},"b":[1,{"c":"\"ü","d":null}],"e":[]}"#);
}

proptest! {
    #[test]
    fn an_agent_comes_back_from_its_digest_text(agent in agent()) {
        let text = digest_text(&agent);
        let back: Agent = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(digest_text(&back), text);
        prop_assert_eq!(back, agent);
    }

    #[test]
    fn the_order_of_keys_makes_no_difference(value in json_value()) {
        prop_assert_eq!(canonical_text(&value), canonical_text(&reversed(&value)));
        prop_assert_eq!(serde_json::from_str::<Value>(&canonical_text(&value)).unwrap(), value);
    }
}
