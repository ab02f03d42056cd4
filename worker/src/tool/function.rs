//! Tools that are functions of the worker's own Rust program.
//!
//! A function runs inside the worker: it must be async all the way down, since a time limit takes effect only where it
//! awaits. Its future is dropped when the limit runs out. A panic ends the call, not the worker.
//! Start at [`Functions::register`].

mod error;

pub use error::FunctionError;
pub(crate) use error::storable;

use super::limit::Limit;
use super::output::{self, Seen};
use super::secrets::Secrets;
use super::{Attempt, Call};
use agent::{AttemptOutcome, ErrorClass, StepError, ToolOutcome};
use error::Failure;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// Who calls a function, and under which key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionContext {
    /// The idempotency key: pass it on to whatever the function calls.
    pub key: String,
    /// From 1.
    pub attempt: u32,
    /// The run's id.
    pub run: String,
    /// The step's number within its run.
    pub step: u32,
    /// Whose data.
    pub tenant: String,
    /// On whose behalf, if anybody is named.
    pub requester: Option<String>,
}

/// The functions of a worker's program, by name.
#[derive(Default)]
pub struct Functions(BTreeMap<String, Registered>);

struct Registered {
    schema: Value,
    run: Box<Run>,
}

/// From the input's JSON text to the output's.
type Run = dyn Fn(FunctionContext, String) -> BoxFuture<'static, Result<String, Failure>> + Send + Sync;

impl Functions {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a function; under a name that is taken it replaces the other. The schema of its input is derived from
    /// `I`, which should be a struct, since a model's input is always an object.
    pub fn register<I, O, F, Fut>(&mut self, name: &str, function: F)
    where
        I: DeserializeOwned + JsonSchema + Send,
        O: Serialize,
        F: Fn(FunctionContext, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, FunctionError>> + Send + 'static,
    {
        let function = Arc::new(function);
        let run = move |context: FunctionContext, input: String| {
            let function = Arc::clone(&function);
            async move {
                let input = serde_json::from_str::<I>(&input).map_err(|error| Failure::Input(error.to_string()))?;
                let output = function(context, input).await.map_err(Failure::Told)?;
                as_text(&output).map_err(|error| Failure::Output(error.to_string()))
            }
            .boxed()
        };
        let registered = Registered {
            schema: schema_of::<I>(),
            run: Box::new(run),
        };
        self.0.insert(name.to_owned(), registered);
    }

    /// The JSON Schema of a function's input.
    pub fn schema(&self, name: &str) -> Option<&Value> {
        self.0.get(name).map(|registered| &registered.schema)
    }

    /// Every registered name, in order.
    pub fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// Makes one attempt.
    pub(super) async fn call(&self, call: &Call<'_>, name: &str, input: &str) -> Attempt {
        let Some(registered) = self.0.get(name) else {
            return Attempt::not_sent(
                StepError::new(
                    ErrorClass::Permanent,
                    "function_not_registered",
                    format!("this worker has no function {name}"),
                )
                .suggest("register it in the worker's program, or give the run to a worker that has it")
                .fatal(),
            );
        };
        let mut limit = Limit::of(call);
        let running = async { (registered.run)(context_of(call), input.to_owned()).await };
        let ended = limit.within(AssertUnwindSafe(running).catch_unwind()).await;
        let mut evidence = json!({ "kind": "function", "function": name, "limit": limit.evidence() });
        let outcome = match ended {
            Some(Ok(Ok(text))) => {
                evidence["bytes"] = json!(text.len());
                AttemptOutcome::Done(output::admit(Seen::whole(text.as_bytes()), &Secrets::default()))
            }
            Some(Ok(Err(failure))) => failure.into_outcome(name),
            Some(Err(_panic)) => ambiguous(panicked(name)),
            None => ambiguous(limit.expired()),
        };
        Attempt { outcome, evidence }
    }
}

impl fmt::Debug for Functions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

fn context_of(call: &Call<'_>) -> FunctionContext {
    FunctionContext {
        key: call.key.to_owned(),
        attempt: call.attempt,
        run: call.context.run.clone(),
        step: call.context.step,
        tenant: call.context.tenant.clone(),
        requester: call.context.requester.clone(),
    }
}

/// Inlined as far as it goes: only a type that holds itself keeps a `$ref`.
fn schema_of<I: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<I>()
        .to_value()
}

/// Text stays text, everything else becomes JSON.
fn as_text<O: Serialize>(output: &O) -> serde_json::Result<String> {
    let json = serde_json::to_string(output)?;
    if json.starts_with('"') {
        return serde_json::from_str(&json);
    }
    Ok(json)
}

/// The panic's own message goes to the worker's stderr by way of its panic hook, and not into the record: nobody wrote
/// it for a model to read.
fn panicked(name: &str) -> StepError {
    StepError::new(
        ErrorClass::Permanent,
        "panicked",
        format!("function {name} panicked; its message is on the worker's standard error"),
    )
}

const fn ambiguous(error: StepError) -> AttemptOutcome<ToolOutcome> {
    AttemptOutcome::Ambiguous {
        error,
        retry_after: None,
    }
}

#[cfg(test)]
mod tests;
