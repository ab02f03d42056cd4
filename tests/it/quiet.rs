//! A worker with nothing to do asks next to nothing of the database.

use longhaul_tests::world::World;
use rehearsal::{Answer, Rule, Script};
use sqlx::PgPool;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;
use worker::Functions;

/// By which its connections are known.
const APPLICATION: &str = "test worker";
/// Long enough for half a statement in a second to be told from more.
const WATCHED: Duration = Duration::from_secs(30);

/// What each connection of the worker last began, and in which second: a statement that it prepares and then runs is
/// one, though the server tells of both.
async fn statements(pool: &PgPool) -> Vec<(i32, String, i64)> {
    sqlx::query_as(
        "select pid, query, (extract(epoch from query_start))::bigint from pg_stat_activity
         where datname = current_database() and application_name = $1 and query_start is not null",
    )
    .bind(APPLICATION)
    .fetch_all(pool)
    .await
    .expect("the activity is read")
}

#[tokio::test]
async fn an_idle_worker_makes_no_more_than_one_statement_in_two_seconds() {
    let world = World::new(Script::new().rule(Rule::always().answers(Answer::text("done")))).await;
    let mut config = world.config("idle");
    config.lease = Duration::from_secs(15);
    config.poll = Duration::from_secs(5);
    let worker = world.worker(config, Functions::new());
    let pool = world.database.pool().await;
    // Once as it is taken, and once after the first things to do are done.
    world.lease_extended().await;
    world.lease_extended().await;

    // Nothing to wait for: time has to pass for next to nothing to happen in it.
    let began: BTreeSet<(i32, String, i64)> = statements(&pool).await.into_iter().collect();
    let mut seen = began.clone();
    let until = Instant::now() + WATCHED;
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(25)).await;
        seen.extend(statements(&pool).await);
    }
    let made = seen.len() - began.len();
    assert!((1..=15).contains(&made), "{made} statements in {WATCHED:?}: {seen:?}");
    worker.drain().await;
}
