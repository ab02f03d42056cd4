//! Cancelling a run that is being driven.

use super::{Bench, agent, answering, asked, calling, function};
use longhaul_tests::world::World;
use rehearsal::{Answer, Rule, Script};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;
use worker::Functions;

/// A model that would take minutes for its answer.
fn slow() -> Script {
    let answer = Answer::text("word ".repeat(60)).between_events(Duration::from_secs(20));
    Script::new().rule(Rule::always().answers(answer))
}

async fn a_stream_is_cut(notifications: bool) {
    let world = World::new(slow()).await;
    world.apply(&agent("")).await;
    let mut config = world.config("worker A");
    config.notifications = notifications;
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(config, Functions::new());
    asked(&world, 1).await;
    let cancelled = Instant::now();

    world.engine.cancel_run(run, Some("enough"), Some("ada")).await.unwrap();
    let ended = world.settled(run).await;

    assert!(
        cancelled.elapsed() < Duration::from_secs(2),
        "{:?}",
        cancelled.elapsed()
    );
    assert_eq!(ended.state, "cancelled");
    let journal = world.engine.journal(run).await.unwrap();
    assert_eq!((journal.len(), journal[0].state.as_str()), (1, "cancelled"));
    assert_eq!(journal[0].evidence.as_ref().unwrap()["cut"], "cancel");
    let events = world.events(run).await;
    assert_eq!(events[events.len() - 2..], ["step.cancelled", "run.cancelled"]);
    assert_eq!(world.rehearsal.asked().len(), 1);
    worker.drain().await;
}

#[tokio::test]
async fn a_cancel_cuts_a_stream_and_ends_the_run_within_two_seconds() {
    a_stream_is_cut(true).await;
}

#[tokio::test]
async fn a_cancel_cuts_a_stream_within_two_seconds_without_notifications() {
    a_stream_is_cut(false).await;
}

#[tokio::test]
async fn a_cancel_waits_for_the_call_that_is_out_and_records_its_result() {
    let world = World::new(calling([
        ("wait", json!({"text": "one"})),
        ("wait", json!({"text": "two"})),
    ]))
    .await;
    world.apply(&agent(&function("wait", "at_most_once"))).await;
    let bench = Bench::new();
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), bench.functions());
    bench.arrived(2).await;

    world.engine.cancel_run(run, None, None).await.unwrap();
    world
        .until(run, "the cancel is asked for", |run| run.cancel_requested_at.is_some())
        .await;
    // By the time a lease is extended once more, its worker has heard of the cancel.
    for _ in 0..2 {
        world.lease_extended().await;
    }
    assert_eq!(world.engine.run_detail(run).await.unwrap().state, "running");
    bench.open();
    let ended = world.settled(run).await;

    assert_eq!(ended.state, "cancelled");
    let journal = world.engine.journal(run).await.unwrap();
    let states: Vec<_> = journal.iter().map(|row| row.state.as_str()).collect();
    assert_eq!(states, ["succeeded", "succeeded", "succeeded"]);
    assert_eq!(journal[1].result.as_ref().unwrap()["content"], r#"{"waited":"one"}"#);
    assert_eq!(world.rehearsal.asked().len(), 1, "nothing is begun after a cancel");
    worker.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_cut_by_a_shutdown_on_a_cancelled_run_is_unknown() {
    let world = World::new(calling([("wait", json!({"text": "pay"}))])).await;
    world.apply(&agent(&function("wait", "idempotent"))).await;
    let bench = Bench::new();
    let run = world.start("helper", &json!("hello")).await;
    let mut config = world.config("worker A");
    config.drain_grace = Duration::from_millis(100);
    let worker = world.worker(config, bench.functions_that_are_cut_late());
    bench.arrived(1).await;

    let draining = tokio::spawn(worker.drain());
    world.lease_extended().await;
    world.engine.cancel_run(run, None, None).await.unwrap();
    // By the time a lease is extended once more, its worker has heard of the cancel.
    for _ in 0..2 {
        world.lease_extended().await;
    }
    assert_eq!(world.engine.run_detail(run).await.unwrap().state, "running");
    bench.open();
    draining.await.unwrap();

    assert_eq!(world.engine.run_detail(run).await.unwrap().state, "cancelled");
    let journal = world.engine.journal(run).await.unwrap();
    let cut = &journal[1];
    assert_eq!((cut.state.as_str(), cut.maybe_applied), ("unknown", true));
    assert_eq!(cut.evidence.as_ref().unwrap()["cut"], "cancel");
    let events = world.engine.events(run, 0, 100).await.unwrap();
    let [.., told, end] = events.as_slice() else {
        panic!("more than one event")
    };
    assert_eq!(
        (told.kind.as_str(), end.kind.as_str()),
        ("step.unknown", "run.cancelled")
    );
    assert_eq!(told.data.as_ref().unwrap().0, json!({"attempt": 1, "why": "cancel"}));
    assert_eq!(bench.ledger().len(), 1);
}

#[tokio::test]
async fn a_run_cancelled_while_nobody_held_it_is_never_driven() {
    let world = World::new(answering()).await;
    world.apply(&agent("")).await;
    let run = world.start("helper", &json!("hello")).await;
    world.engine.cancel_run(run, None, None).await.unwrap();
    let other = world.start("helper", &json!("another")).await;

    let worker = world.worker(world.config("worker A"), Functions::new());

    assert_eq!(world.settled(other).await.state, "succeeded");
    assert_eq!(world.events(run).await, ["run.started", "run.cancelled"]);
    assert_eq!(world.rehearsal.asked().len(), 1);
    worker.drain().await;
}
