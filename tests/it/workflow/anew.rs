//! Failed runs that are let go on: what is done anew, and what is not.

use super::{Outside, start, steps, world};
use engine::{RunId, SendSignal};
use longhaul_tests::world::World;
use serde_json::{Value, json};
use std::time::Duration;
use worker::{Builder, ChildRun, Context, FunctionError, Retry, WorkflowError};

async fn fails_and_is_resumed(world: &World, run: RunId, outside: &Outside) {
    assert_eq!(world.settled(run).await.state, "failed");
    outside.open();
    world.engine.resume_run(run, Some("mended"), Some("ops")).await.unwrap();
}

/// Fails until it is mended.
async fn mended(outside: Outside) -> Result<(), FunctionError> {
    match *outside.open.borrow() {
        true => Ok(()),
        false => Err(FunctionError::permanent("closed").not_applied()),
    }
}

#[tokio::test]
async fn the_branch_that_failed_goes_on_though_others_were_recorded_after_it() {
    let world = world().await;
    let outside = Outside::default();
    let run = start(&world, "branches").await;
    let noting = outside.clone();
    let worker = world.worker_with(world.config("worker A"), move |builder| {
        builder.workflow("branches", move |ctx: Context, _: Value| {
            let outside = noting.clone();
            async move {
                let ended = ctx
                    .parallel("branch", ["bad", "good"], |ctx, name| {
                        let outside = outside.clone();
                        async move {
                            if name == "good" {
                                ctx.sleep(Duration::from_millis(200)).await?;
                            }
                            ctx.step(name, (), move |call, ()| {
                                outside.note(name, &call);
                                let outside = outside.clone();
                                async move {
                                    match name {
                                        "bad" => mended(outside).await,
                                        _ => Ok(()),
                                    }
                                }
                            })
                            .await
                        }
                    })
                    .await;
                ended.into_iter().collect::<Result<(), _>>()?;
                Ok::<_, WorkflowError>(())
            }
        })
    });

    fails_and_is_resumed(&world, run, &outside).await;

    assert_eq!(world.settled(run).await.state, "succeeded");
    assert_eq!(outside.names(), ["bad", "good", "bad"]);
    let keys = outside.keys("bad");
    assert_ne!(keys[0], keys[1]);
    world.events(run).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_step_that_was_to_be_tried_again_when_its_run_failed_is_done_after_it_goes_on() {
    let world = world().await;
    let outside = Outside::default();
    let run = start(&world, "hasty").await;
    let noting = outside.clone();
    let worker = world.worker_with(world.config("worker A"), move |builder| {
        builder.workflow("hasty", move |ctx: Context, _: Value| {
            let (slow, bad) = (noting.clone(), noting.clone());
            async move {
                let patient = Retry {
                    initial: Duration::from_secs(60),
                    cap: Duration::from_secs(60),
                    ..Retry::default()
                };
                let slow = ctx
                    .step("slow", (), move |_, ()| {
                        let outside = slow.clone();
                        async move {
                            let failed = mended(outside).await;
                            failed.map_err(|_| FunctionError::transient("later").not_applied())
                        }
                    })
                    .retry(patient);
                let bad = async {
                    ctx.sleep(Duration::from_millis(300)).await?;
                    ctx.step("bad", (), move |_, ()| mended(bad.clone())).await
                };
                tokio::try_join!(async { slow.await }, bad)?;
                Ok::<_, WorkflowError>(())
            }
        })
    });

    fails_and_is_resumed(&world, run, &outside).await;

    assert_eq!(world.settled(run).await.state, "succeeded");
    world.events(run).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_child_that_ended_with_its_parent_is_started_again_when_the_parent_goes_on() {
    let world = world().await;
    let outside = Outside::default();
    let run = start(&world, "parent").await;
    let noting = outside.clone();
    let worker = world.worker_with(world.config("worker A"), move |builder: Builder| {
        let builder = builder.workflow("child", |ctx: Context, (): ()| async move {
            Ok::<_, WorkflowError>(ctx.wait_signal::<u32>("go", None).await?)
        });
        builder.workflow("parent", move |ctx: Context, _: Value| {
            let outside = noting.clone();
            async move {
                let child = ctx.start_child(ChildRun::workflow("child", ())).await?;
                ctx.step("bad", (), move |_, ()| mended(outside.clone())).await?;
                Ok::<_, WorkflowError>(ctx.join::<u32>(&child).await?)
            }
        })
    });

    fails_and_is_resumed(&world, run, &outside).await;
    world
        .until(run, "it waits", |run| run.waiting_for.as_deref() == Some("child"))
        .await;
    let child = "select to_jsonb(id) from longhaul.run where parent_id = $1 and ended_at is null";
    let child = serde_json::from_value(world.sql(child, run).await).expect("one that goes on");
    let signal = SendSignal {
        run: child,
        name: "go".to_owned(),
        payload: "7".to_owned(),
        id: None,
        sender: None,
    };
    world.engine.send_signal(&signal).await.unwrap();

    assert_eq!(world.settled(run).await.result.as_deref(), Some("7"));
    world.events(run).await;
    worker.drain().await;
}

#[tokio::test]
async fn what_is_begun_and_given_up_in_one_go_has_its_end() {
    let world = world().await;
    let run = start(&world, "brief").await;
    let worker = world.worker_with(world.config("worker A"), |builder| {
        builder.workflow("brief", |ctx: Context, _: Value| async move {
            for _ in 0..2 {
                tokio::select! {
                    biased;
                    slept = ctx.sleep(Duration::from_secs(3600)) => slept?,
                    now = ctx.now() => drop(now?),
                }
            }
            Ok::<_, WorkflowError>(())
        })
    });

    assert_eq!(world.settled(run).await.state, "succeeded");
    assert_eq!(
        steps(&world, run).await,
        json!({"sleep#1": "cancelled", "now#1": "succeeded", "sleep#2": "cancelled", "now#2": "succeeded"})
    );
    world.events(run).await;
    worker.drain().await;
}

/// How a workflow fails.
#[derive(Clone, Copy, PartialEq)]
enum Words {
    /// Those of the step, passed on.
    Passed,
    /// Its own around those of the step.
    Around,
    /// Its own, right after the step.
    Own,
}

/// Two steps fail with the same words, and the workflow fails by one of the two. Unless it does so right after that,
/// another step is made before.
async fn of_two_failures(fails_by: &'static str, words: Words) {
    let world = world().await;
    let outside = Outside::default();
    let run = start(&world, "two").await;
    let noting = outside.clone();
    let worker = world.worker_with(world.config("worker A"), move |builder| {
        builder.workflow("two", move |ctx: Context, _: Value| {
            let outside = noting.clone();
            async move {
                let mut failed = None;
                for name in ["first", "second"] {
                    let outside = outside.clone();
                    let step = ctx.step(name, (), move |call, ()| {
                        outside.note(name, &call);
                        mended(outside.clone())
                    });
                    let told = step.await;
                    if name == fails_by {
                        failed = told.err();
                    }
                }
                if words != Words::Own {
                    ctx.step("tidy up", (), |_, ()| async { Ok(()) }).read_only().await?;
                }
                let Some(failed) = failed else { return Ok(()) };
                Err(match words {
                    Words::Passed => WorkflowError::from(failed),
                    Words::Around => WorkflowError::new("not_today", format!("sorry: {}", failed.message())),
                    Words::Own => WorkflowError::new("not_today", "sorry"),
                })
            }
        })
    });

    let failed = world.settled(run).await;
    let error: Value = serde_json::from_str(failed.error.as_deref().unwrap()).unwrap();
    let named = (words == Words::Passed).then(|| json!(format!("{fails_by}#1")));
    assert_eq!(error.get("step"), named.as_ref(), "{error}");
    fails_and_is_resumed(&world, run, &outside).await;

    assert_eq!(world.settled(run).await.state, "succeeded");
    assert_eq!(outside.names(), ["first", "second", fails_by]);
    world.events(run).await;
    worker.drain().await;
}

#[tokio::test]
async fn of_two_steps_that_failed_alike_the_one_that_failed_the_run_is_done_anew() {
    tokio::join!(
        of_two_failures("first", Words::Passed),
        of_two_failures("second", Words::Passed)
    );
}

#[tokio::test]
async fn of_two_steps_that_failed_alike_the_last_is_done_anew_where_the_workflow_has_words_of_its_own() {
    tokio::join!(
        of_two_failures("second", Words::Around),
        of_two_failures("second", Words::Own)
    );
}

#[tokio::test]
async fn a_run_that_what_was_recorded_fails_makes_no_step_anew() {
    let world = world().await;
    let outside = Outside::default();
    let run = start(&world, "changed").await;
    let noting = outside.clone();
    let worker = world.worker_with(world.config("worker A"), move |builder| {
        builder.workflow("changed", move |ctx: Context, _: Value| {
            let outside = noting.clone();
            async move {
                let failing = outside.clone();
                let step = ctx.step("caught", (), move |call, ()| {
                    failing.note("caught", &call);
                    async { Err::<(), _>(FunctionError::permanent("no").not_applied()) }
                });
                step.await.expect_err("it fails");
                let refused = ctx.wait_signal::<u32>("number", None).await;
                match *outside.open.borrow() {
                    true => Ok(()),
                    false => Err(WorkflowError::from(refused.expect_err("it is no number"))),
                }
            }
        })
    });
    let signal = SendSignal {
        run,
        name: "number".to_owned(),
        payload: r#""seven""#.to_owned(),
        id: None,
        sender: None,
    };
    world.engine.send_signal(&signal).await.unwrap();

    let failed = world.settled(run).await;
    let error: Value = serde_json::from_str(failed.error.as_deref().unwrap()).unwrap();
    assert_eq!(
        (&error["code"], &error["step"]),
        (&json!("signal_unreadable"), &json!("number#1"))
    );
    fails_and_is_resumed(&world, run, &outside).await;
    assert_eq!(world.settled(run).await.state, "succeeded");
    assert_eq!(outside.names(), ["caught"]);
    worker.drain().await;
}

#[tokio::test]
async fn a_run_whose_time_was_over_makes_no_step_anew() {
    let world = world().await;
    let outside = Outside::default();
    let run = start(&world, "late").await;
    let late = || {
        let noting = outside.clone();
        move |builder: Builder| {
            builder.workflow("late", move |ctx: Context, _: Value| {
                let outside = noting.clone();
                async move {
                    let failing = outside.clone();
                    let step = ctx.step("caught", (), move |call, ()| {
                        failing.note("caught", &call);
                        async { Err::<(), _>(FunctionError::permanent("no").not_applied()) }
                    });
                    step.await.expect_err("it fails");
                    outside.opened().await;
                    Ok::<_, WorkflowError>(())
                }
            })
        }
    };
    let dying = world.worker_with(world.config("worker A"), late());
    let recorded = async { while steps(&world, run).await != json!({"caught#1": "failed"}) {} };
    tokio::time::timeout(longhaul_tests::world::PATIENCE, recorded)
        .await
        .expect("it fails");
    dying.vanish();
    // A resume gives it as long again.
    let over = "
        update longhaul.run set deadline_at = now(), created_at = now() - interval '1 day'
        where id = $1
        returning to_jsonb(id)";
    world.sql(over, run).await;
    let worker = world.worker_with(world.config("worker B"), late());
    let failed = world.settled(run).await;
    assert!(
        failed.error.as_deref().unwrap().contains("deadline_exceeded"),
        "{failed:#?}"
    );
    fails_and_is_resumed(&world, run, &outside).await;

    assert_eq!(world.settled(run).await.state, "succeeded");
    assert_eq!(outside.names(), ["caught"]);
    worker.drain().await;
}
