//! The `longhaul` command with crash points compiled in and a few Rust functions and workflows registered, for tests that
//! kill it.

mod errand;
mod ledger;
mod storm;
mod tale;

use ledger::{Asking, Effect};
use schemars::JsonSchema;
use serde::Deserialize;
use std::io::Write;
use worker::{FunctionContext, FunctionError, Functions, Program, Workflows};

#[derive(Deserialize, JsonSchema)]
struct Note {
    /// The file that is appended to.
    ledger: String,
    /// What is written beside the key.
    text: String,
}

fn main() -> std::process::ExitCode {
    let mut functions = Functions::new();
    functions.register("append_note", append_note);
    functions.register("note_effect", note_effect);
    let mut workflows = Workflows::new();
    workflows.register("errand", errand::errand);
    workflows.register("storm", storm::storm);
    workflows.register("tale", tale::tale);
    cli::main_with(Program { functions, workflows })
}

/// Appends one synced line, so that a test can count how often this really happened.
async fn append_note(context: FunctionContext, note: Note) -> Result<String, FunctionError> {
    let appended = || -> std::io::Result<()> {
        let mut file = std::fs::File::options().create(true).append(true).open(&note.ledger)?;
        writeln!(file, "{} {}", context.key, note.text)?;
        file.sync_data()
    };
    appended().map_err(|error| FunctionError::permanent(error.to_string()))?;
    Ok("noted".to_owned())
}

/// Tells the ledger at `LEDGER_URL`, and ends as it says.
async fn note_effect(context: FunctionContext, effect: Effect) -> Result<String, FunctionError> {
    let asking = Asking {
        key: &context.key,
        run: &context.run,
        attempt: context.attempt,
    };
    ledger::function(asking, &effect).await
}
