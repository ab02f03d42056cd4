//! Workflows: async functions in Rust whose steps are recorded once.
//!
//! A workflow is run from its beginning each time it is taken up; what it did before is read from the journal and not
//! done again. So all that it does in the world it does within [`Context::step`], and whatever a step depends on is in
//! the step's input. Between two steps it may compute, and nothing else. Start at [`Context`].

mod child;
mod context;
mod signal;
mod step;
mod transaction;

pub use child::{Child, ChildRun};
pub use context::{Context, StepCall};
pub use step::{Retry, Step, StepFailed};

pub(crate) use context::RunSide;
pub(crate) use step::{Ask, JoinAsk, SignalAsk, StepAsk, TimerAsk, Until, Wanted, Work};

use crate::tool::storable;
use agent::{ErrorClass, StepError};
use engine::limits;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Why a workflow fails. Steps' failures become one with `?`.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}: {}", .0.code, .0.message)]
pub struct WorkflowError(StepError);

impl WorkflowError {
    /// A failure of the workflow's own: a stable word for programs, and a sentence for people, of 4 KiB at most each.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        let (code, message) = (storable(&code.into()), storable(&message.into()));
        Self(StepError::new(ErrorClass::Permanent, code, message))
    }

    pub(crate) fn into_inner(self) -> StepError {
        self.0
    }
}

impl From<StepFailed> for WorkflowError {
    fn from(failed: StepFailed) -> Self {
        Self(failed.into_inner())
    }
}

/// From the input's JSON text to the output's.
pub(crate) type Run = dyn Fn(Context, String) -> BoxFuture<'static, Result<String, WorkflowError>> + Send + Sync;

/// The workflows of a worker's program, by name.
#[derive(Clone, Default)]
pub struct Workflows(BTreeMap<String, Arc<Run>>);

impl Workflows {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers one under the name that runs name as their kind: 1 to 63 lower-case letters, digits and hyphens, not
    /// `agent`. Under a name that is taken it replaces the other.
    pub fn register<I, O, F, Fut>(&mut self, name: &str, workflow: F)
    where
        I: DeserializeOwned + Send,
        O: Serialize,
        F: Fn(Context, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, WorkflowError>> + Send + 'static,
    {
        let workflow = Arc::new(workflow);
        let run = move |context: Context, input: String| {
            let workflow = Arc::clone(&workflow);
            async move {
                let input = serde_json::from_str::<I>(&input).map_err(|error| {
                    WorkflowError::new(
                        "invalid_input",
                        format!("the workflow does not take this input: {error}"),
                    )
                })?;
                let output = workflow(context, input).await?;
                let output = serde_json::to_string(&output).map_err(|error| {
                    let what = format!("the workflow's output cannot be written as JSON: {error}");
                    WorkflowError::new("output_unreadable", what)
                })?;
                if output.len() > limits::INPUT_BYTES_MAX {
                    let (bytes, most) = (output.len(), limits::INPUT_BYTES_MAX);
                    let what = format!("the workflow's output has {bytes} bytes, the limit is {most}");
                    return Err(WorkflowError::new("result_too_large", what));
                }
                Ok(output)
            }
            .boxed()
        };
        self.0.insert(name.to_owned(), Arc::new(run));
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Run>> {
        self.0.get(name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }
}

impl fmt::Debug for Workflows {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}
