use super::{ARGUMENT_BYTES_MAX, REQUEST_BYTES_MAX, environment_names, render, resolve};
use crate::definition::{
    CommandLimits, CommandTool, FunctionTool, HttpTool, OnError, RetryPolicy, SqlTool, Tool, ToolAction,
};
use crate::effect::Effect;
use crate::error::{ErrorClass, StepError};
use crate::sanitise::Sanitise;
use crate::tool::ToolRequest;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;

fn tool(action: ToolAction) -> Tool {
    Tool {
        name: "tool".to_owned(),
        description: String::new(),
        effect: Effect::AtMostOnce,
        input: None,
        strict: false,
        timeout_seconds: 30,
        retry: RetryPolicy {
            attempts_max: 3,
            initial_ms: 1_000,
            cap_ms: 30_000,
            horizon_seconds: 600,
        },
        on_error: OnError::TellModel,
        probe: None,
        cache: None,
        fallback: Vec::new(),
        after: Vec::new(),
        parallel: true,
        sanitise: Sanitise::default(),
        breaker: crate::gate::Breaker::default(),
        limit: None,
        action,
    }
}

fn http(method: &str, url: &str) -> Tool {
    tool(ToolAction::Http(HttpTool {
        method: method.to_owned(),
        url: url.to_owned(),
        headers: BTreeMap::from([("authorization".to_owned(), "Bearer {env:TOKEN}".to_owned())]),
        idempotency_header: "Idempotency-Key".to_owned(),
        allow_hosts: Vec::new(),
        connect_timeout_seconds: None,
        first_byte_timeout_seconds: None,
        idle_timeout_seconds: None,
    }))
}

fn command(argv: &[&str]) -> Tool {
    tool(ToolAction::Command(CommandTool {
        argv: argv.iter().map(|argument| (*argument).to_owned()).collect(),
        env: vec![],
        working_dir: None,
        not_applied_exit_codes: vec![],
        transient_exit_codes: vec![75],
        limits: CommandLimits::default(),
    }))
}

fn url_of(tool: &Tool, input: &Value) -> String {
    match render(tool, input).unwrap() {
        ToolRequest::Http { url, .. } => url,
        other @ (ToolRequest::Command { .. } | ToolRequest::Function { .. } | ToolRequest::Sql { .. }) => {
            panic!("{other:?}")
        }
    }
}

fn argv_of(tool: &Tool, input: &Value) -> Vec<String> {
    match render(tool, input).unwrap() {
        ToolRequest::Command { argv, .. } => argv,
        other @ (ToolRequest::Http { .. } | ToolRequest::Function { .. } | ToolRequest::Sql { .. }) => {
            panic!("{other:?}")
        }
    }
}

fn refused(tool: &Tool, input: &Value) -> StepError {
    let error = render(tool, input).unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::InvalidInput, "invalid_input"),
        "{error:?}"
    );
    error
}

