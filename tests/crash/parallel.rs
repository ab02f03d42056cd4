//! kill -9 between the results of two calls of one turn.

use crate::desk::{Declared, Desk, Setting, assert_one_key, refund, refund_of};
use engine::RunId;
use futures_util::future::join_all;
use rehearsal::{Answer, Rule, Script};

/// One of two refunds is recorded, the other one's answer is held back, and the worker dies.
async fn killed_between_two_results(declared: Declared) -> (Desk, RunId) {
    let both = refund("ORD-1001").call("refund", refund_of("ORD-1002"));
    let setting = Setting {
        script: Script::new()
            .rule(Rule::on_turn(1).answers(both))
            .rule(Rule::on_turn(2).answers(Answer::text("Both are refunded."))),
        ..Setting::holding(declared)
    };
    let desk = setting.open().await;
    let run = desk.start("both").await;
    // The first result is the model's.
    desk.doomed("result.recorded:2").died().await;
    (desk, run)
}

/// The order whose refund is held, and the one that was answered.
fn orders(desk: &Desk) -> (String, String) {
    let ledger = desk.payments.ledger();
    (ledger[0].order_id.clone(), ledger[1].order_id.clone())
}

#[tokio::test]
async fn of_two_parallel_refunds_only_the_unrecorded_one_is_sent_again() {
    join_all([Declared::ReadOnly, Declared::Idempotent].map(|declared| async move {
        let (desk, run) = killed_between_two_results(declared).await;
        let _heir = desk.worker("heir");

        let ended = desk.world.settled(run).await;

        assert_eq!(ended.state, "succeeded", "{ended:#?}");
        let (held, answered) = orders(&desk);
        assert_eq!(desk.ledger(&answered).len(), 1);
        let held = desk.ledger(&held);
        assert_eq!(held.len(), 2);
        assert_one_key(&held);
        assert!(held[0].applied);
        if declared == Declared::Idempotent {
            assert!(!held[1].applied);
        }
        desk.is_whole(run).await;
    }))
    .await;
}

#[tokio::test]
async fn of_two_parallel_at_most_once_refunds_one_keeps_its_result_and_one_is_unknown() {
    let (desk, run) = killed_between_two_results(Declared::AtMostOnce).await;
    let _heir = desk.worker("heir");

    let parked = desk.world.settled(run).await;

    assert_eq!(parked.state, "waiting", "{parked:#?}");
    assert_eq!(parked.wait_reason.as_deref(), Some("unknown_outcome"));
    let (held, answered) = orders(&desk);
    assert_ne!(held, answered);
    assert_eq!(desk.payments.ledger().len(), 2);
    let mut states: Vec<_> = desk.refunds(run).await.into_iter().map(|row| row.state).collect();
    states.sort();
    assert_eq!(states, ["succeeded", "unknown"]);
    desk.is_whole(run).await;
}
