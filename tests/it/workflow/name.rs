//! What a workflow may call its steps, and give to them.

use super::{Order, Outside, start, world};
use serde_json::json;
use std::time::Duration;
use worker::{Context, WorkflowError};

#[tokio::test]
async fn a_key_stands_for_one_step_whenever_the_workflow_is_run_again() {
    let world = world().await;
    let outside = Outside::default();
    let run = start(&world, "keyed").await;
    let noting = outside.clone();
    let worker = world.worker_with(world.config("worker A"), move |builder| {
        builder.workflow("keyed", move |ctx: Context, _: Order| {
            let outside = noting.clone();
            async move {
                let mut codes = Vec::new();
                for _ in 0..2 {
                    let outside = outside.clone();
                    let paid = ctx.step_keyed("pay", "ORD-1", (), move |call, ()| {
                        outside.note("pay", &call);
                        async { Ok(()) }
                    });
                    codes.push(
                        paid.await
                            .map_or_else(|failed| failed.code().to_owned(), |()| "paid".to_owned()),
                    );
                }
                // It is parked, and run again from its beginning.
                ctx.sleep(Duration::from_millis(2500)).await?;
                Ok::<_, WorkflowError>(codes)
            }
        })
    });

    let ended = world.settled(run).await;
    assert_eq!(ended.result.as_deref(), Some(r#"["paid","ambiguous_step"]"#));
    assert_eq!(outside.names(), ["pay"]);
    worker.drain().await;
}

#[tokio::test]
async fn a_name_that_cannot_be_recorded_is_an_error_of_its_step() {
    let world = world().await;
    let run = start(&world, "misnamed").await;
    let worker = world.worker_with(world.config("worker A"), |builder| {
        builder.workflow("misnamed", |ctx: Context, _: Order| async move {
            let mut codes = Vec::new();
            for name in ["a\0b", "", &"x".repeat(256)] {
                let refused = ctx.step(name, (), |_, ()| async { Ok(()) }).await;
                codes.push(refused.err().map(|failed| failed.code().to_owned()));
                let refused = ctx.wait_signal::<()>(name, None).await;
                codes.push(refused.err().map(|failed| failed.code().to_owned()));
            }
            Ok::<_, WorkflowError>(codes)
        })
    });

    let ended = world.settled(run).await;
    assert_eq!(
        ended.result,
        Some(json!(vec!["invalid_name"; 6]).to_string()),
        "{ended:?}"
    );
    worker.drain().await;
}

#[tokio::test]
async fn an_input_that_is_too_large_is_an_error_of_its_step() {
    let world = world().await;
    let run = start(&world, "hungry").await;
    let worker = world.worker_with(world.config("worker A"), |builder| {
        builder.workflow("hungry", |ctx: Context, _: Order| async move {
            let input = "x".repeat(16 * 1024 * 1024);
            let refused = ctx.step("eat", input, |_, _| async { Ok(()) }).await;
            Ok::<_, WorkflowError>(refused.err().map(|failed| failed.code().to_owned()))
        })
    });

    let ended = world.settled(run).await;
    assert_eq!(ended.result.as_deref(), Some(r#""input_too_large""#), "{ended:?}");
    worker.drain().await;
}

#[tokio::test]
async fn a_time_that_no_clock_shows_is_slept_through_without_a_worker() {
    let world = world().await;
    let run = start(&world, "timeless").await;
    let worker = world.worker_with(world.config("worker A"), |builder| {
        builder.workflow("timeless", |ctx: Context, _: Order| async move {
            // Over since long ago.
            ctx.sleep_until(chrono::DateTime::<chrono::Utc>::MIN_UTC).await?;
            ctx.sleep(Duration::MAX).await.map_err(WorkflowError::from)
        })
    });

    let parked = world
        .until(run, "sleeps", |run| run.state != "queued" && run.state != "running")
        .await;
    assert_eq!(parked.waiting_for.as_deref(), Some("timer"), "{parked:?}");
    assert_eq!(parked.crashes, 0);
    worker.drain().await;
}

#[tokio::test]
async fn no_two_places_have_one_identity_whatever_their_names_are() {
    let world = world().await;
    let outside = Outside::default();
    let run = start(&world, "sly").await;
    let noting = outside.clone();
    let worker = world.worker_with(world.config("worker A"), move |builder| {
        builder.workflow("sly", move |ctx: Context, _: Order| {
            let outside = noting.clone();
            async move {
                let note = move |call: worker::StepCall, ()| {
                    outside.note("sly", &call);
                    async { Ok(()) }
                };
                for name in ["a=b", "a%3Db", "a", "x#1[0]/a"] {
                    ctx.step(name, (), note.clone()).await?;
                }
                for (name, key) in [("a", "b#1"), ("a=b", "c"), ("a", "b=c"), ("a", "%3D")] {
                    ctx.step_keyed(name, key, (), note.clone()).await?;
                }
                let branch = |ctx: Context, ()| {
                    let note = note.clone();
                    async move { ctx.step("a", (), note).await }
                };
                for name in ["x", "x=y"] {
                    ctx.parallel(name, [()], branch)
                        .await
                        .into_iter()
                        .collect::<Result<(), _>>()?;
                }
                ctx.step_keyed("x", "y#1[0]/a#1", (), note.clone()).await?;
                // It is parked, and run again from its beginning.
                ctx.sleep(Duration::from_millis(2500)).await?;
                Ok::<_, WorkflowError>(())
            }
        })
    });

    let ended = world.settled(run).await;
    assert_eq!(ended.state, "succeeded", "{ended:#?}");
    let mut identities: Vec<_> = outside.keys("sly").iter().map(|key| key[37..].to_owned()).collect();
    identities.sort();
    let told = [
        "a#1",
        "a%253Db#1",
        "a%3Db#1",
        "a%3Db=c",
        "a=%3D",
        "a=b#1",
        "a=b=c",
        "x#1[0]/a#1",
        "x%231[0]/a#1",
        "x%3Dy#1[0]/a#1",
        "x=y#1[0]/a#1",
    ];
    assert_eq!(identities, told);
    worker.drain().await;
}
