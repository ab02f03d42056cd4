//! A workflow that does what its input says and leaves a line in a file for each time that it did, for tests of crashes.

use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::Path;
use std::time::Duration;
use worker::{Context, FunctionError, StepCall, StepFailed, WorkflowError};

/// Between two looks at the gate.
const LOOK_EVERY: Duration = Duration::from_millis(10);

#[derive(Deserialize)]
pub(crate) struct Errand {
    /// The file that each call leaves a line in: its key.
    ledger: String,
    /// One after the other; the calls of one at the same time.
    turns: Vec<Vec<Call>>,
    /// How long it sleeps between two turns.
    #[serde(default)]
    nap_ms: u64,
}

#[derive(Deserialize)]
struct Call {
    name: String,
    effect: String,
    /// The step answers only once this file is there.
    gate: Option<String>,
    /// It does not answer at all.
    #[serde(default)]
    panics: bool,
    /// The step is refused for good, with nothing done, once this file is there.
    refusal: Option<String>,
}

/// What a step is asked with.
#[derive(Clone, Serialize)]
pub(crate) struct Noted {
    ledger: String,
    gate: Option<String>,
    panics: bool,
    refusal: Option<String>,
}

impl Noted {
    /// Without a panic or a refusal.
    pub(crate) fn of(ledger: &str, gate: Option<&str>) -> Self {
        Self {
            ledger: ledger.to_owned(),
            gate: gate.map(ToOwned::to_owned),
            panics: false,
            refusal: None,
        }
    }
}

/// The output is how many steps were done.
pub(crate) async fn errand(ctx: Context, errand: Errand) -> Result<usize, WorkflowError> {
    let mut done = 0;
    for (number, calls) in errand.turns.into_iter().enumerate() {
        if number > 0 && errand.nap_ms > 0 {
            ctx.sleep(Duration::from_millis(errand.nap_ms)).await?;
        }
        let calls = calls.into_iter().map(|call| (errand.ledger.clone(), call));
        let noted: Result<Vec<()>, StepFailed> = ctx.parallel("turn", calls, step).await.into_iter().collect();
        done += noted?.len();
    }
    Ok(done)
}

async fn step(ctx: Context, (ledger, call): (String, Call)) -> Result<(), StepFailed> {
    let effect = match call.effect.as_str() {
        "read_only" => agent::Effect::ReadOnly,
        "idempotent" => agent::Effect::Idempotent,
        _ => agent::Effect::AtMostOnce,
    };
    let noted = Noted {
        ledger,
        gate: call.gate,
        panics: call.panics,
        refusal: call.refusal,
    };
    ctx.step(&call.name, noted, note).effect(effect).await
}

/// Appends the line in one write. A kill may cut it short where it crosses a page: with a line's end before it, too, what
/// was cut spoils no other.
pub(crate) async fn note(call: StepCall, noted: Noted) -> Result<(), FunctionError> {
    if noted
        .refusal
        .as_ref()
        .is_some_and(|refusal| Path::new(refusal).exists())
    {
        return Err(FunctionError::permanent("refused").not_applied());
    }
    let appended = || -> std::io::Result<()> {
        let mut file = std::fs::File::options().create(true).append(true).open(&noted.ledger)?;
        file.write_all(format!("\n{}\n", call.key).as_bytes())
    };
    appended().map_err(|error| FunctionError::permanent(error.to_string()))?;
    #[expect(clippy::panic, reason = "a step that panics is what the test wants to see")]
    if noted.panics {
        panic!("the errand wants a panic");
    }
    while noted.gate.as_ref().is_some_and(|gate| !Path::new(gate).exists()) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}
