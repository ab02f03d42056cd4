//! Workflows that are cancelled, run out of time, or leave something behind.

use super::{Outside, charging, held, start, steps, world};
use engine::StartRun;
use serde_json::json;
use std::time::Duration;
use worker::{Context, FunctionError, Retry, WorkflowError};

#[tokio::test]
async fn a_cancelled_workflow_records_what_is_out_and_starts_nothing_more() {
    let world = world().await;
    let outside = Outside::default();
    let run = start(&world, "held").await;
    let worker = world.worker_with(world.config("worker A"), held(&outside, agent::Effect::AtMostOnce));
    outside.made(1).await;

    world.engine.cancel_run(run, None, None).await.unwrap();
    outside.open();

    assert_eq!(world.settled(run).await.state, "cancelled");
    assert_eq!(steps(&world, run).await, json!({"pay#1": "succeeded"}));
    world.events(run).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_step_that_was_out_when_its_run_was_taken_back_is_unknown_after_a_cancel() {
    let world = world().await;
    let outside = Outside::default();
    let run = start(&world, "held").await;
    let mut config = world.config("worker A");
    config.lease = Duration::from_millis(600);
    let worker = world.worker_with(config.clone(), held(&outside, agent::Effect::AtMostOnce));
    outside.made(1).await;
    worker.vanish();
    world.engine.cancel_run(run, None, None).await.unwrap();
    config.name = "worker B".to_owned();
    let worker = world.worker_with(config, held(&outside, agent::Effect::AtMostOnce));

    assert_eq!(world.settled(run).await.state, "cancelled");
    assert_eq!(steps(&world, run).await, json!({"pay#1": "unknown"}));
    assert_eq!(outside.names().len(), 1);
    world.events(run).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_workflow_ends_when_its_time_is_over() {
    let world = world().await;
    let pool = world.database.pool().await;
    let now: chrono::DateTime<chrono::Utc> = sqlx::query_scalar("select now()").fetch_one(&pool).await.unwrap();
    let start = StartRun {
        deadline_at: Some(now + chrono::TimeDelta::minutes(30)),
        ..StartRun::workflow("charging", json!({"id": "ORD-1"}).to_string())
    };
    let run = world.engine.start_run(&start).await.unwrap().run;
    let worker = world.worker_with(world.config("worker A"), charging(5));
    let parked = world.until(run, "it sleeps", |run| run.state == "waiting").await;
    assert_eq!(parked.due_at, parked.deadline_at, "it sleeps for longer");

    let over = "update longhaul.run set deadline_at = now(), due_at = now() where id = $1 returning to_jsonb(id)";
    world.sql(over, run).await;

    let ended = world.settled(run).await;
    assert_eq!(ended.state, "failed");
    assert!(ended.error.unwrap().contains("deadline_exceeded"));
    assert_eq!(
        steps(&world, run).await,
        json!({"charge#1": "succeeded", "sleep#1": "cancelled"})
    );
    worker.drain().await;
}

#[tokio::test]
async fn a_run_whose_cancel_meets_its_deadline_ends() {
    let world = world().await;
    let pool = world.database.pool().await;
    let worker = world.worker_with(world.config("worker A"), |builder| {
        builder.workflow("naps", |ctx: Context, _: serde_json::Value| async move {
            // Short enough to be waited for with the run in hand.
            Ok(ctx.sleep(Duration::from_millis(1900)).await?)
        })
    });
    let now: chrono::DateTime<chrono::Utc> = sqlx::query_scalar("select now()").fetch_one(&pool).await.unwrap();
    let start = StartRun {
        deadline_at: Some(now + chrono::TimeDelta::milliseconds(1200)),
        ..StartRun::workflow("naps", "{}")
    };
    let run = world.engine.start_run(&start).await.unwrap().run;
    let begun = async {
        while steps(&world, run).await["sleep#1"] != "waiting" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(longhaul_tests::world::PATIENCE, begun)
        .await
        .expect("it sleeps");

    // The driver ends the run at its deadline before it can have heard of the cancel.
    let mut cancelling = pool.begin().await.unwrap();
    sqlx::query("select longhaul.cancel_run($1, notify => false)")
        .bind(run.0)
        .execute(&mut *cancelling)
        .await
        .unwrap();
    let blocked =
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    let met = async {
        while sqlx::query_scalar::<_, i64>(blocked).fetch_one(&pool).await.unwrap() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(longhaul_tests::world::PATIENCE, met)
        .await
        .expect("they meet");
    cancelling.commit().await.unwrap();

    let ended = world.until(run, "the run ends", |run| run.ended_at.is_some()).await;
    assert_eq!(ended.state, "cancelled");
    world.events(run).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_step_that_the_workflow_gave_up_has_an_end_when_the_run_has() {
    let world = world().await;
    let run = start(&world, "hasty").await;
    let worker =
        world.worker_with(world.config("worker A"), |builder| {
            builder.workflow("hasty", |ctx: Context, _: super::Order| async move {
            let patient = Retry {
                initial: Duration::from_secs(60),
                cap: Duration::from_secs(60),
                ..Retry::default()
            };
            let refused = ctx
                .step("slow", (), |_, ()| async { Err::<(), _>(FunctionError::transient("later").not_applied()) })
                .retry(patient);
            tokio::select! {
                _ = refused => Ok("slow"),
                slept = ctx.sleep(Duration::from_millis(300)) => slept.map(|()| "hasty").map_err(WorkflowError::from),
            }
        })
        });
    let ended = world.settled(run).await;
    assert_eq!(
        (ended.state.as_str(), ended.result.as_deref()),
        ("succeeded", Some(r#""hasty""#))
    );
    assert_eq!(
        steps(&world, run).await,
        json!({"slow#1": "cancelled", "sleep#1": "succeeded"})
    );
    world.events(run).await;
    worker.drain().await;
}
