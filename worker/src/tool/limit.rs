//! The time limits of one attempt, and what is said when one runs out.

use super::Call;
use agent::{Bound, CallLimit, ErrorClass, StepError};
use serde_json::{Value, json};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep};

/// Runs from its making on.
pub(crate) struct Limit {
    sleep: Pin<Box<Sleep>>,
    began: Instant,
    tool: String,
    whole: CallLimit,
    /// The one that ran out.
    over: Option<CallLimit>,
}

impl Limit {
    pub(crate) fn of(call: &Call<'_>) -> Self {
        Self {
            sleep: Box::pin(tokio::time::sleep(call.limit.timeout)),
            began: Instant::now(),
            tool: call.tool.name.clone(),
            whole: call.limit,
            over: None,
        }
    }

    /// What is left.
    pub(crate) fn left(&self) -> Duration {
        self.whole.timeout.saturating_sub(self.began.elapsed())
    }

    /// The work's output, or nothing when the time ran out first.
    pub(crate) async fn within<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let output = tokio::select! {
            biased;
            output = work => Some(output),
            // Not counted against the task's budget: work that is always ready must not outrun its limit.
            () = unconstrained(self.sleep.as_mut()) => None,
        };
        if output.is_none() {
            self.over = Some(self.whole);
        }
        output
    }

    /// The same for a part of the call that has a limit of its own, where that is given.
    pub(crate) async fn within_part<T>(&mut self, part: Option<CallLimit>, work: impl Future<Output = T>) -> Option<T> {
        let Some(part) = part else {
            return self.within(work).await;
        };
        match self.within(tokio::time::timeout(part.timeout, work)).await {
            Some(Ok(output)) => Some(output),
            Some(Err(_)) => {
                self.over = Some(part);
                None
            }
            None => None,
        }
    }

    /// For the evidence: the limit that ran out, or else the one on the whole.
    pub(crate) fn evidence(&self) -> Value {
        json!(self.over.unwrap_or(self.whole).told())
    }

    /// What is recorded when one ran out.
    pub(crate) fn expired(&self) -> StepError {
        let limit = self.over.unwrap_or(self.whole);
        let (tool, ms, set_by) = (&self.tool, limit.timeout.as_millis(), limit.bound.set_by());
        let code = match limit.bound {
            Bound::Connect => "connect_timeout",
            Bound::FirstByte => "first_byte_timeout",
            Bound::Idle => "idle_timeout",
            Bound::Call | Bound::Turn | Bound::Run | Bound::Caller => "tool_timeout",
        };
        let what = match limit.bound {
            Bound::Connect => format!("tool {tool} got no connection within {ms} ms"),
            Bound::FirstByte => format!("tool {tool} got no beginning of an answer within {ms} ms"),
            Bound::Idle => format!("the answer to tool {tool} fell silent for {ms} ms"),
            Bound::Call | Bound::Turn | Bound::Run | Bound::Caller => {
                format!("tool {tool} did not finish within {ms} ms")
            }
        };
        let suggestion = match limit.bound {
            Bound::Connect | Bound::FirstByte | Bound::Idle => {
                "go on without it and say so, or let the agent's author raise the limit"
            }
            Bound::Call => "ask for less at a time, or let the agent's author raise timeout_seconds",
            Bound::Turn => "call fewer or smaller tools in one turn, or let the agent's author raise turn_seconds",
            Bound::Run => "finish with what is known, or let the agent's author raise wall_clock_seconds",
            Bound::Caller => "finish with what is known: whoever started the run set the time",
        };
        StepError::new(ErrorClass::Timeout, code, format!("{what}: {set_by}"))
            .suggest(suggestion)
            .limited(limit)
    }
}
