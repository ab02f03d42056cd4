//! What people decide about the steps of a workflow, and about its run.

use super::{Order, Outside, quick, start, steps, world};
use engine::query::{ApprovalRow, ApprovalsWanted};
use engine::{Decide, RunId, SendSignal};
use longhaul_tests::world::{PATIENCE, World};
use serde_json::{Value, json};
use std::time::Duration;
use worker::{Builder, Context, FunctionError, StepFailed};

/// Pays in one branch and books in another: the first answers are lost. Answers with what it was told.
fn pays(outside: &Outside, step: &'static str) -> impl FnOnce(Builder) -> Builder + use<> {
    let outside = outside.clone();
    move |builder| {
        builder.workflow("pays", move |ctx: Context, order: Order| {
            let outside = outside.clone();
            async move {
                let paying = ctx.step(step, order.id, move |call, id: String| {
                    let is_first = outside.keys(step).is_empty();
                    outside.note(step, &call);
                    async move {
                        match is_first {
                            true => Err(FunctionError::transient("the line went dead")),
                            false => Ok(json!({"paid": id})),
                        }
                    }
                });
                let retry = worker::Retry {
                    attempts_max: 1,
                    ..quick()
                };
                let paid: Result<Value, StepFailed> = match step {
                    "book" => paying.idempotent().retry(retry).await,
                    _ => paying.retry(retry).await,
                };
                Ok(match paid {
                    Ok(paid) => paid,
                    Err(failed) => json!(failed.to_string()),
                })
            }
        })
    }
}

