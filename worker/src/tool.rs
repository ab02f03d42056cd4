//! What an agent can do: one attempt of a tool call, and an honest account of what came of it.
//!
//! Owns everything between a committed intent and an [`Attempt`]: sending, time limits, and the border where text from
//! outside becomes safe to store. Never decides whether to try again and never records: the effect's verdict does the
//! one, the driver the other. When nobody can vouch for what happened, the outcome is
//! [`Ambiguous`](AttemptOutcome::Ambiguous), never a guess. Start at [`ToolBox::call`].

mod command;
mod environment;
mod function;
mod http;
pub(crate) mod limit;
mod output;
mod secrets;
pub(crate) mod sql;

#[cfg(test)]
mod scene;

pub use environment::Environment;
pub(crate) use function::storable;
pub use function::{FunctionContext, FunctionError, Functions};
pub use sql::Databases;

use agent::definition::{Tool, ToolAction};
use agent::tool::ToolRequest;
use agent::{AttemptOutcome, CallLimit, ErrorClass, StepError, ToolOutcome};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

/// Everything a worker needs to carry out tool calls. Built once.
#[derive(Debug)]
pub struct ToolBox {
    http: http::Clients,
    functions: Functions,
    environment: Environment,
    databases: Databases,
}

/// One attempt that is to be made.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// As the run's agent version defines it.
    pub tool: &'a Tool,
    /// As stored with the intent; every attempt sends exactly this.
    pub request: &'a ToolRequest,
    /// The engine's idempotency key, the same in every attempt.
    pub key: &'a str,
    /// From 1.
    pub attempt: u32,
    /// The smallest limit that applies.
    pub limit: CallLimit,
    /// When the attempt begins, by the database's clock: a date in `retry-after` is measured against it where the target
    /// tells no `Date`.
    pub now: DateTime<Utc>,
    /// Who calls and for whom.
    pub context: CallContext,
}

/// Who calls and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallContext {
    /// The run's id.
    pub run: String,
    /// The step's number within its run.
    pub step: u32,
    /// The worker's name.
    pub worker: String,
    /// Whose data.
    pub tenant: String,
    /// On whose behalf, if anybody is named.
    pub requester: Option<String>,
}

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// For the effect's verdict.
    pub outcome: AttemptOutcome<ToolOutcome>,
    /// For people who must judge it later; holds no secrets.
    pub evidence: Value,
}

impl ToolBox {
    /// A box with these functions, looking names up in this environment.
    pub fn new(functions: Functions, environment: Environment) -> Self {
        Self {
            http: http::Clients::new(http::Names::of_system()),
            functions,
            environment,
            databases: Databases::default(),
        }
    }

    /// The same with databases that tools may read.
    #[must_use]
    pub fn with_databases(mut self, databases: Databases) -> Self {
        self.databases = databases;
        self
    }

    /// The registered functions.
    pub const fn functions(&self) -> &Functions {
        &self.functions
    }

    /// Makes one attempt. Dropping the future stops it: connections close, programs are killed, functions are dropped.
    pub async fn call(&self, call: Call<'_>) -> Attempt {
        match (&call.tool.action, call.request) {
            (
                ToolAction::Http(tool),
                ToolRequest::Http {
                    method,
                    url,
                    headers,
                    body,
                },
            ) => {
                let request = http::Request {
                    method,
                    url,
                    headers,
                    body: body.as_deref(),
                    tool,
                };
                http::call(&self.http, &self.environment, &call, request).await
            }
            (ToolAction::Command(tool), ToolRequest::Command { argv, stdin }) => {
                let start = command::Start { tool, argv, stdin };
                command::call(&self.environment, &call, start).await
            }
            (ToolAction::Function(_), ToolRequest::Function { function, input }) => {
                self.functions.call(&call, function, input).await
            }
            (
                ToolAction::Sql(tool),
                ToolRequest::Sql {
                    statement, parameters, ..
                },
            ) if tool.database.is_some() => {
                let request = sql::Request {
                    tool,
                    statement,
                    parameters,
                };
                self.databases.read(&self.environment, &call, request).await
            }
            (ToolAction::Http(_) | ToolAction::Command(_) | ToolAction::Function(_) | ToolAction::Sql(_), _) => {
                Attempt::not_sent(
                    StepError::new(
                        ErrorClass::Permanent,
                        "request_mismatch",
                        format!("the stored request is not of the kind that tool {} has", call.tool.name),
                    )
                    .fatal(),
                )
            }
        }
    }
}

impl Attempt {
    fn not_sent(error: StepError) -> Self {
        Self {
            outcome: AttemptOutcome::NotSent(error),
            evidence: json!({}),
        }
    }
}
