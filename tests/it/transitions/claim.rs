//! Claims: one holder per run, the most urgent first, and only what the worker can drive.

use crate::stage::{LEASE, Stage, claim, poller, register};
use chrono::TimeDelta;
use engine::query::Poller;
use engine::{ClaimRuns, Connect, Engine, Reach, RunId, Which};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_twenty_racing_workers_gets_the_run() {
    let stage = Stage::new().await;
    let mut connect = Connect::new(&stage.database.url, "racers");
    connect.connections_max = 20;
    let engine = Engine::connect(&connect).await.unwrap();
    for _ in 0..5 {
        let run = stage.start().await;
        let start = Arc::new(Barrier::new(20));
        let mut racers = JoinSet::new();
        for _ in 0..20 {
            let (engine, start, worker) = (engine.clone(), Arc::clone(&start), stage.worker().await);
            racers.spawn(async move {
                start.wait().await;
                claim(&engine, worker, 1).await
            });
        }

        let won: Vec<_> = racers.join_all().await.into_iter().flatten().collect();

        assert_eq!(won.len(), 1, "{won:?}");
        assert_eq!(won[0].claim.run, run);
        assert_eq!(won[0].claim.fence.0, 1);
        assert_eq!(stage.events(run).await, ["run.started", "run.claimed"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_taken_at_the_same_time_share_no_run() {
    let stage = Stage::new().await;
    let mut started = BTreeSet::new();
    for _ in 0..60 {
        started.insert(stage.start().await);
    }
    let mut takers = JoinSet::new();
    for _ in 0..4 {
        let (engine, worker) = (stage.engine.clone(), stage.worker().await);
        takers.spawn(async move {
            let mut taken = Vec::new();
            loop {
                let batch = claim(&engine, worker, 7).await;
                if batch.is_empty() {
                    return taken;
                }
                taken.extend(batch.into_iter().map(|claimed| claimed.claim.run));
            }
        });
    }

    let taken: Vec<RunId> = takers.join_all().await.into_iter().flatten().collect();

    // A taker may find everything locked for a moment and stop; what is left is still due.
    let worker = stage.worker().await;
    let left: Vec<RunId> = claim(&stage.engine, worker, 50)
        .await
        .into_iter()
        .map(|claimed| claimed.claim.run)
        .collect();
    assert_eq!(taken.len() + left.len(), 60);
    assert_eq!(taken.into_iter().chain(left).collect::<BTreeSet<_>>(), started);
}

#[tokio::test]
async fn a_claim_under_a_lease_that_is_over_takes_nothing() {
    let stage = Stage::new().await;
    let (engine, clock) = stage.at(stage.now().await + TimeDelta::seconds(1));
    let (expired, closed) = (register(&engine, LEASE).await, register(&engine, LEASE).await);
    engine.close_worker(closed).await.unwrap();
    let run = stage.start().await;

    assert!(claim(&engine, closed, 1).await.is_empty());
    clock.advance(TimeDelta::seconds(60));
    assert!(claim(&engine, expired, 1).await.is_empty());

    assert_eq!(stage.state(run).await, "queued");
    assert_eq!(stage.events(run).await, ["run.started"]);
    let unknown = engine::WorkerId::new();
    assert!(claim(&engine, unknown, 1).await.is_empty());
    let live = register(&engine, LEASE).await;
    assert_eq!(claim(&engine, live, 1).await.len(), 1);
}

#[tokio::test]
async fn runs_are_claimed_by_priority_and_then_by_due_time() {
    let stage = Stage::new().await;
    let now = stage.now().await;
    let start = async |priority: i32, seconds_ago: i64| {
        stage
            .start_with(|start| {
                start.priority = priority;
                start.due_at = Some(now - TimeDelta::seconds(seconds_ago));
            })
            .await
    };
    let late = start(100, 10).await;
    let early = start(100, 20).await;
    let last = start(1000, 60).await;
    let first = start(0, 1).await;
    let worker = stage.worker().await;

    let mut order = Vec::new();
    for _ in 0..4 {
        order.extend(claim(&stage.engine, worker, 1).await);
    }

    let order: Vec<RunId> = order.into_iter().map(|claimed| claimed.claim.run).collect();
    assert_eq!(order, [first, early, late, last]);
}

#[tokio::test]
async fn a_run_is_not_claimed_before_it_is_due_or_while_it_is_paused() {
    let stage = Stage::new().await;
    let now = stage.now().await;
    let (engine, clock) = stage.at(now);
    let worker = register(&engine, LEASE).await;
    let run = stage
        .start_with(|start| start.due_at = Some(now + TimeDelta::seconds(30)))
        .await;

    clock.advance(TimeDelta::milliseconds(29_999));
    assert!(claim(&engine, worker, 1).await.is_empty());
    stage
        .sql("update longhaul.run set paused_at = now() where id = $1", run)
        .await;
    clock.advance(TimeDelta::milliseconds(1));
    assert!(claim(&engine, worker, 1).await.is_empty());
    stage
        .sql("update longhaul.run set paused_at = null where id = $1", run)
        .await;
    assert_eq!(claim(&engine, worker, 1).await.len(), 1);
}

#[tokio::test]
async fn a_run_waits_for_a_worker_with_its_queue_its_kind_and_its_functions() {
    let stage = Stage::new().await;
    stage.apply("specialist", &["price", "stock"]).await;
    let run = stage
        .start_with(|start| {
            start.agent = "specialist".to_owned();
            start.queue = "night".to_owned();
        })
        .await;
    let worker = stage.worker().await;
    let words = |words: &[&str]| -> Vec<String> { words.iter().map(ToString::to_string).collect() };
    let offer = async |queues: &[&str], kinds: &[&str], functions: &[&str]| {
        let (queues, kinds, functions) = (words(queues), words(kinds), words(functions));
        let poll = stage.engine.poll(poller(&queues, &kinds, &functions)).await.unwrap();
        let claimed = stage
            .engine
            .claim_runs(ClaimRuns {
                worker,
                batch: 1,
                queues: &queues,
                kinds: &kinds,
                functions: &functions,
                which: Which::Ordinary,
                reach: Reach::everything(),
            })
            .await
            .unwrap();
        assert_eq!(poll.claimable, !claimed.is_empty(), "the poll and the claim agree");
        claimed.len()
    };

    assert_eq!(offer(&["default"], &["agent"], &["price", "stock"]).await, 0);
    assert_eq!(offer(&["night"], &["workflow"], &["price", "stock"]).await, 0);
    assert_eq!(offer(&["night"], &["agent"], &["price"]).await, 0);
    assert_eq!(stage.state(run).await, "queued");
    assert_eq!(
        offer(
            &["default", "night"],
            &["workflow", "agent"],
            &["more", "stock", "price"]
        )
        .await,
        1
    );
}

#[tokio::test]
async fn a_suspect_run_is_neglected_until_a_worker_that_can_drive_it_makes_room() {
    let stage = Stage::new().await;
    let run = stage.start().await;
    stage
        .sql("update longhaul.run set crashes = 2 where id = $1", run)
        .await;
    let (worker, other) = (stage.worker().await, stage.worker().await);
    let (queues, kinds) = (["default".to_owned()], ["agent".to_owned()]);
    let asks = |worker| Poller {
        worker,
        ..poller(&queues, &kinds, &[])
    };
    let (soon, _) = stage.at(stage.now().await);
    let (later, _) = stage.at(stage.now().await + TimeDelta::seconds(2));

    assert!(soon.poll(asks(worker)).await.unwrap().suspect_crashes.is_some());
    assert!(
        !soon.poll(asks(worker)).await.unwrap().neglected,
        "a free worker comes first"
    );
    assert!(later.poll(asks(worker)).await.unwrap().neglected);
    later.set_clearing(other, true).await.unwrap();
    assert!(
        !later.poll(asks(worker)).await.unwrap().neglected,
        "the other makes room"
    );
    assert!(
        later.poll(asks(other)).await.unwrap().neglected,
        "and knows that it has to"
    );
    assert!(
        later.poll(asks(worker)).await.unwrap().suspect_crashes.is_some(),
        "a free worker may take it all the same"
    );

    let (much_later, _) = stage.at(stage.now().await + TimeDelta::hours(1));
    assert!(
        much_later.poll(asks(worker)).await.unwrap().neglected,
        "a dead worker makes no room"
    );
    later.set_clearing(other, false).await.unwrap();
    assert!(later.poll(asks(worker)).await.unwrap().neglected);
}

#[tokio::test]
async fn the_suspect_that_waits_longest_goes_first_however_many_crashes_it_has_behind_it() {
    let stage = Stage::new().await;
    let (queues, kinds) = (["default".to_owned()], ["agent".to_owned()]);
    for (crashes, seconds) in [(2, 10), (4, 30), (3, 20)] {
        let run = stage.start().await;
        let suspect = "update longhaul.run set crashes = $2, due_at = now() - make_interval(secs => $3) where id = $1";
        sqlx::query(suspect)
            .bind(run.0)
            .bind(crashes)
            .bind(f64::from(seconds))
            .execute(&stage.pool)
            .await
            .unwrap();
    }
    let poll = stage.engine.poll(poller(&queues, &kinds, &[])).await.unwrap();
    assert_eq!(poll.suspect_crashes, Some(4));
}

#[tokio::test]
async fn suspects_are_claimed_in_ever_smaller_groups_of_equals() {
    let stage = Stage::new().await;
    for _ in 0..10 {
        let run = stage.start().await;
        stage
            .sql("update longhaul.run set crashes = 2 where id = $1", run)
            .await;
    }
    stage.start().await;
    let worker = stage.worker().await;
    let (queues, kinds) = (["default".to_owned()], ["agent".to_owned()]);
    for (crashes, group) in [(2, 8), (3, 3), (4, 1)] {
        let wanted = ClaimRuns {
            worker,
            batch: 64,
            queues: &queues,
            kinds: &kinds,
            functions: &[],
            which: Which::Suspects { crashes },
            reach: Reach::everything(),
        };
        let claimed = stage.engine.claim_runs(wanted).await.unwrap();
        assert_eq!(claimed.len(), group, "{crashes} crashes");
        assert!(claimed.iter().all(|run| run.crashes == crashes));
        for run in claimed {
            let worse = "update longhaul.run
                 set state = 'queued', worker_id = null, due_at = now(), crashes = crashes + 1 where id = $1";
            stage.sql(worse, run.claim.run).await;
        }
    }
    assert_eq!(claim(&stage.engine, worker, 64).await.len(), 1, "the ordinary one");
}
