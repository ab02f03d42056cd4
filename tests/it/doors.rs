//! The doors through which runs come in, from SQL and from Rust: what they take, what they refuse, and that a refusal
//! leaves nothing behind.

use crate::stage::{AGENT, Stage, refusal};
use engine::{RunId, StartRun};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::task::JoinSet;
use uuid::Uuid;

/// What a test changes in a sound start.
type Change = fn(&mut StartRun);

/// What `longhaul.start_run` says to an application: SQLSTATE and code of a refusal.
type Said = Result<(RunId, bool), (String, String)>;

/// Calls the SQL function with named arguments, as applications do.
async fn by_sql(pool: &PgPool, arguments: &str) -> Said {
    let statement = format!("select run_id, created from longhaul.start_run({arguments})");
    let row: Result<(Uuid, bool), _> = sqlx::query_as(sqlx::AssertSqlSafe(statement)).fetch_one(pool).await;
    row.map(|(run, created)| (RunId(run), created)).map_err(|error| {
        let told = error
            .as_database_error()
            .unwrap_or_else(|| panic!("{arguments:.60}: {error}"));
        (
            told.code().unwrap_or_default().into_owned(),
            told.constraint().unwrap_or_default().to_owned(),
        )
    })
}

fn no(state: &str, code: &str) -> Said {
    Err((state.to_owned(), code.to_owned()))
}

fn keyed(key: &str, input: &Value) -> StartRun {
    let mut start = StartRun::new(AGENT, input.to_string());
    start.idempotency_key = Some(key.to_owned());
    start
}

fn nested(levels: usize) -> String {
    format!("{}1{}", "[".repeat(levels), "]".repeat(levels))
}

