//! Workflows that are told things from outside.

use super::{steps, world};
use engine::{RunId, SendSignal, StartRun};
use longhaul_tests::world::World;
use serde_json::{Value, json};
use std::time::Duration;
use worker::{Builder, Context, WorkflowError};

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

async fn start(world: &World, kind: &str, input: Value) -> RunId {
    let start = StartRun::workflow(kind, input.to_string());
    world.engine.start_run(&start).await.expect("the run starts").run
}

async fn send(world: &World, run: RunId, name: &str, payload: Value) {
    let signal = SendSignal {
        run,
        name: name.to_owned(),
        payload: payload.to_string(),
        id: None,
        sender: Some("ann".to_owned()),
    };
    assert!(world.engine.send_signal(&signal).await.expect("it is sent").created);
}

fn result(detail: &engine::query::RunDetail) -> Value {
    serde_json::from_str(detail.result.as_deref().expect("it has a result")).unwrap()
}

/// Waits for as many signals as it is told, each for a week.
fn collects(builder: Builder) -> Builder {
    builder.workflow("collects", |ctx: Context, count: usize| async move {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(ctx.wait_signal::<Value>("item", WEEK).await?);
        }
        Ok::<_, WorkflowError>(all)
    })
}

/// Waits so many milliseconds.
fn hurried(builder: Builder) -> Builder {
    builder.workflow("hurried", |ctx: Context, millis: u64| async move {
        let before = ctx.now().await?;
        let come = ctx.wait_signal::<Value>("item", Duration::from_millis(millis)).await?;
        let after = ctx.now().await?;
        Ok::<_, WorkflowError>((come, (after - before).num_milliseconds()))
    })
}

