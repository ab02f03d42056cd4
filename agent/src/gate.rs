//! What keeps a call back before it is sent: the target's breaker, and the limits of its tool. Said here is what the agent
//! file says of both, which calls share a limit, and what a call's outcome tells of its target.

use crate::effect::AttemptOutcome;
use crate::error::{ErrorClass, StepError};
use crate::journal::{Journal, Step};
use crate::next_action::{Action, WaitFor};
use crate::time_limit::Bound;
use crate::tool::template::{self, Part};
use crate::tool::url::scalar;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

#[cfg(test)]
mod tests;

/// Code of a call that was not made because its target's breaker is open.
pub const BREAKER_OPEN: &str = "breaker_open";

/// Codes of attempts that failed inside the worker, whatever their class.
const OWN_FAULTS: [&str; 2] = ["lease_over", "panicked"];

/// When calls to a target that fails are no longer sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Breaker {
    /// Whether there is one.
    pub enabled: bool,
    /// Failures in a row, over all runs and workers, after which it opens.
    pub failures: u32,
    /// How long it stays open before one call is sent on trial.
    pub cooldown_seconds: u32,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            enabled: true,
            failures: 5,
            cooldown_seconds: 60,
        }
    }
}

impl Breaker {
    /// Whether an agent's stored text leaves it out.
    pub(crate) fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// How many calls of a tool may be out at once, and go out in a time, over all runs and workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallLimit {
    /// Calls that are out at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Calls that go out in any stretch of time so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Calls share the limit whose inputs give this template the same text; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// So many calls in so long a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Calls.
    pub calls: u32,
    /// In any stretch of so many seconds.
    pub per_seconds: u32,
}

impl CallLimit {
    /// What calls with this input share the limit with.
    ///
    /// # Errors
    /// What is wrong with the input's fields, or with the template.
    pub fn key(&self, input: &Map<String, Value>) -> Result<String, String> {
        let mut text = String::new();
        for part in self.parts()? {
            match part {
                Part::Literal(literal) => text.push_str(&literal),
                Part::Field(name) => text.push_str(&scalar(input, &name)?),
                Part::Env(name) => return Err(format!("{{env:{name}}}")),
            }
        }
        Ok(text)
    }

    /// The fields of the input that the key takes.
    ///
    /// # Errors
    /// What is wrong with the template.
    pub fn fields(&self) -> Result<Vec<String>, String> {
        let field = |part| match part {
            Part::Literal(_) => None,
            Part::Field(name) => Some(Ok(name)),
            Part::Env(name) => Some(Err(format!("{{env:{name}}}, which is for URLs and headers only"))),
        };
        self.parts()?.into_iter().filter_map(field).collect()
    }

    fn parts(&self) -> Result<Vec<Part>, String> {
        template::parse(self.key.as_deref().unwrap_or_default()).map_err(|error| error.to_string())
    }
}

/// Whether a waiting step may not go out yet: nobody has called it, and it has no time of its own, or that has not come.
pub(crate) fn holds(journal: &Journal, step: &Step, now: DateTime<Utc>) -> bool {
    journal.gate_of(step.seq).is_some() && step.due_at.is_none_or(|due| due > now)
}

/// Where a step may not go out until it is called: its run waits for that.
pub(crate) fn park(journal: &Journal, until: Option<DateTime<Utc>>) -> Option<Action> {
    let held = journal.held_back.first()?;
    Some(Action::Park {
        waiting_for: WaitFor::Limit,
        reason: held.by.as_str().to_owned(),
        until,
    })
}

/// What a call's outcome tells of its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It answers, be it with a refusal.
    Succeeded,
    /// It does not do what it is for.
    Failed,
    /// It asks to be left alone for a while.
    RateLimited,
    /// Nothing.
    Neutral,
}

impl Mark {
    /// As the database takes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::RateLimited => "rate_limited",
            Self::Neutral => "neutral",
        }
    }

    /// Of an attempt that has ended.
    pub fn of<T>(outcome: &AttemptOutcome<T>) -> Self {
        let (error, has_answered) = match outcome {
            AttemptOutcome::Done(_) => return Self::Succeeded,
            AttemptOutcome::NotSent(error) => (error, false),
            AttemptOutcome::NotApplied { error, .. } | AttemptOutcome::Ambiguous { error, .. } => (error, true),
        };
        // That somebody had no more time says nothing of the target.
        let bound = error.limit.as_ref().map(|limit| limit.bound_by);
        let is_ours = matches!(bound, Some(Bound::Turn | Bound::Run | Bound::Caller));
        if is_ours || OWN_FAULTS.contains(&error.code.as_str()) {
            return Self::Neutral;
        }
        match error.class {
            ErrorClass::Transient | ErrorClass::Overloaded | ErrorClass::Timeout => Self::Failed,
            ErrorClass::RateLimited => Self::RateLimited,
            ErrorClass::Permanent | ErrorClass::UserError | ErrorClass::InvalidInput if has_answered => Self::Succeeded,
            ErrorClass::Permanent | ErrorClass::UserError | ErrorClass::InvalidInput | ErrorClass::Unknown => {
                Self::Neutral
            }
        }
    }
}

/// What a call is answered with whose target's breaker is open: until then, or until a trial call that is out has ended.
pub fn breaker_open(target: &str, until: Option<&str>) -> StepError {
    let (state, when) = match until {
        Some(until) => (
            format!("it is not called again before {until}"),
            format!("after {until}"),
        ),
        None => (
            "a single call is out to see whether it works again".to_owned(),
            "in a minute".to_owned(),
        ),
    };
    StepError::new(
        ErrorClass::Overloaded,
        BREAKER_OPEN,
        format!("{target} is temporarily unavailable: its last calls all failed, and {state}; this call was not made"),
    )
    .suggest(format!("go on without it, or call it again {when}"))
}
