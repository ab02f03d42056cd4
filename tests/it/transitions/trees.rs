//! Large trees: they end a batch at a time, whoever looks, and certainly once the end above is certain; and the ends of many
//! children wake their parent few times.

use super::waits::{begins_wait, child, ends, waits_for};
use crate::stage::{Stage, claim, nobody};
use chrono::TimeDelta;
use engine::limits::CHILDREN_BATCH_MAX;
use engine::{Cancelled, Claimed, Ending, Reach, RunId};
use serde_json::json;
use std::time::Duration;

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

/// A parent with two children, parked until both have ended; the children, held.
async fn waits_for_both(stage: &Stage, journal: i32) -> (RunId, Vec<Claimed>) {
    let parent = stage.claimed().await;
    let children = starts(stage, &parent, 2).await;
    let first = begins_wait(stage, &parent, json!({"run_id": children[0]})).await;
    waits_for(stage, &first, ("child", "second"), json!({"run_id": children[1]})).await;
    let run = parent.claim.run;
    sqlx::query("update longhaul.run set event_seq = event_seq + $2 where id = $1")
        .bind(run.0)
        .bind(journal)
        .execute(&stage.pool)
        .await
        .unwrap();
    (run, claim(&stage.engine, parent.claim.worker, 2).await)
}

#[tokio::test]
async fn a_parent_with_a_short_journal_is_woken_by_the_end_of_each_child_at_once() {
    let stage = Stage::new().await;
    let (run, children) = waits_for_both(&stage, 0).await;

    ends(&stage, &children[1]).await;

    assert_eq!(stage.state(run).await, "queued");
}

#[tokio::test]
async fn a_parent_with_a_long_journal_is_woken_once_for_children_that_end_together() {
    let stage = Stage::new().await;
    let (run, children) = waits_for_both(&stage, 10_000).await;

    ends(&stage, &children[1]).await;

    assert_eq!(stage.state(run).await, "waiting");
    let next = stage.engine.poll(nobody()).await.unwrap().next_due;
    assert!(next.is_some_and(|next| next <= Duration::from_secs(1)), "{next:?}");
    ends(&stage, &children[0]).await;
    // Nothing more can come.
    assert_eq!(stage.state(run).await, "queued");
    let wakes: i64 = stage.ask("select wakes from longhaul.run where id = $1", run).await;
    assert_eq!(wakes, 2);
}

#[tokio::test]
async fn a_parent_that_waits_for_more_ends_is_woken_before_long_though_none_comes() {
    let stage = Stage::new().await;
    let (run, children) = waits_for_both(&stage, 10_000).await;
    ends(&stage, &children[1]).await;
    assert_eq!(stage.state(run).await, "waiting");

    let (later, _) = stage.at(stage.now().await + TimeDelta::seconds(1));

    assert_eq!(later.wake_runs(Reach::everything()).await.unwrap(), [run]);
    assert_eq!(stage.state(run).await, "queued");
}

#[tokio::test]
async fn whom_a_childs_end_or_a_signal_wakes_is_found_without_the_runs_other_steps() {
    let stage = Stage::new().await;
    let parent = stage.claimed().await;
    let below = starts(&stage, &parent, 1).await[0];
    let run = parent.claim.run;
    waits_for(&stage, &parent, ("child", "join"), json!({"run_id": below})).await;
    stage
        .sql(
            "insert into longhaul.step
             select (jsonb_populate_record(step, jsonb_build_object(
                 'seq', 1000 + n, 'state', 'succeeded', 'ended_at', now(), 'kind', case n % 2 when 0 then 'task' else 'child' end,
                 'request_digest', longhaul.digest(n::text)))).*
             from longhaul.step
             cross join generate_series(1, 3000) as n
             where run_id = $1",
            run,
        )
        .await;

    for told in [
        "select longhaul.child_ended($1, $2)::text",
        "select longhaul.send_signal($1, $2::text)::text",
    ] {
        let mut transaction = stage.pool.begin().await.unwrap();
        sqlx::query(told)
            .bind(run.0)
            .bind(below.0)
            .execute(&mut *transaction)
            .await
            .unwrap();
        let read: i64 = sqlx::query_scalar(
            "select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint
             from pg_stat_xact_user_tables
             where schemaname = 'longhaul' and relname like 'step%'",
        )
        .fetch_one(&mut *transaction)
        .await
        .unwrap();
        assert!(read <= 2, "{told} reads {read} steps");
        transaction.rollback().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_tells_a_child_before_its_parent_may_be_told_of_a_deadlock_and_who_goes_down_is_not() {
    let stage = Stage::new().await;
    let top = stage.claimed().await;
    let below = starts(&stage, &top, 1).await[0];
    let tell = async |transaction: &mut sqlx::Transaction<'static, sqlx::Postgres>, run: RunId| {
        let told = sqlx::query("select longhaul.send_signal($1, 'go', signal_id => gen_random_uuid()::text)::text")
            .bind(run.0)
            .execute(&mut **transaction)
            .await;
        let code = |error: sqlx::Error| error.as_database_error().and_then(|error| error.code().map(Into::into));
        told.map(|_| ()).map_err(|error| code(error).unwrap_or_default())
    };
    for (first, then, deadlocks) in [(below, top.claim.run, true), (top.claim.run, below, false)] {
        let mut application = stage.pool.begin().await.unwrap();
        tell(&mut application, first).await.unwrap();
        let mut other = stage.pool.begin().await.unwrap();
        // As a child's end does, and its cancel.
        let down = async {
            let above = tell(&mut other, top.claim.run).await;
            let told: Result<(), String> = match above {
                Ok(()) => tell(&mut other, below).await,
                Err(error) => Err(error),
            };
            other.commit().await.ok();
            told
        };
        let up = async {
            stage.until_blocked().await;
            let told = tell(&mut application, then).await;
            application.commit().await.ok();
            told
        };
        let (down, up) = tokio::join!(down, up);

        let codes: Vec<String> = [down, up].into_iter().filter_map(Result::err).collect();
        let expected: &[&str] = if deadlocks { &["40P01"] } else { &[] };
        assert_eq!(codes, expected);
    }
}
