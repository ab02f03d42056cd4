//! No more calls are out at once than there are slots, nor in a time than the rate allows, whoever makes them.

use super::{Mood, Target, acting, agent, held_back, start, told, worker};
use chrono::{DateTime, TimeDelta, Utc};
use longhaul_tests::world::{PATIENCE, World};
use rehearsal::{Answer, Rule, Script};
use serde_json::json;

async fn world(limit: &str) -> World {
    let world = World::new(acting()).await;
    world.apply(&agent(&format!("limit = {limit}"))).await;
    world
}

/// One turn with a call for each of these.
fn at_once(words: &[&str]) -> Script {
    let turn = words
        .iter()
        .fold(Answer::default(), |turn, text| turn.call("act", json!({"text": text})));
    Script::new()
        .rule(Rule::on_turn(1).answers(turn))
        .rule(Rule::always().answers(Answer::text("All is done.")))
}

async fn slots(world: &World) -> i64 {
    let pool = world.database.pool().await;
    sqlx::query_scalar("select count(*) from longhaul.slot")
        .fetch_one(&pool)
        .await
        .expect("it is read")
}

#[tokio::test]
async fn no_more_calls_are_out_at_once_than_there_are_slots_over_two_workers() {
    let world = world("{ concurrency = 2 }").await;
    let target = Target::new(Mood::Hangs);
    let workers = ["worker A", "worker B"].map(|name| worker(&world, name, &target));
    let mut runs = Vec::new();
    for number in 0..10 {
        runs.push(start(&world, &format!("{number}")).await);
    }
    target.arrived(2).await;
    let mut waiting = 0;
    while waiting < 8 {
        waiting = 0;
        for run in &runs {
            let run = world.engine.run_detail(*run).await.unwrap();
            waiting += usize::from(run.waiting_for.as_deref() == Some("limit"));
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(target.calls(), 2);

    target.is(Mood::Works);
    for run in runs {
        assert_eq!(world.settled(run).await.state, "succeeded");
        world.events(run).await;
    }

    assert_eq!((target.calls(), target.out_max()), (10, 2));
    for worker in workers {
        worker.drain().await;
    }
    assert_eq!(slots(&world).await, 0);
}

#[tokio::test]
async fn whoever_gives_a_slot_back_wakes_the_one_that_waits_longest() {
    let world = world("{ concurrency = 1 }").await;
    let target = Target::new(Mood::Hangs);
    let worker = worker(&world, "worker A", &target);
    let first = start(&world, "first").await;
    target.arrived(1).await;
    let second = start(&world, "second").await;
    assert_eq!(held_back(&world, second).await.wait_reason.as_deref(), Some("slot"));
    let third = start(&world, "third").await;
    held_back(&world, third).await;
    let journal = world.engine.journal(second).await.unwrap();
    assert_eq!((journal[1].state.as_str(), journal[1].attempt), ("waiting", 0));

    target.is(Mood::Works);
    for run in [first, second, third] {
        assert_eq!(world.settled(run).await.state, "succeeded");
    }

    assert_eq!(target.words(), ["first", "second", "third"]);
    let woken = "select event.data ->> 'by' from longhaul.event where event.run_id = $1 and event.kind = 'run.woken'";
    assert_eq!(
        world
            .sql("select to_jsonb(event.data ->> 'by') from longhaul.event where event.run_id = $1 and event.kind = 'run.woken'", second)
            .await,
        json!("gate"),
        "{woken}"
    );
    // Upkeep would come upon it after five seconds.
    let late = world
        .sql(
            "select to_jsonb(extract(epoch from min(event.at) filter (where event.kind = 'run.woken')
                - (select max(slot.at) from longhaul.event as slot where slot.kind = 'step.succeeded' and slot.at < (
                    select min(woken.at) from longhaul.event as woken
                    where woken.run_id = $1 and woken.kind = 'run.woken')))::double precision)
             from longhaul.event where event.run_id = $1",
            second,
        )
        .await;
    assert!(late.as_f64().is_some_and(|late| late < 4.0), "{late}");
    worker.drain().await;
}

#[tokio::test]
async fn a_slot_falls_free_with_the_worker_that_held_it_and_whoever_waits_goes_on() {
    let world = world("{ concurrency = 1 }").await;
    let target = Target::new(Mood::Hangs);
    let doomed = worker(&world, "doomed", &target);
    let holder = start(&world, "holder").await;
    target.arrived(1).await;
    let waiter = start(&world, "waiter").await;
    held_back(&world, waiter).await;

    doomed.vanish();
    target.is(Mood::Works);
    let heir = worker(&world, "heir", &target);

    for run in [holder, waiter] {
        assert_eq!(world.settled(run).await.state, "succeeded");
        world.events(run).await;
    }
    assert_eq!(target.calls(), 3);
    heir.drain().await;
    assert_eq!(slots(&world).await, 0);
}