#[test]
fn a_post_carries_the_whole_input_as_its_body() {
    let request = render(
        &http("POST", "{env:BASE}/orders/{id}"),
        &json!({"id": "ORD-1", "b": {"y": 1, "x": 2}}),
    )
    .unwrap();

    assert_eq!(
        request,
        ToolRequest::Http {
            method: "POST".to_owned(),
            url: "{env:BASE}/orders/ORD-1".to_owned(),
            headers: BTreeMap::from([
                ("authorization".to_owned(), "Bearer {env:TOKEN}".to_owned()),
                ("content-type".to_owned(), "application/json".to_owned()),
            ]),
            body: Some(r#"{"b":{"x":2,"y":1},"id":"ORD-1"}"#.to_owned()),
        }
    );
}

#[test]
fn a_get_carries_what_is_left_as_parameters_in_order() {
    let input = json!({"id": "ORD-1", "z": "a b&c", "list": [1, 2], "all": true, "none": null, "a": 1.5});

    let url = url_of(&http("GET", "https://shop.test/orders/{id}"), &input);

    assert_eq!(
        url,
        "https://shop.test/orders/ORD-1?a=1.5&all=true&list=%5B1%2C2%5D&z=a%20b%26c"
    );
}

#[test]
fn parameters_go_on_behind_those_of_the_template() {
    let url = url_of(
        &http("DELETE", "https://shop.test/orders?id={id}"),
        &json!({"id": "1", "force": true}),
    );

    assert_eq!(url, "https://shop.test/orders?id=1&force=true");
}

#[test]
fn a_get_has_no_body() {
    let request = render(&http("HEAD", "https://shop.test/"), &json!({})).unwrap();

    assert!(matches!(request, ToolRequest::Http { body: None, .. }));
}

#[test]
fn a_path_that_the_model_would_bend_is_refused() {
    let error = refused(
        &http("GET", "https://shop.test/orders/{id}/lines"),
        &json!({"id": ".."}),
    );

    assert!(error.message.starts_with("/id: "), "{error:?}");
    assert!(error.suggestion.is_some());
}

#[test]
fn a_reference_written_by_the_model_stays_text() {
    let tool = http("GET", "{env:BASE}/orders/{id}");
    let url = url_of(
        &tool,
        &json!({"id": "{env:TOKEN}", "q": "{env:TOKEN}", "{env:TOKEN}": "{{env:TOKEN}}"}),
    );

    assert_eq!(environment_names(&url), ["BASE"]);
    let resolved = resolve(&url, |name| (name == "BASE").then(|| "https://shop.test".to_owned())).unwrap();
    assert!(
        resolved.starts_with("https://shop.test/orders/%7Benv%3ATOKEN%7D?"),
        "{resolved}"
    );
}

#[test]
fn a_command_takes_each_field_within_one_argument() {
    let tool = command(&["awk", "-v", "id={id}", "{{print}} {id}", "{file}"]);

    let argv = argv_of(&tool, &json!({"id": "a b; rm -rf \"$HOME\"", "file": "orders.csv"}));

    assert_eq!(
        argv,
        [
            "awk",
            "-v",
            "id=a b; rm -rf \"$HOME\"",
            "{print} a b; rm -rf \"$HOME\"",
            "orders.csv"
        ]
    );
}

#[test]
fn a_reference_in_an_argument_is_text_too() {
    assert_eq!(
        argv_of(&command(&["echo", "{text}"]), &json!({"text": "{env:TOKEN}"})),
        ["echo", "{env:TOKEN}"]
    );
}

#[test]
fn a_command_gets_the_input_on_its_standard_input() {
    let request = render(&command(&["cat"]), &json!({"b": 1, "a": "ü"})).unwrap();

    assert!(matches!(request, ToolRequest::Command { stdin, .. } if stdin == r#"{"a":"ü","b":1}"#));
}

#[test]
fn a_value_that_would_read_as_an_option_is_refused() {
    for (argument, input) in [
        ("{file}", json!({"file": "--output=/etc/passwd"})),
        ("{file}", json!({"file": "-"})),
        ("{file}", json!({"file": -5})),
        ("{empty}{file}", json!({"empty": "", "file": "-x"})),
    ] {
        let error = refused(&command(&["grep", argument]), &input);
        assert!(error.message.contains("take for an option"), "{error:?}");
    }
    assert_eq!(
        argv_of(&command(&["cut", "-d{by}", "-{by}"]), &json!({"by": "-"})),
        ["cut", "-d-", "--"]
    );
}

#[test]
fn a_nul_character_starts_no_program() {
    refused(&command(&["cat", "x{file}"]), &json!({"file": "a\0b"}));
}

#[test]
fn a_function_gets_the_inputs_text() {
    let tool = tool(ToolAction::Function(FunctionTool {
        function: "convert".to_owned(),
    }));

    let request = render(&tool, &json!({"b": 1, "a": 2})).unwrap();

    let expected = ToolRequest::Function {
        function: "convert".to_owned(),
        input: r#"{"a":2,"b":1}"#.to_owned(),
    };
    assert_eq!(request, expected);
}

#[test]
fn a_request_that_is_too_large_is_refused() {
    let text = "x".repeat(REQUEST_BYTES_MAX);
    for tool in [
        http("POST", "https://shop.test/"),
        http("GET", "https://shop.test/"),
        command(&["cat"]),
    ] {
        assert!(refused(&tool, &json!({ "text": text })).message.contains("at most"));
    }
    refused(
        &command(&["echo", "{text}"]),
        &json!({"text": "x".repeat(ARGUMENT_BYTES_MAX + 1)}),
    );
    render(
        &command(&["echo", "{text}"]),
        &json!({"text": "x".repeat(ARGUMENT_BYTES_MAX)}),
    )
    .unwrap();
}

#[test]
fn an_input_that_is_no_object_is_refused() {
    refused(&command(&["cat"]), &json!([]));
}

#[test]
fn a_template_that_read_would_have_refused_ends_the_run() {
    for tool in [
        http("GET", "https://{host}/"),
        command(&["echo", "{env:TOKEN}"]),
        command(&["echo", "{"]),
    ] {
        let error = render(&tool, &json!({"host": "evil.test"})).unwrap_err();
        assert_eq!(
            (error.class, error.code.as_str(), error.fatal),
            (ErrorClass::Permanent, "bad_template", true)
        );
    }
}

#[test]
fn references_are_resolved_in_one_pass() {
    let lookup = |name: &str| Some(format!("<{name} {{env:B}}>"));

    assert_eq!(resolve("a {env:A} {{env:B}}", lookup).unwrap(), "a <A {env:B}> {env:B}");
}

#[test]
fn a_missing_secret_is_named_and_ends_the_run() {
    let error = resolve("Bearer {env:TOKEN}", |_| None).unwrap_err();

    assert_eq!(
        (error.class, error.code.as_str(), error.fatal),
        (ErrorClass::Permanent, "missing_secret", true)
    );
    assert!(error.message.contains("TOKEN"), "{error:?}");
    assert!(error.suggestion.unwrap().contains("TOKEN"));
}

#[test]
fn a_text_that_is_no_reference_text_is_not_resolved() {
    for text in ["{id}", "{", "}", "{env:}"] {
        assert_eq!(
            resolve(text, |_| Some(String::new())).unwrap_err().code,
            "bad_template",
            "{text}"
        );
    }
}

#[test]
fn environment_names_come_once_each_and_in_order() {
    assert_eq!(environment_names("{env:B}/{env:A}/{env:B}/{{env:C}}"), ["B", "A"]);
    assert!(environment_names("{env:B} {").is_empty());
}

proptest! {
    #[test]
    fn no_input_ever_asks_for_a_secret(text in "[{}env:TOKNBASE%/]{0,30}", any in any::<String>()) {
        for value in [&text, &any] {
            for method in ["GET", "POST"] {
                let input = json!({"id": format!("x{value}"), value.as_str(): value});
                let Ok(ToolRequest::Http { url, .. }) = render(&http(method, "{env:BASE}/o/{id}"), &input) else { continue };
                let asked = RefCell::new(Vec::new());
                let resolved = resolve(&url, |name| {
                    asked.borrow_mut().push(name.to_owned());
                    Some("https://shop.test".to_owned())
                }).unwrap();
                prop_assert_eq!(asked.into_inner(), ["BASE"]);
                prop_assert!(resolved.starts_with("https://shop.test/o/x"));
            }
        }
    }

    #[test]
    fn a_field_never_makes_a_second_argument(text in any::<String>()) {
        if let Ok(ToolRequest::Command { argv, .. }) = render(&command(&["echo", "{text}", "end"]), &json!({"text": text})) {
            prop_assert_eq!(argv, ["echo", text.as_str(), "end"]);
        }
    }
}

#[test]
fn a_statements_fields_become_parameters_and_the_statement_stays_as_it_is() {
    let statement =
        "insert into sale (customer, note, cents, paid, tags) values ({customer}, {note}, {cents}, {paid}, {tags})";
    let sql = tool(ToolAction::Sql(SqlTool {
        statement: statement.to_owned(),
        database: None,
        row_limit: 10,
    }));
    let input = json!({
        "customer": "'); drop table sale; --", "cents": 4200, "paid": true, "tags": ["a", {"b": null}], "else": 1, "note": null,
    });

    let parameters = [
        ("cents", Some("4200")),
        ("customer", Some("'); drop table sale; --")),
        ("note", None),
        ("paid", Some("true")),
        ("tags", Some(r#"["a",{"b":null}]"#)),
    ];
    let parameters = parameters.map(|(name, text)| (name.to_owned(), text.map(str::to_owned)));
    let expected = ToolRequest::Sql {
        database: None,
        statement: statement.to_owned(),
        parameters: parameters.into(),
    };
    assert_eq!(render(&sql, &input).unwrap(), expected);
    let nothing = render(&sql, &json!({})).unwrap();
    assert!(matches!(nothing, ToolRequest::Sql { parameters, .. } if parameters.values().all(Option::is_none)));
    assert_eq!(refused(&sql, &json!({"note": "\0"})).code, "invalid_input");
}
