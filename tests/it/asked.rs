//! Runs that wait for a person to say what became of their calls, for the tests of every door to the inbox.

use crate::driving::{agent, calling, function};
use engine::RunId;
use engine::query::{ApprovalRow, ApprovalsWanted};
use longhaul_tests::world::{PATIENCE, WorkerHandle, World};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use worker::{FunctionError, Functions};

#[derive(Deserialize, JsonSchema)]
struct Payment {
    text: String,
}

/// A run whose only turn has made so many payments, each of which nobody can vouch for, and the worker that made them.
pub(crate) async fn doubtful(calls: usize, timeout_seconds: u32) -> (World, RunId, WorkerHandle) {
    let tool = function("pay", "at_most_once").replace("attempts_max = 2", "attempts_max = 1");
    let tool = tool.replace("retry =", &format!("timeout_seconds = {timeout_seconds}\nretry ="));
    // What would turn the order of letters round on a terminal is part of what was sent.
    let input = json!({"text": "rent \u{202e}yraunaJ"});
    let world = World::new(calling(std::iter::repeat_n(("pay", input), calls))).await;
    world.apply(&agent(&tool)).await;
    let run = world.start("helper", &json!("pay the rent")).await;
    let mut functions = Functions::new();
    functions.register("pay", |_, payment: Payment| async move {
        Err::<(), _>(FunctionError::transient(format!(
            "the line went dead on {}",
            payment.text
        )))
    });
    let worker = world.worker(world.config("worker A"), functions);
    let parked = async {
        while inbox(&world, run).await.len() < calls {
            tokio::task::yield_now().await;
        }
        world.settled(run).await
    };
    let parked = tokio::time::timeout(PATIENCE, parked).await.expect("somebody is asked");
    assert_eq!(parked.wait_reason.as_deref(), Some("unknown_outcome"));
    (world, run, worker)
}

/// What was ever asked about the run, newest first.
pub(crate) async fn inbox(world: &World, run: RunId) -> Vec<ApprovalRow> {
    let wanted = ApprovalsWanted {
        tenant: "default".to_owned(),
        state: None,
        run: Some(run),
        before: None,
        rows: 50,
    };
    world.engine.approvals(&wanted).await.expect("the inbox is read")
}
