//! An application's open transaction that holds one run's row: it delays that run, and no other on the same worker.

use super::{Outside, world};
use engine::{RunId, SendSignal, StartRun};
use longhaul_tests::world::World;
use serde_json::{Value, json};
use sqlx::{PgPool, Postgres, Transaction};
use std::time::Duration;
use worker::{Builder, ChildRun, Context, StepFailed, WorkflowError};

/// More than a worker has connections for.
const MANY: u32 = 24;
const OTHERS: u32 = 6;

async fn start(world: &World, kind: &str, input: Value) -> RunId {
    let start = StartRun::workflow(kind, input.to_string());
    world.engine.start_run(&start).await.expect("the run starts").run
}

/// As a person at a terminal would.
async fn held(pool: &PgPool, run: RunId) -> Transaction<'static, Postgres> {
    let mut open = pool.begin().await.expect("a transaction");
    sqlx::query("select * from longhaul.run where id = $1 for update")
        .bind(run.0)
        .execute(&mut *open)
        .await
        .expect("the row is held");
    open
}

/// How many sessions have waited so long for somebody's lock.
async fn blocked(pool: &PgPool, seconds: f64) -> i64 {
    let waiting = "select count(*) from pg_stat_activity
                   where datname = current_database() and wait_event_type = 'Lock'
                     and clock_timestamp() - query_start > make_interval(secs => $1)";
    sqlx::query_scalar(waiting)
        .bind(seconds)
        .fetch_one(pool)
        .await
        .expect("sessions are read")
}

