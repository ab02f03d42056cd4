use super::*;
use crate::tool::CallContext;
use crate::tool::scene::noon;
use agent::definition::{OnError, RetryPolicy, Tool, ToolAction};
use agent::tool::ToolRequest;
use agent::{CallLimit, Effect};
use std::time::Duration;

fn tool(database: Option<&str>) -> Tool {
    let action = ToolAction::Sql(SqlTool {
        statement: "select {a}".into(),
        database: database.map(Into::into),
        row_limit: 10,
    });
    Tool {
        name: "ask".into(),
        description: "Asks.".into(),
        effect: Effect::ReadOnly,
        input: None,
        strict: false,
        timeout_seconds: 30,
        retry: RetryPolicy {
            attempts_max: 1,
            initial_ms: 1,
            cap_ms: 1,
            horizon_seconds: 1,
        },
        on_error: OnError::TellModel,
        probe: None,
        cache: None,
        fallback: Vec::new(),
        after: Vec::new(),
        parallel: true,
        sanitise: agent::sanitise::Sanitise::default(),
        breaker: agent::gate::Breaker::default(),
        limit: None,
        action,
    }
}

fn call<'a>(tool: &'a Tool, request: &'a ToolRequest) -> Call<'a> {
    Call {
        tool,
        request,
        key: "key",
        attempt: 1,
        limit: CallLimit::own(Duration::from_secs(30)),
        now: noon(),
        context: CallContext {
            run: "run-1".into(),
            step: 7,
            worker: "worker-a".into(),
            tenant: "acme".into(),
            requester: None,
        },
    }
}

async fn attempt(urls: &[(&str, &str)], environment: &[(&str, &str)]) -> Attempt {
    let urls = urls.iter().map(|(name, url)| ((*name).into(), (*url).into())).collect();
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()));
    let tool = tool(Some("crm"));
    let request = ToolRequest::Sql {
        database: Some("crm".into()),
        statement: "select {a}".into(),
        parameters: BTreeMap::from([("a".into(), Some("1".into()))]),
    };
    let tools = crate::tool::ToolBox::new(crate::tool::Functions::new(), Environment::of(environment.collect()))
        .with_databases(Databases::new(&urls));
    tools.call(call(&tool, &request)).await
}

#[tokio::test]
async fn a_database_that_the_worker_does_not_know_is_named_and_ends_the_run() {
    let error = attempt(&[("other", "postgres://localhost/other")], &[]).await.unsent();

    assert_eq!((error.code.as_str(), error.fatal), ("missing_database", true));
    assert!(error.message.contains("crm"), "{}", error.message);
    assert!(error.suggestion.unwrap().contains("[databases.crm]"));
}

#[tokio::test]
async fn a_database_whose_variable_is_not_set_is_a_missing_secret() {
    let error = attempt(&[("crm", "env:CRM_URL")], &[]).await.unsent();

    assert_eq!((error.code.as_str(), error.fatal), ("missing_secret", true));
    assert!(error.message.contains("CRM_URL"), "{}", error.message);
}

#[tokio::test]
async fn a_url_that_is_none_ends_the_run_and_is_not_shown() {
    let attempt = attempt(&[("crm", "env:CRM_URL")], &[("CRM_URL", "mysql://me:s3cret@host/crm")]).await;

    assert!(!format!("{attempt:?}").contains("s3cret"));
    let (error, _) = attempt.not_applied();
    assert_eq!((error.code.as_str(), error.fatal), ("invalid_database_url", true));
}

#[tokio::test]
async fn a_database_that_is_not_there_is_tried_again_and_its_password_is_not_shown() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("postgres://me:s3cret@{closed}/crm");

    let attempt = attempt(&[("crm", &url)], &[]).await;

    assert!(!format!("{attempt:?}").contains("s3cret"));
    let (error, _) = attempt.not_applied();
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Transient, "database_unavailable")
    );
}

