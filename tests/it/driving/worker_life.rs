//! Workers that stop in good order, vanish, or meet what they cannot read.

use super::{Bench, agent, answering, asked, calling, failure, function, request, results};
use engine::RunId;
use longhaul_tests::world::World;
use rehearsal::{Answer, Rule, Script};
use serde_json::json;
use std::time::Duration;
use worker::Functions;

#[tokio::test]
async fn a_worker_that_stops_gives_a_slow_model_call_back_at_no_cost() {
    let slow = Answer::text("word ".repeat(60)).between_events(Duration::from_secs(20));
    let script = Script::new()
        .rule(Rule::always().times(1).answers(slow))
        .rule(Rule::always().answers(Answer::text("All is done.")));
    let world = World::new(script).await;
    world.apply(&agent("")).await;
    let run = world.start("helper", &json!("hello")).await;
    let mut config = world.config("worker A");
    config.drain_grace = Duration::from_millis(100);
    let worker = world.worker(config, Functions::new());
    asked(&world, 1).await;

    worker.drain().await;

    let given_back = world.engine.run_detail(run).await.unwrap();
    assert_eq!((given_back.state.as_str(), given_back.crashes), ("queued", 0));
    assert_eq!(
        world.events(run).await[2..],
        ["step.started", "step.given_back", "run.released"]
    );
    let worker = world.worker(world.config("worker B"), Functions::new());
    let ended = world.settled(run).await;
    assert_eq!((ended.state.as_str(), ended.crashes), ("succeeded", 0));
    let attempts = world
        .sql(
            "select jsonb_build_array(attempt, attempts_max) from longhaul.step where run_id = $1",
            run,
        )
        .await;
    assert_eq!(attempts, json!([2, 4]), "the attempt that was cut is not counted");
    worker.drain().await;
}

