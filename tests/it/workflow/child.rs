//! Workflows that start others below themselves.

use super::{Outside, seen, world};
use engine::query::RunDetail;
use engine::{RunId, StartRun};
use longhaul_tests::world::World;
use serde_json::{Value, json};
use std::time::Duration;
use worker::{Builder, Child, ChildRun, Context, OnParentEnd, WorkflowError};

async fn start(world: &World, kind: &str, input: Value) -> RunId {
    let start = StartRun::workflow(kind, input.to_string());
    world.engine.start_run(&start).await.expect("the run starts").run
}

fn result(detail: &RunDetail) -> Value {
    let result = detail.result.as_deref();
    serde_json::from_str(result.unwrap_or_else(|| panic!("no result: {detail:#?}"))).unwrap()
}

fn error(detail: &RunDetail) -> Value {
    let error = detail.error.as_deref();
    serde_json::from_str(error.unwrap_or_else(|| panic!("no error: {detail:#?}"))).unwrap()
}

/// The states of a run's children, by label.
async fn children(world: &World, run: RunId) -> Value {
    world
        .sql(
            "select coalesce(jsonb_object_agg(coalesce(labels ->> 'name', kind), state), '{}')
             from longhaul.run where parent_id = $1",
            run,
        )
        .await
}

/// Doubles; fails at 13 until it is told that it may; sleeps a week at 0.
fn doubles(builder: Builder) -> Builder {
    builder.workflow("doubles", |ctx: Context, number: i64| async move {
        match number {
            13 => ctx.step("luck", (), |_, ()| async { unlucky() }).read_only().await?,
            0 => ctx.sleep(Duration::from_secs(7 * 24 * 3600)).await?,
            _ => {}
        }
        Ok::<_, WorkflowError>(number * 2)
    })
}

fn unlucky() -> Result<(), worker::FunctionError> {
    Err(worker::FunctionError::permanent("thirteen"))
}

fn sums(builder: Builder) -> Builder {
    doubles(builder).workflow("sums", |ctx: Context, numbers: Vec<i64>| async move {
        let doubled = ctx
            .parallel("number", numbers, |ctx, number| async move {
                ctx.run_child::<i64>(ChildRun::workflow("doubles", number)).await
            })
            .await;
        let mut sum = 0;
        for doubled in doubled {
            sum += doubled?;
        }
        Ok::<_, WorkflowError>(sum)
    })
}

#[tokio::test]
async fn a_workflow_waits_for_its_children_and_goes_on_with_their_results() {
    let world = world().await;
    let run = start(&world, "sums", json!([1, 2, 3, 4])).await;
    let mut config = world.config("worker A");
    // A parent that waits takes no child's place.
    config.runs_max = 1;
    let worker = world.worker_with(config, sums);

    let ended = world.settled(run).await;
    assert_eq!(result(&ended), json!(20));
    let tree: Value = world
        .sql(
            "select jsonb_agg(distinct jsonb_build_array(parent_id, tree_id, depth)) from longhaul.run
             where parent_id = $1",
            run,
        )
        .await;
    assert_eq!(tree, json!([[run, run, 1]]));
    world.events(run).await;
    worker.drain().await;
}

#[tokio::test]
async fn an_agent_is_run_as_a_child() {
    let world = world().await;
    world
        .apply(&longhaul_tests::world::workspace_file("tests/it/workflow/clerk.toml"))
        .await;
    let run = start(&world, "asks", json!("Is it so?")).await;
    let worker = world.worker_with(world.config("worker A"), |builder| {
        builder.workflow("asks", |ctx: Context, question: String| async move {
            let answer = ctx.run_agent("clerk", question).await?;
            Ok::<_, WorkflowError>(answer)
        })
    });

    let ended = world.settled(run).await;
    assert_eq!(result(&ended), json!("Yes."));
    worker.drain().await;
}

#[tokio::test]
async fn a_childs_failure_is_its_parents_to_handle() {
    let world = world().await;
    let run = start(&world, "sums", json!([1, 13])).await;
    let worker = world.worker_with(world.config("worker A"), sums);

    let failed = world.settled(run).await;
    let error = error(&failed);
    assert_eq!(
        (failed.state.as_str(), &error["code"]),
        ("failed", &json!("child_failed"))
    );
    assert!(
        error["message"].as_str().unwrap().contains("step_failed: thirteen"),
        "{error}"
    );
    world.events(run).await;
    worker.drain().await;
}

