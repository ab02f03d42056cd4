//! Workflows that wait for the first of several.

use super::{Outside, start, steps, world};
use futures_util::FutureExt;
use futures_util::future::select_all;
use serde_json::{Value, json};
use std::time::Duration;
use worker::{Context, StepCall, WorkflowError};

#[tokio::test]
async fn the_first_of_several_stays_the_first_whenever_the_workflow_is_run_again() {
    let world = world().await;
    let outside = Outside::default();
    let run = start(&world, "race").await;
    let seen = outside.clone();
    let worker = world.worker_with(world.config("worker A"), move |builder| {
        builder.workflow("race", move |ctx: Context, _: Value| {
            let outside = seen.clone();
            async move {
                let held = outside.clone();
                let first = tokio::select! {
                    // Whoever is told of both at once takes this one.
                    biased;
                    slow = ctx.step("slow", (), move |_: StepCall, ()| {
                        let outside = held.clone();
                        async move { outside.opened().await; Ok("slow".to_owned()) }
                    }).idempotent() => slow?,
                    fast = ctx.step("fast", (), |_: StepCall, ()| async { Ok("fast".to_owned()) }).idempotent() => fast?,
                };
                let opens = outside.clone();
                ctx.step(&format!("tell of the {first}"), (), move |_: StepCall, ()| {
                    opens.open();
                    async { Ok(()) }
                })
                .await?;
                // It is parked, and run again from its beginning.
                ctx.sleep(Duration::from_millis(2500)).await?;
                Ok::<_, WorkflowError>(first)
            }
        })
    });

    let ended = world.settled(run).await;
    assert_eq!(ended.result.as_deref(), Some("\"fast\""), "{ended:#?}");
    assert!(ended.fence.0 > 1, "it was taken up again");
    assert_eq!(
        steps(&world, run).await,
        json!({"slow#1": "succeeded", "fast#1": "succeeded", "tell of the fast#1": "succeeded", "sleep#1": "succeeded"})
    );
    worker.drain().await;
}

#[tokio::test]
async fn the_order_of_many_answers_is_the_same_whenever_the_workflow_is_run_again() {
    const MANY: usize = 12;
    let world = world().await;
    let (outside, seen) = (Outside::default(), Outside::default());
    let run = start(&world, "many").await;
    let (noting, telling) = (outside.clone(), seen.clone());
    let worker = world.worker_with(world.config("worker A"), move |builder| {
        builder.workflow("many", move |ctx: Context, _: Value| {
            let (outside, seen) = (noting.clone(), telling.clone());
            async move {
                let mut left: Vec<_> = (0..MANY)
                    .map(|number| {
                        let outside = outside.clone();
                        // Its intent gives it its number, and the numbers are in the order of asking.
                        let step = ctx.step(&format!("step {number}"), number, move |call, number| {
                            let outside = outside.clone();
                            async move {
                                // Whoever was asked last is done first.
                                outside.made(MANY - 1 - number).await;
                                outside.note("done", &call);
                                Ok(number)
                            }
                        });
                        async move { step.await }.boxed()
                    })
                    .collect();
                let mut order = Vec::new();
                while !left.is_empty() {
                    let (answer, _, others) = select_all(left).await;
                    order.push(answer?);
                    left = others;
                }
                let call = StepCall {
                    key: String::new(),
                    attempt: 1,
                };
                seen.note(&format!("{order:?}"), &call);
                // It is parked, and run again from its beginning.
                ctx.sleep(Duration::from_millis(2500)).await?;
                Ok::<_, WorkflowError>(())
            }
        })
    });

    let ended = world.settled(run).await;
    assert_eq!(ended.state, "succeeded", "{ended:#?}");
    let backwards: Vec<usize> = (0..MANY).rev().collect();
    assert_eq!(seen.names(), vec![format!("{backwards:?}"); 2]);
    worker.drain().await;
}
