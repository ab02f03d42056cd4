//! kill -9 around waits for signals: each signal is taken once and in its order, and signal or timeout is decided once.

use crate::tale::Tales;
use engine::RunId;
use futures_util::future::join_all;
use serde_json::{Value, json};

/// By the numbers of the steps that took them, in the order of their coming.
async fn taken_by(tales: &Tales, run: RunId) -> Value {
    let taken = "
        select coalesce(jsonb_agg(taken_by order by at, id), '[]') from longhaul_audit.signal where run_id = $1";
    tales.world.sql(taken, run).await
}

#[tokio::test]
async fn signals_are_taken_once_and_in_order_wherever_their_worker_dies() {
    join_all(
        ["wait.begun", "signal.taken", "signal.taken:2", "task.recorded"].map(|point| async move {
            let tales = Tales::new().await;
            let waits = json!([
                Tales::waits_for("item"),
                Tales::waits_for("item"),
                Tales::waits_for("go")
            ]);
            let run = tales.start(waits).await;
            tales.send(run, "item", 1).await;
            tales.send(run, "item", 2).await;
            tales.dies_at(point).await;

            let _heir = tales.worker("heir");
            tales.send(run, "go", 3).await;

            tales.comes_to(run, json!([1, 2, 3])).await;
            assert_eq!(taken_by(&tales, run).await, json!([1, 2, 3]), "{point}");
        }),
    )
    .await;
}

#[tokio::test]
async fn a_signal_that_comes_while_no_worker_lives_is_taken_by_the_next() {
    let tales = Tales::new().await;
    let run = tales
        .start(json!([Tales::waits_for("item"), {"do": "nap", "millis": 1}]))
        .await;
    tales.dies_at("run.parked").await;
    tales.send(run, "item", 7).await;

    let _heir = tales.worker("heir");

    tales.comes_to(run, json!([7, "slept"])).await;
    let events = tales.world.events(run).await;
    assert!(!events.contains(&"run.reclaimed".to_owned()), "{events:?}");
}

#[tokio::test]
async fn a_timeout_that_was_not_decided_leaves_the_wait_to_a_signal_and_one_that_was_does_not() {
    let hurried = json!([{"do": "wait", "name": "item", "millis": 300}, Tales::waits_for("go")]);
    let cases = [
        ("wait.expiring", json!([7, 8]), json!([1, 2])),
        ("wait.timed_out", json!([null, 8]), json!([null, 2])),
    ];
    join_all(cases.map(|(point, told, taken)| {
        let hurried = hurried.clone();
        async move {
            let tales = Tales::new().await;
            let run = tales.start(hurried).await;
            tales.dies_at(point).await;
            tales.send(run, "item", 7).await;
            tales.send(run, "go", 8).await;

            let _heir = tales.worker("heir");

            tales.comes_to(run, told).await;
            assert_eq!(taken_by(&tales, run).await, taken, "{point}");
        }
    }))
    .await;
}
