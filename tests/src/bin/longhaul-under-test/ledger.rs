//! A storm's ledger, as it is called by a function and by a workflow's step.

use reqwest::{Response, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;
use worker::FunctionError;

/// What the ledger is told.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Effect {
    /// Names the effect.
    pub(crate) effect: String,
    /// How it reaches the ledger.
    pub(crate) front: String,
    /// What the tool is declared to be.
    pub(crate) declared: String,
}

/// What the ledger answers to a function.
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

/// Who asks.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) key: &'a str,
    pub(crate) run: &'a str,
    pub(crate) attempt: u32,
}

/// Tells the ledger, and ends as it says.
pub(crate) async fn function(asking: Asking<'_>, effect: &Effect) -> Result<String, FunctionError> {
    let reply = post("function", asking, effect).await?;
    let reply = reply.error_for_status().map_err(lost)?;
    let told: Told = reply.json().await.map_err(lost)?;
    match told.then {
        Then::Well => Ok(told.result),
        Then::Transient => Err(FunctionError::transient("the ledger wants an error")),
        Then::NotApplied => Err(FunctionError::transient("the ledger did nothing").not_applied()),
        #[expect(clippy::panic, reason = "a function that panics is what the ledger wants to see")]
        Then::Panic => panic!("the ledger wants a panic"),
        Then::Hang => std::future::pending().await,
    }
}

/// Tells the ledger, and takes its status for what an HTTP tool would take it for.
pub(crate) async fn http(asking: Asking<'_>, effect: &Effect) -> Result<String, FunctionError> {
    let reply = post("http", asking, effect).await?;
    let status = reply.status();
    if status.is_success() {
        return reply.text().await.map_err(lost);
    }
    let told = format!("the ledger answered {status}");
    let in_doubt = matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT);
    Err(match status {
        StatusCode::TOO_MANY_REQUESTS => FunctionError::transient(told).not_applied(),
        status if status.is_client_error() && !in_doubt => FunctionError::permanent(told).not_applied(),
        _ => FunctionError::transient(told),
    })
}

/// Makes one request on a connection of its own. Where none came about nothing was done; after that nobody knows.
async fn post(front: &str, asking: Asking<'_>, effect: &Effect) -> Result<Response, FunctionError> {
    let unsent = |why: String| FunctionError::transient(why).not_applied();
    let url = std::env::var("LEDGER_URL").map_err(|error| unsent(format!("LEDGER_URL: {error}")))?;
    let mut request = client()
        .map_err(|error| unsent(format!("no client: {error}")))?
        .post(format!("{url}/{front}"))
        .header("idempotency-key", asking.key)
        .header("longhaul-run", asking.run)
        .header("longhaul-attempt", asking.attempt)
        .json(effect);
    if let Some(name) = worker_name() {
        request = request.header("longhaul-worker", name);
    }
    request.send().await.map_err(lost)
}

#[expect(clippy::needless_pass_by_value, reason = "it stands behind map_err")]
fn lost(error: reqwest::Error) -> FunctionError {
    let told = FunctionError::transient(format!("the ledger gave no answer: {error}"));
    if error.is_connect() { told.not_applied() } else { told }
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
