//! What a dead worker may have done without a trace: the doubt lasts, however its next holder is stopped.

use super::{Order, Outside, seen, start, steps, world};
use engine::RunId;
use longhaul_tests::world::{WorkerHandle, World};
use serde_json::json;
use sqlx::PgPool;
use worker::{Builder, Context, FunctionError, StepFailed, WorkflowError};

/// A step in each of these branches. Whoever takes the run up later asks for nothing before it is let go on.
fn makes(names: &'static [&'static str], outside: &Outside) -> impl FnOnce(Builder) -> Builder + use<> {
    let outside = outside.clone();
    move |builder| {
        builder.workflow("makes", move |ctx: Context, _: Order| {
            let outside = outside.clone();
            async move {
                if !outside.names().is_empty() {
                    outside.opened().await;
                }
                let branch = |ctx, name: &'static &str| make(ctx, name, outside.clone());
                let made: Result<(), StepFailed> = ctx.parallel("branch", names, branch).await.into_iter().collect();
                made.map_err(WorkflowError::from)
            }
        })
    }
}

/// `tell` may be repeated; it is not answered the first time, and refused for good after that. `pay` may not be repeated
/// and is not answered; `pay late` is asked for by the second worker, and answered, as `look` is.
async fn make(ctx: Context, name: &'static str, outside: Outside) -> Result<(), StepFailed> {
    if name == "pay late" {
        outside.opened().await;
    }
    let step = ctx.step(name, (), move |call, ()| {
        let again = outside.names().contains(&name.to_owned());
        outside.note(name, &call);
        async move {
            match name {
                "tell" if again => Err(FunctionError::permanent("refused").not_applied()),
                "tell" | "pay" => std::future::pending().await,
                _ => Ok(()),
            }
        }
    });
    match name {
        "pay" | "pay late" => step.await,
        _ => step.idempotent().await,
    }
}

/// A run whose worker died once this was seen, and the worker that has it now.
async fn taken_over(
    (world, outside): (&World, &Outside),
    names: &'static [&'static str],
    seen: impl Future<Output = RunId>,
) -> (RunId, WorkerHandle) {
    let dying = world.worker_with(world.config("worker A"), makes(names, outside));
    let run = seen.await;
    dying.vanish();
    let heir = world.worker_with(world.config("worker B"), makes(names, outside));
    world
        .until(run, "another one has it", |run| {
            run.worker.as_deref() == Some("worker B")
        })
        .await;
    (run, heir)
}

async fn until_blocked(pool: &PgPool) {
    let blocked = "
        select count(*) from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'";
    seen(pool, blocked).await;
}

/// It is given back, and goes on once it is let.
async fn goes_on_after_its_pause(world: &World, run: RunId) {
    let given_back = |run: &engine::query::RunDetail| run.paused_at.is_some() && run.worker.is_none();
    world.until(run, "it is given back", given_back).await;
    world.engine.resume_run(run, None, None).await.expect("it goes on");
}

#[tokio::test]
async fn a_doubt_is_kept_where_a_pause_comes_before_the_first_intent() {
    let (world, outside) = (world().await, Outside::default());
    let pool = world.database.pool().await;
    let out = async {
        let run = start(&world, "makes").await;
        outside.made(2).await;
        run
    };
    let (run, worker) = taken_over((&world, &outside), &["tell", "pay", "pay late"], out).await;

    // The worker's intent waits for the pause, and is refused.
    let mut pause = pool.begin().await.expect("a transaction");
    sqlx::query("select longhaul.pause_run($1)")
        .bind(run.0)
        .execute(&mut *pause)
        .await
        .expect("it is paused");
    outside.open();
    until_blocked(&pool).await;
    pause.commit().await.expect("the pause counts");
    goes_on_after_its_pause(&world, run).await;

    let waiting = world.settled(run).await;
    assert_eq!(waiting.wait_reason.as_deref(), Some("unknown_outcome"), "{waiting:#?}");
    let told = json!({
        "branch#1[0]/tell#1": "unknown",
        "branch#1[1]/pay#1": "unknown",
        "branch#1[2]/pay late#1": "succeeded",
    });
    assert_eq!(steps(&world, run).await, told);
    assert_eq!(outside.keys("pay").len() + outside.keys("pay late").len(), 2);
    // The dead worker's attempt counts, and costs the step none of its own.
    let attempts =
        "select jsonb_build_array(attempt, attempts_max) from longhaul.step where run_id = $1 and name = 'tell'";
    assert_eq!(world.sql(attempts, run).await, json!([2, 4]));
    world.events(run).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_doubt_is_kept_where_a_pause_comes_while_the_journal_is_read() {
    let (world, outside) = (world().await, Outside::default());
    let pool = world.database.pool().await;
    let out = async {
        let run = start(&world, "makes").await;
        let recorded = "select to_jsonb(count(*)) from longhaul.step where run_id = $1";
        outside.made(4).await;
        // Two looks, and the intent of paying.
        while world.sql(recorded, run).await != json!(3) {}
        run
    };
    let (run, worker) = taken_over((&world, &outside), &["look left", "look right", "pay", "tell"], out).await;

    // The worker asks in which order the looks were answered, and learns of the pause meanwhile.
    let mut lock = pool.begin().await.expect("a transaction");
    sqlx::query("lock table longhaul.event in access exclusive mode")
        .execute(&mut *lock)
        .await
        .expect("it is locked");
    outside.open();
    until_blocked(&pool).await;
    let paused = "update longhaul.run set paused_at = now() where id = $1 returning to_jsonb(id)";
    world.sql(paused, run).await;
    for _ in 0..2 {
        world.lease_extended().await;
    }
    lock.rollback().await.expect("it is unlocked");
    goes_on_after_its_pause(&world, run).await;

    let waiting = world.settled(run).await;
    assert_eq!(waiting.wait_reason.as_deref(), Some("unknown_outcome"), "{waiting:#?}");
    let told = json!({
        "branch#1[0]/look left#1": "succeeded",
        "branch#1[1]/look right#1": "succeeded",
        "branch#1[2]/pay#1": "unknown",
        "branch#1[3]/tell#1": "unknown",
    });
    assert_eq!(steps(&world, run).await, told);
    assert_eq!(outside.keys("pay").len(), 1);
    world.events(run).await;
    worker.drain().await;
}
