//! Runs below a workflow's own: agents, and other workflows.

use super::context::RunSide;
use super::step::{JoinAsk, Step, Wanted, Work, as_expected, input_text, output_text, unwritable};
use super::{Context, Retry, StepCall, StepFailed};
use crate::FunctionError;
use crate::crash_point::crash_point;
use crate::drive::AGENT;
use agent::Effect;
use engine::{EngineError, OnParentEnd, RunId, StartChild};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Starting a child is one statement that may be repeated: it is tried on while a worker for it may be on its way.
const RETRY: Retry = Retry {
    attempts_max: 4,
    initial: Duration::from_secs(1),
    cap: Duration::from_secs(8),
    horizon: Duration::from_secs(60),
};

/// Between two tries while the database is away.
const AGAIN_AFTER: Duration = Duration::from_millis(250);

/// A child to start, on behalf of the parent's requester and tenant.
#[derive(Debug, Clone)]
pub struct ChildRun {
    kind: String,
    agent: Option<String>,
    /// JSON text, or why there is none.
    input: Result<String, StepFailed>,
    queue: Option<String>,
    priority: Option<i32>,
    labels: BTreeMap<String, String>,
    on_parent_end: OnParentEnd,
}

/// A child that is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// Its id.
    pub run_id: RunId,
}

impl ChildRun {
    /// A run of an agent, by its name.
    pub fn agent(name: &str, input: impl Serialize) -> Self {
        Self {
            agent: Some(name.to_owned()),
            ..Self::workflow(AGENT, input)
        }
    }

    /// A run of a workflow, by its name.
    pub fn workflow(name: &str, input: impl Serialize) -> Self {
        Self {
            kind: name.to_owned(),
            agent: None,
            input: input_text(name, &input),
            queue: None,
            priority: None,
            labels: BTreeMap::new(),
            on_parent_end: OnParentEnd::Cancel,
        }
    }

    /// Where it lines up; by default in its parent's queue.
    #[must_use]
    pub fn queue(mut self, queue: &str) -> Self {
        self.queue = Some(queue.to_owned());
        self
    }

    /// 0 goes first, 1000 last; by default as its parent.
    #[must_use]
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = Some(priority);
        self
    }

    /// A free word about it.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    /// What becomes of it when its parent ends; by default it is cancelled.
    #[must_use]
    pub fn on_parent_end(mut self, on_parent_end: OnParentEnd) -> Self {
        self.on_parent_end = on_parent_end;
        self
    }

    /// What people call it.
    fn name(&self) -> &str {
        self.agent.as_deref().unwrap_or(&self.kind)
    }

    /// All that its start depends on.
    fn request(&self) -> Result<String, StepFailed> {
        let input: &serde_json::value::RawValue = match &self.input {
            Ok(input) => serde_json::from_str(input).map_err(|error| unwritable(self.name(), &error))?,
            Err(failed) => return Err(failed.clone()),
        };
        let request = Request {
            kind: &self.kind,
            agent: self.agent.as_deref(),
            input,
            queue: self.queue.as_deref(),
            priority: self.priority,
            labels: &self.labels,
            on_parent_end: self.on_parent_end.as_str(),
        };
        serde_json::to_string(&request).map_err(|error| unwritable(self.name(), &error))
    }

    fn start(&self, key: String) -> Result<StartChild, FunctionError> {
        let told = |failed: &StepFailed| FunctionError::permanent(failed.to_string()).not_applied();
        Ok(StartChild {
            key,
            kind: self.kind.clone(),
            agent: self.agent.clone(),
            input: self.input.clone().map_err(|failed| told(&failed))?,
            queue: self.queue.clone(),
            priority: self.priority,
            labels: self.labels.clone(),
            on_parent_end: self.on_parent_end,
        })
    }
}

/// An agent's result.
#[derive(Deserialize)]
struct Answer {
    answer: String,
}

/// As it is recorded.
#[derive(Serialize)]
struct Request<'a> {
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<&'a str>,
    input: &'a serde_json::value::RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<i32>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
    on_parent_end: &'a str,
}

