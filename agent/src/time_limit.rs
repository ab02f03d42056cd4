//! Time limits, which nest: of several the smallest ends an attempt, and it is named.

use crate::definition::Agent;
use crate::error::{ErrorClass, StepError};
use crate::journal::{Step, StepBody};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Code of a call that its turn's time was over for.
pub const TURN_TIMEOUT: &str = "turn_timeout";

/// Which limit it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// On connecting.
    Connect,
    /// On the beginning of a reply.
    FirstByte,
    /// On silence within a reply.
    Idle,
    /// On one attempt of a call.
    Call,
    /// On all calls of a turn.
    Turn,
    /// On the run: what its agent's file allows.
    Run,
    /// On the run: what whoever started it allows.
    Caller,
}

impl Bound {
    /// As stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::FirstByte => "first_byte",
            Self::Idle => "idle",
            Self::Call => "call",
            Self::Turn => "turn",
            Self::Run => "run",
            Self::Caller => "caller",
        }
    }

    /// What sets it, for people.
    pub const fn set_by(self) -> &'static str {
        match self {
            Self::Connect => "connect_timeout_seconds",
            Self::FirstByte => "first_byte_timeout_seconds",
            Self::Idle => "idle_timeout_seconds",
            Self::Call => "timeout_seconds",
            Self::Turn => "the time that limits.turn_seconds leaves to its turn",
            Self::Run => "the time that limits.wall_clock_seconds leaves to the run",
            Self::Caller => "the time that is left until the deadline_at of whoever started the run",
        }
    }
}

/// The limit that ended an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeLimit {
    /// Which one.
    pub bound_by: Bound,
    /// How long it was.
    pub timeout_ms: u64,
}

/// How long an attempt may take, and which limit says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimit {
    /// From the attempt's beginning.
    pub timeout: Duration,
    /// Which limit it is.
    pub bound: Bound,
}

impl CallLimit {
    /// A limit of the call's own.
    pub const fn own(timeout: Duration) -> Self {
        Self {
            timeout,
            bound: Bound::Call,
        }
    }

    /// The smaller one: this, or what is left of another.
    #[must_use]
    pub fn within(self, left: Duration, bound: Bound) -> Self {
        if left < self.timeout {
            Self { timeout: left, bound }
        } else {
            self
        }
    }

    /// As recorded.
    pub fn told(self) -> TimeLimit {
        TimeLimit {
            bound_by: self.bound,
            timeout_ms: u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// When the time of a call's turn is over. All calls of a turn are recorded at once, so that it is the same instant for
/// each; one that somebody let go on has it anew.
pub fn turn_deadline(agent: &Agent, step: &Step) -> Option<DateTime<Utc>> {
    let seconds = i64::try_from(agent.limits.turn_seconds?).ok()?;
    match step.body {
        StepBody::Tool { .. } => step.budget_from.checked_add_signed(TimeDelta::try_seconds(seconds)?),
        StepBody::Model { .. } | StepBody::Probe { .. } => None,
    }
}

/// Of a call that is not made any more, since the time of its turn is over.
pub(crate) fn turn_is_over(agent: &Agent) -> StepError {
    let seconds = agent.limits.turn_seconds.unwrap_or_default();
    let limit = CallLimit {
        timeout: Duration::from_secs(seconds),
        bound: Bound::Turn,
    };
    StepError::new(
        ErrorClass::Timeout,
        TURN_TIMEOUT,
        format!("the {seconds} s for the calls of this turn are over"),
    )
    .suggest("go on with the results that are there, or ask for less in one turn")
    .limited(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_counts_and_is_named() {
        let limit = CallLimit::own(Duration::from_secs(30))
            .within(Duration::from_secs(20), Bound::Turn)
            .within(Duration::from_secs(25), Bound::Run);

        assert_eq!(
            limit.told(),
            TimeLimit {
                bound_by: Bound::Turn,
                timeout_ms: 20_000
            }
        );
    }

    #[test]
    fn of_equal_limits_the_nearest_is_named() {
        let limit = CallLimit::own(Duration::from_secs(30)).within(Duration::from_secs(30), Bound::Caller);

        assert_eq!(limit.bound, Bound::Call);
    }
}
