//! kill -9 around children: each is started once, its parent learns of its end, and what is to end with a run does.

use crate::tale::Tales;
use engine::RunId;
use futures_util::future::join_all;
use serde_json::json;
use std::time::Duration;

/// Every run of the tree has ended like this.
async fn all_end(tales: &Tales, run: RunId, states: &[&str]) {
    let waiting = async {
        while tales.below(run).await != states {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(longhaul_tests::world::PATIENCE, waiting)
        .await
        .is_err()
    {
        panic!("below {run} are {:?}", tales.below(run).await);
    }
}

#[tokio::test]
async fn a_child_is_started_once_and_its_parent_learns_of_its_end_wherever_a_worker_dies() {
    let points = [
        "child.started",
        "task.recorded",
        "run.ending",
        "run.ended",
        "child.joined",
    ];
    join_all(points.map(|point| async move {
        let tales = Tales::new().await;
        let run = tales
            .start(json!([Tales::child(json!([Tales::noted()])), Tales::noted()]))
            .await;
        tales.dies_at(point).await;

        let _heir = tales.worker("heir");

        tales.comes_to(run, json!([["noted"], "noted"])).await;
        let child = tales.only_child(run).await;
        tales.comes_to(child, json!(["noted"])).await;
    }))
    .await;
}

#[tokio::test]
async fn a_childs_end_that_comes_while_no_worker_lives_is_learnt_by_the_next() {
    let tales = Tales::new().await;
    let run = tales
        .start(json!([
            Tales::child(json!([Tales::waits_for("never")])),
            Tales::noted()
        ]))
        .await;
    let mut doomed = tales.worker("doomed");
    tales.parked_for(run, "child").await;
    let child = tales.only_child(run).await;
    tales.parked_for(child, "signal").await;
    doomed.kill_9();
    let cancelled = tales.world.engine.cancel_run(child, None, None).await;
    cancelled.expect("the child is cancelled");

    let _heir = tales.worker("heir");

    tales.comes_to(run, json!(["child_cancelled", "noted"])).await;
}

#[tokio::test]
async fn a_child_whose_worker_dies_is_driven_on_for_its_parent() {
    let tales = Tales::new().await;
    let run = tales
        .start(json!([Tales::child(json!([tales.held(), Tales::noted()]))]))
        .await;
    let mut doomed = tales.worker("doomed");
    tales.parked_for(run, "child").await;
    tales.called(1).await;
    doomed.kill_9();
    tales.open_the_gate();

    let _heir = tales.worker("heir");

    tales.comes_to(run, json!([["noted", "noted"]])).await;
    let events = tales.world.events(run).await;
    assert!(!events.contains(&"run.reclaimed".to_owned()), "{events:?}");
}

#[tokio::test]
async fn a_race_that_was_won_stays_won_though_a_worker_dies_once_the_losers_are_cancelled() {
    let tales = Tales::new().await;
    // Whoever looks at both after their ends sees the loser first.
    let racers = json!([[Tales::waits_for("never")], [Tales::waits_for("go")]]);
    let run = tales.start(json!([{"do": "race", "of": racers}])).await;
    let mut first = tales.worker("first");
    tales.parked_for(run, "child").await;
    let ids = tales
        .world
        .sql(
            "select jsonb_agg(id order by id) from longhaul.run where parent_id = $1",
            run,
        )
        .await;
    let racers: [RunId; 2] = serde_json::from_value(ids).expect("two children");
    for racer in racers {
        tales.parked_for(racer, "signal").await;
    }
    first.kill_9();
    let winner = tales
        .world
        .sql(
            "select to_jsonb(id) from longhaul.run
             where parent_id = $1 and input::text like '%\"go\"%'",
            run,
        )
        .await;
    let winner: RunId = serde_json::from_value(winner).expect("an id");
    tales.send(winner, "go", 1).await;
    tales.dies_at("children.cancelled").await;

    let _heir = tales.worker("heir");

    tales.comes_to(run, json!([1])).await;
    let mut states = tales.below(run).await;
    states.sort();
    assert_eq!(states, ["cancelled", "succeeded"]);
}

#[tokio::test]
async fn a_child_that_came_too_late_stays_too_late_though_a_worker_dies_once_it_is_cancelled() {
    let tales = Tales::new().await;
    let hurry = json!({"do": "hurry", "millis": 1500, "deeds": [Tales::waits_for("never")]});
    let run = tales.start(json!([hurry])).await;
    tales.dies_at("children.cancelled").await;

    let _heir = tales.worker("heir");

    tales.comes_to(run, json!(["too late"])).await;
    all_end(&tales, run, &["cancelled"]).await;
}

#[tokio::test]
async fn a_tree_that_is_cancelled_ends_to_the_last_run_though_its_workers_died() {
    join_all([true, false].map(|before| async move {
        let tales = Tales::new().await;
        let leaf = Tales::child(json!([tales.held()]));
        let run = tales.start(json!([Tales::child(json!([leaf]))])).await;
        let mut doomed = tales.worker("doomed");
        tales.parked_for(run, "child").await;
        tales.called(1).await;
        let mid = tales.only_child(run).await;
        tales.parked_for(mid, "child").await;
        if before {
            doomed.kill_9();
        }
        let cancelled = tales.world.engine.cancel_run(run, None, None).await;
        cancelled.expect("the tree is cancelled");
        doomed.kill_9();
        tales.open_the_gate();

        let _heir = tales.worker("heir");

        all_end(&tales, run, &["cancelled", "cancelled"]).await;
        assert_eq!(tales.world.settled(run).await.state, "cancelled");
        tales.world.events(run).await;
    }))
    .await;
}

#[tokio::test]
async fn a_child_that_no_record_of_its_parent_tells_of_ends_with_it() {
    let tales = Tales::new().await;
    let run = tales
        .start(json!([Tales::child(json!([Tales::waits_for("never")]))]))
        .await;
    tales.dies_at("child.started").await;
    tales.is_out_of_time(run).await;

    let _heir = tales.worker("heir");

    let ended = tales.world.settled(run).await;
    assert_eq!(ended.state, "failed", "{ended:#?}");
    all_end(&tales, run, &["cancelled"]).await;
}

#[tokio::test]
async fn a_large_tree_is_cancelled_to_the_last_run_though_a_worker_dies_meanwhile() {
    let tales = Tales::new().await;
    let run = tales
        .start(json!([Tales::child(json!([Tales::waits_for("never")]))]))
        .await;
    let mut first = tales.worker("first");
    tales.parked_for(run, "child").await;
    let child = tales.only_child(run).await;
    tales.parked_for(child, "signal").await;
    first.kill_9();
    let copied = tales
        .world
        .sql(
            "with copied as (
                 insert into longhaul.run
                 select (jsonb_populate_record(run, jsonb_build_object('id', longhaul.new_run_id()))).*
                 from longhaul.run
                 cross join generate_series(1, 450)
                 where parent_id = $1
                 returning id)
             select to_jsonb(count(*)) from copied",
            run,
        )
        .await;
    assert_eq!(copied, json!(450));
    let cancelled = tales.world.engine.cancel_run(run, None, None).await;
    cancelled.expect("the tree is cancelled");
    tales.dies_at("children.swept").await;
    let states = tales.below(run).await;
    assert_eq!(states.iter().filter(|state| *state != "cancelled").count(), 51);

    let _heir = tales.worker("heir");

    all_end(&tales, run, &["cancelled"; 451]).await;
}