#[tokio::test]
async fn a_worker_that_stops_waits_for_a_call_that_may_not_be_repeated() {
    let world = World::new(calling([
        ("wait", json!({"text": "pay"})),
        ("note", json!({"text": "quick"})),
    ]))
    .await;
    let tables = function("wait", "at_most_once") + &function("note", "at_most_once");
    world.apply(&agent(&tables)).await;
    let bench = Bench::new();
    let run = world.start("helper", &json!("hello")).await;
    let mut config = world.config("worker A");
    config.drain_grace = Duration::from_millis(50);
    let worker = world.worker(config, bench.functions());
    bench.arrived(2).await;

    let draining = tokio::spawn(worker.drain());
    // Well beyond the grace: the worker extends its lease for what it still waits for.
    for _ in 0..2 {
        world.lease_extended().await;
    }
    assert!(!draining.is_finished());
    assert_eq!(world.engine.run_detail(run).await.unwrap().state, "running");
    bench.open();
    draining.await.unwrap();

    assert_eq!(world.engine.run_detail(run).await.unwrap().state, "queued");
    let worker = world.worker(world.config("worker B"), bench.functions());
    assert_eq!(world.settled(run).await.state, "succeeded");
    assert_eq!(bench.ledger().len(), 2, "nothing was sent twice: {:?}", bench.ledger());
    assert_eq!(results(&request(&world, 1))[0].0, r#"{"waited":"pay"}"#);
    worker.drain().await;
}

#[tokio::test]
async fn a_draining_worker_takes_no_new_run() {
    let world = World::new(calling([("wait", json!({"text": "pay"}))])).await;
    world.apply(&agent(&function("wait", "at_most_once"))).await;
    let bench = Bench::new();
    let run = world.start("helper", &json!("first")).await;
    let worker = world.worker(world.config("worker A"), bench.functions());
    bench.arrived(1).await;

    let draining = tokio::spawn(worker.drain());
    world.lease_extended().await;
    let late = world.start("helper", &json!("second")).await;
    world.lease_extended().await;
    bench.open();
    draining.await.unwrap();

    assert_eq!(world.events(late).await, ["run.started"]);
    assert_eq!(world.engine.run_detail(run).await.unwrap().crashes, 0);
}

#[tokio::test]
async fn what_a_vanished_worker_had_out_is_repeated_or_left_unknown_as_its_effect_says() {
    for (effect, calls) in [("idempotent", 2), ("at_most_once", 1)] {
        let world = World::new(calling([("wait", json!({"text": "pay"}))])).await;
        world.apply(&agent(&function("wait", effect))).await;
        let bench = Bench::new();
        let run = world.start("helper", &json!("hello")).await;
        let mut config = world.config("worker A");
        config.lease = Duration::from_millis(600);
        let worker = world.worker(config.clone(), bench.functions());
        bench.arrived(1).await;
        worker.vanish();
        bench.open();
        config.name = "worker B".to_owned();
        let worker = world.worker(config, bench.functions());

        let settled = world.settled(run).await;

        let ledger = bench.ledger();
        assert_eq!(ledger.len(), calls, "{effect}: {ledger:?}");
        assert!(ledger.iter().all(|entry| entry.key == ledger[0].key));
        if effect == "idempotent" {
            assert_eq!((settled.state.as_str(), settled.crashes), ("succeeded", 0));
            assert_eq!(ledger[1].attempt, 2);
        } else {
            assert_eq!(settled.wait_reason.as_deref(), Some("unknown_outcome"));
            let refused = world.engine.resume_run(run, None, None).await.unwrap_err();
            assert_eq!(refused.code(), "unknown_outcome");
            world.engine.cancel_run(run, None, None).await.unwrap();
            let journal = world.engine.journal(run).await.unwrap();
            assert_eq!(
                journal.last().unwrap().state,
                "unknown",
                "a cancel does not make it known"
            );
        }
        world.events(run).await;
        worker.drain().await;
    }
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_begins_anew_and_its_late_result_changes_nothing() {
    let world = World::new(calling([("wait", json!({"text": "pay"}))])).await;
    world.apply(&agent(&function("wait", "at_most_once"))).await;
    let bench = Bench::new();
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), bench.functions());
    bench.arrived(1).await;

    // As if somebody had found its lease expired.
    let pool = world.database.pool().await;
    sqlx::query("update longhaul.worker set closed_at = now()")
        .execute(&pool)
        .await
        .unwrap();
    let parked = world.settled(run).await;
    assert_eq!(parked.wait_reason.as_deref(), Some("unknown_outcome"));
    let before = world.events(run).await;
    bench.open();
    world.lease_extended().await;

    let other = world.start("helper", &json!("another")).await;
    assert_eq!(
        world.settled(other).await.state,
        "succeeded",
        "it works on under its new identity"
    );
    assert_eq!(
        world.events(run).await,
        before,
        "the late result is not applied by itself"
    );
    assert_eq!(bench.ledger().len(), 2, "one call of each run");
    let identities = world
        .sql(
            "select to_jsonb(count(*)) from longhaul.worker where $1::uuid is not null",
            run,
        )
        .await;
    assert_eq!(identities, json!(2));
    worker.drain().await;
}

#[tokio::test]
async fn a_row_that_cannot_be_read_fails_its_run_and_not_the_worker() {
    let breaks = [
        "update longhaul.step set request = '{\"kind\":\"telepathy\"}' where run_id = $1 and kind = 'tool'",
        "update longhaul.step set result = '[]' where run_id = $1 and kind = 'model'",
        "update longhaul.step set error = '7' where run_id = $1 and kind = 'tool'",
        "update longhaul.run set history = '7' where id = $1",
    ];
    let world = World::new(calling([("wait", json!({"text": "pay"}))])).await;
    world.apply(&agent(&function("wait", "idempotent"))).await;
    let bench = Bench::new();
    let mut config = world.config("worker A");
    config.lease = Duration::from_millis(400);
    let worker = world.worker(config, bench.functions());
    let mut runs = Vec::new();
    for place in 0..breaks.len() {
        runs.push(world.start("helper", &json!(place)).await);
    }
    bench.arrived(breaks.len()).await;
    worker.vanish();
    let pool = world.database.pool().await;
    for (run, broken) in runs.iter().zip(breaks) {
        let done = sqlx::query(broken).bind(run.0).execute(&pool).await.unwrap();
        assert_eq!(done.rows_affected(), 1, "{broken}");
    }
    let worker = world.worker(world.config("worker B"), bench.functions());

    for (run, broken) in runs.into_iter().zip(breaks) {
        let ended = world.settled(run).await;
        assert_eq!(
            (ended.state.as_str(), failure(&ended).as_str()),
            ("failed", "unreadable_row"),
            "{broken}"
        );
        world.events(run).await;
    }
    bench.open();
    let sound = world.start("helper", &json!("sound")).await;
    assert_eq!(world.settled(sound).await.state, "succeeded");
    worker.drain().await;
}