#[tokio::test]
async fn what_is_to_end_with_a_run_does_and_what_is_not_goes_on() {
    let world = world().await;
    let run = start(&world, "leaves", json!(null)).await;
    let worker = world.worker_with(world.config("worker A"), |builder| {
        doubles(builder).workflow("leaves", |ctx: Context, (): ()| async move {
            let bound = ChildRun::workflow("doubles", 0).label("name", "bound");
            let free = ChildRun::workflow("doubles", 0)
                .label("name", "free")
                .on_parent_end(OnParentEnd::Abandon);
            let _: Child = ctx.start_child(bound).await?;
            ctx.start_child(free).await?;
            Ok::<_, WorkflowError>(())
        })
    });

    assert_eq!(world.settled(run).await.state, "succeeded");
    let bound = world
        .sql(
            "select to_jsonb(id) from longhaul.run where parent_id = $1 and on_parent_end = 'cancel'",
            run,
        )
        .await;
    let bound: RunId = serde_json::from_value(bound).unwrap();
    world.settled(bound).await;
    let left = children(&world, run).await;
    assert_eq!(left["bound"], json!("cancelled"));
    assert!(
        ["queued", "running", "waiting"].contains(&left["free"].as_str().unwrap()),
        "{left}"
    );
    worker.drain().await;
}

