//! One agent run from its start to its end.

use longhaul_tests::world::{World, workspace_file};
use rehearsal::Script;
use rehearsal::payments::{Payments, PaymentsOptions};
use serde_json::json;
use worker::Functions;

#[tokio::test]
async fn the_refund_desk_looks_up_checks_refunds_and_answers() {
    let script =
        Script::from_toml(&workspace_file("examples/refund-desk/rehearsal.toml")).expect("the script is right");
    let mut world = World::new(script).await;
    let folder = tempfile::tempdir().expect("a folder");
    let payments = Payments::start(PaymentsOptions::new(folder.path().join("ledger.jsonl")))
        .await
        .expect("payments");
    world.environment.insert("PAYMENTS_URL".into(), payments.base_url());
    world.environment.insert("PAYMENTS_TOKEN".into(), "token".into());
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/refund-desk");
    let file = workspace_file("examples/refund-desk/agent.toml")
        .replace("working_dir = \".\"", &format!("working_dir = {example:?}"));
    world.apply(&file).await;
    let run = world
        .start(
            "refund-desk",
            &json!({"order_id": "ORD-1007", "reason": "arrived broken"}),
        )
        .await;
    let worker = world.worker(world.config("worker A"), Functions::new());

    let ended = world.settled(run).await;

    let events = world.events(run).await;
    assert_eq!(
        ended.state,
        "succeeded",
        "{ended:#?} {events:#?} {:#?}",
        world.engine.journal(run).await
    );
    assert!(ended.result.expect("a result").contains("EUR 42.50"));
    let refunds = payments.ledger();
    assert_eq!(refunds.len(), 1);
    assert!(refunds[0].applied);
    assert_eq!(refunds[0].order_id, "ORD-1007");
    let roles: Vec<String> = world
        .engine
        .transcript(run)
        .await
        .expect("a transcript")
        .into_iter()
        .map(|message| message.role)
        .collect();
    assert_eq!(
        roles,
        ["user", "assistant", "tool", "tool", "assistant", "tool", "assistant"]
    );
    worker.drain().await;
}
