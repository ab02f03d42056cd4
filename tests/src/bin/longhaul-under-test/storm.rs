//! The workflow of a storm: it does what its input says, which is what the plan says.

use crate::ledger::{self, Asking, Effect};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;
use worker::{ChildRun, Context, FunctionError, Retry, StepCall, StepFailed, WorkflowError};

/// As the tools of the storm's agent have it.
const TIMEOUT: Duration = Duration::from_secs(2);

const PATIENT: Retry = Retry {
    attempts_max: 20,
    initial: Duration::from_millis(50),
    cap: Duration::from_secs(1),
    horizon: Duration::from_secs(600),
};

#[derive(Deserialize)]
pub(crate) struct Input {
    /// The run's number in the plan.
    run: String,
    turns: Vec<Turn>,
    /// In the order of the turns that start them.
    children: Vec<Child>,
}

#[derive(Deserialize)]
struct Child {
    kind: String,
    input: Value,
}

#[derive(Deserialize)]
struct Turn {
    calls: Vec<Call>,
    /// How long it sleeps after them.
    nap_ms: u64,
    then: Option<Then>,
}

/// What a turn ends with.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Then {
    Wait { millis: Option<u64> },
    Child,
    Sell,
}

/// What came of it all.
#[derive(Default, Serialize)]
pub(crate) struct Told {
    /// How many calls did not fail.
    done: usize,
    /// The payload of each signal that was waited for, or nothing.
    heard: Vec<Option<Value>>,
    /// How many children succeeded.
    joined: usize,
    /// How many transactions did.
    sold: usize,
}

#[derive(Deserialize)]
struct Call {
    front: String,
    declared: String,
}

/// Makes the calls of each turn at the same time. What failed is no reason to stop, as it is none for the agent.
pub(crate) async fn storm(ctx: Context, input: Input) -> Result<Told, WorkflowError> {
    let Input { run, turns, children } = input;
    let mut children = children.into_iter();
    let mut all = Told::default();
    for (number, turn) in (1..).zip(turns) {
        let effects = (0..).zip(turn.calls).map(|(index, call): (usize, Call)| Effect {
            effect: format!("r{run}-t{number}-c{index}"),
            front: call.front,
            declared: call.declared,
        });
        let told = ctx.parallel("turn", effects, step).await;
        all.done += told.iter().filter(|told| told.is_ok()).count();
        if turn.nap_ms > 0 {
            ctx.sleep(Duration::from_millis(turn.nap_ms)).await?;
        }
        match turn.then {
            None => {}
            Some(Then::Wait { millis }) => {
                let timeout = millis.map(Duration::from_millis);
                all.heard.push(ctx.wait_signal("go", timeout).await?);
            }
            Some(Then::Child) => {
                if let Some(child) = children.next() {
                    let child = match child.kind.as_str() {
                        "agent" => ChildRun::agent("storm", child.input),
                        kind => ChildRun::workflow(kind, child.input),
                    };
                    all.joined += usize::from(ctx.run_child::<Value>(child).await.is_ok());
                }
            }
            Some(Then::Sell) => {
                all.sold += usize::from(sell(&ctx, run.clone(), format!("t{number}")).await.is_ok());
            }
        }
    }
    Ok(all)
}

async fn sell(ctx: &Context, run: String, item: String) -> Result<(), StepFailed> {
    let sale = ctx.transaction("sell", item, move |tx, item| {
        let run = run.clone();
        Box::pin(async move {
            let sale = sqlx::query("insert into storm_sale (run, item) values ($1, $2)");
            sale.bind(run).bind(item).execute(tx).await?;
            Ok(())
        })
    });
    sale.retry(PATIENT).await
}

async fn step(ctx: Context, effect: Effect) -> Result<String, StepFailed> {
    let name = format!("{}_{}", effect.front, effect.declared);
    let declared = match effect.declared.as_str() {
        "read_only" => agent::Effect::ReadOnly,
        "idempotent" => agent::Effect::Idempotent,
        _ => agent::Effect::AtMostOnce,
    };
    let run = ctx.run_id().to_string();
    let attempts_max = match declared {
        agent::Effect::ReadOnly => 6,
        agent::Effect::Idempotent | agent::Effect::Transactional | agent::Effect::AtMostOnce => PATIENT.attempts_max,
    };
    ctx.step(&name, effect, move |call, effect| tell(run.clone(), call, effect))
        .effect(declared)
        .timeout(TIMEOUT)
        .retry(Retry {
            attempts_max,
            ..PATIENT
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
