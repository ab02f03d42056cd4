//! The time limit of one attempt, and what is said when it runs out.

use super::Call;
use agent::{ErrorClass, StepError};
use serde_json::{Value, json};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::task::unconstrained;
use tokio::time::Sleep;

/// Runs from its making on.
pub(super) struct Limit {
    sleep: Pin<Box<Sleep>>,
    tool: String,
    timeout: Duration,
    bound: Bound,
}

/// Which limit was the smallest.
#[derive(Clone, Copy)]
enum Bound {
    ToolTimeout,
    TimeLeft,
}

impl Bound {
    const fn as_str(self) -> &'static str {
        match self {
            Self::ToolTimeout => "tool_timeout",
            Self::TimeLeft => "time_left",
        }
    }
}

impl Limit {
    pub(super) fn of(call: &Call<'_>) -> Self {
        let own = call.tool.timeout();
        Self {
            sleep: Box::pin(tokio::time::sleep(call.timeout)),
            tool: call.tool.name.clone(),
            timeout: call.timeout,
            bound: if call.timeout < own {
                Bound::TimeLeft
            } else {
                Bound::ToolTimeout
            },
        }
    }

    /// The work's output, or nothing when the time ran out first.
    pub(super) async fn within<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            output = work => Some(output),
            // Not counted against the task's budget: work that is always ready must not outrun its limit.
            () = unconstrained(self.sleep.as_mut()) => None,
        }
    }

    /// For the evidence.
    pub(super) fn evidence(&self) -> Value {
        json!({ "timeout_ms": self.timeout_ms(), "bound_by": self.bound.as_str() })
    }

    /// What is recorded when it ran out.
    pub(super) fn expired(&self) -> StepError {
        let (limit, suggestion) = match self.bound {
            Bound::ToolTimeout => (
                "the tool's timeout_seconds",
                "ask for less at a time, or let the agent's author raise timeout_seconds",
            ),
            Bound::TimeLeft => (
                "the time that was left to the run, less than the tool's timeout_seconds",
                "finish with what is known, or let the agent's author raise wall_clock_seconds",
            ),
        };
        StepError::new(
            ErrorClass::Timeout,
            "tool_timeout",
            format!(
                "tool {} did not finish within {} ms: {limit}",
                self.tool,
                self.timeout_ms()
            ),
        )
        .suggest(suggestion)
    }

    fn timeout_ms(&self) -> u64 {
        u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX)
    }
}
