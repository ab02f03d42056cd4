//! The `longhaul` command with crash points compiled in and a few Rust functions registered, for tests that kill it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::sync::OnceLock;
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
    functions.register("note_effect", note_effect);
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

/// What a storm's ledger is told.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Effect {
    /// Names the effect.
    effect: String,
    /// How it reaches the ledger.
    front: String,
    /// What the tool is declared to be.
    declared: String,
}

/// What a storm's ledger answers.
#[derive(Deserialize)]
struct Told {
    result: String,
    then: Then,
}

/// How the function is to end.
#[derive(Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
enum Then {
    Well,
    Transient,
    NotApplied,
    Panic,
    Hang,
}

/// Tells the ledger at `LEDGER_URL`, and ends as it says.
async fn note_effect(context: FunctionContext, effect: Effect) -> Result<String, FunctionError> {
    let told = tell(&context, &effect).await?;
    match told.then {
        Then::Well => Ok(told.result),
        Then::Transient => Err(FunctionError::transient("the ledger wants an error")),
        Then::NotApplied => Err(FunctionError::transient("the ledger did nothing").not_applied()),
        #[expect(clippy::panic, reason = "a function that panics is what the ledger wants to see")]
        Then::Panic => panic!("the ledger wants a panic"),
        Then::Hang => std::future::pending().await,
    }
}

/// Makes one request on a connection of its own. Where none came about nothing was done; after that nobody knows.
async fn tell(context: &FunctionContext, effect: &Effect) -> Result<Told, FunctionError> {
    let unsent = |why: String| FunctionError::transient(why).not_applied();
    let url = std::env::var("LEDGER_URL").map_err(|error| unsent(format!("LEDGER_URL: {error}")))?;
    let mut request = client()
        .map_err(|error| unsent(format!("no client: {error}")))?
        .post(format!("{url}/function"))
        .header("idempotency-key", &context.key)
        .header("longhaul-run", &context.run)
        .header("longhaul-step", context.step)
        .header("longhaul-attempt", context.attempt)
        .json(effect);
    if let Some(name) = worker_name() {
        request = request.header("longhaul-worker", name);
    }
    let lost = |error: reqwest::Error| {
        let told = FunctionError::transient(format!("the ledger gave no answer: {error}"));
        if error.is_connect() { told.not_applied() } else { told }
    };
    let reply = request.send().await.map_err(lost)?;
    let reply = reply.error_for_status().map_err(lost)?;
    reply.json().await.map_err(lost)
}

fn client() -> reqwest::Result<reqwest::Client> {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    if let Some(client) = CLIENT.get() {
        return Ok(client.clone());
    }
    // The worker may have installed one already; any will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let built = reqwest::Client::builder()
        .no_proxy()
        .retry(reqwest::retry::never())
        .pool_max_idle_per_host(0)
        .build()?;
    Ok(CLIENT.get_or_init(|| built).clone())
}

/// What a function is not told, though the ledger asks every caller: the name that this process was started under.
fn worker_name() -> Option<String> {
    std::env::args().skip_while(|argument| argument != "--name").nth(1)
}
