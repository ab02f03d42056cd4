//! Runs that are paused, and runs that keep losing their workers.

use engine::{Claim, ClaimRuns, Clock, Engine, Reach, Registration, RunId, Which, WorkerId};
use longhaul_tests::world::{WorkerHandle, World};
use rehearsal::{Answer, Rule, Script};
use serde_json::json;
use std::time::Duration;
use worker::Functions;

const AGENT: &str = r#"
name = "helper"
[model]
name = "claude-test"
max_tokens = 100
"#;

const LEASE: Duration = Duration::from_secs(10);

fn answering(text: &str) -> Script {
    Script::new().rule(Rule::always().answers(Answer::text(text)))
}

/// A worker without a process, whose clock the test moves.
async fn registered(engine: &Engine, name: &str) -> WorkerId {
    let id = WorkerId::new();
    let registration = Registration {
        id,
        name: name.to_owned(),
        kinds: vec!["agent".to_owned()],
        functions: Vec::new(),
        queues: vec!["default".to_owned()],
    };
    engine.register_worker(&registration, LEASE).await.expect("registered");
    id
}

async fn claim(engine: &Engine, worker: WorkerId, which: Which) -> Vec<Claim> {
    let (queues, kinds) = (["default".to_owned()], ["agent".to_owned()]);
    let wanted = ClaimRuns {
        worker,
        batch: 10,
        queues: &queues,
        kinds: &kinds,
        functions: &[],
        which,
        reach: Reach::everything(),
    };
    let claimed = engine.claim_runs(wanted).await.expect("a claim is answered");
    claimed.into_iter().map(|run| run.claim).collect()
}

/// A worker takes the run and dies.
async fn lose_a_worker(engine: &Engine, clock: &Clock, which: Which) -> usize {
    let worker = registered(engine, "doomed").await;
    let claimed = claim(engine, worker, which).await.len();
    clock.advance(chrono::TimeDelta::seconds(11));
    engine.reclaim_runs().await.expect("reclaimed");
    claimed
}

async fn one_run(world: &World) -> RunId {
    world.apply(AGENT).await;
    world.start("helper", &json!("hello")).await
}

