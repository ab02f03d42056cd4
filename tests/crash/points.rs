//! kill -9 at each point of one run's way, with the refund declared in each way.
//!
//! Where nothing was on its way to the payments service, the declaration makes no difference. Where something was, or
//! may have been, `read_only` and `idempotent` are sent again and `at_most_once` becomes unknown.

use crate::desk::{Declared, Desk, Setting, within};
use engine::RunId;
use futures_util::future::join_all;
use longhaul_tests::process::{Start, WorkerProcess};
use longhaul_tests::world::{World, workspace_file};
use rehearsal::Script;
use rehearsal::payments::{Payments, PaymentsOptions};
use serde_json::json;
use std::path::Path;

const ORDER: &str = "ORD-1001";

/// A desk whose first worker died, and that has a second one.
struct Bereaved {
    desk: Desk,
    run: RunId,
    _heir: WorkerProcess,
}

async fn bereaved(declared: Declared, point: &str) -> Bereaved {
    let desk = Setting::of(declared).open().await;
    let run = desk.start(ORDER).await;
    desk.doomed(point).died().await;
    let heir = desk.worker("heir");
    Bereaved { desk, run, _heir: heir }
}

/// The refund is made exactly once, however it is declared: it arrives once. The model is asked so many times.
async fn dies_beside_the_refund(point: &str, asked: usize) {
    join_all(Declared::ALL.map(|declared| async move {
        let Bereaved { desk, run, _heir } = bereaved(declared, point).await;
        desk.is_refunded(run, ORDER, 1).await;
        assert_eq!(desk.world.rehearsal.asked().len(), asked, "the model's calls");
    }))
    .await;
}

/// A refund that may be repeated arrives `again` times, one that may not stays at `once`.
async fn dies_during_the_refund(point: &str, (again, once): (usize, usize)) {
    join_all(Declared::ALL.map(|declared| async move {
        let Bereaved { desk, run, _heir } = bereaved(declared, point).await;
        match declared {
            Declared::ReadOnly | Declared::Idempotent => desk.is_refunded(run, ORDER, again).await,
            Declared::AtMostOnce => desk.is_left_unknown(run, ORDER, once).await,
        }
    }))
    .await;
}

#[tokio::test]
async fn a_worker_killed_after_the_claim_has_done_nothing() {
    dies_beside_the_refund("run.claimed", 2).await;
}

#[tokio::test]
async fn a_worker_killed_before_it_calls_the_model_leaves_the_call_to_another() {
    dies_beside_the_refund("intent.committed:1", 2).await;
}

#[tokio::test]
async fn a_model_reply_that_was_read_and_not_recorded_is_asked_for_again() {
    dies_beside_the_refund("result.received:1", 3).await;
}

#[tokio::test]
async fn a_recorded_model_reply_is_not_asked_for_again() {
    dies_beside_the_refund("result.recorded:1", 2).await;
}

#[tokio::test]
async fn a_worker_killed_between_intent_and_refund_counts_as_having_sent_it() {
    dies_during_the_refund("intent.committed:2", (1, 0)).await;
}

#[tokio::test]
async fn a_refund_that_was_answered_and_not_recorded_is_repeated_only_where_it_may_be() {
    dies_during_the_refund("result.received:2", (2, 1)).await;
}

#[tokio::test]
async fn a_recorded_refund_is_never_sent_again() {
    dies_beside_the_refund("result.recorded:2", 2).await;
}

#[tokio::test]
async fn a_worker_killed_before_the_last_answer_is_recorded_repeats_no_refund() {
    dies_beside_the_refund("result.received:3", 3).await;
}

#[tokio::test]
async fn a_worker_killed_before_the_run_is_ended_repeats_nothing() {
    dies_beside_the_refund("result.recorded:3", 2).await;
}

#[tokio::test]
async fn a_worker_killed_while_the_refund_is_made_repeats_it_only_where_it_may() {
    join_all(Declared::ALL.map(|declared| async move {
        let desk = Setting::holding(declared).open().await;
        let run = desk.start(ORDER).await;
        desk.worker_with_a_refund_out("doomed").await.kill_9();
        let _heir = desk.worker("heir");
        match declared {
            Declared::ReadOnly | Declared::Idempotent => {
                desk.is_refunded(run, ORDER, 2).await;
                let workers: Vec<_> = desk.ledger(ORDER).into_iter().map(|record| record.worker).collect();
                assert_eq!(workers, [Some("doomed".to_owned()), Some("heir".to_owned())]);
            }
            Declared::AtMostOnce => desk.is_left_unknown(run, ORDER, 1).await,
        }
    }))
    .await;
}

#[tokio::test]
async fn the_demo_with_an_at_most_once_refund_parks_as_unknown() {
    let script =
        Script::from_toml(&workspace_file("examples/refund-desk/rehearsal.toml")).expect("the script is right");
    let mut world = World::new(script).await;
    let folder = tempfile::tempdir().expect("a folder");
    let payments = Payments::start(PaymentsOptions {
        hold: true,
        ..PaymentsOptions::new(folder.path().join("ledger.jsonl"))
    })
    .await
    .expect("the payments service starts");
    world.environment.insert("PAYMENTS_URL".to_owned(), payments.base_url());
    world
        .environment
        .insert("PAYMENTS_TOKEN".to_owned(), "token".to_owned());
    let file = workspace_file("examples/refund-desk/agent.toml");
    let harsher = file.replace(r#"effect = "idempotent""#, r#"effect = "at_most_once""#);
    assert_ne!(file, harsher);
    world.apply(&harsher).await;
    let input = json!({"order_id": ORDER_OF_THE_DEMO, "reason": "arrived broken"});
    let run = world.start("refund-desk", &input).await;
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/refund-desk");
    let start = |name| Start {
        working_dir: Some(Path::new(example)),
        lease_seconds: "1",
        ..Start::named(name)
    };
    let mut doomed = WorkerProcess::start(&world, &start("doomed"));
    within("the refund arrives", payments.wait_for_arrivals(1)).await;
    doomed.kill_9();

    let _heir = WorkerProcess::start(&world, &start("heir"));
    let parked = world.settled(run).await;

    assert_eq!(parked.state, "waiting", "{parked:#?}");
    assert_eq!(parked.wait_reason.as_deref(), Some("unknown_outcome"));
    let refused = world
        .engine
        .resume_run(run, None, None)
        .await
        .expect_err("a resume is refused");
    assert_eq!(refused.code(), "unknown_outcome");
    world.events(run).await;
    assert_eq!(payments.ledger().len(), 1);
}

const ORDER_OF_THE_DEMO: &str = "ORD-1007";
