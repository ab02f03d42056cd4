//! The workflow of a storm: it does what its input says, which is what the plan says.

use crate::ledger::{self, Asking, Effect};
use serde::Deserialize;
use std::time::Duration;
use worker::{Context, FunctionError, Retry, StepCall, StepFailed, WorkflowError};

/// As the tools of the storm's agent have it.
const TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Deserialize)]
pub(crate) struct Input {
    /// The run's number in the plan.
    run: String,
    turns: Vec<Turn>,
}

#[derive(Deserialize)]
struct Turn {
    calls: Vec<Call>,
    /// How long it sleeps after them.
    nap_ms: u64,
}

#[derive(Deserialize)]
struct Call {
    front: String,
    declared: String,
}

/// Makes the calls of each turn at the same time. A step that failed is no reason to stop, as it is none for the agent;
/// the output is how many did not.
pub(crate) async fn storm(ctx: Context, Input { run, turns }: Input) -> Result<usize, WorkflowError> {
    let mut done = 0;
    for (number, turn) in (1..).zip(turns) {
        let effects = (0..).zip(turn.calls).map(|(index, call): (usize, Call)| Effect {
            effect: format!("r{run}-t{number}-c{index}"),
            front: call.front,
            declared: call.declared,
        });
        let told = ctx.parallel("turn", effects, step).await;
        done += told.iter().filter(|told| told.is_ok()).count();
        if turn.nap_ms > 0 {
            ctx.sleep(Duration::from_millis(turn.nap_ms)).await?;
        }
    }
    Ok(done)
}

async fn step(ctx: Context, effect: Effect) -> Result<String, StepFailed> {
    let name = format!("{}_{}", effect.front, effect.declared);
    let declared = match effect.declared.as_str() {
        "read_only" => agent::Effect::ReadOnly,
        "idempotent" => agent::Effect::Idempotent,
        _ => agent::Effect::AtMostOnce,
    };
    let run = ctx.run_id().to_string();
    ctx.step(&name, effect, move |call, effect| tell(run.clone(), call, effect))
        .effect(declared)
        .timeout(TIMEOUT)
        .retry(Retry {
            attempts_max: 20,
            initial: Duration::from_millis(50),
            cap: Duration::from_secs(1),
            ..Retry::default()
        })
        .await
}

async fn tell(run: String, call: StepCall, effect: Effect) -> Result<String, FunctionError> {
    let asking = Asking {
        key: &call.key,
        run: &run,
        attempt: call.attempt,
    };
    match effect.front.as_str() {
        "function" => ledger::function(asking, &effect).await,
        _ => ledger::http(asking, &effect).await,
    }
}
