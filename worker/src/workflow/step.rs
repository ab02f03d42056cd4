//! A step before it is asked for, and what its driver is asked.

use super::context::{RunSide, StepCall};
use crate::FunctionError;
use agent::{Effect, ErrorClass, StepError};
use chrono::{DateTime, Utc};
use engine::{PgConnection, RunId, limits};
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

    /// The step's identity. None: it has none, since its name was refused.
    pub fn step(&self) -> Option<&str> {
        self.0.step.as_deref()
    }

    pub(crate) fn new(error: StepError) -> Self {
        Self(error)
    }

    /// The same of this step.
    pub(super) fn at(mut self, identity: &str) -> Self {
        self.0.step = Some(identity.into());
        self
    }

    pub(crate) fn into_inner(self) -> StepError {
        self.0
    }

    pub(super) fn badly_named(named: &str) -> Self {
        let message = format!(
            "step {} is badly named: names and keys of steps and signals have 1 to 255 bytes, and no NUL",
            named.escape_debug().take(300).collect::<String>()
        );
        Self(StepError::new(ErrorClass::Permanent, "invalid_name", message))
    }

    pub(super) fn key_used(identity: &str) -> Self {
        let message = format!("step {identity} was asked for before: a key stands for one step on its path");
        Self(StepError::new(ErrorClass::Permanent, "ambiguous_step", message)).at(identity)
    }

    pub(super) fn ambiguous(identity: &str) -> Self {
        let message = format!(
            "step {identity} was asked for while another of its name is open on the same context, so that nothing would tell them apart"
        );
        let suggestion = "await one before the next, give each its key (step_keyed), or use parallel";
        Self(StepError::new(ErrorClass::Permanent, "ambiguous_step", message).suggest(suggestion)).at(identity)
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

/// From a call and a transaction to the output's JSON text.
pub(crate) type TransactionOf =
    dyn for<'c> Fn(StepCall, &'c mut PgConnection) -> BoxFuture<'c, Result<String, FunctionError>> + Send + Sync;

/// What a step does.
#[derive(Clone)]
pub(crate) enum Work {
    Call(Arc<AttemptOf>),
    /// Its writes are committed with its result.
    Transaction(Arc<TransactionOf>),
}

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
    Signal(SignalAsk),
    Join(JoinAsk),
    Now(oneshot::Sender<Result<DateTime<Utc>, StepFailed>>),
}

pub(crate) struct StepAsk {
    /// `task`, or `child` where it starts one.
    pub(crate) kind: &'static str,
    pub(crate) effect: Effect,
    pub(crate) retry: Retry,
    pub(crate) timeout: Duration,
    /// JSON text.
    pub(crate) input: String,
    pub(crate) work: Work,
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

#[derive(Debug)]
pub(crate) struct SignalAsk {
    /// None: as long as it takes.
    pub(crate) timeout: Option<Duration>,
    /// JSON text of the payload; none: its time was over.
    pub(crate) answer: oneshot::Sender<Result<Option<String>, StepFailed>>,
}

#[derive(Debug)]
pub(crate) struct JoinAsk {
    pub(crate) child: RunId,
    /// JSON text of the child's result.
    pub(crate) answer: oneshot::Sender<Result<String, StepFailed>>,
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

    /// Asks, and reads the answer. Whatever fails names its step.
    pub(super) async fn asked<T, O>(
        self,
        (name, wanted): (&str, impl FnOnce(oneshot::Sender<Result<T, StepFailed>>) -> Wanted),
        read: impl FnOnce(T) -> Result<O, StepFailed>,
    ) -> Result<O, StepFailed> {
        let (answer, told) = oneshot::channel();
        self.run.ask(Ask {
            identity: self.identity.clone(),
            name: name.to_owned(),
            wanted: wanted(answer),
        });
        let answer = match told.await {
            Ok(answer) => answer,
            // The driver is gone, and the workflow is dropped with it.
            Err(_) => std::future::pending().await,
        };
        self.own(answer.and_then(read))
    }