async fn until_blocked(pool: &PgPool, seconds: f64) {
    let waiting = async {
        while blocked(pool, seconds).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(longhaul_tests::world::PATIENCE, waiting)
        .await
        .expect("somebody waits for the row");
}

/// Others start, go on and end beside what is held, which takes no more than so many of the worker's connections.
async fn others_go_on(world: &World, pool: &PgPool, taken: i64) {
    until_blocked(pool, 0.0).await;
    let mut others = Vec::new();
    for _ in 0..OTHERS {
        others.push(start(world, "steps", json!(20)).await);
        others.push(start(world, "family", json!(2)).await);
    }
    for other in others {
        assert_eq!(world.settled(other).await.state, "succeeded");
    }
    // Whoever waits for others of its kind waits a moment only.
    until_blocked(pool, 1.0).await;
    let blocked = blocked(pool, 0.5).await;
    assert!(blocked <= taken, "{blocked} sessions wait for what is held");
}

/// `steps` makes so many one after the other, `family` has so many children at once, `starts` waits for a word before
/// that, and `doubles` waits for one where its input is negative.
fn registered(outside: &Outside) -> impl FnOnce(Builder) -> Builder + use<> {
    let outside = outside.clone();
    move |builder| {
        builder
            .workflow("steps", move |ctx: Context, count: u32| {
                let outside = outside.clone();
                async move {
                    for _ in 0..count {
                        let noted = outside.clone();
                        let step = ctx.step("note", (), move |call, ()| {
                            noted.note("note", &call);
                            async { Ok(()) }
                        });
                        step.idempotent().await?;
                    }
                    Ok::<_, WorkflowError>(count)
                }
            })
            .workflow("doubles", |ctx: Context, number: i64| async move {
                if number < 0 {
                    ctx.wait_signal::<Value>("go", None).await?;
                }
                Ok::<_, WorkflowError>(number * 2)
            })
            .workflow("family", |ctx: Context, count: i64| async move {
                Ok::<_, WorkflowError>(family(&ctx, 0..count).await?)
            })
            .workflow("patient", |ctx: Context, count: i64| async move {
                Ok::<_, WorkflowError>(family(&ctx, -count..0).await?)
            })
            .workflow("starts", |ctx: Context, count: i64| async move {
                ctx.wait_signal::<Value>("go", None).await?;
                Ok::<_, WorkflowError>(family(&ctx, 0..count).await?)
            })
    }
}

async fn family(ctx: &Context, numbers: std::ops::Range<i64>) -> Result<i64, StepFailed> {
    let doubled = ctx
        .parallel("number", numbers, |ctx, number| async move {
            ctx.run_child::<i64>(ChildRun::workflow("doubles", number)).await
        })
        .await;
    doubled.into_iter().sum()
}

async fn told(world: &World, run: RunId) {
    let signal = SendSignal {
        run,
        name: "go".to_owned(),
        payload: "null".to_owned(),
        id: None,
        sender: None,
    };
    world.engine.send_signal(&signal).await.expect("it is sent");
}

async fn waits(world: &World, run: RunId, what: &str) {
    world
        .until(run, what, |run| run.waiting_for.as_deref() == Some(what))
        .await;
}

#[tokio::test]
async fn a_run_whose_row_is_held_while_it_makes_steps_delays_itself_only() {
    let (world, outside) = (world().await, Outside::default());
    let pool = world.database.pool().await;
    let worker = world.worker_with(world.config("worker A"), registered(&outside));
    let run = start(&world, "steps", json!(4000)).await;
    outside.made(5).await;

    let open = held(&pool, run).await;
    others_go_on(&world, &pool, 1).await;
    open.rollback().await.expect("the row is let go");

    let before = outside.names().len();
    outside.made(before + 50).await;
    world.engine.cancel_run(run, None, None).await.expect("it is cancelled");
    assert_eq!(world.settled(run).await.state, "cancelled");
    world.events(run).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_run_whose_row_is_held_while_it_starts_children_delays_itself_only() {
    let (world, outside) = (world().await, Outside::default());
    let pool = world.database.pool().await;
    let worker = world.worker_with(world.config("worker A"), registered(&outside));
    let run = start(&world, "starts", json!(MANY)).await;
    waits(&world, run, "signal").await;
    told(&world, run).await;
    // Its children are being started.
    let started = async {
        loop {
            let children: Value = world
                .sql("select to_jsonb(count(*)) from longhaul.run where parent_id = $1", run)
                .await;
            if children != json!(0) {
                break;
            }
        }
    };
    tokio::time::timeout(longhaul_tests::world::PATIENCE, started)
        .await
        .expect("a child");

    let open = held(&pool, run).await;
    // One starts the next child, one tells of an end, and one records.
    others_go_on(&world, &pool, 3).await;
    open.rollback().await.expect("the row is let go");

    let ended = world.settled(run).await;
    let sum = (0..i64::from(MANY)).sum::<i64>() * 2;
    assert_eq!(ended.result, Some(sum.to_string()), "{ended:#?}");
    worker.drain().await;
}

#[tokio::test]
async fn a_parent_whose_row_is_held_delays_the_ends_of_its_children_only() {
    let (world, outside) = (world().await, Outside::default());
    let pool = world.database.pool().await;
    let worker = world.worker_with(world.config("worker A"), registered(&outside));
    let run = start(&world, "patient", json!(MANY)).await;
    waits(&world, run, "child").await;
    let ids = world
        .sql("select jsonb_agg(id) from longhaul.run where parent_id = $1", run)
        .await;
    let children: Vec<RunId> = serde_json::from_value(ids).expect("ids");
    for child in &children {
        waits(&world, *child, "signal").await;
    }

    let open = held(&pool, run).await;
    for child in children {
        told(&world, child).await;
    }
    others_go_on(&world, &pool, 1).await;
    open.rollback().await.expect("the row is let go");

    let ended = world.settled(run).await;
    let sum = (1..=i64::from(MANY)).sum::<i64>() * -2;
    assert_eq!(ended.result, Some(sum.to_string()), "{ended:#?}");
    worker.drain().await;
}

#[tokio::test]
async fn transactions_that_wait_for_an_applications_lock_delay_no_other_run() {
    let (world, outside) = (world().await, Outside::default());
    let pool = world.database.pool().await;
    sqlx::raw_sql("create table stock (count bigint not null); insert into stock values (0)")
        .execute(&pool)
        .await
        .expect("a table");
    let worker = world.worker_with(world.config("worker A"), |builder| {
        registered(&outside)(builder).workflow("restocks", |ctx: Context, (): ()| async move {
            let added = ctx.transaction("add", (), |tx, ()| {
                Box::pin(async move {
                    sqlx::query("update stock set count = count + 1").execute(tx).await?;
                    Ok(())
                })
            });
            Ok::<_, WorkflowError>(added.await?)
        })
    });
    let mut open = pool.begin().await.expect("a transaction");
    sqlx::query("select * from stock for update")
        .execute(&mut *open)
        .await
        .expect("the row is held");
    let mut restocking = Vec::new();
    for _ in 0..MANY {
        restocking.push(start(&world, "restocks", json!(null)).await);
    }

    others_go_on(&world, &pool, 4).await;
    open.rollback().await.expect("the row is let go");

    for run in restocking {
        assert_eq!(world.settled(run).await.state, "succeeded");
    }
    let count: i64 = sqlx::query_scalar("select count from stock")
        .fetch_one(&pool)
        .await
        .expect("the stock");
    assert_eq!(count, i64::from(MANY));
    worker.drain().await;
}
