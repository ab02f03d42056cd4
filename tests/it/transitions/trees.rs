//! The end of a tree: a batch at a time, whoever looks, and certain once the end above it is.

use super::waits::child;
use crate::stage::{Stage, claim, nobody};
use engine::limits::CHILDREN_BATCH_MAX;
use engine::{Cancelled, Claimed, Ending, RunId};

async fn starts(stage: &Stage, parent: &Claimed, number: usize) -> Vec<RunId> {
    let mut started = Vec::new();
    for key in 0..number {
        let child = child(&format!("{} {key}", parent.claim.run));
        started.push(stage.engine.start_child(&parent.claim, &child).await.unwrap());
    }
    started
}

/// How many of a run's children have been cancelled, or asked to end.
async fn told(stage: &Stage, parent: RunId) -> i64 {
    stage
        .ask(
            "select count(*) from longhaul.run where parent_id = $1 and cancel_requested_at is not null",
            parent,
        )
        .await
}

async fn is_swept(stage: &Stage) -> bool {
    !stage.engine.poll(nobody()).await.unwrap().sweepable
}

#[tokio::test]
async fn a_tree_too_large_for_one_statement_is_cancelled_batch_by_batch() {
    let stage = Stage::new().await;
    let top = stage.claimed().await;
    let most = usize::try_from(CHILDREN_BATCH_MAX).unwrap();
    let held = starts(&stage, &top, 1).await[0];
    let mid = claim(&stage.engine, top.claim.worker, 1).await.pop().unwrap();
    assert_eq!(mid.claim.run, held);
    let below = starts(&stage, &mid, 3).await;
    // The first one again.
    let children = starts(&stage, &top, 1 + most + 20).await;
    assert_eq!(children[0], held);
    let run = top.claim.run;

    let cancelled = stage.engine.cancel_run(run, Some("enough"), Some("ann")).await;

    assert_eq!(cancelled.unwrap(), Cancelled::Requested);
    assert_eq!(told(&stage, run).await, i64::from(CHILDREN_BATCH_MAX));
    assert!(!is_swept(&stage).await);
    let mut left = 0;
    loop {
        match stage.engine.sweep_children().await.unwrap() {
            0 => break,
            some => left += some,
        }
    }
    assert_eq!(left, 1 + 20 + below.len());
    assert!(is_swept(&stage).await);
    for child in children.into_iter().skip(1).chain(below) {
        assert_eq!(stage.events(child).await, ["run.started", "run.cancelled"]);
    }
    assert_eq!(stage.state(held).await, "running");
    let why: String = stage
        .ask(
            "select string_agg(distinct cancel_requested_by || ': ' || cancel_reason, ', ') from longhaul.run
             where tree_id = $1",
            run,
        )
        .await;
    assert_eq!(why, "ann: enough");
    // One for the cancel, and one for each child that has ended.
    let wakes: i64 = stage.ask("select wakes from longhaul.run where id = $1", run).await;
    assert_eq!(wakes, 1 + i64::from(CHILDREN_BATCH_MAX) + 20);
}

#[tokio::test]
async fn a_holder_ends_a_large_tree_before_its_run_batch_by_batch() {
    let stage = Stage::new().await;
    let top = stage.claimed().await;
    let most = usize::try_from(CHILDREN_BATCH_MAX).unwrap();
    starts(&stage, &top, most + 20).await;

    assert!(stage.engine.cancel_children(&top.claim, "the end").await.unwrap());

    let count = i64::try_from(most + 20).unwrap();
    assert_eq!(told(&stage, top.claim.run).await, count);
    let ending = Ending::Succeeded("1".to_owned());
    let ended = stage.engine.finish_run(&top.claim, top.event_seq, &ending).await;
    assert!(ended.unwrap());
    assert!(is_swept(&stage).await);
}

#[tokio::test]
async fn what_a_run_left_behind_as_it_ended_is_cancelled_by_whoever_looks() {
    let stage = Stage::new().await;
    let top = stage.claimed().await;
    let below = starts(&stage, &top, 1).await[0];
    assert!(is_swept(&stage).await);
    let ending = Ending::Succeeded("1".to_owned());
    let ended = stage.engine.finish_run(&top.claim, top.event_seq, &ending).await;
    assert!(ended.unwrap());

    assert!(!is_swept(&stage).await);
    assert_eq!(stage.engine.sweep_children().await.unwrap(), 1);

    assert!(is_swept(&stage).await);
    assert_eq!(stage.state(below).await, "cancelled");
    let why: String = stage
        .ask(
            "select cancel_requested_by || ': ' || cancel_reason from longhaul.run where id = $1",
            below,
        )
        .await;
    assert_eq!(why, format!("run {}: its parent is succeeded", top.claim.run));
}

#[tokio::test]
async fn a_child_whose_row_somebody_has_holds_up_the_end_of_no_other() {
    let stage = Stage::new().await;
    let top = stage.claimed().await;
    let children = starts(&stage, &top, 3).await;
    let mut application = stage.pool.begin().await.unwrap();
    sqlx::query("select from longhaul.run where id = $1 for update")
        .bind(children[1].0)
        .execute(&mut *application)
        .await
        .unwrap();

    stage.engine.cancel_run(top.claim.run, None, None).await.unwrap();

    assert_eq!(told(&stage, top.claim.run).await, 2);
    assert_eq!(stage.engine.sweep_children().await.unwrap(), 0);
    assert!(!is_swept(&stage).await);
    application.rollback().await.unwrap();
    assert_eq!(stage.engine.sweep_children().await.unwrap(), 1);
    assert!(is_swept(&stage).await);
    assert_eq!(stage.state(children[1]).await, "cancelled");
}

#[tokio::test]
async fn children_that_were_spared_are_left_alone_for_good() {
    let stage = Stage::new().await;
    let top = stage.claimed().await;
    let below = starts(&stage, &top, 1).await[0];

    let spared = stage.engine.cancel_run_alone(top.claim.run, None, None).await;

    assert_eq!(spared.unwrap(), Cancelled::Requested);
    assert!(is_swept(&stage).await);
    let ended = stage
        .engine
        .finish_run(&top.claim, top.event_seq, &Ending::Cancelled)
        .await;
    assert!(ended.unwrap());
    assert!(is_swept(&stage).await);
    assert_eq!(stage.engine.sweep_children().await.unwrap(), 0);
    assert_eq!(stage.state(below).await, "queued");
}
