//! Tools that are SQL statements.

use super::{agent, calling, failure, request, results, told};
use engine::RunId;
use longhaul_tests::world::World;
use serde_json::{Value, json};
use sqlx::PgPool;
use std::collections::BTreeMap;
use worker::{Config, Functions, SettingsOfTools};

/// A tool with these keys, whose input is these fields.
fn sql(name: &str, keys: &str, fields: &[&str]) -> String {
    let fields: String = fields
        .iter()
        .map(|name| format!("[tool.input.properties.{name}]\ndescription = \"Whatever it is\"\n"))
        .collect();
    format!(
        r#"
[[tool]]
name = "{name}"
description = "Use it in tests of the engine. Never use it for anything else."
kind = "sql"
retry = {{ attempts_max = 2, initial_ms = 10, cap_ms = 20 }}
{keys}
[tool.input]
type = "object"
{fields}
"#
    )
}

/// A tool that sells, in the engine's own database.
fn sells(statement: &str) -> String {
    let keys = format!("effect = \"transactional\"\nstatement = '''{statement}'''");
    sql("sell", &keys, &["item", "cents", "tags", "paid"])
}

const SELL: &str =
    "insert into sale (item, cents, tags, paid) values ({item}, {cents}, {tags}, {paid}) returning id, cents";

const TABLE: &str = "create table public.sale (
    id bigint generated always as identity, item text not null unique, cents numeric check (cents >= 0), tags jsonb, paid boolean)";