async fn open(world: &World, run: RunId) -> ApprovalRow {
    let wanted = ApprovalsWanted {
        tenant: "default".to_owned(),
        state: Some("open".to_owned()),
        run: Some(run),
        before: None,
        rows: 10,
    };
    let waiting = async {
        loop {
            if let [only] = world.engine.approvals(&wanted).await.unwrap().as_slice() {
                return only.clone();
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("somebody is asked")
}

async fn decide(world: &World, approval: &ApprovalRow, verb: &str) -> String {
    // The call is over, as far as the clock goes.
    sqlx::query("update longhaul.approval set settles_at = null where id = $1")
        .bind(approval.id)
        .execute(&world.database.pool().await)
        .await
        .unwrap();
    let decision = Decide {
        approval: approval.id,
        verb: verb.to_owned(),
        words: Some("so it is".to_owned()),
        result: (verb == "happened").then(|| r#"{"paid": "told"}"#.to_owned()),
        actor: Some("ann".to_owned()),
    };
    world.engine.decide_approval(&decision).await.expect("it is decided")
}

#[tokio::test]
async fn a_workflow_goes_on_with_what_people_say_became_of_its_step() {
    let cases = [
        ("pay", "happened", json!({"paid": "told"}), 1),
        ("pay", "did_not_happen", json!({"paid": "ORD-1"}), 2),
        ("pay", "give_up", json!("given_up"), 1),
        ("book", "approve", json!({"paid": "ORD-1"}), 2),
        ("book", "reject", json!("given_up"), 1),
    ];
    for (step, verb, told, calls) in cases {
        let world = world().await;
        let outside = Outside::default();
        let worker = world.worker_with(world.config("worker A"), pays(&outside, step));
        let run = start(&world, "pays").await;
        let parked = world.settled(run).await;
        assert_eq!(parked.waiting_for.as_deref(), Some("approval"), "{verb}");
        let approval = open(&world, run).await;
        assert_eq!(approval.tool.as_deref(), Some(step));

        assert_eq!(decide(&world, &approval, verb).await, "queued");

        let ended = world.until(run, "the run ends", |run| run.ended_at.is_some()).await;
        assert_eq!(ended.state, "succeeded", "{verb}: {:?}", ended.error);
        let result: Value = serde_json::from_str(&ended.result.unwrap()).unwrap();
        match told.as_str() {
            Some(code) => assert!(
                result.to_string().contains(code) || result.to_string().contains("so it is"),
                "{result}"
            ),
            None => assert_eq!(result, told, "{verb}"),
        }
        let keys = outside.keys(step);
        assert_eq!(keys.len(), calls, "{verb}");
        assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
        worker.drain().await;
    }
}

#[tokio::test]
async fn a_decision_that_comes_while_a_branch_is_still_at_work_is_not_lost() {
    let world = world().await;
    let outside = Outside::default();
    let register = |outside: &Outside| {
        let outside = outside.clone();
        move |builder: Builder| {
            builder.workflow("pays", move |ctx: Context, _: Order| {
                let outside = outside.clone();
                async move {
                    let branch = |ctx: Context, name: &'static str| {
                        let outside = outside.clone();
                        async move {
                            let step = ctx.step(name, (), move |call, ()| {
                                outside.note(name, &call);
                                let outside = outside.clone();
                                async move {
                                    if name == "pay" {
                                        return Err(FunctionError::transient("the line went dead"));
                                    }
                                    outside.opened().await;
                                    Ok(json!(name))
                                }
                            });
                            step.await
                        }
                    };
                    let made: Result<Vec<Value>, StepFailed> = ctx
                        .parallel("branch", ["pay", "wait"], branch)
                        .await
                        .into_iter()
                        .collect();
                    Ok(made?)
                }
            })
        }
    };
    let worker = world.worker_with(world.config("worker A"), register(&outside));
    let run = start(&world, "pays").await;
    let approval = open(&world, run).await;

    assert_eq!(decide(&world, &approval, "happened").await, "running");
    outside.open();

    let ended = world.until(run, "the run ends", |run| run.ended_at.is_some()).await;
    assert_eq!(ended.state, "succeeded", "{:?}", ended.error);
    assert_eq!(outside.names().len(), 2);
    worker.drain().await;
}

#[tokio::test]
async fn what_people_are_asked_about_a_step_holds_up_no_other_branch() {
    let world = world().await;
    let outside = Outside::default();
    let register = {
        let outside = outside.clone();
        move |builder: Builder| {
            builder.workflow("pays", move |ctx: Context, _: Order| {
                let outside = outside.clone();
                async move {
                    let branch = |ctx: Context, name: &'static str| {
                        let outside = outside.clone();
                        async move {
                            if name == "book" {
                                // Longer than a worker waits for with the run in its hands.
                                ctx.sleep(Duration::from_millis(2500)).await?;
                                let noted = outside.clone();
                                ctx.step("slept", (), move |call, ()| {
                                    noted.note("slept", &call);
                                    async { Ok(()) }
                                })
                                .await?;
                                ctx.wait_signal::<Value>("go", Duration::from_secs(3600)).await?;
                            }
                            let step = ctx.step(name, (), move |call, ()| {
                                outside.note(name, &call);
                                async move {
                                    match name {
                                        "pay" => Err(FunctionError::transient("the line went dead")),
                                        _ => Ok(json!(name)),
                                    }
                                }
                            });
                            step.await
                        }
                    };
                    let made = ctx.parallel("branch", ["pay", "book"], branch).await;
                    let made: Result<Vec<Value>, StepFailed> = made.into_iter().collect();
                    Ok(made?)
                }
            })
        }
    };
    let worker = world.worker_with(world.config("worker A"), register);
    let run = start(&world, "pays").await;
    let approval = open(&world, run).await;

    outside.made(2).await;
    let signal = SendSignal {
        run,
        name: "go".to_owned(),
        payload: "null".to_owned(),
        id: None,
        sender: None,
    };
    world.engine.send_signal(&signal).await.expect("it is sent");
    outside.made(3).await;

    assert_eq!(outside.names(), ["pay", "slept", "book"]);
    assert_eq!(open(&world, run).await.id, approval.id, "and nobody is asked twice");
    decide(&world, &approval, "happened").await;
    let ended = world.until(run, "the run ends", |run| run.ended_at.is_some()).await;
    assert_eq!(ended.state, "succeeded", "{:?}", ended.error);
    worker.drain().await;
}

#[tokio::test]
async fn a_workflow_that_a_person_rejects_fails_with_their_words() {
    let world = world().await;
    let outside = Outside::default();
    let worker = world.worker_with(world.config("worker A"), pays(&outside, "pay"));
    let run = start(&world, "pays").await;
    let approval = open(&world, run).await;
    worker.drain().await;
    let pool = world.database.pool().await;
    // As if code had changed under the run.
    sqlx::raw_sql(
        "update longhaul.approval set state = 'withdrawn', decided_at = now();
         update longhaul.run set wait_reason = 'input_changed';
         select longhaul.open_approval(id, null) from longhaul.run",
    )
    .execute(&pool)
    .await
    .unwrap();
    let asked = open(&world, run).await;
    assert_eq!((asked.step_seq, asked.reason.as_str()), (None, "input_changed"));
    assert_ne!(asked.id, approval.id);

    decide(&world, &asked, "reject").await;
    let worker = world.worker_with(world.config("worker B"), pays(&outside, "pay"));

    let ended = world.until(run, "the run ends", |run| run.ended_at.is_some()).await;
    let error: Value = serde_json::from_str(&ended.error.unwrap()).unwrap();
    assert_eq!((ended.state.as_str(), &error["code"]), ("failed", &json!("rejected")));
    assert!(error["message"].as_str().unwrap().contains("so it is"), "{error}");
    assert_eq!(
        steps(&world, run).await["pay#1"],
        "unknown",
        "and its doubt is asked about again"
    );
    assert_eq!(open(&world, run).await.reason, "unknown_outcome");
    assert_eq!(outside.names().len(), 1);
    worker.drain().await;
}

/// Pays, and fails where that fails.
fn pays_or_fails(outside: &Outside) -> impl FnOnce(Builder) -> Builder + use<> {
    let outside = outside.clone();
    move |builder| {
        builder.workflow("pays", move |ctx: Context, _: Order| {
            let outside = outside.clone();
            async move {
                let paying = ctx.step("pay", (), move |call, ()| {
                    outside.note("pay", &call);
                    async { Err::<Value, _>(FunctionError::transient("the line went dead")) }
                });
                Ok(paying.await?)
            }
        })
    }
}

#[tokio::test]
async fn what_a_person_gave_up_is_not_sent_again_by_whoever_resumes_the_run() {
    let world = world().await;
    let outside = Outside::default();
    let worker = world.worker_with(world.config("worker A"), pays_or_fails(&outside));
    let run = start(&world, "pays").await;
    decide(&world, &open(&world, run).await, "give_up").await;
    let failed = async |fence: i64| {
        world
            .until(run, "the run fails", |run| run.state == "failed" && run.fence.0 > fence)
            .await
    };
    let first = failed(1).await;

    world.engine.resume_run(run, None, None).await.expect("it is resumed");
    failed(first.fence.0).await;

    assert_eq!(outside.names().len(), 1, "it may have happened");
    worker.drain().await;
}

#[tokio::test]
async fn a_decision_about_a_run_whose_time_is_over_is_done_and_what_is_open_is_asked() {
    let world = world().await;
    let outside = Outside::default();
    let worker = world.worker_with(world.config("worker A"), pays_or_fails(&outside));
    let run = start(&world, "pays").await;
    let approval = open(&world, run).await;
    sqlx::query("update longhaul.run set deadline_at = created_at where id = $1")
        .bind(run.0)
        .execute(&world.database.pool().await)
        .await
        .unwrap();

    decide(&world, &approval, "happened").await;

    let ended = world.until(run, "the run ends", |run| run.ended_at.is_some()).await;
    let error: Value = serde_json::from_str(&ended.error.unwrap()).unwrap();
    assert_eq!(error["code"], "deadline_exceeded");
    assert_eq!(steps(&world, run).await["pay#1"], "succeeded");
    worker.drain().await;
}

#[tokio::test]
async fn what_was_decided_and_not_done_yet_is_done_by_the_cancel_that_comes_first() {
    let world = world().await;
    let outside = Outside::default();
    let worker = world.worker_with(world.config("worker A"), pays_or_fails(&outside));
    let run = start(&world, "pays").await;
    let approval = open(&world, run).await;
    worker.drain().await;
    decide(&world, &approval, "happened").await;

    world.engine.cancel_run(run, None, None).await.expect("it is cancelled");

    let step = "select to_jsonb(step) from longhaul_audit.step where run_id = $1";
    let step = world.sql(step, run).await;
    assert_eq!(
        (&step["state"], &step["result"]),
        (&json!("succeeded"), &json!({"paid": "told"}))
    );
    let asked = "select to_jsonb(count(*)) from longhaul_audit.approval where run_id = $1";
    assert_eq!(world.sql(asked, run).await, json!(1), "nobody is asked again");
}

#[tokio::test]
async fn a_workflow_cannot_go_on_with_a_step_that_happened_without_its_result() {
    let world = world().await;
    let outside = Outside::default();
    let worker = world.worker_with(world.config("worker A"), pays(&outside, "pay"));
    let run = start(&world, "pays").await;
    let approval = open(&world, run).await;
    let happened = Decide {
        approval: approval.id,
        verb: "happened".to_owned(),
        words: None,
        result: None,
        actor: None,
    };

    let refused = world
        .engine
        .decide_approval(&happened)
        .await
        .expect_err("it has no result");

    assert_eq!(refused.code(), "invalid_decision");
    assert_eq!(open(&world, run).await.id, approval.id, "it may still be decided");
    worker.drain().await;
}

#[tokio::test]
async fn a_decision_is_done_while_another_branch_goes_round_and_round() {
    let world = world().await;
    let outside = Outside::default();
    let register = {
        let outside = outside.clone();
        move |builder: Builder| {
            builder.workflow("pays", move |ctx: Context, _: Order| {
                let outside = outside.clone();
                async move {
                    let paying = ctx.step("pay", (), {
                        let outside = outside.clone();
                        move |call, ()| {
                            let is_first = outside.keys("pay").is_empty();
                            outside.note("pay", &call);
                            async move {
                                match is_first {
                                    true => Err(FunctionError::transient("the line went dead")),
                                    false => Ok(json!("paid")),
                                }
                            }
                        }
                    });
                    let looking = async {
                        loop {
                            ctx.sleep(Duration::from_millis(20)).await?;
                            ctx.step("look", (), |_, ()| async { Ok(()) }).read_only().await?;
                        }
                        #[expect(unreachable_code, reason = "it says what the loop fails with")]
                        Ok::<(), StepFailed>(())
                    };
                    tokio::select! {
                        paid = paying => Ok(paid?),
                        looked = looking => Ok(json!(looked.map_err(worker::WorkflowError::from)?)),
                    }
                }
            })
        }
    };
    let worker = world.worker_with(world.config("worker A"), register);
    let run = start(&world, "pays").await;
    let approval = open(&world, run).await;

    decide(&world, &approval, "did_not_happen").await;

    let ended = world.until(run, "the run ends", |run| run.ended_at.is_some()).await;
    assert_eq!(
        (ended.state.as_str(), ended.result.as_deref()),
        ("succeeded", Some("\"paid\""))
    );
    assert_eq!(outside.keys("pay").len(), 2);
    worker.drain().await;
}

#[tokio::test]
async fn nobody_can_say_that_a_step_did_not_happen_within_the_limit_that_its_code_gives_it() {
    let world = world().await;
    let worker = world.worker_with(world.config("worker A"), |builder| {
        builder.workflow("pays", |ctx: Context, _: Order| async move {
            let paying = ctx.step("pay", (), |_, ()| async {
                Err::<Value, _>(FunctionError::transient("the line went dead"))
            });
            Ok(paying.timeout(Duration::from_secs(600)).await?)
        })
    });
    let run = start(&world, "pays").await;
    let approval = open(&world, run).await;

    let settles = approval.settles_at.expect("it says when");
    let waits = settles - approval.opened_at;
    assert!((590..=601).contains(&waits.num_seconds()), "{waits}");
    worker.drain().await;
}

#[tokio::test]
async fn a_run_whose_code_asks_for_something_else_starts_nothing_more() {
    let world = world().await;
    let outside = Outside::default();
    let register = |word: &'static str| {
        let outside = outside.clone();
        move |builder: Builder| {
            builder.workflow("pays", move |ctx: Context, _: Order| {
                let outside = outside.clone();
                async move {
                    let branch = |ctx: Context, name: &'static str| {
                        let outside = outside.clone();
                        async move {
                            if name == "book" {
                                ctx.sleep(Duration::from_millis(2500)).await?;
                            }
                            let input = if name == "pay" { word.to_owned() } else { String::new() };
                            let step = ctx.step(name, input, move |call, _: String| {
                                outside.note(name, &call);
                                async move { Ok(json!(name)) }
                            });
                            step.await
                        }
                    };
                    let made = ctx.parallel("branch", ["pay", "book"], branch).await;
                    let made: Result<Vec<Value>, StepFailed> = made.into_iter().collect();
                    Ok(made?)
                }
            })
        }
    };
    let worker = world.worker_with(world.config("worker A"), register("one"));
    let run = start(&world, "pays").await;
    outside.made(1).await;
    world
        .until(run, "it sleeps", |run| run.waiting_for.as_deref() == Some("timer"))
        .await;
    worker.drain().await;

    let worker = world.worker_with(world.config("worker B"), register("another"));
    let approval = open(&world, run).await;

    assert_eq!(approval.reason, "input_changed");
    assert_eq!(outside.names(), ["pay"]);
    let due = "select coalesce(to_jsonb(due_at), 'null') from longhaul.run where id = $1";
    assert_eq!(world.sql(due, run).await, Value::Null, "no timer wakes it");
    worker.drain().await;
}
