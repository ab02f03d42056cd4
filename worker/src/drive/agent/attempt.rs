//! Attempts in flight: each in a task of its own, so that a record on its way to the database holds none of them up.

use super::Driver;
use super::transaction::{self, Unrecorded};
use crate::drive::Shared;
use crate::model::{ModelAttempt, ModelCall};
use crate::tool::sql::Request;
use crate::tool::{Attempt, Call, CallContext};
use agent::definition::ToolAction;
use agent::time_limit::turn_deadline;
use agent::tool::ToolRequest;
use agent::{AttemptOutcome, Bound, CallLimit, Effect, ErrorClass, StepBody, StepError};
use chrono::{DateTime, Utc};
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{AbortHandle, Id, JoinSet};

/// An attempt whose intent is committed.
pub(super) enum Going {
    Model {
        seq: u32,
        body: String,
    },
    Tool {
        seq: u32,
        tool: String,
        request: Arc<ToolRequest>,
    },
}

impl Going {
    /// Whose.
    pub(super) const fn seq(&self) -> u32 {
        match self {
            Self::Model { seq, .. } | Self::Tool { seq, .. } => *seq,
        }
    }
}

/// An attempt that is over.
pub(super) struct Finished {
    pub(super) seq: u32,
    pub(super) report: Report,
}

/// What it showed.
pub(super) enum Report {
    Model(ModelAttempt),
    Tool(Attempt),
    /// A tool has written, and nothing is committed.
    Unrecorded(Box<Unrecorded>),
    /// We cut it.
    Cut,
}

/// The calls of one run that are out.
#[derive(Default)]
pub(super) struct InFlight {
    tasks: JoinSet<Report>,
    calls: HashMap<Id, (u32, Repeat, AbortHandle)>,
}

/// What a call is to those who would cut it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    Model,
    RepeatableTool,
    OnceOnly,
}

impl InFlight {
    fn spawn(&mut self, seq: u32, repeat: Repeat, attempt: impl Future<Output = Report> + Send + 'static) {
        let handle = self.tasks.spawn(attempt);
        self.calls.insert(handle.id(), (seq, repeat, handle));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// The next one that is over. None: nothing is out. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Finished> {
        loop {
            let (id, report) = match self.tasks.join_next_with_id().await? {
                Ok((id, report)) => (id, report),
                Err(broken) if broken.is_cancelled() => (broken.id(), Report::Cut),
                Err(broken) => (broken.id(), panicked()),
            };
            if let Some((seq, _, _)) = self.calls.remove(&id) {
                return Some(Finished { seq, report });
            }
        }
    }

    /// Cuts the calls that are picked; they come back as [`Report::Cut`].
    pub(super) fn cut(&self, picked: impl Fn(Repeat) -> bool) {
        for (_, repeat, handle) in self.calls.values() {
            if picked(*repeat) {
                handle.abort();
            }
        }
    }
}

fn panicked() -> Report {
    let error = StepError::new(
        ErrorClass::Permanent,
        "panicked",
        "the attempt broke inside the worker; see its log",
    );
    Report::Tool(Attempt {
        outcome: AttemptOutcome::Ambiguous {
            error,
            retry_after: None,
        },
        evidence: json!({"panicked": true}),
    })
}

/// The lease was over before the first byte: nothing left this process.
fn lease_over() -> StepError {
    StepError::new(
        ErrorClass::Transient,
        "lease_over",
        "the worker's lease was over before anything was sent",
    )
}

/// Makes one attempt of a tool call.
async fn call_tool(shared: &Shared, call: Call<'_>) -> Report {
    match (&call.tool.action, call.request) {
        (
            ToolAction::Sql(tool),
            ToolRequest::Sql {
                database: None,
                statement,
                parameters,
            },
        ) if call.tool.effect == Effect::Transactional => {
            let request = Request {
                tool,
                statement,
                parameters,
            };
            match transaction::attempt(shared, &call, request).await {
                Ok(unrecorded) => Report::Unrecorded(unrecorded),
                Err(attempt) => Report::Tool(attempt),
            }
        }
        _ => Report::Tool(shared.tools.call(call).await),
    }
}

