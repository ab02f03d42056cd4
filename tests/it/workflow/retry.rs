//! When a step is tried again, and what is recorded by then.

use super::{Order, Outside, start, world};
use serde_json::json;
use std::time::Duration;
use worker::{Builder, Context, FunctionError, Retry, WorkflowError};

/// A step that fails at first, having done nothing, and then waits until it is let go. It is tried again at once.
fn hasty(outside: &Outside, effect: agent::Effect) -> impl FnOnce(Builder) -> Builder + use<> {
    let outside = outside.clone();
    let at_once = Retry {
        initial: Duration::ZERO,
        cap: Duration::ZERO,
        ..Retry::default()
    };
    move |builder| {
        builder.workflow("hasty", move |ctx: Context, order: Order| {
            let outside = outside.clone();
            async move {
                let pay = ctx.step("pay", order, move |call, _| {
                    outside.note("pay", &call);
                    let outside = outside.clone();
                    async move {
                        if call.attempt == 1 {
                            return Err(FunctionError::transient("not now").not_applied());
                        }
                        outside.opened().await;
                        Ok(())
                    }
                });
                pay.effect(effect).retry(at_once).await.map_err(WorkflowError::from)
            }
        })
    }
}

#[tokio::test]
async fn a_retry_without_a_pause_has_its_intent_recorded_before_it_is_made() {
    for effect in [agent::Effect::Idempotent, agent::Effect::AtMostOnce] {
        let world = world().await;
        let outside = Outside::default();
        let run = start(&world, "hasty").await;
        let worker = world.worker_with(world.config("worker A"), hasty(&outside, effect));

        outside.made(2).await;

        let row = "select jsonb_build_array(state, attempt) from longhaul.step where run_id = $1";
        assert_eq!(world.sql(row, run).await, json!(["running", 2]), "{effect:?}");
        outside.open();
        assert_eq!(world.settled(run).await.state, "succeeded");
        world.events(run).await;
        worker.drain().await;
    }
}

/// A step whose first call never answers, whose second one fails, and whose third one waits until it is let go.
fn clumsy(outside: &Outside) -> impl FnOnce(Builder) -> Builder + use<> {
    let outside = outside.clone();
    move |builder| {
        builder.workflow("clumsy", move |ctx: Context, order: Order| {
            let outside = outside.clone();
            async move {
                let pay = ctx.step("pay", order, move |call, _| {
                    outside.note("pay", &call);
                    let outside = outside.clone();
                    async move {
                        match outside.names().len() {
                            1 => std::future::pending().await,
                            2 => Err(FunctionError::transient("not now")),
                            _ => {
                                outside.opened().await;
                                Ok(())
                            }
                        }
                    }
                });
                pay.idempotent().await.map_err(WorkflowError::from)
            }
        })
    }
}

#[tokio::test]
async fn a_first_failure_is_a_result_and_wipes_out_the_crashes_before_it() {
    let world = world().await;
    let outside = Outside::default();
    let run = start(&world, "clumsy").await;
    let mut config = world.config("worker A");
    config.lease = Duration::from_millis(600);
    let worker = world.worker_with(config.clone(), clumsy(&outside));
    outside.made(1).await;
    worker.vanish();
    config.name = "worker B".to_owned();
    let worker = world.worker_with(config, clumsy(&outside));

    outside.made(3).await;

    let crashes = "
        select jsonb_build_array(crashes, (
            select count(*)
            from longhaul.event
            where event.run_id = run.id
              and event.kind = 'run.reclaimed'))
        from longhaul.run
        where id = $1";
    assert_eq!(world.sql(crashes, run).await, json!([0, 1]));
    outside.open();
    assert_eq!(world.settled(run).await.state, "succeeded");
    worker.drain().await;
}

