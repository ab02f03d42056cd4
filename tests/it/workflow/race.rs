//! Workflows that wait for the first of several.

use super::{Outside, start, steps, world};
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