async fn shop(calls: impl IntoIterator<Item = (&'static str, Value)>, tools: &str) -> (World, PgPool) {
    let world = World::new(calling(calls)).await;
    let pool = world.database.pool().await;
    sqlx::query(TABLE).execute(&pool).await.unwrap();
    world.apply(&agent(tools)).await;
    (world, pool)
}

async fn sales(pool: &PgPool) -> Value {
    sqlx::query_scalar("select coalesce(jsonb_agg(to_jsonb(sale) - 'id' order by id), '[]') from sale")
        .fetch_one(pool)
        .await
        .unwrap()
}

/// One run to its end; what the model was told of its calls.
async fn told_of(world: &World, config: Config) -> (RunId, Vec<(String, bool)>) {
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(config, Functions::new());
    let ended = world.settled(run).await;
    assert_eq!(ended.state, "succeeded", "{ended:#?}");
    world.events(run).await;
    worker.drain().await;
    (run, results(&request(world, 1)))
}

fn read(result: &(String, bool)) -> Value {
    assert!(!result.1, "an error: {result:?}");
    serde_json::from_str(&result.0).unwrap()
}

#[tokio::test]
async fn a_tool_writes_where_its_result_is_recorded_and_no_input_is_ever_part_of_its_statement() {
    let evil = "x'); drop table sale; --";
    let call = json!({"item": evil, "cents": 12.5, "tags": {"a": [1, null]}, "paid": true});
    let (world, pool) = shop(
        [("sell", call), ("sell", json!({"item": "hat", "cents": null}))],
        &sells(SELL),
    )
    .await;

    let (run, told) = told_of(&world, world.config("worker A")).await;

    let first = read(&told[0]);
    assert_eq!(
        sales(&pool).await.as_array().unwrap().len(),
        2,
        "null and absent are null, and types are what the table wants"
    );
    assert!(sales(&pool).await.to_string().contains("drop table sale"));
    assert_eq!((&first["count"], &first["rows"][0]["cents"]), (&json!(1), &json!(12.5)));
    assert_eq!(first["metadata"]["source"], "longhaul");
    let steps = world
        .sql(
            "select jsonb_agg(jsonb_build_array(effect, state, attempt) order by seq) from longhaul.step
             where run_id = $1 and kind = 'tool'",
            run,
        )
        .await;
    assert_eq!(
        steps,
        json!([["transactional", "succeeded", 1], ["transactional", "succeeded", 1]])
    );
}

#[tokio::test]
async fn a_value_is_not_cut_to_one_letter_where_a_column_has_a_length() {
    let keys = "effect = \"transactional\"\nstatement = '''insert into money (code, flags) values ({code}, {flags}) \
                returning code, flags::text as flags'''";
    let calls = [("pay", json!({"code": "EUR", "flags": "0110"}))];
    let (world, pool) = shop(calls, &sql("pay", keys, &["code", "flags"])).await;
    sqlx::query("create table public.money (code char(3), flags bit(4))")
        .execute(&pool)
        .await
        .unwrap();

    let (_, told) = told_of(&world, world.config("worker A")).await;

    assert_eq!(read(&told[0])["rows"], json!([{"code": "EUR", "flags": "0110"}]));
}

#[tokio::test]
async fn what_writes_through_a_function_comes_to_its_end_however_few_rows_are_shown() {
    let keys = "effect = \"transactional\"\nrow_limit = 3\nstatement = '''select sold(n) as n from generate_series(1, 50) as n'''";
    let (world, pool) = shop([("sell_all", json!({}))], &sql("sell_all", keys, &[])).await;
    sqlx::raw_sql(
        "create function public.sold(n integer) returns integer language sql
         begin atomic insert into sale (item, cents) values (n::text, n) returning cents::integer; end",
    )
    .execute(&pool)
    .await
    .unwrap();

    let (_, told) = told_of(&world, world.config("worker A")).await;

    let told = read(&told[0]);
    assert_eq!((&told["count"], &told["truncated"]), (&json!(3), &json!(true)));
    assert_eq!(sales(&pool).await.as_array().unwrap().len(), 50);
}

#[tokio::test]
async fn what_the_database_refuses_is_told_and_nothing_is_written() {
    let tools = sells(SELL)
        + &sql(
            "typo",
            "effect = \"transactional\"\nstatement = \"insert into sail values ({item})\"",
            &["item"],
        )
        + &sql(
            "raise",
            "effect = \"transactional\"\nstatement = \"insert into sale (item) select refuse({item})\"",
            &["item"],
        );
    let calls = [
        ("sell", json!({"item": "hat", "cents": -1})),
        ("sell", json!({"item": "hat", "cents": "many"})),
        ("sell", json!({"item": null})),
        ("typo", json!({"item": "hat"})),
        ("raise", json!({"item": "hat"})),
    ];
    let (world, pool) = shop(calls, &tools).await;
    let function = "create function public.refuse(item text) returns text language plpgsql as
        $$ begin insert into sale (item) values (item || '!'); raise exception 'no % today', item; end $$";
    sqlx::query(function).execute(&pool).await.unwrap();

    let (_, results) = told_of(&world, world.config("worker A")).await;

    let codes: Vec<String> = results.iter().map(told).collect();
    assert_eq!(
        codes,
        [
            "constraint_violated",
            "value_refused",
            "constraint_violated",
            "statement_refused",
            "raised"
        ]
    );
    assert!(results[4].0.contains("no hat today"), "{:?}", results[4]);
    assert_eq!(sales(&pool).await, json!([]));
}

#[tokio::test]
async fn no_tool_writes_into_the_engines_own_tables_by_whatever_way() {
    let tools = sql(
        "meddle",
        "effect = \"transactional\"\nstatement = \"insert into sale (item) select meddle()\"",
        &[],
    ) + &sql(
        "blunder",
        "effect = \"transactional\"\nstatement = \"update run set priority = 7 where true\"",
        &[],
    );
    let (world, pool) = shop([("meddle", json!({})), ("blunder", json!({}))], &tools).await;
    let function = "create function public.meddle() returns text language plpgsql as
        $$ begin update longhaul.run set priority = 7; return 'x'; end $$";
    sqlx::query(function).execute(&pool).await.unwrap();

    let (run, results) = told_of(&world, world.config("worker A")).await;

    assert_eq!(told(&results[0]), "engine_tables_written");
    assert_eq!(
        told(&results[1]),
        "statement_refused",
        "no schema of the engine's is looked into"
    );
    assert_eq!(sales(&pool).await, json!([]));
    let priority = world
        .sql("select to_jsonb(priority) from longhaul.run where id = $1", run)
        .await;
    assert_ne!(priority, json!(7));
}

#[tokio::test]
async fn tools_write_as_the_role_and_where_the_configuration_says() {
    let (world, pool) = shop(
        [("sell", json!({"item": "hat"})), ("peek", json!({}))],
        &(sells("insert into sale (item) values ({item}) returning current_user::text as who")
            + &sql(
                "peek",
                "effect = \"transactional\"\nstatement = \"select secret from vault\"",
                &[],
            )),
    )
    .await;
    let role = format!("clerk_{}", engine::WorkerId::new().0.simple());
    for statement in [
        format!("create role {role}"),
        "create schema shop".to_owned(),
        "create table shop.sale (item text)".to_owned(),
        "create table shop.vault (secret text)".to_owned(),
        format!("grant usage on schema shop to {role}"),
        format!("grant insert, select on shop.sale to {role}"),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(&pool)
            .await
            .unwrap();
    }
    let mut config = world.config("worker A");
    config.tool_settings = SettingsOfTools {
        role: Some(role.clone()),
        search_path: Some("shop".to_owned()),
    };

    let (_, results) = told_of(&world, config).await;

    assert_eq!(read(&results[0])["rows"][0]["who"], json!(role));
    assert_eq!(told(&results[1]), "statement_refused", "{:?}", results[1]);
    assert_eq!(sales(&pool).await, json!([]), "it went into the schema that was named");
    let cleanup = format!("drop schema shop cascade; drop owned by {role}; drop role {role}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(cleanup))
        .execute(&pool)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_role_that_is_not_there_fails_the_run_and_no_model_is_told() {
    let (world, _pool) = shop([("sell", json!({"item": "hat"}))], &sells(SELL)).await;
    let run = world.start("helper", &json!("hello")).await;
    let mut config = world.config("worker A");
    config.tool_settings.role = Some("nobody_has_this_role".to_owned());
    let worker = world.worker(config, Functions::new());

    let failed = world.settled(run).await;

    assert_eq!(
        (failed.state.as_str(), failure(&failed).as_str()),
        ("failed", "sql_settings")
    );
    assert_eq!(world.rehearsal.asked().len(), 1);
    worker.drain().await;
}

#[tokio::test]
async fn a_cancel_that_meets_a_tools_transaction_leaves_neither_write_nor_result() {
    let (world, pool) = shop([("sell", json!({"item": "hat"}))], &sells(SELL)).await;
    let mut held = pool.begin().await.unwrap();
    sqlx::query("lock table sale in share mode")
        .execute(&mut *held)
        .await
        .unwrap();
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), Functions::new());
    waits_for_a_lock(&pool).await;

    world.engine.cancel_run(run, None, None).await.unwrap();
    held.rollback().await.unwrap();

    assert_eq!(world.settled(run).await.state, "cancelled");
    assert_eq!(sales(&pool).await, json!([]));
    let state = "select to_jsonb(state::text) from longhaul.step where run_id = $1 and kind = 'tool'";
    assert_eq!(world.sql(state, run).await, json!("cancelled"));
    world.events(run).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_worker_that_is_gone_before_its_tools_commit_leaves_neither_and_the_next_one_writes_once() {
    let (world, pool) = shop([("sell", json!({"item": "hat"}))], &sells(SELL)).await;
    let mut held = pool.begin().await.unwrap();
    sqlx::query("lock table sale in share mode")
        .execute(&mut *held)
        .await
        .unwrap();
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), Functions::new());
    waits_for_a_lock(&pool).await;
    worker.vanish();
    held.rollback().await.unwrap();
    let worker = world.worker(world.config("worker B"), Functions::new());

    assert_eq!(world.settled(run).await.state, "succeeded");

    assert_eq!(sales(&pool).await.as_array().unwrap().len(), 1);
    world.events(run).await;
    worker.drain().await;
}