#[tokio::test]
async fn an_agent_version_that_cannot_be_read_fails_its_runs_with_a_code() {
    let world = World::new(answering()).await;
    world.apply(&agent("")).await;
    let run = world.start("helper", &json!("hello")).await;
    let pool = world.database.pool().await;
    sqlx::query("update longhaul.agent_version set definition = '{\"name\":\"helper\",\"from\":\"the future\"}'")
        .execute(&pool)
        .await
        .unwrap();
    let worker = world.worker(world.config("worker A"), Functions::new());

    let ended = world.settled(run).await;

    assert_eq!(
        (ended.state.as_str(), failure(&ended).as_str()),
        ("failed", "unreadable_row")
    );
    assert!(ended.error.unwrap().contains("agent version"));
    assert!(world.rehearsal.asked().is_empty());
    worker.drain().await;
}

#[tokio::test]
async fn a_worker_that_is_never_idle_makes_room_for_a_suspect() {
    let again = || Answer::calling("note", json!({"text": "again"}));
    let script = Script::new()
        .rule(Rule::on_turn(1).answers(again()))
        .rule(
            Rule::always()
                .conversation_contains("suspect")
                .answers(Answer::text("All is done.")),
        )
        .rule(Rule::always().answers(again()));
    let world = World::new(script).await;
    let endless = "\n[limits]\nturns_max = 1000\n";
    world
        .apply(&agent(&(endless.to_owned() + &function("note", "idempotent"))))
        .await;
    let suspect = world.start("helper", &json!("suspect")).await;
    lay_aside(&world, suspect).await;
    let busy = world.start("helper", &json!("busy")).await;
    let bench = Bench::new();
    let mut config = world.config("worker A");
    config.poll = Duration::from_millis(100);
    let worker = world.worker(config, bench.functions());
    bench.arrived(1).await;

    let due = "update longhaul.run set paused_at = null where id = $1 returning to_jsonb(id)";
    world.sql(due, suspect).await;
    assert_eq!(world.settled(suspect).await.state, "succeeded");
    let so_far = bench.ledger().len();
    bench.arrived(so_far + 3).await;

    let company = "select jsonb_build_object(
             'released', (select data ->> 'why' from longhaul.event where run_id <> $1 and kind = 'run.released'),
             'meanwhile', (select count(*) from longhaul.event
                           where run_id <> $1
                             and at between (select at from longhaul.event where run_id = $1 and kind = 'run.claimed')
                                 and (select min(at) from longhaul.event
                                      where run_id = $1 and kind = 'step.succeeded')))";
    let company = world.sql(company, suspect).await;
    assert_eq!(company, json!({"released": "room", "meanwhile": 0}));
    let busy = world.engine.run_detail(busy).await.unwrap();
    assert_eq!((busy.ended_at, busy.crashes), (None, 0), "it goes on where it was");
    worker.drain().await;
}

/// Two workers have died under it, and it is not due yet.
async fn lay_aside(world: &World, run: RunId) {
    let aside = "update longhaul.run set crashes = 2, paused_at = now() where id = $1 returning to_jsonb(id)";
    world.sql(aside, run).await;
}
