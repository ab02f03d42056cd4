//! A step before it is asked for, and what its driver is asked.

use super::context::{RunSide, StepCall};
use crate::FunctionError;
use agent::{Effect, ErrorClass, StepError};
use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// A step's failure, once nothing more is tried. The same whenever the workflow is run again.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}: {}", .0.code, .0.message)]
pub struct StepFailed(StepError);

impl StepFailed {
    /// A stable word for programs.
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// A sentence for people.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    pub(crate) fn new(error: StepError) -> Self {
        Self(error)
    }

    pub(super) fn into_inner(self) -> StepError {
        self.0
    }

    pub(super) fn ambiguous(identity: &str) -> Self {
        let message = format!(
            "step {identity} was asked for while another of its name is open on the same context, so that nothing would tell them apart"
        );
        let suggestion = "await one before the next, give each its key (step_keyed), or use parallel";
        Self(StepError::new(ErrorClass::Permanent, "ambiguous_step", message).suggest(suggestion))
    }
}

/// One budget of attempts and time for a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// From 1. Attempts that a crash interrupted do not count.
    pub attempts_max: u32,
    /// The first delay. It doubles with each attempt, and half of it either way is chance.
    pub initial: Duration,
    /// The longest delay.
    pub cap: Duration,
    /// Counted from the first attempt: none starts after this.
    pub horizon: Duration,
}

/// Longest time of one attempt where nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(30);

/// From a call to the output's JSON text.
pub(crate) type AttemptOf = dyn Fn(StepCall) -> BoxFuture<'static, Result<String, FunctionError>> + Send + Sync;

/// What is asked of the driver.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) identity: String,
    pub(crate) name: String,
    pub(crate) wanted: Wanted,
}

#[derive(Debug)]
pub(crate) enum Wanted {
    Step(StepAsk),
    Timer(TimerAsk),
    Now(oneshot::Sender<Result<DateTime<Utc>, StepFailed>>),
}

pub(crate) struct StepAsk {
    pub(crate) effect: Effect,
    pub(crate) retry: Retry,
    pub(crate) timeout: Duration,
    /// JSON text.
    pub(crate) input: String,
    pub(crate) attempt: Arc<AttemptOf>,
    /// JSON text of the output.
    pub(crate) answer: oneshot::Sender<Result<String, StepFailed>>,
}

impl fmt::Debug for StepAsk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("StepAsk")
            .field("effect", &self.effect)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub(crate) struct TimerAsk {
    pub(crate) until: Until,
    pub(crate) answer: oneshot::Sender<Result<(), StepFailed>>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    After(Duration),
    At(DateTime<Utc>),
}

/// An identity that is taken until it is answered or given up.
#[derive(Debug)]
pub(super) struct Open {
    run: Arc<RunSide>,
    named: String,
    identity: String,
}

impl Open {
    pub(super) fn new(run: Arc<RunSide>, named: String, identity: String) -> Self {
        Self { run, named, identity }
    }

    pub(super) fn ask(&self, name: &str, wanted: Wanted) {
        self.run.ask(Ask {
            identity: self.identity.clone(),
            name: name.to_owned(),
            wanted,
        });
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.run.close(&self.named);
    }
}

/// The driver's answer. A driver that is gone answers nothing: the workflow is dropped with it.
pub(super) async fn answered<T>(answer: oneshot::Receiver<Result<T, StepFailed>>) -> Result<T, StepFailed> {
    match answer.await {
        Ok(answer) => answer,
        Err(_) => std::future::pending().await,
    }
}

/// A step that is about to be asked for. Awaiting it asks.
#[must_use = "a step is done when it is awaited"]
pub struct Step<O> {
    open: Result<Open, StepFailed>,
    name: String,
    input: Result<String, StepFailed>,
    effect: Effect,
    retry: Retry,
    timeout: Duration,
    attempt: Arc<AttemptOf>,
    output: PhantomData<fn() -> O>,
}

impl<O: Serialize + DeserializeOwned + Send + 'static> Step<O> {
    pub(super) fn new<I, F, Fut>(open: Result<Open, StepFailed>, name: &str, input: I, run: F) -> Self
    where
        I: Serialize + Clone + Send + Sync + 'static,
        F: Fn(StepCall, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, FunctionError>> + Send + 'static,
    {
        let text = serde_json::to_string(&input).map_err(|error| {
            let message = format!("the input of step {name} cannot be written as JSON: {error}");
            StepFailed::new(StepError::new(ErrorClass::Permanent, "input_unreadable", message))
        });
        let attempt = move |call: StepCall| {
            let running = run(call, input.clone());
            async move {
                let output = running.await?;
                serde_json::to_string(&output)
                    .map_err(|error| FunctionError::permanent(format!("its output cannot be written as JSON: {error}")))
            }
            .boxed()
        };
        Self {
            open,
            name: name.to_owned(),
            input: text,
            effect: Effect::AtMostOnce,
            retry: Retry::default(),
            timeout: TIMEOUT,
            attempt: Arc::new(attempt),
            output: PhantomData,
        }
    }

    /// How it may be repeated; by default at most once.
    pub fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    /// It may be repeated under the same key: what it calls honours the key.
    pub fn idempotent(self) -> Self {
        self.effect(Effect::Idempotent)
    }

    /// It changes nothing, and may be repeated at will.
    pub fn read_only(self) -> Self {
        self.effect(Effect::ReadOnly)
    }

    /// How often and how long it is tried.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// The longest time of one attempt; by default 30 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl<O: Serialize + DeserializeOwned + Send + 'static> IntoFuture for Step<O> {
    type Output = Result<O, StepFailed>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        async move {
            // Held until the answer is here.
            let open = self.open?;
            let (answer, told) = oneshot::channel();
            let ask = StepAsk {
                effect: self.effect,
                retry: self.retry,
                timeout: self.timeout,
                input: self.input?,
                attempt: self.attempt,
                answer,
            };
            open.ask(&self.name, Wanted::Step(ask));
            let output = answered(told).await?;
            serde_json::from_str(&output).map_err(|error| {
                let message = format!(
                    "what was recorded of step {} is not what the code expects: {error}",
                    self.name
                );
                StepFailed::new(StepError::new(ErrorClass::Permanent, "output_changed", message))
            })
        }
        .boxed()
    }
}

impl<O> fmt::Debug for Step<O> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Step")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
