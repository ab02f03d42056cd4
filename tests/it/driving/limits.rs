//! Bounds on a run: turns, calls of a turn, and time.

use super::{Bench, agent, failure, function, request, results, told};
use longhaul_tests::world::World;
use rehearsal::{Answer, Rule, Script};
use serde_json::json;
use std::time::Duration;
use worker::Functions;

#[tokio::test]
async fn calls_beyond_the_cap_of_a_turn_are_answered_without_being_made() {
    let calls = ["one", "two", "three"]
        .into_iter()
        .map(|text| ("note", json!({"text": text})));
    let world = World::new(super::calling(calls)).await;
    let tables = format!(
        "[limits]\ntool_calls_per_turn_max = 2\n{}",
        function("note", "idempotent")
    );
    world.apply(&agent(&tables)).await;
    let bench = Bench::new();
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), bench.functions());

    assert_eq!(world.settled(run).await.state, "succeeded");

    let mut words = bench.words();
    words.sort();
    assert_eq!(words, ["one", "two"]);
    let results = results(&request(&world, 1));
    assert_eq!(results.len(), 3, "every call is answered");
    assert_eq!(
        results[..2],
        [("noted one".to_owned(), false), ("noted two".to_owned(), false)]
    );
    assert_eq!(told(&results[2]), "tool_call_limit");
    worker.drain().await;
}

#[tokio::test]
async fn on_the_last_turn_tools_are_switched_off() {
    let script = Script::new()
        .rule(Rule::always().tools_off().answers(Answer::text("I must answer now.")))
        .rule(Rule::always().answers(Answer::calling("note", json!({"text": "again"}))));
    let world = World::new(script).await;
    let tables = format!("[limits]\nturns_max = 3\n{}", function("note", "idempotent"));
    world.apply(&agent(&tables)).await;
    let bench = Bench::new();
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), bench.functions());

    let ended = world.settled(run).await;

    assert!(ended.result.unwrap().contains("I must answer now."));
    assert_eq!(world.rehearsal.asked().len(), 3);
    assert_eq!(request(&world, 1)["tool_choice"]["type"], "auto");
    assert_eq!(request(&world, 2)["tool_choice"]["type"], "none");
    assert_eq!(bench.ledger().len(), 2);
    worker.drain().await;
}

#[tokio::test]
async fn a_model_that_calls_tools_though_they_are_off_fails_the_run() {
    let script = Script::new().rule(Rule::always().answers(Answer::calling("note", json!({"text": "again"}))));
    let world = World::new(script).await;
    let tables = format!("[limits]\nturns_max = 1\n{}", function("note", "idempotent"));
    world.apply(&agent(&tables)).await;
    let bench = Bench::new();
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), bench.functions());

    let ended = world.settled(run).await;

    assert_eq!(
        (ended.state.as_str(), failure(&ended).as_str()),
        ("failed", "tools_were_off")
    );
    assert!(bench.ledger().is_empty());
    worker.drain().await;
}

#[tokio::test]
async fn a_run_ends_when_its_time_is_over_whatever_it_waits_for() {
    let slow = Answer::text("word ".repeat(60)).between_events(Duration::from_secs(20));
    let script = Script::new()
        .rule(Rule::always().text_contains("slow").answers(slow))
        .rule(
            Rule::always()
                .text_contains("limited")
                .answers(Answer::failing(rehearsal::ErrorAnswer {
                    status: 429,
                    retry_after_seconds: Some(3_000),
                    ..rehearsal::ErrorAnswer::default()
                })),
        )
        .rule(Rule::always().answers(Answer::text("?").stopping_for("new_reason")));
    let world = World::new(script).await;
    world.apply(&agent("[limits]\nwall_clock_seconds = 1")).await;
    let mut runs = Vec::new();
    for input in ["slow", "limited", "person"] {
        runs.push(world.start("helper", &json!(input)).await);
    }
    let worker = world.worker(world.config("worker A"), Functions::new());

    for run in runs {
        let ended = world.until(run, "the run ends", |run| run.ended_at.is_some()).await;

        assert_eq!(
            (ended.state.as_str(), failure(&ended).as_str()),
            ("failed", "deadline_exceeded")
        );
        let overdue = ended.ended_at.unwrap() - ended.deadline_at.unwrap();
        assert!(overdue >= chrono::TimeDelta::zero(), "not before its time: {overdue}");
        assert!(overdue < chrono::TimeDelta::seconds(2), "{overdue}");
        world.events(run).await;
    }
    worker.drain().await;
}