/// SQLSTATE, message, and what they are.
const REFUSALS: [(&str, &str, ErrorClass, &str); 18] = [
    ("23505", "duplicate key", ErrorClass::UserError, "constraint_violated"),
    ("23514", "violates check", ErrorClass::UserError, "constraint_violated"),
    ("22P02", "invalid input syntax", ErrorClass::UserError, "value_refused"),
    ("22012", "division by zero", ErrorClass::UserError, "value_refused"),
    ("P0001", "we are closed", ErrorClass::UserError, "raised"),
    (
        "42P01",
        "relation does not exist",
        ErrorClass::Permanent,
        "statement_refused",
    ),
    ("42501", "permission denied", ErrorClass::Permanent, "statement_refused"),
    ("42601", "syntax error", ErrorClass::Permanent, "statement_refused"),
    (
        "42P18",
        "could not determine data type",
        ErrorClass::Permanent,
        "statement_refused",
    ),
    (
        "25006",
        "read-only transaction",
        ErrorClass::Permanent,
        "statement_refused",
    ),
    (
        "40001",
        "could not serialize",
        ErrorClass::Transient,
        "database_conflict",
    ),
    ("40P01", "deadlock detected", ErrorClass::Transient, "database_conflict"),
    ("55P03", "lock timeout", ErrorClass::Transient, "database_conflict"),
    (
        "57P01",
        "terminating connection",
        ErrorClass::Transient,
        "database_unavailable",
    ),
    (
        "53300",
        "too many connections",
        ErrorClass::Transient,
        "database_unavailable",
    ),
    (
        "08006",
        "connection failure",
        ErrorClass::Transient,
        "database_unavailable",
    ),
    (
        "57014",
        "canceling statement due to statement timeout",
        ErrorClass::Timeout,
        "tool_timeout",
    ),
    ("XX000", "internal error", ErrorClass::Permanent, "statement_failed"),
];

#[tokio::test]
async fn each_refusal_of_a_database_has_its_class() {
    let tool = tool(None);
    let request = ToolRequest::Function {
        function: String::new(),
        input: String::new(),
    };
    let limit = Limit::of(&call(&tool, &request));
    for (state, message, class, code) in REFUSALS {
        let refused = StatementError::Refused {
            state: state.into(),
            message: message.into(),
            detail: Some("Key (id)=(7) already exists.".into()),
            hint: None,
        };

        let error = judge(&refused, ("crm", &limit));

        assert_eq!(
            (error.class, error.code.as_str(), error.fatal),
            (class, code, false),
            "{state}"
        );
        assert_eq!(
            error.message.contains("Key (id)"),
            state == "23505",
            "{}",
            error.message
        );
    }
}

#[tokio::test]
async fn a_login_that_is_refused_is_told_to_no_model() {
    let tool = tool(None);
    let request = ToolRequest::Function {
        function: String::new(),
        input: String::new(),
    };
    let limit = Limit::of(&call(&tool, &request));
    for state in ["28P01", "28000", "3D000"] {
        let refused = StatementError::Refused {
            state: state.into(),
            message: "password authentication failed for user \"clerk\"".into(),
            detail: None,
            hint: None,
        };
        assert!(judge(&refused, ("crm", &limit)).fatal, "no model is told: {state}");
    }
}

#[tokio::test]
async fn rows_are_told_digit_for_digit_with_their_count_and_source() {
    let rows = Rows {
        rows: vec![r#"{"cents":12345678901234567890.1200}"#.into()],
        written: None,
        truncated: true,
    };

    let told = told(&rows, ("crm", Instant::now()));

    assert!(
        told.content.contains(r#""rows":[{"cents":12345678901234567890.1200}]"#),
        "{}",
        told.content
    );
    let read: Value = serde_json::from_str(&told.content).unwrap();
    assert_eq!((&read["count"], &read["truncated"]), (&json!(1), &json!(true)));
    assert_eq!(
        (&read["status"], &read["metadata"]["source"]),
        (&json!("success"), &json!("crm"))
    );
    assert!(read["metadata"]["query_time_ms"].is_u64());
    assert_eq!(told.notes.len(), 1);
}
