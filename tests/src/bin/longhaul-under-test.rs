//! The `longhaul` command with crash points compiled in and a few Rust functions registered, for tests that kill it.

use schemars::JsonSchema;
use serde::Deserialize;
use std::io::Write;
use worker::{FunctionContext, FunctionError, Functions};

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
    cli::main_with(functions)
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