#[tokio::test]
async fn a_run_that_lost_two_workers_is_kept_apart_and_after_five_waits_for_a_person() {
    let world = World::new(answering("done")).await;
    let run = one_run(&world).await;
    let clock =
        Clock::fixed(chrono::DateTime::<chrono::Utc>::from(std::time::UNIX_EPOCH) + chrono::TimeDelta::days(30_000));
    let engine = world.engine.with_clock(clock.clone());

    for _ in 0..2 {
        assert_eq!(lose_a_worker(&engine, &clock, Which::Ordinary).await, 1);
    }
    assert_eq!(
        lose_a_worker(&engine, &clock, Which::Ordinary).await,
        0,
        "not beside other runs"
    );
    for crashes in 2..5 {
        let suspects = Which::Suspects { crashes };
        assert_eq!(lose_a_worker(&engine, &clock, suspects).await, 1, "apart");
    }

    let parked = world.settled(run).await;
    assert_eq!(
        (parked.state.as_str(), parked.wait_reason.as_deref()),
        ("waiting", Some("crashes"))
    );
    assert_eq!(parked.crashes, 5);
    let worker = world.worker(world.config("worker A"), Functions::new());
    world
        .engine
        .resume_run(run, Some("mended"), Some("ops"))
        .await
        .expect("resumed");
    let ended = world.settled(run).await;
    assert_eq!((ended.state.as_str(), ended.crashes), ("succeeded", 0));
    world.events(run).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_paused_run_is_not_claimed_until_it_is_resumed() {
    let world = World::new(answering("done")).await;
    let run = one_run(&world).await;
    world
        .engine
        .pause_run(run, Some("holiday"), Some("ops"))
        .await
        .expect("paused");
    world
        .engine
        .pause_run(run, None, None)
        .await
        .expect("pausing twice changes nothing");

    let other = world.start("helper", &json!("not paused")).await;
    let worker = world.worker(world.config("worker A"), Functions::new());
    world.settled(other).await;
    let resting = world.engine.run_detail(run).await.expect("there");
    assert_eq!(resting.state, "queued");
    assert!(resting.paused_at.is_some());

    world.engine.resume_run(run, None, Some("ops")).await.expect("resumed");
    assert_eq!(world.settled(run).await.state, "succeeded");
    let events = world.events(run).await;
    assert_eq!(events[..3], ["run.started", "run.paused", "run.resumed"]);
    worker.drain().await;
}

/// A run whose model call is out.
async fn with_a_call_out() -> (World, RunId, WorkerHandle) {
    let script = Script::new().rule(Rule::always().answers(Answer::text("slowly").after(Duration::from_millis(700))));
    let world = World::new(script).await;
    let run = one_run(&world).await;
    let worker = world.worker(world.config("worker A"), Functions::new());
    world.rehearsal.wait_for_asked(1).await;
    (world, run, worker)
}

#[tokio::test]
async fn pausing_a_running_run_records_what_is_out_and_gives_it_back() {
    let (world, run, worker) = with_a_call_out().await;

    world
        .engine
        .pause_run(run, Some("look at it"), Some("ops"))
        .await
        .expect("paused");

    let resting = world
        .until(run, "the run is given back", |run| run.state == "queued")
        .await;
    assert!(resting.paused_at.is_some());
    let steps = world.engine.journal(run).await.expect("a journal");
    assert_eq!(
        steps[0].state, "succeeded",
        "the call that was out is recorded, not cut"
    );
    assert_eq!(world.events(run).await.last().map(String::as_str), Some("run.paused"));
    world.engine.resume_run(run, None, None).await.expect("resumed");
    assert_eq!(world.settled(run).await.state, "succeeded");
    assert_eq!(world.rehearsal.asked().len(), 1, "nothing is asked twice");
    worker.drain().await;
}

/// Kind, actor and reason of what was asked of a run, in order.
async fn requests(world: &World, run: RunId) -> serde_json::Value {
    world
        .sql(
            "select coalesce(jsonb_agg(jsonb_build_array(kind, actor, reason) order by at), '[]')
             from longhaul_audit.request where run_id = $1",
            run,
        )
        .await
}

#[tokio::test]
async fn who_paused_and_resumed_a_running_run_is_kept_though_its_holder_never_saw_it() {
    let (world, run, worker) = with_a_call_out().await;

    world
        .engine
        .pause_run(run, Some("look"), Some("ada"))
        .await
        .expect("paused");
    world
        .engine
        .resume_run(run, Some("fine"), Some("grace"))
        .await
        .expect("resumed");

    assert_eq!(world.settled(run).await.state, "succeeded");
    assert_eq!(
        requests(&world, run).await,
        json!([["pause", "ada", "look"], ["resume", "grace", "fine"]])
    );
    let pool = world.database.pool().await;
    let nameless: i64 = sqlx::query_scalar(
        "select count(*) from longhaul_audit.event where run_id = $1 and kind = 'run.paused' and data ->> 'by' is null",
    )
    .bind(run.0)
    .fetch_one(&pool)
    .await
    .expect("counted");
    assert_eq!(nameless, 0, "no event says that nobody paused it");
    worker.drain().await;
}

#[tokio::test]
async fn a_paused_run_that_was_cancelled_cannot_be_resumed() {
    let world = World::new(answering("done")).await;
    let run = one_run(&world).await;
    world.engine.pause_run(run, None, Some("ada")).await.expect("paused");
    world
        .engine
        .cancel_run(run, Some("enough"), Some("ada"))
        .await
        .expect("cancelled");

    let refused = world.engine.resume_run(run, None, None).await.expect_err("refused");

    assert_eq!(refused.code(), "not_resumable");
    assert_eq!(world.events(run).await, ["run.started", "run.paused", "run.cancelled"]);
    assert!(world.engine.run_detail(run).await.expect("there").paused_at.is_none());
}
