//! Notifications are hints: with them things are quick, without them they still happen.

use super::{agent, answering};
use chrono::{TimeDelta, Utc};
use engine::{RunId, StartRun};
use longhaul_tests::world::World;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;
use worker::Functions;

async fn in_milliseconds(world: &World, milliseconds: i64) -> RunId {
    let pool = world.database.pool().await;
    let now: chrono::DateTime<Utc> = sqlx::query_scalar("select now()").fetch_one(&pool).await.unwrap();
    let mut start = StartRun::new("helper", "\"later\"");
    start.due_at = Some(now + TimeDelta::milliseconds(milliseconds));
    world.engine.start_run(&start).await.unwrap().run
}

#[tokio::test]
async fn everything_happens_without_notifications() {
    let world = World::new(answering()).await;
    world.apply(&agent("")).await;
    let mut config = world.config("worker A");
    config.notifications = false;
    config.poll = Duration::from_millis(500);
    let worker = world.worker(config, Functions::new());
    let first = world.start("helper", &json!("wakes nobody")).await;
    world.settled(first).await;

    let started = world.start("helper", &json!("found by the poll")).await;
    let timer = in_milliseconds(&world, 300).await;

    assert_eq!(world.settled(started).await.state, "succeeded");
    assert_eq!(world.settled(timer).await.state, "succeeded");
    worker.drain().await;
}

#[tokio::test]
async fn a_start_is_heard_long_before_the_next_poll() {
    let world = World::new(answering()).await;
    world.apply(&agent("")).await;
    let mut config = world.config("worker A");
    config.poll = Duration::from_secs(600);
    config.lease = Duration::from_secs(600);
    let worker = world.worker(config, Functions::new());
    let first = world.start("helper", &json!("the worker listens")).await;
    world.settled(first).await;
    let begun = Instant::now();

    // Runs that fall due at moments around those at which the worker learns of them.
    let mut runs = Vec::new();
    for round in 0..20 {
        runs.push(in_milliseconds(&world, round * 17 % 300).await);
    }
    for run in runs {
        assert_eq!(world.settled(run).await.state, "succeeded");
    }

    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    worker.drain().await;
}

#[tokio::test]
async fn a_start_that_notifies_nobody_is_found_by_the_poll() {
    let world = World::new(answering()).await;
    world.apply(&agent("")).await;
    let worker = world.worker(world.config("worker A"), Functions::new());
    let first = world.start("helper", &json!("the worker listens")).await;
    world.settled(first).await;
    let pool = world.database.pool().await;
    let run: uuid::Uuid = sqlx::query_scalar(
        r#"select run_id from longhaul.start_run(agent => 'helper', input => '"quietly"', notify => false)"#,
    )
    .fetch_one(&pool)
    .await
    .unwrap();

    assert_eq!(world.settled(RunId(run)).await.state, "succeeded");
    worker.drain().await;
}