/// A step that never answers the first time it is called, and is refused for good the second time.
fn refused_later(outside: &Outside) -> impl FnOnce(Builder) -> Builder + use<> {
    let outside = outside.clone();
    move |builder| {
        builder.workflow("refused", move |ctx: Context, order: Order| {
            let outside = outside.clone();
            async move {
                let pay = ctx.step("pay", order, move |call, _| {
                    let is_first = outside.names().is_empty();
                    outside.note("pay", &call);
                    async move {
                        if is_first {
                            std::future::pending::<()>().await;
                        }
                        Err::<(), _>(FunctionError::permanent("refused").not_applied())
                    }
                });
                pay.idempotent().await.map_err(WorkflowError::from)
            }
        })
    }
}

#[tokio::test]
async fn what_a_dead_worker_may_have_done_without_a_trace_is_in_doubt_though_the_next_call_is_refused() {
    let world = world().await;
    let outside = Outside::default();
    let run = start(&world, "refused").await;
    let mut config = world.config("worker A");
    config.lease = Duration::from_millis(600);
    let worker = world.worker_with(config.clone(), refused_later(&outside));
    outside.made(1).await;
    worker.vanish();
    config.name = "worker B".to_owned();
    let worker = world.worker_with(config, refused_later(&outside));

    let parked = world.settled(run).await;

    assert_eq!(parked.wait_reason.as_deref(), Some("retries_exhausted"), "{parked:?}");
    assert_eq!(outside.names().len(), 2);
    world.events(run).await;
    worker.drain().await;
}

#[tokio::test]
async fn what_a_dead_worker_may_have_done_is_in_doubt_though_the_run_was_resumed_after_its_last_crash() {
    let world = world().await;
    let outside = Outside::default();
    let run = start(&world, "refused").await;
    let mut config = world.config("worker A");
    config.lease = Duration::from_millis(600);
    let worker = world.worker_with(config.clone(), refused_later(&outside));
    outside.made(1).await;
    let nearly = "update longhaul.run set crashes = 4 where id = $1 returning to_jsonb(id)";
    world.sql(nearly, run).await;
    worker.vanish();
    config.name = "worker B".to_owned();
    let worker = world.worker_with(config, refused_later(&outside));
    let parked = world.settled(run).await;
    assert_eq!(parked.wait_reason.as_deref(), Some("crashes"), "{parked:?}");

    world.engine.resume_run(run, None, None).await.unwrap();
    outside.made(2).await;

    let doubtful = |run: &engine::query::RunDetail| run.wait_reason.as_deref() == Some("retries_exhausted");
    world.until(run, "waits for a person", doubtful).await;
    worker.drain().await;
}

/// As large as they can be.
const ENDLESS: Retry = Retry {
    attempts_max: u32::MAX,
    initial: Duration::MAX,
    cap: Duration::MAX,
    horizon: Duration::MAX,
};