impl Driver {
    /// Lets a committed attempt happen.
    pub(super) fn start(&mut self, going: Going) {
        match going {
            Going::Model { seq, body } => self.start_model(seq, body),
            Going::Tool { seq, tool, request } => self.start_tool(seq, &tool, request),
        }
    }

    /// The smallest limit that applies: the call's own, or what is left of the time of its turn or of the run.
    fn limit(&self, own: Duration, turn: Option<DateTime<Utc>>) -> CallLimit {
        let left = |deadline: DateTime<Utc>| (deadline - self.hold.now()).to_std().unwrap_or(Duration::ZERO);
        let mut limit = CallLimit::own(own);
        if let Some(deadline) = turn {
            limit = limit.within(left(deadline), Bound::Turn);
        }
        if let Some(deadline) = self.journal.deadline {
            limit = limit.within(left(deadline), self.deadline_bound);
        }
        limit
    }

    fn start_model(&mut self, seq: u32, body: String) {
        #[cfg(feature = "planted-faults")]
        let body = crate::planted_fault::shown(body);
        let (shared, version, lease) = (
            Arc::clone(&self.hold.shared),
            Arc::clone(&self.version),
            self.hold.lease.clone(),
        );
        let own = Duration::from_secs(u64::from(version.agent.model.timeout_seconds));
        let (limit, now) = (self.limit(own, None), self.hold.now());
        self.in_flight.spawn(seq, Repeat::Model, async move {
            if !lease.is_live() {
                return Report::Model(ModelAttempt {
                    outcome: AttemptOutcome::NotSent(lease_over()),
                    evidence: json!({"sent": false}),
                    needs_person: false,
                });
            }
            let call = ModelCall::new(&body, &version.agent.model, limit, now);
            Report::Model(shared.models.call(call, |_| {}).await)
        });
    }

    fn start_tool(&mut self, seq: u32, tool: &str, request: Arc<ToolRequest>) {
        let (shared, version, lease) = (
            Arc::clone(&self.hold.shared),
            Arc::clone(&self.version),
            self.hold.lease.clone(),
        );
        let Some((step, key)) = self.step(seq).zip(self.sent.get(&seq).map(|sent| sent.key.clone())) else {
            return;
        };
        let repeat = match &step.body {
            StepBody::Tool {
                effect: Effect::AtMostOnce,
                ..
            } => Repeat::OnceOnly,
            StepBody::Tool { .. } | StepBody::Model { .. } | StepBody::Probe { .. } => Repeat::RepeatableTool,
        };
        let attempt = step.attempt;
        #[cfg(feature = "planted-faults")]
        let (key, request) = (
            crate::planted_fault::key_sent(key, attempt),
            crate::planted_fault::request_sent(request, attempt),
        );
        let context = CallContext {
            run: self.hold.run().to_string(),
            step: seq,
            worker: self.hold.shared.worker_name.clone(),
            tenant: self.tenant.clone(),
            requester: Some(self.requester.clone()),
        };
        let tool = tool.to_owned();
        let own = version
            .agent
            .tool(&tool)
            .map_or(Duration::ZERO, agent::definition::Tool::timeout);
        let turn = turn_deadline(&version.agent, step);
        let (limit, now) = (self.limit(own, turn), self.hold.now());
        let permit = self.admitted.get_mut(&seq).and_then(|admitted| admitted.permit.take());
        self.in_flight.spawn(seq, repeat, async move {
            let _until_it_is_over = permit;
            let not_sent = |error| {
                Report::Tool(Attempt {
                    outcome: AttemptOutcome::NotSent(error),
                    evidence: json!({"sent": false}),
                })
            };
            if !lease.is_live() {
                return not_sent(lease_over());
            }
            let Some(tool) = version.agent.tool(&tool) else {
                return not_sent(StepError::new(
                    ErrorClass::Permanent,
                    "tool_not_found",
                    "there is no such tool",
                ));
            };
            let call = Call {
                tool,
                request: &request,
                key: &key,
                attempt,
                limit,
                now,
                context,
            };
            call_tool(&shared, call).await
        });
    }
}