#[tokio::test]
async fn in_no_stretch_of_time_more_calls_go_out_than_the_rate_allows() {
    let world = world("{ rate = { calls = 4, per_seconds = 2 } }").await;
    let target = Target::new(Mood::Works);
    let workers = ["worker A", "worker B"].map(|name| worker(&world, name, &target));
    let mut runs = Vec::new();
    for number in 0..10 {
        runs.push(start(&world, &format!("{number}")).await);
    }
    for run in &runs {
        assert_eq!(world.settled(*run).await.state, "succeeded");
    }

    let pool = world.database.pool().await;
    let mut admitted: Vec<DateTime<Utc>> = sqlx::query_scalar(
        "select (event.data ->> 'admitted_at')::timestamptz from longhaul.event
         where event.kind = 'step.started' and event.data ->> 'admitted_at' is not null",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    admitted.sort_unstable();
    assert_eq!((admitted.len(), target.calls()), (10, 10));
    for window in admitted.windows(5) {
        assert!(window[4] - window[0] >= TimeDelta::seconds(2), "{admitted:?}");
    }
    for worker in workers {
        worker.drain().await;
    }
}

#[tokio::test]
async fn each_value_of_the_key_has_slots_of_its_own_and_siblings_do_not_wait_for_each_other() {
    let world = World::new(at_once(&["ann", "ann", "bob"])).await;
    world
        .apply(&agent("limit = { concurrency = 1, key = \"{text}\" }"))
        .await;
    let target = Target::new(Mood::Hangs);
    let worker = worker(&world, "worker A", &target);
    let run = start(&world, "").await;
    target.arrived(2).await;
    world.until(run, "a call waits", |run| run.state == "running").await;
    let mut words = target.words();
    words.sort_unstable();
    assert_eq!(words, ["ann", "bob"]);

    target.is(Mood::Works);
    assert_eq!(world.settled(run).await.state, "succeeded");

    let mut words = target.words();
    words.sort_unstable();
    assert_eq!(words, ["ann", "ann", "bob"]);
    let journal = world.engine.journal(run).await.unwrap();
    assert!(
        journal.iter().all(|row| row.state == "succeeded" && row.attempt == 1),
        "{journal:#?}"
    );
    worker.drain().await;
}

#[tokio::test]
async fn one_worker_has_no_more_calls_out_than_it_is_told_to() {
    let world = World::new(at_once(&["a", "b", "c", "d", "e"])).await;
    world.apply(&agent("")).await;
    let target = Target::new(Mood::Hangs);
    let mut config = world.config("worker A");
    config.calls_max = 2;
    let worker = world.worker(config, target.functions());
    let run = start(&world, "").await;
    target.arrived(2).await;
    target.is(Mood::Works);

    assert_eq!(world.settled(run).await.state, "succeeded");

    assert_eq!((target.calls(), target.out_max()), (5, 2));
    assert!(!world.events(run).await.contains(&"run.parked".to_owned()));
    worker.drain().await;
}

#[tokio::test]
async fn many_runs_that_wait_for_one_place_each_come_to_their_turn() {
    let world = World::new(at_once(&["a", "b"])).await;
    world.apply(&agent("")).await;
    let target = Target::new(Mood::Works);
    let mut config = world.config("worker A");
    config.calls_max = 1;
    let mut runs = Vec::new();
    for _ in 0..20 {
        runs.push(start(&world, "").await);
    }
    let worker = world.worker(config, target.functions());

    for run in runs {
        assert_eq!(world.settled(run).await.state, "succeeded");
    }

    assert_eq!((target.calls(), target.out_max()), (40, 1));
    worker.drain().await;
}

#[tokio::test]
async fn a_run_that_is_cancelled_while_it_waits_lets_the_next_one_go() {
    let world = world("{ concurrency = 1 }").await;
    let target = Target::new(Mood::Hangs);
    let worker = worker(&world, "worker A", &target);
    let first = start(&world, "first").await;
    target.arrived(1).await;
    let second = start(&world, "second").await;
    held_back(&world, second).await;
    let third = start(&world, "third").await;
    held_back(&world, third).await;

    world.engine.cancel_run(second, None, None).await.unwrap();
    target.is(Mood::Works);

    for run in [first, third] {
        assert_eq!(world.settled(run).await.state, "succeeded");
    }
    assert_eq!(target.words(), ["first", "third"]);
    assert_eq!(told(&world, third).await, json!("did third"));
    worker.drain().await;
}

#[tokio::test]
async fn a_gate_whose_waiter_was_called_by_nobody_is_tended() {
    let world = world("{ concurrency = 1 }").await;
    let target = Target::new(Mood::Hangs);
    let worker = worker(&world, "worker A", &target);
    start(&world, "first").await;
    target.arrived(1).await;
    let second = start(&world, "second").await;
    held_back(&world, second).await;
    // As if whoever had the slot had been lost between its result and its report.
    let pool = world.database.pool().await;
    sqlx::query("delete from longhaul.slot").execute(&pool).await.unwrap();

    // Its own limit would end the first call after half a minute.
    tokio::time::timeout(PATIENCE / 2, target.arrived(2))
        .await
        .expect("it goes on");

    target.is(Mood::Works);
    assert_eq!(world.settled(second).await.state, "succeeded");
    worker.drain().await;
}