/// Waits until somebody in this database waits for a lock.
async fn waits_for_a_lock(pool: &PgPool) {
    super::until(async || {
        sqlx::query_scalar(
            "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')",
        )
        .fetch_one(pool)
        .await
        .unwrap()
    })
    .await;
}

/// A tool that reads another database.
fn asks(statement: &str, more: &str) -> String {
    let keys = format!("effect = \"read_only\"\ndatabase = \"crm\"\nstatement = '''{statement}'''\n{more}");
    sql("ask", &keys, &["id", "seconds"])
}

fn with_crm(world: &World) -> Config {
    let mut config = world.config("worker A");
    // The test's own database serves as another one.
    config.databases = BTreeMap::from([("crm".to_owned(), world.database.url.clone())]);
    config
}

#[tokio::test]
async fn a_database_of_the_configuration_is_read_within_its_row_limit() {
    let statement =
        "select n, 12345678901234567890.1200::numeric as exact from generate_series(1, {id}) as n where n < {id}";
    let (world, _) = shop([("ask", json!({"id": 100}))], &asks(statement, "row_limit = 3")).await;

    let (run, results) = told_of(&world, with_crm(&world)).await;

    let answer = read(&results[0]);
    assert_eq!((&answer["count"], &answer["truncated"]), (&json!(3), &json!(true)));
    assert_eq!(answer["metadata"]["source"], "crm");
    assert!(results[0].0.contains("12345678901234567890.1200"), "{}", results[0].0);
    let evidence = "select evidence::jsonb from longhaul.step where run_id = $1 and kind = 'tool'";
    assert_eq!(world.sql(evidence, run).await["rows"], json!(3));
}