#[tokio::test]
async fn signals_that_came_before_the_wait_are_kept_for_it_in_their_order() {
    let world = world().await;
    let run = start(&world, "collects", json!(2)).await;
    for (name, payload) in [
        ("item", json!(1)),
        ("other", json!("no")),
        ("item", json!({"b": 2})),
        ("item", json!(3)),
    ] {
        send(&world, run, name, payload).await;
    }
    let worker = world.worker_with(world.config("worker A"), collects);

    assert_eq!(result(&world.settled(run).await), json!([1, {"b": 2}]));
    let taken: Value = world
        .sql(
            "select jsonb_agg(jsonb_build_array(name, sender, taken_by) order by at)
             from longhaul_audit.signal where run_id = $1",
            run,
        )
        .await;
    assert_eq!(
        taken,
        json!([
            ["item", "ann", 1],
            ["other", "ann", null],
            ["item", "ann", 2],
            ["item", "ann", null]
        ])
    );
    world.events(run).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_wait_holds_no_worker_and_goes_on_with_what_came() {
    let world = world().await;
    let run = start(&world, "collects", json!(2)).await;
    let worker = world.worker_with(world.config("worker A"), collects);
    for payload in [json!("first"), json!("second")] {
        let parked = world
            .until(run, "it waits", |run| run.waiting_for.as_deref() == Some("signal"))
            .await;
        assert_eq!((parked.state.as_str(), parked.worker), ("waiting", None));
        send(&world, run, "item", payload).await;
    }

    assert_eq!(result(&world.settled(run).await), json!(["first", "second"]));
    assert_eq!(
        steps(&world, run).await,
        json!({"item#1": "succeeded", "item#2": "succeeded"})
    );
    world.events(run).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_wait_whose_time_is_over_goes_on_without_a_signal_and_never_early() {
    let world = world().await;
    let parked = start(&world, "hurried", json!(2500)).await;
    let held = start(&world, "hurried", json!(300)).await;
    let worker = world.worker_with(world.config("worker A"), hurried);

    for (run, least) in [(held, 300), (parked, 2500)] {
        let ended = result(&world.settled(run).await);
        assert_eq!(ended[0], Value::Null);
        assert!(ended[1].as_i64() >= Some(least), "{ended}");
        world.events(run).await;
    }
    worker.drain().await;
}

#[tokio::test]
async fn a_signal_that_meets_the_end_of_the_wait_is_either_taken_or_left() {
    let world = world().await;
    let worker = world.worker_with(world.config("worker A"), hurried);
    let (mut taken, mut left) = (0, 0);
    for round in 0..40_u64 {
        let run = start(&world, "hurried", json!(60)).await;
        world.until(run, "it waits", |run| run.state != "queued").await;
        tokio::time::sleep(Duration::from_millis(40 + round)).await;
        let signal = SendSignal {
            run,
            name: "item".to_owned(),
            payload: "1".to_owned(),
            id: None,
            sender: None,
        };
        let sent = world.engine.send_signal(&signal).await;
        let ended = result(&world.settled(run).await);
        let by: Value = world
            .sql(
                "select jsonb_build_array((select taken_by from longhaul_audit.signal where run_id = $1))",
                run,
            )
            .await;
        assert_eq!(
            ended[0].is_null(),
            by[0].is_null(),
            "round {round}: {ended}, taken by {by}"
        );
        if ended[0].is_null() {
            left += 1;
        } else {
            taken += 1;
            assert!(sent.is_ok(), "round {round}");
        }
    }
    assert!(taken > 0 && left > 0, "{taken} taken, {left} left");
    worker.drain().await;
}

#[tokio::test]
async fn a_wait_that_the_workflow_gave_up_takes_no_signal() {
    let world = world().await;
    let run = start(&world, "impatient", json!(null)).await;
    let worker = world.worker_with(world.config("worker A"), |builder| {
        builder.workflow("impatient", |ctx: Context, (): ()| async move {
            let first = tokio::select! {
                biased;
                come = ctx.wait_signal::<Value>("item", None) => come?,
                slept = ctx.sleep(Duration::from_millis(100)) => { slept?; None }
            };
            let go = ctx.wait_signal::<Value>("go", None).await?;
            let second = ctx.wait_signal::<Value>("item", None).await?;
            Ok::<_, WorkflowError>((first, go, second))
        })
    });
    world
        .until(run, "it waits", |run| run.waiting_for.as_deref() == Some("signal"))
        .await;
    // While it waits for another one.
    assert_eq!(
        steps(&world, run).await,
        json!({"item#1": "cancelled", "sleep#1": "succeeded", "go#1": "waiting"})
    );
    send(&world, run, "item", json!("kept")).await;
    send(&world, run, "go", json!("go")).await;

    assert_eq!(result(&world.settled(run).await), json!([null, "go", "kept"]));
    assert_eq!(
        steps(&world, run).await,
        json!({"item#1": "cancelled", "sleep#1": "succeeded", "go#1": "succeeded", "item#2": "succeeded"})
    );
    world.events(run).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_payload_that_the_code_does_not_expect_is_an_error_of_the_wait() {
    let world = world().await;
    let run = start(&world, "strict", json!(null)).await;
    send(&world, run, "item", json!("seven")).await;
    let worker = world.worker_with(world.config("worker A"), |builder| {
        builder.workflow("strict", |ctx: Context, (): ()| async move {
            let refused = ctx.wait_signal::<u32>("item", None).await.unwrap_err();
            Ok::<_, WorkflowError>(refused.code().to_owned())
        })
    });

    assert_eq!(result(&world.settled(run).await), json!("signal_unreadable"));
    worker.drain().await;
}

#[tokio::test]
async fn of_two_signals_that_came_for_the_first_of_several_only_one_is_taken() {
    let world = world().await;
    let run = start(&world, "chooses", json!(null)).await;
    for name in ["yes", "no"] {
        send(&world, run, name, json!(name)).await;
    }
    let worker = world.worker_with(world.config("worker A"), |builder| {
        builder.workflow("chooses", |ctx: Context, (): ()| async move {
            let first = tokio::select! {
                biased;
                no = ctx.wait_signal::<Value>("no", None) => no?,
                yes = ctx.wait_signal::<Value>("yes", None) => yes?,
            };
            let other = ctx.wait_signal::<Value>("no", Duration::from_millis(200)).await?;
            Ok::<_, WorkflowError>((first, other))
        })
    });

    assert_eq!(result(&world.settled(run).await), json!(["yes", "no"]));
    world.events(run).await;
    worker.drain().await;
}

#[tokio::test]
async fn branches_that_wait_for_one_name_take_its_signals_in_their_order() {
    let world = world().await;
    let run = start(&world, "many", json!(null)).await;
    let worker = world.worker_with(world.config("worker A"), |builder| {
        builder.workflow("many", |ctx: Context, (): ()| async move {
            let taken = ctx
                .parallel("branch", 0..100, |ctx, _: u32| async move {
                    ctx.wait_signal::<u32>("item", None).await
                })
                .await;
            let taken: Result<Vec<_>, _> = taken.into_iter().collect();
            Ok::<_, WorkflowError>(taken?)
        })
    });
    world
        .until(run, "it waits", |run| run.waiting_for.as_deref() == Some("signal"))
        .await;
    for number in 0..100 {
        send(&world, run, "item", json!(number)).await;
    }

    let all: Vec<u32> = (0..100).collect();
    assert_eq!(result(&world.settled(run).await), json!(all));
    world.events(run).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_run_that_waits_for_many_things_names_16_of_them() {
    let world = world().await;
    let worker = world.worker_with(world.config("worker A"), |builder| {
        builder.workflow("gathers", |ctx: Context, count: usize| async move {
            let come = ctx.parallel("signal", 0..count, |ctx, number| async move {
                ctx.wait_signal::<Value>(&format!("item {number}"), None).await
            });
            let come: Result<Vec<_>, _> = come.await.into_iter().collect();
            Ok::<_, WorkflowError>(come?.len())
        })
    });
    let names: Vec<String> = (0..16).map(|number| format!("item {number}")).collect();
    for (count, told) in [(16, json!(names)), (20, json!({"first": names, "more": 4}))] {
        let run = start(&world, "gathers", json!(count)).await;
        world
            .until(run, "it waits", |run| run.waiting_for.as_deref() == Some("signal"))
            .await;
        let detail = "
            select data -> 'detail' -> 'signals' from longhaul_audit.event where run_id = $1 and kind = 'run.parked'";
        assert_eq!(world.sql(detail, run).await, told);
    }
    worker.drain().await;
}