impl Context {
    /// Starts a run below this one. It is started once, however often the workflow is run again, and knows its parent and
    /// its tree; a cancel of this run reaches it, and when this run ends it ends too, unless
    /// [it was told to go on](ChildRun::on_parent_end).
    ///
    /// # Errors
    /// `child_not_started`, with the refusal: no such agent, no worker that has such a workflow, more than 16 levels of
    /// runs below each other, an input over its limit; `ambiguous_step`.
    pub fn start_child(&self, child: ChildRun) -> impl Future<Output = Result<Child, StepFailed>> + Send + use<> {
        let (open, name, request) = (self.open(child.name(), None), child.name().to_owned(), child.request());
        let (run, child) = (Arc::clone(&self.run), Arc::new(child));
        let attempt = move |call: StepCall| {
            let (run, child) = (Arc::clone(&run), Arc::clone(&child));
            async move { start(&run, child.start(call.key)?).await }.boxed()
        };
        let work = (Effect::Transactional, Work::Call(Arc::new(attempt)));
        Step::<Child>::doing((open, &name), request, work)
            .kind("child")
            .retry(RETRY)
            .into_future()
    }

    /// Waits for a child's end, and gives its result. A wait holds no worker.
    ///
    /// # Errors
    /// `child_failed` and `child_cancelled`; `output_changed`, where its result is not what the code expects;
    /// `ambiguous_step`, where this child is waited for already.
    pub fn join<T: DeserializeOwned>(
        &self,
        child: &Child,
    ) -> impl Future<Output = Result<T, StepFailed>> + Send + use<T> {
        let child = child.run_id;
        let open = self.open(&format!("join {child}"), None);
        async move {
            let wanted = |answer| Wanted::Join(JoinAsk { child, answer });
            let read = |result: String| as_expected("join", &result);
            open?.asked(("join", wanted), read).await
        }
    }

    /// Starts a child and waits for its result.
    ///
    /// # Errors
    /// As those of [`Context::start_child`] and [`Context::join`].
    pub fn run_child<T: DeserializeOwned>(
        &self,
        child: ChildRun,
    ) -> impl Future<Output = Result<T, StepFailed>> + Send + use<T> {
        let (starting, context) = (self.start_child(child), self.clone());
        async move {
            let child = starting.await?;
            context.join(&child).await
        }
    }

    /// Runs an agent as a child, and gives its answer.
    ///
    /// # Errors
    /// As those of [`Context::run_child`].
    pub fn run_agent(&self, agent: &str, input: impl Serialize) -> BoxFuture<'static, Result<String, StepFailed>> {
        let running = self.run_child::<Answer>(ChildRun::agent(agent, input));
        async move { Ok(running.await?.answer) }.boxed()
    }
}

async fn start(parent: &RunSide, mut child: StartChild) -> Result<String, FunctionError> {
    let key = child.key.clone();
    // They lock their parent's row: one after the other, they hold one connection while somebody else has it.
    let _turn = parent.starting.lock().await;
    loop {
        match parent.engine.start_child(&parent.claim, &child).await {
            // It ended with this run, which goes on: another one takes its place.
            Ok(run_id) if parent.ended.contains(&run_id) => child.key = format!("{key}#{run_id}"),
            Ok(run_id) => {
                crash_point!("child.started");
                return output_text(&Child { run_id });
            }
            // It may be started already: nobody can say that it is not.
            Err(error) if error.is_transient() => tokio::time::sleep(AGAIN_AFTER).await,
            Err(error) => return Err(not_started(&error)),
        }
    }
}

fn not_started(error: &EngineError) -> FunctionError {
    let message = format!("the child was not started: {}: {error}", error.code());
    // They may be mended meanwhile, or the driver learns of them by itself.
    let may_pass = ["unknown_kind", "claim_lost", "run_is_cancelled"].contains(&error.code());
    let told = if may_pass {
        FunctionError::transient(message)
    } else {
        FunctionError::permanent(message)
    };
    told.code("child_not_started").not_applied()
}