#[tokio::test]
async fn a_step_that_is_tried_without_end_goes_on_after_it_was_cut_and_after_it_failed() {
    let world = world().await;
    let outside = Outside::default();
    let run = start(&world, "endless").await;
    let endless = || {
        let outside = outside.clone();
        move |builder: Builder| {
            builder.workflow("endless", move |ctx: Context, order: Order| {
                let outside = outside.clone();
                async move {
                    let pay = ctx.step("pay", order, move |call, _| {
                        outside.note("pay", &call);
                        let calls = outside.names().len();
                        async move {
                            match calls {
                                1 => std::future::pending().await,
                                2 => Err(FunctionError::transient("not now")),
                                _ => Ok(()),
                            }
                        }
                    });
                    let at_once = Retry {
                        initial: Duration::ZERO,
                        cap: Duration::ZERO,
                        ..ENDLESS
                    };
                    pay.idempotent().retry(at_once).timeout(Duration::MAX).await?;
                    Ok::<_, WorkflowError>(())
                }
            })
        }
    };
    let mut config = world.config("worker A");
    config.drain_grace = Duration::ZERO;
    let worker = world.worker_with(config, endless());
    outside.made(1).await;
    worker.drain().await;
    let worker = world.worker_with(world.config("worker B"), endless());

    assert_eq!(world.settled(run).await.state, "succeeded");
    assert_eq!(outside.names().len(), 3);
    let row = "select jsonb_build_array(attempt, attempts_max) from longhaul.step where run_id = $1";
    assert_eq!(world.sql(row, run).await, json!([3, i32::MAX]));
    world.events(run).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_step_that_is_tried_again_at_the_end_of_time_waits_for_it_without_a_worker() {
    let world = world().await;
    let run = start(&world, "patient").await;
    let worker = world.worker_with(world.config("worker A"), |builder| {
        builder.workflow("patient", |ctx: Context, order: Order| async move {
            let refused = |_, _| async { Err::<(), _>(FunctionError::transient("not now").not_applied()) };
            ctx.step("pay", order, refused).retry(ENDLESS).await?;
            Ok::<_, WorkflowError>(())
        })
    });

    let parked = world
        .until(run, "it waits", |run| run.waiting_for.as_deref() == Some("timer"))
        .await;
    // The delay is half of it either way.
    let decades = chrono::TimeDelta::days(365 * 1000);
    assert!(parked.due_at.unwrap() - parked.created_at > decades, "{parked:#?}");
    assert_eq!(parked.crashes, 0);
    worker.drain().await;
}

#[tokio::test]
async fn a_step_with_no_attempts_has_one_and_a_transaction_may_take_as_long_as_it_likes() {
    let world = world().await;
    let outside = Outside::default();
    let run = start(&world, "brief").await;
    let noting = outside.clone();
    let worker = world.worker_with(world.config("worker A"), move |builder| {
        builder.workflow("brief", move |ctx: Context, order: Order| {
            let outside = noting.clone();
            async move {
                let none = Retry {
                    attempts_max: 0,
                    ..Retry::default()
                };
                let refused = ctx.step("pay", order, move |call, _| {
                    outside.note("pay", &call);
                    async { Err::<(), _>(FunctionError::transient("not now").not_applied()) }
                });
                refused.retry(none).await.expect_err("it fails");
                let written = ctx.transaction("write", (), |_, ()| Box::pin(async { Ok(()) }));
                written.timeout(Duration::MAX).await?;
                Ok::<_, WorkflowError>(())
            }
        })
    });

    let ended = world.settled(run).await;
    assert_eq!(ended.state, "succeeded", "{ended:#?}");
    assert_eq!(outside.names().len(), 1);
    worker.drain().await;
}

#[tokio::test]
async fn a_doubt_that_is_resumed_without_end_of_attempts_is_tried_again() {
    let world = world().await;
    let outside = Outside::default();
    let run = start(&world, "endless").await;
    let noting = outside.clone();
    let worker = world.worker_with(world.config("worker A"), move |builder| {
        builder.workflow("endless", move |ctx: Context, order: Order| {
            let outside = noting.clone();
            async move {
                let pay = ctx.step("pay", order, move |call, _| {
                    outside.note("pay", &call);
                    let is_first = outside.names().len() == 1;
                    async move {
                        match is_first {
                            true => Err(FunctionError::permanent("nobody knows")),
                            false => Ok(()),
                        }
                    }
                });
                pay.idempotent().retry(ENDLESS).await?;
                Ok::<_, WorkflowError>(())
            }
        })
    });
    let waiting = world.settled(run).await;
    assert_eq!(
        waiting.wait_reason.as_deref(),
        Some("retries_exhausted"),
        "{waiting:#?}"
    );

    world.engine.resume_run(run, None, None).await.unwrap();

    let ended = world.until(run, "it ends", |run| run.ended_at.is_some()).await;
    assert_eq!((ended.state.as_str(), ended.crashes), ("succeeded", 0));
    assert_eq!(outside.names().len(), 2);
    worker.drain().await;
}
