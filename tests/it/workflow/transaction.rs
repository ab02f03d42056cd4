//! Steps whose writes are committed with their results.

use super::{Outside, quick, seen, start, steps, world};
use engine::RunId;
use longhaul_tests::world::World;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use worker::{Builder, Context, FunctionError, PgConnection, WorkflowError};

async fn shop() -> World {
    let world = world().await;
    let pool = world.database.pool().await;
    sqlx::query("create table sale (item text not null)")
        .execute(&pool)
        .await
        .unwrap();
    world
}

async fn sales(world: &World) -> i64 {
    let pool = world.database.pool().await;
    sqlx::query_scalar("select count(*) from sale")
        .fetch_one(&pool)
        .await
        .unwrap()
}

async fn sell(connection: &mut PgConnection, item: &str) -> Result<(), FunctionError> {
    sqlx::query("insert into sale values ($1)")
        .bind(item)
        .execute(connection)
        .await?;
    Ok(())
}

/// Sells; the first so many attempts fail after the sale, in this way.
fn sells(failures: u32, how: fn() -> FunctionError) -> impl FnOnce(Builder) -> Builder {
    let tries = Arc::new(AtomicU32::new(0));
    move |builder| {
        builder.workflow("sells", move |ctx: Context, _: Value| {
            let tries = Arc::clone(&tries);
            async move {
                let sold = ctx
                    .transaction("sell", "a hat".to_owned(), move |connection, item| {
                        let number = tries.fetch_add(1, Ordering::Relaxed);
                        Box::pin(async move {
                            sell(connection, &item).await?;
                            if number < failures { Err(how()) } else { Ok(number) }
                        })
                    })
                    .retry(quick())
                    .await?;
                Ok::<_, WorkflowError>(sold)
            }
        })
    }
}

async fn step(world: &World, run: RunId) -> Value {
    world
        .sql(
            "select jsonb_build_object('effect', effect, 'state', state, 'attempt', attempt, 'code', error ->> 'code')
             from longhaul.step where run_id = $1",
            run,
        )
        .await
}

#[tokio::test]
async fn what_a_transaction_writes_is_there_with_its_result() {
    let world = shop().await;
    let run = start(&world, "sells").await;
    let worker = world.worker_with(world.config("worker A"), sells(0, || FunctionError::transient("no")));

    assert_eq!(world.settled(run).await.state, "succeeded");
    assert_eq!(sales(&world).await, 1);
    assert_eq!(
        step(&world, run).await,
        json!({"effect": "transactional", "state": "succeeded", "attempt": 1, "code": null})
    );
    world.events(run).await;
    worker.drain().await;
}