    fn own<T>(&self, told: Result<T, StepFailed>) -> Result<T, StepFailed> {
        told.map_err(|failed| failed.at(&self.identity))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.run.close(&self.named);
    }
}

/// A step that is about to be asked for. Awaiting it asks.
#[must_use = "a step is done when it is awaited"]
pub struct Step<O> {
    open: Result<Open, StepFailed>,
    name: String,
    input: Result<String, StepFailed>,
    kind: &'static str,
    effect: Effect,
    retry: Retry,
    timeout: Duration,
    work: Work,
    output: PhantomData<fn() -> O>,
}

impl<O: Serialize + DeserializeOwned + Send + 'static> Step<O> {
    pub(super) fn new<I, F, Fut>(open: Result<Open, StepFailed>, name: &str, input: I, run: F) -> Self
    where
        I: Serialize + Clone + Send + Sync + 'static,
        F: Fn(StepCall, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, FunctionError>> + Send + 'static,
    {
        let text = input_text(name, &input);
        let attempt = move |call: StepCall| {
            let running = run(call, input.clone());
            async move { output_text(&running.await?) }.boxed()
        };
        Self::doing((open, name), text, (Effect::AtMostOnce, Work::Call(Arc::new(attempt))))
    }

    pub(super) fn doing(
        (open, name): (Result<Open, StepFailed>, &str),
        input: Result<String, StepFailed>,
        (effect, work): (Effect, Work),
    ) -> Self {
        Self {
            open,
            name: name.to_owned(),
            input,
            kind: "task",
            effect,
            retry: Retry::default(),
            timeout: TIMEOUT,
            work,
            output: PhantomData,
        }
    }

    pub(super) fn kind(mut self, kind: &'static str) -> Self {
        self.kind = kind;
        self
    }

    /// How it may be repeated; by default at most once. A [transaction](super::Context::transaction) is transactional
    /// whatever is said, and nothing else is: what claims to be is done at most once.
    pub fn effect(mut self, effect: Effect) -> Self {
        self.effect = match (&self.work, effect) {
            (Work::Transaction(_), _) => self.effect,
            (Work::Call(_), Effect::Transactional) => Effect::AtMostOnce,
            (Work::Call(_), effect) => effect,
        };
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
            let input = open.own(self.input)?;
            let wanted = |answer| {
                Wanted::Step(StepAsk {
                    kind: self.kind,
                    effect: self.effect,
                    retry: self.retry,
                    timeout: self.timeout,
                    input,
                    work: self.work,
                    answer,
                })
            };
            let read = |output: String| as_expected(&self.name, &output);
            open.asked((&self.name, wanted), read).await
        }
        .boxed()
    }
}

/// What a step depends on, as it is recorded.
pub(super) fn input_text<I: Serialize>(name: &str, input: &I) -> Result<String, StepFailed> {
    let text = serde_json::to_string(input).map_err(|error| unwritable(name, &error))?;
    if text.len() > limits::CONTENT_BYTES_MAX {
        let (bytes, most) = (text.len(), limits::CONTENT_BYTES_MAX);
        let message = format!("the input of step {name} has {bytes} bytes, the limit is {most}");
        return Err(StepFailed::new(StepError::new(
            ErrorClass::Permanent,
            "input_too_large",
            message,
        )));
    }
    Ok(text)
}

pub(super) fn unwritable(name: &str, error: &serde_json::Error) -> StepFailed {
    let message = format!("the input of step {name} cannot be written as JSON: {error}");
    StepFailed::new(StepError::new(ErrorClass::Permanent, "input_unreadable", message))
}

/// What a step came to, as it is recorded.
pub(super) fn output_text<O: Serialize>(output: &O) -> Result<String, FunctionError> {
    serde_json::to_string(output).map_err(|error| {
        FunctionError::permanent(format!("its output cannot be written as JSON: {error}")).code("output_unreadable")
    })
}

/// What was recorded, as the code wants it.
pub(super) fn as_expected<O: DeserializeOwned>(name: &str, recorded: &str) -> Result<O, StepFailed> {
    serde_json::from_str(recorded).map_err(|error| {
        let message = format!("what was recorded of step {name} is not what the code expects: {error}");
        StepFailed::new(StepError::new(ErrorClass::Permanent, "output_changed", message))
    })
}

impl<O> fmt::Debug for Step<O> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Step")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
