//! Time limits around calls: the smallest ends them, and is named.

use super::{Bench, agent, calling, function, request, results, told};
use engine::{RunId, StartRun};
use longhaul_tests::world::World;
use serde_json::{Value, json};
use std::time::Duration;
use worker::{Config, Functions};

/// A tool that sleeps for so long, and may take so long.
fn sleeps(name: &str, effect: &str, timeout_seconds: u32) -> String {
    format!(
        r#"
[[tool]]
name = "{name}"
description = "Use it in tests of the engine. Never use it for anything else."
kind = "command"
effect = "{effect}"
argv = ["sleep", "{{seconds}}"]
timeout_seconds = {timeout_seconds}
retry = {{ attempts_max = 3, initial_ms = 10, cap_ms = 20 }}
[tool.input]
type = "object"
required = ["seconds"]
[tool.input.properties.seconds]
type = "number"
description = "How long"
"#
    )
}

/// The settings of a worker that keeps its lease on a busy machine.
fn patient(world: &World) -> Config {
    let mut config = world.config("worker A");
    config.lease = Duration::from_secs(60);
    config
}

fn read(result: &(String, bool)) -> Value {
    serde_json::from_str(&result.0).expect("an error result is JSON")
}

/// From the first intent of a turn's calls to the end of the last of these, by the database's clock.
async fn took(world: &World, run: RunId, name: &'static str) -> Duration {
    let journal = world.engine.journal(run).await.unwrap();
    let tools = || journal.iter().filter(|row| row.kind == "tool");
    let began = tools().filter_map(|row| row.started_at).min().unwrap();
    let ended = tools()
        .filter(|row| row.name == name)
        .filter_map(|row| row.attempt_ended_at)
        .max();
    (ended.unwrap() - began).to_std().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn five_tools_of_two_seconds_take_two_and_one_that_hangs_or_fails_costs_the_others_nothing() {
    let two = || ("nap", json!({"seconds": 2}));
    let calls = [
        two(),
        two(),
        ("stuck", json!({"seconds": 600})),
        two(),
        ("fails", json!({"seconds": 0})),
        two(),
        two(),
    ];
    let world = World::new(calling(calls)).await;
    let fails = sleeps("fails", "read_only", 60).replace("[\"sleep\", \"{seconds}\"]", "[\"false\"]");
    let tools = sleeps("nap", "read_only", 60) + &sleeps("stuck", "at_most_once", 8) + &fails;
    world.apply(&agent(&tools)).await;
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(patient(&world), Functions::new());

    // The one that hangs may have done something, so it waits for a person; the others are done long before.
    world.settled(run).await;

    let naps = took(&world, run, "nap").await;
    println!(
        "five tools of 2 s, beside one that fails and one that hangs: {} ms",
        naps.as_millis()
    );
    assert!(naps >= Duration::from_secs(2));
    // One after the other they would take ten.
    assert!(naps < Duration::from_secs(9), "{naps:?}");
    assert!(took(&world, run, "stuck").await >= Duration::from_secs(8));
    worker.drain().await;
}

#[tokio::test]
async fn at_the_end_of_a_turns_time_its_unfinished_calls_are_timeouts_and_what_may_have_happened_is_unknown() {
    let calls = [
        ("nap", json!({"seconds": 0})),
        ("nap", json!({"seconds": 600})),
        ("pay", json!({"seconds": 600})),
    ];
    let world = World::new(calling(calls)).await;
    let tools = sleeps("nap", "read_only", 60) + &sleeps("pay", "at_most_once", 60);
    world
        .apply(&agent(&format!("[limits]\nturn_seconds = 4\n{tools}")))
        .await;
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(patient(&world), Functions::new());

    let parked = world.settled(run).await;

    assert_eq!(parked.wait_reason.as_deref(), Some("unknown_outcome"), "{parked:#?}");
    let steps = "select jsonb_agg(jsonb_build_array(state, attempt, error -> 'limit' ->> 'bound_by') order by seq)
                 from longhaul.step where run_id = $1 and kind = 'tool'";
    assert_eq!(
        world.sql(steps, run).await,
        json!([["succeeded", 1, null], ["failed", 1, "turn"], ["unknown", 1, "turn"]]),
        "none is tried again, since its turn is over"
    );
    worker.drain().await;
}

#[tokio::test]
async fn a_call_that_waits_for_its_retry_is_given_up_when_its_turn_is_over() {
    let world = World::new(calling([
        ("fails", json!({"seconds": 0})),
        ("nap", json!({"seconds": 600})),
    ]))
    .await;
    let fails = sleeps("fails", "read_only", 60)
        .replace(
            "argv = [\"sleep\", \"{seconds}\"]",
            "argv = [\"sh\", \"-c\", \"exit 75\"]",
        )
        .replace("initial_ms = 10, cap_ms = 20", "initial_ms = 600000, cap_ms = 600000");
    let tools = fails + &sleeps("nap", "read_only", 60);
    world
        .apply(&agent(&format!("[limits]\nturn_seconds = 4\n{tools}")))
        .await;
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(patient(&world), Functions::new());

    assert_eq!(world.settled(run).await.state, "succeeded");

    let results = results(&request(&world, 1));
    assert_eq!(told(&results[0]), "exit_75", "no attempt fits into the turn any more");
    let timeout = read(&results[1]);
    assert_eq!(
        (&timeout["code"], &timeout["error_type"], &timeout["bound_by"]),
        (&json!("tool_timeout"), &json!("timeout"), &json!("turn"))
    );
    assert!(
        timeout["message"].as_str().unwrap().contains("limits.turn_seconds"),
        "{timeout}"
    );
    assert!(timeout["suggestion"].is_string(), "{timeout}");
    assert!(timeout["timeout_ms"].as_u64().unwrap() <= 4_000, "{timeout}");
    worker.drain().await;
}

#[tokio::test]
async fn a_call_left_behind_by_a_worker_is_given_up_when_its_turn_is_over() {
    let world = World::new(calling([("wait", json!({"text": "a while"}))])).await;
    world
        .apply(&agent(&format!(
            "[limits]\nturn_seconds = 1\n{}",
            function("wait", "read_only")
        )))
        .await;
    let bench = Bench::new();
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), bench.functions());
    bench.arrived(1).await;
    worker.vanish();
    let worker = world.worker(world.config("worker B"), bench.functions());

    assert_eq!(world.settled(run).await.state, "succeeded");

    assert_eq!(told(&results(&request(&world, 1))[0]), "turn_timeout");
    assert_eq!(bench.words().len(), 1, "it is not made again");
    world.events(run).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_call_that_the_run_leaves_less_time_says_who_set_it() {
    let nap = sleeps("nap", "read_only", 60);
    let bound_by = async |limits: &'static str, callers: Option<Duration>| {
        let world = World::new(calling([("nap", json!({"seconds": 600}))])).await;
        world.apply(&agent(&format!("{limits}\n{nap}"))).await;
        let mut start = StartRun::new("helper", "\"hello\"");
        let pool = world.database.pool().await;
        let now: chrono::DateTime<chrono::Utc> = sqlx::query_scalar("select now()").fetch_one(&pool).await.unwrap();
        start.deadline_at = callers.map(|time| now + time);
        let run = world.engine.start_run(&start).await.unwrap().run;
        let worker = world.worker(patient(&world), Functions::new());
        world.until(run, "the run ends", |run| run.ended_at.is_some()).await;
        worker.drain().await;
        let evidence = "select evidence::jsonb -> 'limit' -> 'bound_by' from longhaul.step
                        where run_id = $1 and kind = 'tool'";
        world.sql(evidence, run).await
    };

    let (own, later) = ("[limits]\nwall_clock_seconds = 6", Some(Duration::from_secs(600)));
    let bounds = futures_util::join!(
        bound_by(own, None),
        bound_by("", Some(Duration::from_secs(6))),
        bound_by(own, later),
    );

    assert_eq!(bounds, (json!("run"), json!("caller"), json!("run")));
}