#[tokio::test]
async fn what_failed_wrote_nothing_and_is_tried_again() {
    let world = shop().await;
    let run = start(&world, "sells").await;
    let worker = world.worker_with(world.config("worker A"), sells(2, || FunctionError::transient("busy")));

    assert_eq!(world.settled(run).await.state, "succeeded");
    assert_eq!(sales(&world).await, 1);
    assert_eq!(step(&world, run).await["attempt"], json!(3));
    world.events(run).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_transaction_that_fails_for_good_fails_for_certain() {
    let world = shop().await;
    let run = start(&world, "sells").await;
    let worker = world.worker_with(world.config("worker A"), sells(9, || FunctionError::permanent("never")));

    assert_eq!(world.settled(run).await.state, "failed");
    assert_eq!(sales(&world).await, 0);
    assert_eq!(steps(&world, run).await, json!({"sell#1": "failed"}));
    worker.drain().await;
}

#[tokio::test]
async fn a_statement_that_the_database_refuses_is_an_error_of_the_step() {
    let world = shop().await;
    let run = start(&world, "breaks").await;
    let worker = world.worker_with(world.config("worker A"), |builder| {
        builder.workflow("breaks", |ctx: Context, _: Value| async move {
            ctx.transaction("write", (), |connection, ()| {
                Box::pin(async move {
                    sell(connection, "a hat").await?;
                    sqlx::query("insert into sale values (null)")
                        .execute(connection)
                        .await?;
                    Ok(())
                })
            })
            .await
            .map_err(WorkflowError::from)
        })
    });

    assert_eq!(world.settled(run).await.state, "failed");
    assert_eq!(sales(&world).await, 0);
    assert_eq!(step(&world, run).await["code"], json!("database_error"));
    worker.drain().await;
}

#[tokio::test]
async fn a_function_that_ends_its_transaction_is_found_out() {
    let world = shop().await;
    let run = start(&world, "leaves").await;
    let worker = world.worker_with(world.config("worker A"), |builder| {
        builder.workflow("leaves", |ctx: Context, _: Value| async move {
            ctx.transaction("leave", (), |connection, ()| {
                Box::pin(async move {
                    sqlx::query("commit").execute(connection).await?;
                    Ok(())
                })
            })
            .await
            .map_err(WorkflowError::from)
        })
    });

    // What it wrote may stand, so a person looks before anything is done again.
    let waiting = world.settled(run).await;
    assert_eq!(waiting.wait_reason.as_deref(), Some("unknown_outcome"), "{waiting:#?}");
    let left = step(&world, run).await;
    assert_eq!(
        (&left["state"], &left["code"]),
        (&json!("unknown"), &json!("transaction_left"))
    );
    worker.drain().await;
}

#[tokio::test]
async fn a_transaction_that_a_cancel_meets_is_rolled_back() {
    let world = shop().await;
    let outside = Outside::default();
    let run = start(&world, "slow").await;
    let seen = outside.clone();
    let worker = world.worker_with(world.config("worker A"), move |builder| {
        builder.workflow("slow", move |ctx: Context, _: Value| {
            let outside = seen.clone();
            async move {
                ctx.transaction("sell", (), move |connection, ()| {
                    let outside = outside.clone();
                    Box::pin(async move {
                        sell(connection, "a hat").await?;
                        let call = worker::StepCall {
                            key: String::new(),
                            attempt: 1,
                        };
                        outside.note("sold", &call);
                        outside.opened().await;
                        Ok(())
                    })
                })
                .await
                .map_err(WorkflowError::from)
            }
        })
    });
    outside.made(1).await;
    world.engine.cancel_run(run, None, None).await.unwrap();
    outside.open();

    assert_eq!(world.settled(run).await.state, "cancelled");
    assert_eq!(sales(&world).await, 0);
    world.events(run).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_transaction_that_the_workflow_does_not_wait_for_is_done_all_the_same() {
    let world = shop().await;
    let run = start(&world, "hasty").await;
    let worker = world.worker_with(world.config("worker A"), |builder| {
        builder.workflow("hasty", |ctx: Context, _: Value| async move {
            let sales = ctx.parallel("sale", ["a hat", "a coat"], |ctx, item| async move {
                ctx.transaction("sell", item.to_owned(), |connection, item| {
                    Box::pin(async move {
                        // The other one waits for this lock.
                        sqlx::query("lock table sale in share row exclusive mode")
                            .execute(&mut *connection)
                            .await?;
                        sell(connection, &item).await
                    })
                })
                .await
            });
            tokio::select! {
                biased;
                _ = sales => {}
                slept = ctx.sleep(std::time::Duration::ZERO) => slept?,
            }
            Ok::<_, WorkflowError>(())
        })
    });

    assert_eq!(world.settled(run).await.state, "succeeded");
    assert_eq!(sales(&world).await, 2);
    assert_eq!(
        steps(&world, run).await,
        json!({"sale#1[0]/sell#1": "succeeded", "sale#1[1]/sell#1": "succeeded", "sleep#1": "succeeded"})
    );
    world.events(run).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_transaction_that_is_done_just_as_its_workflow_returns_is_committed() {
    let world = shop().await;
    let pool = world.database.pool().await;
    let (first, second) = (Outside::default(), Outside::default());
    let run = start(&world, "abrupt").await;
    let gates = (first.clone(), second.clone());
    let worker = world.worker_with(world.config("worker A"), move |builder| {
        builder.workflow("abrupt", move |ctx: Context, _: Value| {
            let (first, second) = gates.clone();
            async move {
                let waits = |name: &str, gate: &Outside| {
                    let gate = gate.clone();
                    let step = ctx.step(name, (), move |call, ()| {
                        let gate = gate.clone();
                        async move {
                            gate.note("asked", &call);
                            gate.opened().await;
                            Ok(())
                        }
                    });
                    step.read_only().into_future()
                };
                let (earlier, last) = (waits("earlier", &first), waits("last", &second));
                let sale = ctx.transaction("sell", (), move |connection, ()| {
                    let gate = second.clone();
                    Box::pin(async move {
                        gate.opened().await;
                        sell(connection, "a hat").await
                    })
                });
                let others = futures_util::future::join(earlier, sale.into_future());
                tokio::select! {
                    biased;
                    done = last => done?,
                    _ = others => {}
                }
                Ok::<_, WorkflowError>(())
            }
        })
    });
    first.made(1).await;
    second.made(1).await;
    // The driver cannot look up: it records the earlier step, and somebody holds the run's row.
    let mut held = pool.begin().await.expect("a transaction");
    sqlx::query("select * from longhaul.run where id = $1 for update")
        .bind(run.0)
        .execute(&mut *held)
        .await
        .expect("the row is held");
    first.open();
    seen(
        &pool,
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
    )
    .await;
    second.open();
    // The sale is made, and looked at for the last time before it is recorded.
    seen(
        &pool,
        "select count(*) from pg_stat_activity
         where datname = current_database() and state = 'idle in transaction' and backend_xid is not null
           and query ilike '%pg_current_xact_id%'
           and exists (select from pg_locks where pg_locks.pid = pg_stat_activity.pid and relation = 'sale'::regclass)",
    )
    .await;
    held.rollback().await.expect("the row is let go");

    assert_eq!(world.settled(run).await.state, "succeeded");
    assert_eq!(sales(&world).await, 1);
    assert_eq!(
        steps(&world, run).await,
        json!({"earlier#1": "succeeded", "last#1": "succeeded", "sell#1": "succeeded"})
    );
    world.events(run).await;
    worker.drain().await;
}
