//! A database that goes away and comes back.

use super::{agent, answering};
use futures_util::future::join_all;
use longhaul_tests::database::{PrivateServer, TestDatabase};
use longhaul_tests::world::{PATIENCE, World};
use rehearsal::payments::{Payments, PaymentsOptions};
use rehearsal::{Answer, Rule, Script};
use serde_json::json;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use worker::Functions;

const REFUND: &str = r#"
[[tool]]
name = "refund"
description = "Use it in tests of the engine. Pays money back, and returns the number of the refund."
kind = "http"
effect = "idempotent"
method = "POST"
url = "{env:PAYMENTS_URL}/refunds"
allow_hosts = ["127.0.0.1"]
[tool.input]
type = "object"
required = ["order_id", "amount_cents"]
[tool.input.properties.order_id]
type = "string"
description = "The order"
[tool.input.properties.amount_cents]
type = "integer"
description = "How much"
"#;

/// Each run refunds its order twice in turn, slowly enough to be in the middle of it.
fn refunding() -> Script {
    let refund = |cents: i64| {
        Answer::calling("refund", json!({"order_id": "{{input.order}}", "amount_cents": cents}))
            .after(Duration::from_millis(100))
    };
    Script::new()
        .rule(Rule::on_turn(1).answers(refund(1)))
        .rule(Rule::on_turn(2).answers(refund(2)))
        .rule(Rule::always().answers(Answer::text("All is done.")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_killed_and_restarted_in_mid_work_loses_no_run_and_repeats_no_refund() {
    let server = PrivateServer::start().await;
    let mut world = World::on(TestDatabase::of(&server), refunding()).await;
    let folder = tempfile::tempdir().unwrap();
    let mut options = PaymentsOptions::new(folder.path().join("ledger"));
    options.delay = Duration::from_millis(100);
    let payments = Payments::start(options).await.unwrap();
    world.environment.insert("PAYMENTS_URL".into(), payments.base_url());
    world.apply(&agent(REFUND)).await;
    let workers = ["worker A", "worker B"].map(|name| world.worker(world.config(name), Functions::new()));
    let runs = join_all((0..8).map(|order| {
        let world = &world;
        async move { world.start("helper", &json!({"order": format!("ORD-{order}")})).await }
    }))
    .await;
    tokio::time::timeout(PATIENCE, payments.wait_for_arrivals(3))
        .await
        .expect("refunds arrive");

    server.kill_9().await;
    server.restart().await;

    for run in &runs {
        let ended = world.until(*run, "the run ends", |run| run.ended_at.is_some()).await;
        assert_eq!(ended.state, "succeeded", "{ended:#?}");
        world.events(*run).await;
    }
    let ledger = payments.ledger();
    let applied: Vec<_> = ledger.iter().filter(|record| record.applied).collect();
    let keys: BTreeSet<_> = applied.iter().map(|record| record.key.clone()).collect();
    let refunds: BTreeSet<_> = applied
        .iter()
        .map(|record| (record.order_id.clone(), record.amount_cents))
        .collect();
    assert_eq!((applied.len(), keys.len(), refunds.len()), (16, 16, 16), "{ledger:#?}");
    for worker in workers {
        worker.drain().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_starts_before_its_database_goes_on_when_it_is_there() {
    let server = PrivateServer::start().await;
    let world = World::on(TestDatabase::of(&server), answering()).await;
    world.apply(&agent("")).await;
    let run = world.start("helper", &json!("hello")).await;
    server.stop().await;
    // In the server's place: somebody who sees that the worker has tried.
    let place: SocketAddr = server
        .url()
        .rsplit_once('@')
        .and_then(|(_, place)| place.split_once('/'))
        .and_then(|(address, _)| address.parse().ok())
        .expect("a URL with an address");
    let listener = TcpListener::bind(place).await.expect("the place is free");
    let worker = world.worker(world.config("early bird"), Functions::new());
    for _ in 0..2 {
        tokio::time::timeout(PATIENCE, listener.accept())
            .await
            .expect("the worker tries")
            .expect("and is heard");
    }
    drop(listener);
    assert!(!worker.has_ended(), "it waits for the database");

    server.restart().await;

    assert_eq!(world.settled(run).await.state, "succeeded");
    worker.drain().await;
}
