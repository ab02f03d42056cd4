//! Runs that failed for a cause outside of them, and go on once it is mended.

use super::{Bench, agent, failure, function};
use longhaul_tests::world::World;
use rehearsal::payments::{Payments, PaymentsOptions};
use rehearsal::{Answer, Rule, Script};
use serde_json::json;
use std::net::{SocketAddr, TcpListener};

const REFUND: &str = r#"
[[tool]]
name = "refund"
description = "Use it in tests of the engine. Pays money back, and returns the number of the refund."
kind = "http"
effect = "idempotent"
method = "POST"
url = "{env:PAYMENTS_URL}/refunds"
allow_hosts = ["127.0.0.1"]
headers = { authorization = "Bearer {env:PAYMENTS_TOKEN}" }
retry = { attempts_max = 2, initial_ms = 10, cap_ms = 20 }
on_error = "fail_run"
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

/// First a note that must not be written twice, then the refund.
fn noting_then_refunding() -> Script {
    Script::new()
        .rule(Rule::on_turn(1).answers(Answer::calling("note", json!({"text": "checked"}))))
        .rule(
            Rule::on_turn(2).answers(
                Answer::calling("refund", json!({"order_id": "ORD-1", "amount_cents": 500}))
                    .call("note", json!({"text": "beside it"})),
            ),
        )
        .rule(Rule::always().answers(Answer::text("All is done.")))
}

fn tools() -> String {
    agent(&format!("{}{REFUND}", function("note", "at_most_once")))
}

#[tokio::test]
async fn a_run_that_failed_for_a_missing_secret_goes_on_where_the_secret_is() {
    let mut world = World::new(noting_then_refunding()).await;
    let folder = tempfile::tempdir().unwrap();
    let payments = Payments::start(PaymentsOptions::new(folder.path().join("ledger")))
        .await
        .unwrap();
    world.environment.insert("PAYMENTS_URL".into(), payments.base_url());
    world.apply(&tools()).await;
    let bench = Bench::new();
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("without the secret"), bench.functions());

    let failed = world.settled(run).await;
    assert_eq!(
        (failed.state.as_str(), failure(&failed).as_str()),
        ("failed", "missing_secret")
    );
    assert!(failed.error.unwrap().contains("PAYMENTS_TOKEN"), "it says which");
    assert!(payments.ledger().is_empty(), "nothing was sent");
    worker.drain().await;
    world.environment.insert("PAYMENTS_TOKEN".into(), "s3cret-token".into());
    world.engine.resume_run(run, Some("it is set"), None).await.unwrap();
    let worker = world.worker(world.config("with the secret"), bench.functions());
    let ended = world
        .until(run, "the run succeeds", |run| run.state == "succeeded")
        .await;

    assert!(ended.result.unwrap().contains("All is done."));
    assert_eq!(payments.ledger().len(), 1);
    assert_eq!(
        bench.words(),
        ["checked", "beside it"],
        "finished steps are not repeated"
    );
    let stored = world
        .sql(
            "select jsonb_agg(to_jsonb(step) || to_jsonb(run)) from longhaul.step
             join longhaul.run on run.id = step.run_id where run.id = $1",
            run,
        )
        .await;
    assert!(!stored.to_string().contains("s3cret-token"), "no secret is stored");
    worker.drain().await;
}

#[tokio::test]
async fn a_run_whose_target_refused_connections_goes_on_when_it_is_back() {
    let mut world = World::new(noting_then_refunding()).await;
    // Taken and let go again: nobody answers there until the service starts.
    let address: SocketAddr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    world
        .environment
        .insert("PAYMENTS_URL".into(), format!("http://{address}"));
    world.environment.insert("PAYMENTS_TOKEN".into(), "token".into());
    world.apply(&tools()).await;
    let bench = Bench::new();
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), bench.functions());

    let failed = world.settled(run).await;
    assert_eq!(
        (failed.state.as_str(), failure(&failed).as_str()),
        ("failed", "connection_refused")
    );
    let folder = tempfile::tempdir().unwrap();
    let payments = Payments::start_at(PaymentsOptions::new(folder.path().join("ledger")), address)
        .await
        .unwrap();
    world.engine.resume_run(run, Some("it is back"), None).await.unwrap();
    world
        .until(run, "the run succeeds", |run| run.state == "succeeded")
        .await;

    let refunds = payments.ledger();
    assert_eq!(refunds.len(), 1);
    assert_eq!(
        bench.words(),
        ["checked", "beside it"],
        "finished steps are not repeated"
    );
    let journal = world.engine.journal(run).await.unwrap();
    let tries: Vec<_> = journal
        .iter()
        .filter(|row| row.name == "refund")
        .map(|row| (row.attempt, row.state.as_str(), row.replaces_seq.is_some()))
        .collect();
    assert_eq!(
        tries,
        [(1, "failed", false), (2, "failed", false), (1, "succeeded", true)]
    );
    let keys: Vec<_> = journal
        .iter()
        .filter(|row| row.name == "refund")
        .map(|row| row.key.as_str())
        .collect();
    assert_eq!(keys[0], keys[1]);
    assert_ne!(keys[0], keys[2], "a call that failed for certain gets a new key");
    assert_eq!(refunds[0].key.as_deref(), Some(keys[2]));
    world.events(run).await;
    worker.drain().await;
}