#[tokio::test]
async fn rows_beyond_what_a_model_is_shown_are_cut_by_their_size() {
    let statement =
        "select n, repeat('x', case n when 3 then 3000000 else 100000 end) as text from generate_series(1, 9) as n";
    let (world, _) = shop([("ask", json!({}))], &asks(statement, "")).await;

    let (_, results) = told_of(&world, with_crm(&world)).await;

    let answer = read(&results[0]);
    assert_eq!((&answer["count"], &answer["truncated"]), (&json!(2), &json!(true)));
}

#[tokio::test]
async fn what_reads_cannot_write_and_a_slow_statement_is_ended_by_its_time() {
    let (world, pool) = shop(
        [("ask", json!({"id": 1})), ("slow", json!({"seconds": 60}))],
        &(asks("select public.sneak({id}::text)", "")
            + &asks("select pg_sleep({seconds})", "timeout_seconds = 1\n")
                .replace("name = \"ask\"", "name = \"slow\"")),
    )
    .await;
    let function = "create function public.sneak(item text) returns text language sql as
        $$ insert into public.sale (item) values ($1) returning item $$";
    sqlx::query(function).execute(&pool).await.unwrap();

    let (run, results) = told_of(&world, with_crm(&world)).await;

    assert_eq!(told(&results[0]), "statement_refused", "{:?}", results[0]);
    assert_eq!(sales(&pool).await, json!([]));
    let slow: Value = serde_json::from_str(&results[1].0).unwrap();
    assert_eq!(
        (&slow["code"], &slow["bound_by"], &slow["timeout_ms"]),
        (&json!("tool_timeout"), &json!("call"), &json!(1000))
    );
    let attempts = "select to_jsonb(attempt) from longhaul.step where run_id = $1 and name = 'slow'";
    assert_eq!(
        world.sql(attempts, run).await,
        json!(2),
        "it was tried again, as what reads may be"
    );
}

#[tokio::test]
async fn a_run_that_failed_for_a_missing_database_goes_on_where_it_is_configured() {
    let (world, _) = shop([("ask", json!({"id": 1}))], &asks("select {id}::int as id", "")).await;
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("without it"), Functions::new());
    let failed = world.settled(run).await;
    assert_eq!(
        (failed.state.as_str(), failure(&failed).as_str()),
        ("failed", "missing_database")
    );
    worker.drain().await;

    world
        .engine
        .resume_run(run, Some("it is configured"), None)
        .await
        .unwrap();
    let worker = world.worker(with_crm(&world), Functions::new());
    world
        .until(run, "the run succeeds", |run| run.state == "succeeded")
        .await;

    assert_eq!(read(&results(&request(&world, 1))[0])["rows"][0]["id"], json!(1));
    worker.drain().await;
}