#[tokio::test]
async fn the_same_key_with_the_same_agent_and_input_gives_the_same_run() {
    let stage = Stage::new().await;
    let first = stage
        .engine
        .start_run(&keyed("order 7", &json!({"a": 1, "b": [2.0]})))
        .await
        .unwrap();
    assert!(first.created);

    // Equal as jsonb, though not as text.
    let mut again = StartRun::new(AGENT, r#"{ "b":[2.00], "a":1 }"#);
    again.idempotency_key = Some("order 7".to_owned());
    again.queue = "another".to_owned();
    let second = stage.engine.start_run(&again).await.unwrap();
    let third = by_sql(
        &stage.pool,
        r#"agent => 'clerk', input => '{"a":1,"b":[2]}', idempotency_key => 'order 7'"#,
    )
    .await;

    assert_eq!((second.run, second.created), (first.run, false));
    assert_eq!(third, Ok((first.run, false)));
    assert_eq!(stage.events(first.run).await, ["run.started"]);
    let other_tenant = by_sql(
        &stage.pool,
        r#"agent => 'clerk', input => '{}', idempotency_key => 'order 7', tenant => 'acme'"#,
    );
    assert_eq!(
        other_tenant.await,
        no("LH404", "no_such_agent"),
        "keys are kept per tenant"
    );
}

#[tokio::test]
async fn the_same_key_with_another_input_or_agent_is_refused() {
    let stage = Stage::new().await;
    stage.apply("other", &[]).await;
    stage
        .engine
        .start_run(&keyed("order 7", &json!({"a": 1})))
        .await
        .unwrap();
    let before = stage.trace().await;

    let refused = stage.engine.start_run(&keyed("order 7", &json!({"a": 2}))).await;
    assert_eq!(refusal(refused), (409, "key_reused".to_owned()));
    let mut other = keyed("order 7", &json!({"a": 1}));
    other.agent = "other".to_owned();
    assert_eq!(
        refusal(stage.engine.start_run(&other).await),
        (409, "key_reused".to_owned())
    );
    let said = by_sql(
        &stage.pool,
        r#"agent => 'clerk', input => '[]', idempotency_key => 'order 7'"#,
    );
    assert_eq!(said.await, no("LH409", "key_reused"));

    assert_eq!(stage.trace().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_who_start_with_one_key_at_the_same_time_start_one_run() {
    let stage = Stage::new().await;
    for round in 0..5 {
        let key = format!("round {round}");
        let mut starters = JoinSet::new();
        for _ in 0..16 {
            let (engine, start) = (stage.engine.clone(), keyed(&key, &json!({"round": round})));
            starters.spawn(async move { engine.start_run(&start).await.unwrap() });
        }

        let started = starters.join_all().await;

        assert_eq!(started.iter().filter(|started| started.created).count(), 1);
        assert!(started.iter().all(|other| other.run == started[0].run));
    }
    let runs: i64 = sqlx::query_scalar("select count(*) from longhaul.run")
        .fetch_one(&stage.pool)
        .await
        .unwrap();
    assert_eq!(runs, 5);
}

#[tokio::test]
async fn a_start_that_meets_one_which_rolls_back_starts_the_run_itself() {
    let stage = Stage::new().await;
    let mut application = stage.pool.begin().await.unwrap();
    let given_up: Uuid =
        sqlx::query_scalar("select run_id from longhaul.start_run(agent => 'clerk', idempotency_key => 'k')")
            .fetch_one(&mut *application)
            .await
            .unwrap();
    let engine = stage.engine.clone();
    let waiting = tokio::spawn(async move { engine.start_run(&keyed("k", &json!({}))).await.unwrap() });
    stage.until_blocked().await;

    application.rollback().await.unwrap();

    let started = waiting.await.unwrap();
    assert!(started.created);
    assert_ne!(started.run.0, given_up);
}

#[tokio::test]
async fn a_run_started_in_a_transaction_that_rolls_back_leaves_nothing() {
    let stage = Stage::new().await;
    let before = stage.trace().await;
    let mut application = stage.pool.begin().await.unwrap();
    let run: Uuid =
        sqlx::query_scalar("select run_id from longhaul.start_run(agent => 'clerk', idempotency_key => 'k')")
            .fetch_one(&mut *application)
            .await
            .unwrap();
    sqlx::query("select longhaul.cancel_run($1)")
        .bind(run)
        .execute(&mut *application)
        .await
        .unwrap();

    application.rollback().await.unwrap();

    assert_eq!(stage.trace().await, before);
}

#[tokio::test]
async fn an_input_has_at_most_a_mebibyte_and_64_levels() {
    let stage = Stage::new().await;
    let sized = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    let mib = 1024 * 1024;
    for (input, told) in [
        (sized(mib), None),
        (sized(mib + 1), Some("input_too_large")),
        (nested(64), None),
        (nested(65), Some("input_too_deep")),
        (format!(r#"{{"a":{}}}"#, nested(63)), None),
        (format!(r#"{{"a":{}}}"#, nested(64)), Some("input_too_deep")),
        (format!(r#""{}""#, "[".repeat(100)), None),
    ] {
        let before = stage.trace().await;
        let by_rust = stage.engine.start_run(&StartRun::new(AGENT, &input)).await;
        let by_sql = by_sql(&stage.pool, &format!("agent => 'clerk', input => '{input}'")).await;
        match told {
            None => {
                by_rust.unwrap();
                by_sql.unwrap();
            }
            Some(code) => {
                assert_eq!(refusal(by_rust).1, code);
                assert_eq!(by_sql, no("LH413", code));
                assert_eq!(stage.trace().await, before);
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_sound_json_is_refused_with_a_code() {
    let stage = Stage::new().await;
    let before = stage.trace().await;
    for input in [
        r#""\ud800""#,
        r#"{"\udc00":1}"#,
        "1e1000000",
        "[1e+131073]",
        "-1E-99999",
        &format!("1{}", "0".repeat(200_000)),
    ] {
        let by_rust = stage.engine.start_run(&StartRun::new(AGENT, input)).await;
        assert_eq!(refusal(by_rust), (422, "invalid_input".to_owned()), "{input:.20}");
        let said = by_sql(&stage.pool, &format!("agent => 'clerk', input => '{input}'")).await;
        assert_eq!(said, no("LH422", "invalid_input"), "{input:.20}");
    }
    for input in ["", "{", "nul", "{}{}", "\"\0\"", &nested(200_000)] {
        let by_rust = stage.engine.start_run(&StartRun::new(AGENT, input)).await;
        assert!(["invalid_input", "input_too_deep"].contains(&refusal(by_rust).1.as_str()));
    }
    assert_eq!(stage.trace().await, before);
    // An exponent within a string is a word like others.
    stage
        .start_with(|start| start.input = r#"["1e1000000", "\"1e99999", 1e308]"#.to_owned())
        .await;
}

#[tokio::test]
async fn a_nul_in_the_input_is_replaced_and_the_replacement_is_noted() {
    let stage = Stage::new().await;
    for (input, kept, noted) in [
        (r#"{"a\u0000":"b\u0000c"}"#, r#"{"a\ufffd":"b\ufffdc"}"#, true),
        (r#"["\\u0000"]"#, r#"["\\u0000"]"#, false),
        (r#"["\\\u0000"]"#, r#"["\\\ufffd"]"#, true),
        (r#"["\u0000\u0000"]"#, r#"["\ufffd\ufffd"]"#, true),
        (r#"{ "spaced" : 1 }"#, r#"{ "spaced" : 1 }"#, false),
    ] {
        let run = stage.start_with(|start| start.input = input.to_owned()).await;

        assert_eq!(stage.engine.run_detail(run).await.unwrap().input, kept);
        let event = &stage.engine.events(run, 0, 1).await.unwrap()[0];
        assert_eq!(event.data.as_ref().unwrap()["nul_replaced"], noted, "{input}");
        let shown: Value = stage
            .ask("select input from longhaul_audit.run where run_id = $1", run)
            .await;
        assert_eq!(shown, serde_json::from_str::<Value>(kept).unwrap());
    }
}

#[tokio::test]
async fn every_refusal_has_its_code_and_leaves_nothing_behind() {
    let stage = Stage::new().await;
    let before = stage.trace().await;
    let long = "x".repeat(256);
    let labels = |labels: &str| format!("agent => 'clerk', labels => '{labels}'");
    let cases = [
        ("agent => 'nobody'".to_owned(), no("LH404", "no_such_agent")),
        (
            "agent => 'clerk', tenant => 'acme'".to_owned(),
            no("LH404", "no_such_agent"),
        ),
        (
            "agent => 'clerk', kind => 'workflow'".to_owned(),
            no("LH422", "not_an_agent"),
        ),
        ("kind => 'No Name'".to_owned(), no("LH422", "invalid_kind")),
        ("input => '{}'".to_owned(), no("LH422", "agent_missing")),
        (labels("[]"), no("LH422", "invalid_labels")),
        (labels(r#"{"a":1}"#), no("LH422", "invalid_labels")),
        (labels(r#"{"a":{}}"#), no("LH422", "invalid_labels")),
        (
            labels(&format!(r#"{{"a":"{}"}}"#, "x".repeat(8200))),
            no("LH422", "invalid_labels"),
        ),
        (
            "agent => 'clerk', priority => -1".to_owned(),
            no("LH422", "invalid_priority"),
        ),
        (
            "agent => 'clerk', priority => 1001".to_owned(),
            no("LH422", "invalid_priority"),
        ),
        ("agent => 'clerk', queue => ''".to_owned(), no("LH422", "invalid_name")),
        (
            format!("agent => 'clerk', queue => '{long}'"),
            no("LH422", "invalid_name"),
        ),
        ("agent => 'clerk', tenant => ''".to_owned(), no("LH422", "invalid_name")),
        (
            format!("agent => 'clerk', requester => '{long}'"),
            no("LH422", "invalid_name"),
        ),
        (
            "agent => 'clerk', idempotency_key => ''".to_owned(),
            no("LH422", "invalid_key"),
        ),
        (
            format!("agent => 'clerk', idempotency_key => '{long}'"),
            no("LH422", "invalid_key"),
        ),
        (
            "agent => 'clerk', history => '{}'".to_owned(),
            no("LH422", "invalid_history"),
        ),
        (
            format!("agent => 'clerk', history => '[{}]'", nested(64)),
            no("LH413", "history_too_deep"),
        ),
        (
            "agent => 'nobody', idempotency_key => 'free again'".to_owned(),
            no("LH404", "no_such_agent"),
        ),
    ];
    for (arguments, expected) in cases {
        assert_eq!(by_sql(&stage.pool, &arguments).await, expected, "{arguments:.60}");
    }
    assert_eq!(stage.trace().await, before);
    let free = by_sql(&stage.pool, "agent => 'clerk', idempotency_key => 'free again'").await;
    assert!(free.unwrap().1, "a refused start keeps no key");
}

#[tokio::test]
async fn rust_gets_the_same_refusals_as_sql() {
    let stage = Stage::new().await;
    let before = stage.trace().await;
    let nul = || "a\0b".to_owned();
    let cases: [(&str, Change); 6] = [
        ("no_such_agent", |start| start.agent = "nobody".to_owned()),
        ("invalid_priority", |start| start.priority = 1001),
        ("invalid_name", |start| start.queue = String::new()),
        ("invalid_key", |start| start.idempotency_key = Some(String::new())),
        ("invalid_history", |start| start.history = Some("{}".to_owned())),
        ("invalid_labels", |start| {
            start.labels = [("a".to_owned(), "x".repeat(8200))].into();
        }),
    ];
    for (code, change) in cases {
        let mut start = StartRun::new(AGENT, "{}");
        change(&mut start);
        assert_eq!(refusal(stage.engine.start_run(&start).await).1, code);
    }
    for field in ["agent", "queue", "tenant", "requester", "key", "label", "label name"] {
        let mut start = StartRun::new(AGENT, "{}");
        match field {
            "agent" => start.agent = nul(),
            "queue" => start.queue = nul(),
            "tenant" => start.tenant = nul(),
            "requester" => start.requester = Some(nul()),
            "key" => start.idempotency_key = Some(nul()),
            "label" => start.labels = [("a".to_owned(), nul())].into(),
            _ => start.labels = [(nul(), "a".to_owned())].into(),
        }
        let refused = stage.engine.start_run(&start).await;
        assert_eq!(refusal(refused), (422, "invalid_name".to_owned()), "NUL in {field}");
    }
    assert_eq!(stage.trace().await, before);
    // Six characters that only look like a NUL.
    stage
        .start_with(|start| start.labels = [("a".to_owned(), r"\u0000".to_owned())].into())
        .await;
}

#[tokio::test]
async fn a_run_carries_what_it_was_started_with() {
    let stage = Stage::new().await;
    let due = stage.now().await + chrono::TimeDelta::seconds(50);
    let run = stage
        .start_with(|start| {
            start.requester = Some("ada".to_owned());
            start.labels = [("team".to_owned(), "blue".to_owned())].into();
            start.priority = 7;
            start.queue = "night".to_owned();
            start.due_at = Some(due);
        })
        .await;

    let run = stage.engine.run_detail(run).await.unwrap();

    assert_eq!(
        (run.requester.as_str(), run.priority, run.queue.as_str()),
        ("ada", 7, "night")
    );
    assert_eq!((run.tenant.as_str(), run.agent_version), ("default", Some(1)));
    assert_eq!(run.labels.0["team"], "blue");
    assert_eq!(run.due_at.unwrap().timestamp_micros(), due.timestamp_micros());
    assert_eq!(
        run.deadline_at.unwrap() - run.due_at.unwrap(),
        chrono::TimeDelta::seconds(3600),
        "the agent's own limit counts from when the run may begin"
    );
}

#[tokio::test]
async fn a_run_keeps_the_version_that_was_in_force_when_it_was_started() {
    let stage = Stage::new().await;
    let first = stage.start().await;
    let definition = r#"{"name":"clerk","limits":{"wall_clock_seconds":60}}"#;
    let agent = engine::ApplyAgent {
        tenant: "default",
        name: AGENT,
        definition,
        functions: &[],
    };
    let applied = stage.engine.apply_agent(agent).await.unwrap();
    assert_eq!((applied.version, applied.added, applied.changed), (2, true, true));
    let applied = stage.engine.apply_agent(agent).await.unwrap();
    assert_eq!((applied.version, applied.added, applied.changed), (2, false, false));
    let second = stage.start().await;

    let version = async |run| stage.engine.run_detail(run).await.unwrap().agent_version;

    assert_eq!((version(first).await, version(second).await), (Some(1), Some(2)));
}

#[tokio::test]
async fn a_time_that_no_program_could_read_back_is_refused_by_every_door() {
    let stage = Stage::new().await;
    let pool = stage.database.pool().await;
    for time in ["'-infinity'", "'infinity'", "'12000-01-01'", "'1999-12-31'"] {
        for argument in ["due_at", "deadline_at"] {
            let said = by_sql(&pool, &format!("agent => '{AGENT}', {argument} => {time}")).await;
            assert_eq!(said, no("LH422", "invalid_time"), "{argument} => {time}");
        }
    }
    let past = by_sql(
        &pool,
        &format!("agent => '{AGENT}', deadline_at => now() - interval '1 s'"),
    )
    .await;
    assert_eq!(past, no("LH409", "invalid_deadline"));
    let key = format!("agent => '{AGENT}', idempotency_key => 'k'");
    let started = by_sql(&pool, &key).await.expect("started");
    let repeated = by_sql(&pool, &format!("{key}, deadline_at => now() - interval '1 s'")).await;
    assert_eq!(
        repeated,
        Ok((started.0, false)),
        "asked again after its deadline, the run is found"
    );
    for time in [
        chrono::DateTime::<chrono::Utc>::MIN_UTC,
        chrono::DateTime::<chrono::Utc>::MAX_UTC,
    ] {
        let mut start = StartRun::new(AGENT, "1");
        start.due_at = Some(time);
        assert_eq!(refusal(stage.engine.start_run(&start).await).1, "invalid_time");
    }
    let rows: i64 = sqlx::query_scalar("select count(*) from longhaul.run")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(rows, 1, "nothing half written beside the one that was started");
}

#[tokio::test]
async fn an_earlier_conversation_that_could_never_be_sent_is_refused_at_the_door() {
    let stage = Stage::new().await;
    let pool = stage.database.pool().await;
    let histories = [
        r#"[{"role":"system","content":"x"}]"#,
        r#"[{"role":"user","content":5}]"#,
        r#"[{"content":"x"}]"#,
        "[5]",
        "{}",
    ];
    for history in histories {
        let said = by_sql(&pool, &format!("agent => '{AGENT}', history => '{history}'")).await;
        assert_eq!(said, no("LH422", "invalid_history"), "{history}");
    }
}

#[tokio::test]
async fn a_batch_with_an_unknown_field_a_missing_input_or_a_wrong_type_starts_nothing() {
    let stage = Stage::new().await;
    let pool = stage.database.pool().await;
    let batches = [
        (r#"[{"agent":"clerk","key":"order-1"}]"#, "array['1'::json]"),
        (r#"[{"agent":"clerk"}]"#, "array['1'::json, '2'::json]"),
        (r#"[{"agent":"clerk","priority":"hi"}]"#, "array['1'::json]"),
        (r#"[{"agent":"clerk","due_at":"soon"}]"#, "array['1'::json]"),
        ("{}", "array['1'::json]"),
        ("[5]", "array['1'::json]"),
    ];
    for (runs, inputs) in batches {
        let statement = format!("select created from longhaul.start_runs('{runs}', {inputs})");
        let said: Result<Vec<bool>, _> = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
            .fetch_all(&pool)
            .await;
        let error = said.expect_err(runs);
        let told = error.as_database_error().expect("told by the database");
        assert_eq!(
            (told.code().unwrap().as_ref(), told.constraint()),
            ("LH422", Some("invalid_runs")),
            "{runs}"
        );
    }
    let rows: i64 = sqlx::query_scalar("select count(*) from longhaul.run")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(rows, 0);
}

async fn runs_and_keys(stage: &Stage) -> (i64, i64) {
    let counted = "select (select count(*) from longhaul.run), (select count(*) from longhaul.run_key)";
    sqlx::query_as(counted)
        .fetch_one(&stage.database.pool().await)
        .await
        .expect("rows are counted")
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_a_batch_names_its_item_and_nothing_is_started() {
    let stage = Stage::new().await;
    let spoilt: [(&str, Change); 6] = [
        ("invalid_priority", |start| start.priority = 3000),
        ("invalid_kind", |start| start.kind = "No Kind".to_owned()),
        ("no_such_agent", |start| start.agent = "nobody".to_owned()),
        ("invalid_deadline", |start| {
            start.deadline_at = chrono::DateTime::from_timestamp(1_000_000_000, 0)
        }),
        ("invalid_input", |start| start.input = "1e99999".to_owned()),
        ("key_reused", |start| start.idempotency_key = Some("taken".to_owned())),
    ];
    stage
        .engine
        .start_run(&keyed("taken", &json!(0)))
        .await
        .expect("it starts");
    for (code, spoil) in spoilt {
        let mut starts: Vec<StartRun> = (0..5).map(|n| keyed(&format!("key-{n}"), &json!(1))).collect();
        spoil(&mut starts[3]);
        let refused = stage.engine.start_runs("default", &starts).await.expect_err(code);
        assert_eq!((refused.error.code(), refused.item), (code, Some(3)));
        assert_eq!(runs_and_keys(&stage).await, (1, 1), "{code}");
    }
}

#[tokio::test]
async fn one_key_twice_in_a_batch_is_one_run_and_a_key_from_before_gives_its_run() {
    let stage = Stage::new().await;
    let keyed = |key: &str| keyed(key, &json!({"a": 1}));
    let before = stage.engine.start_run(&keyed("old")).await.expect("it starts");
    let starts = [keyed("new"), keyed("old"), keyed("new"), StartRun::new(AGENT, "2")];
    let started = stage.engine.start_runs("default", &starts).await.expect("they start");
    let created: Vec<bool> = started.iter().map(|started| started.created).collect();
    assert_eq!(created, [true, false, false, true]);
    assert_eq!((started[1].run, started[2].run), (before.run, started[0].run));
    assert_eq!(runs_and_keys(&stage).await, (3, 2));
}

#[tokio::test]
async fn starts_that_come_at_once_are_each_answered_for_themselves() {
    let stage = Stage::new().await;
    let starting = (0..60).map(|n| {
        let engine = stage.engine.clone();
        tokio::spawn(async move {
            let mut start = StartRun::new(AGENT, n.to_string());
            if n % 10 == 7 {
                start.agent = "nobody".to_owned();
            }
            (n, engine.start_run(&start).await)
        })
    });
    let pool = stage.database.pool().await;
    for started in starting.collect::<Vec<_>>() {
        let (n, started) = started.await.expect("nothing panics");
        if n % 10 == 7 {
            assert_eq!(refusal(started).1, "no_such_agent");
            continue;
        }
        let started = started.expect("it starts");
        let input: String = sqlx::query_scalar("select input::text from longhaul.run where id = $1")
            .bind(started.run.0)
            .fetch_one(&pool)
            .await
            .expect("the run is there");
        assert_eq!(input, n.to_string(), "the answer is that of its own run");
    }
    assert_eq!(runs_and_keys(&stage).await.0, 54);
}