#[tokio::test]
async fn a_cancel_reaches_children_that_sleep() {
    let world = world().await;
    let run = start(&world, "sums", json!([0, 0])).await;
    let worker = world.worker_with(world.config("worker A"), sums);
    world
        .until(run, "it waits", |run| run.waiting_for.as_deref() == Some("child"))
        .await;

    world.engine.cancel_run(run, Some("enough"), None).await.unwrap();
    assert_eq!(world.settled(run).await.state, "cancelled");
    let all_ended = async {
        loop {
            let open = world
                .sql(
                    "select to_jsonb(count(*)) from longhaul.run where parent_id = $1 and state <> 'cancelled'",
                    run,
                )
                .await;
            if open == json!(0) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(longhaul_tests::world::PATIENCE, all_ended)
        .await
        .expect("the children are cancelled");
    worker.drain().await;
}

#[tokio::test]
async fn runs_that_start_each_other_without_end_come_to_one() {
    let world = world().await;
    let run = start(&world, "matryoshka", json!(0)).await;
    let worker = world.worker_with(world.config("worker A"), |builder| {
        builder.workflow("matryoshka", |ctx: Context, level: u32| async move {
            let inner = ctx
                .run_child::<String>(ChildRun::workflow("matryoshka", level + 1))
                .await;
            Ok::<_, WorkflowError>(match inner {
                Ok(inner) => inner,
                Err(refused) => format!("level {level}: {refused}"),
            })
        })
    });

    let ended = world.settled(run).await;
    let told = result(&ended);
    assert!(
        told.as_str()
            .unwrap()
            .starts_with("level 16: child_not_started: the child was not started: child_too_deep"),
        "{told}"
    );
    worker.drain().await;
}

#[tokio::test]
async fn a_child_that_nobody_can_drive_is_refused() {
    let world = world().await;
    let run = start(&world, "hopeful", json!(null)).await;
    let worker = world.worker_with(world.config("worker A"), |builder| {
        builder.workflow("hopeful", |ctx: Context, (): ()| async move {
            ctx.start_child(ChildRun::agent("nobody", "x"))
                .await
                .map(|_| ())
                .map_err(WorkflowError::from)
        })
    });

    let error = error(&world.settled(run).await);
    assert_eq!(error["code"], json!("child_not_started"));
    assert!(error["message"].as_str().unwrap().contains("no_such_agent"), "{error}");
    worker.drain().await;
}

/// Starts a child of this kind, fails until it is told that it may go on, and tells which child it has.
fn forgets(on_parent_end: OnParentEnd, outside: &Outside) -> impl FnOnce(Builder) -> Builder + use<> {
    let outside = outside.clone();
    move |builder| {
        builder.workflow("forgets", move |ctx: Context, (): ()| {
            let outside = outside.clone();
            async move {
                let child = ChildRun::workflow("doubles", 0).on_parent_end(on_parent_end);
                let child = ctx.start_child(child).await?;
                match *outside.open.borrow() {
                    true => Ok(child),
                    false => Err(WorkflowError::new("closed", "not yet")),
                }
            }
        })
    }
}

#[tokio::test]
async fn a_child_that_may_have_been_started_when_its_start_failed_is_found_again_unless_it_ended_with_its_parent() {
    for (on_parent_end, starts) in [(OnParentEnd::Abandon, 1), (OnParentEnd::Cancel, 2)] {
        let world = world().await;
        let outside = Outside::default();
        let run = start(&world, "forgets", json!(null)).await;
        let forgets = || forgets(on_parent_end, &outside);
        let worker = world.worker_with(world.config("worker A"), |builder| forgets()(doubles(builder)));
        assert_eq!(world.settled(run).await.state, "failed");
        // As if each answer to its start had been lost.
        let pool = world.database.pool().await;
        let error = json!({"class": "timeout", "code": "step_timeout", "message": "lost"}).to_string();
        sqlx::query(
            "update longhaul.step
             set state = 'failed', result = null, maybe_applied = true, error = $2::json
             where run_id = $1",
        )
        .bind(run.0)
        .bind(&error)
        .execute(&pool)
        .await
        .expect("its start is lost");
        sqlx::query(
            "update longhaul.event set data = jsonb_set($2::jsonb, '{step}', '\"doubles#1\"')
             where run_id = $1 and kind = 'run.failed'",
        )
        .bind(run.0)
        .bind(&error)
        .execute(&pool)
        .await
        .expect("it failed by that");
        outside.open();
        worker.drain().await;
        let worker = world.worker_with(world.config("worker B"), |builder| match on_parent_end {
            // One that is there needs nobody who could drive it.
            OnParentEnd::Abandon => forgets()(builder),
            OnParentEnd::Cancel => forgets()(doubles(builder)),
        });

        world.engine.resume_run(run, None, None).await.expect("it goes on");

        let ended = world.settled(run).await;
        assert_eq!(ended.state, "succeeded", "{ended:#?}");
        let newest = "
            select jsonb_build_array(count(*), (array_agg(id order by id desc))[1])
            from longhaul.run where parent_id = $1";
        assert_eq!(world.sql(newest, run).await, json!([starts, result(&ended)["run_id"]]));
        worker.drain().await;
    }
}

#[tokio::test]
async fn starting_a_child_is_tried_on_while_the_database_is_away() {
    let world = world().await;
    let pool = world.database.pool().await;
    let outside = Outside::default();
    let run = start(&world, "waits", json!(null)).await;
    let gate = outside.clone();
    let worker = world.worker_with(world.config("worker A"), move |builder| {
        doubles(builder).workflow("waits", move |ctx: Context, (): ()| {
            let gate = gate.clone();
            async move {
                gate.opened().await;
                Ok::<_, WorkflowError>(ctx.run_child::<i64>(ChildRun::workflow("doubles", 2)).await?)
            }
        })
    });
    world.until(run, "it is driven", |run| run.state == "running").await;
    let mut held = pool.begin().await.expect("a transaction");
    sqlx::query("select * from longhaul.run where id = $1 for update")
        .bind(run.0)
        .execute(&mut *held)
        .await
        .expect("the row is held");
    outside.open();
    // Whoever starts the child waits for its parent's row, and is cut.
    let cut = "
        select count(pg_terminate_backend(pid)) from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock' and query ilike '%start_child%'";
    seen(&pool, cut).await;
    held.rollback().await.expect("the row is let go");

    let ended = world.settled(run).await;
    assert_eq!(ended.result.as_deref(), Some("4"), "{ended:#?}");
    assert_eq!(children(&world, run).await, json!({"doubles": "succeeded"}));
    worker.drain().await;
}

#[tokio::test]
async fn a_cancel_that_leaves_open_what_becomes_of_the_children_reaches_them() {
    let world = world().await;
    let run = start(&world, "sums", json!([0])).await;
    let worker = world.worker_with(world.config("worker A"), sums);
    world
        .until(run, "it waits", |run| run.waiting_for.as_deref() == Some("child"))
        .await;
    let child = "select to_jsonb(id) from longhaul.run where parent_id = $1";
    let child: RunId = serde_json::from_value(world.sql(child, run).await).expect("an id");

    world
        .sql(
            "select to_jsonb(longhaul.cancel_run(run_id => $1, children => null))",
            run,
        )
        .await;

    for run in [run, child] {
        let ended = world.until(run, "it ends", |run| run.ended_at.is_some()).await;
        assert_eq!(ended.state, "cancelled");
    }
    worker.drain().await;
}
