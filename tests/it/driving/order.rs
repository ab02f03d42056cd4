//! Calls of one turn whose tools declare an order.

use super::{Bench, agent, agent_with, calling, function, request, results};
use longhaul_tests::world::World;
use serde_json::json;

fn in_order() -> String {
    let note = function("note", "at_most_once").replace("retry =", "after = [\"wait\"]\nretry =");
    agent(&format!("{}{note}", function("wait", "idempotent")))
}

fn noting_and_waiting() -> rehearsal::Script {
    calling([("note", json!({"text": "second"})), ("wait", json!({"text": "first"}))])
}

#[tokio::test]
async fn a_call_begins_when_those_that_its_tool_comes_after_have_ended() {
    let world = World::new(noting_and_waiting()).await;
    world.apply(&in_order()).await;
    let bench = Bench::new();
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), bench.functions());

    bench.arrived(1).await;
    world.lease_extended().await;
    assert_eq!(bench.words(), ["first"], "the other one waits");
    let held = world
        .sql(
            "select jsonb_agg(jsonb_build_array(name, state, attempt) order by seq) from longhaul.step
             where run_id = $1 and kind = 'tool'",
            run,
        )
        .await;
    assert_eq!(held, json!([["note", "waiting", 0], ["wait", "running", 1]]));
    bench.open();
    assert_eq!(world.settled(run).await.state, "succeeded");

    assert_eq!(bench.words(), ["first", "second"]);
    let told: Vec<String> = results(&request(&world, 1)).into_iter().map(|(told, _)| told).collect();
    assert_eq!(
        told,
        ["noted second", r#"{"waited":"first"}"#],
        "told in the order asked"
    );
    world.events(run).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_worker_that_takes_over_keeps_to_the_order() {
    let world = World::new(noting_and_waiting()).await;
    world.apply(&in_order()).await;
    let bench = Bench::new();
    let run = world.start("helper", &json!("hello")).await;
    let lost = world.worker(world.config("worker A"), bench.functions());
    bench.arrived(1).await;
    lost.vanish();
    let worker = world.worker(world.config("worker B"), bench.functions());

    bench.arrived(2).await;
    assert_eq!(bench.words(), ["first", "first"]);
    bench.open();
    assert_eq!(world.settled(run).await.state, "succeeded");

    assert_eq!(bench.words(), ["first", "first", "second"]);
    worker.drain().await;
}

#[tokio::test]
async fn an_agent_without_parallel_calls_asks_for_one_at_a_time_and_makes_several_one_by_one() {
    let world = World::new(calling([
        ("wait", json!({"text": "first"})),
        ("note", json!({"text": "second"})),
    ]))
    .await;
    let tools = format!("{}{}", function("wait", "idempotent"), function("note", "at_most_once"));
    world
        .apply(&agent_with(
            "",
            &format!("[limits]\nparallel_tool_calls = false\n{tools}"),
        ))
        .await;
    let bench = Bench::new();
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), bench.functions());

    bench.arrived(1).await;
    world.lease_extended().await;
    assert_eq!(bench.words(), ["first"]);
    bench.open();
    assert_eq!(world.settled(run).await.state, "succeeded");

    assert_eq!(bench.words(), ["first", "second"]);
    assert_eq!(
        request(&world, 0)["tool_choice"],
        json!({"type": "auto", "disable_parallel_tool_use": true})
    );
    worker.drain().await;
}
