//! How a tool may be repeated, and what an attempt's outcome makes of its step.
//!
//! This is the promise "nothing twice" as a function: [`verdict`]. Semantics: `docs/failure-semantics.md`.

use crate::error::{ErrorClass, StepError};
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[cfg(test)]
mod tests;

/// How a call may be repeated after an attempt of unknown outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Changes nothing: tried again.
    ReadOnly,
    /// The target honours the key: tried again under the same key with the same bytes.
    Idempotent,
    /// Writes into the engine's own database, together with its result: nothing is left in doubt.
    Transactional,
    /// Never sent again by the engine unless it is known not to have happened.
    AtMostOnce,
}

impl Effect {
    /// Every effect, for messages that list them.
    pub const ALL: [Self; 4] = [Self::ReadOnly, Self::Idempotent, Self::Transactional, Self::AtMostOnce];

    /// As stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read_only",
            Self::Idempotent => "idempotent",
            Self::Transactional => "transactional",
            Self::AtMostOnce => "at_most_once",
        }
    }

    /// Whether nobody can vouch for an attempt whose outcome was lost.
    pub const fn leaves_doubt(self) -> bool {
        match self {
            Self::ReadOnly | Self::Transactional => false,
            Self::Idempotent | Self::AtMostOnce => true,
        }
    }

    /// The effect stored under that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|effect| effect.as_str() == name)
    }
}

/// What came of one attempt, as told by the worker that made it.
#[derive(Debug, Clone, PartialEq)]
pub enum AttemptOutcome<T> {
    /// The target did it and answered.
    Done(T),
    /// Nothing left this process.
    NotSent(StepError),
    /// The target answered that it did nothing.
    NotApplied {
        /// What it said.
        error: StepError,
        /// How long it asked to be left alone.
        retry_after: Option<Duration>,
    },
    /// It left this process, and nobody can vouch for what happened then.
    Ambiguous {
        /// What is known.
        error: StepError,
        /// How long it asked to be left alone.
        retry_after: Option<Duration>,
    },
}

/// What is known of a step's attempts when one of them has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempts {
    /// The number of the attempt that ended, from 1.
    pub attempt: u32,
    /// The last one allowed.
    pub attempts_max: u32,
    /// Whether any attempt, this one included, may have been applied without our knowing.
    pub maybe_applied: bool,
    /// Whether the time for attempts is over.
    pub horizon_passed: bool,
}

/// What becomes of a step after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Another attempt under the same key.
    Retry,
    /// Failed for certain: nothing was done.
    Failed,
    /// Nobody can vouch; a person must.
    Unknown(UnknownReason),
}

/// Why a step is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownReason {
    /// An `at_most_once` call went out and its outcome was lost.
    UnknownOutcome,
    /// An `idempotent` call may have been applied and cannot be tried further by itself.
    RetriesExhausted,
}

impl UnknownReason {
    /// As stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownOutcome => "unknown_outcome",
            Self::RetriesExhausted => "retries_exhausted",
        }
    }
}

/// Decides what a failed attempt makes of its step. `known_not_applied` speaks of this attempt alone.
pub const fn verdict(effect: Effect, class: ErrorClass, known_not_applied: bool, attempts: Attempts) -> Verdict {
    // An attempt before this one may be in doubt although this one is not.
    let in_doubt = attempts.maybe_applied || !known_not_applied;
    let may_retry = match effect {
        Effect::ReadOnly | Effect::Idempotent | Effect::Transactional => true,
        Effect::AtMostOnce => !in_doubt,
    };
    let room = attempts.attempt < attempts.attempts_max && !attempts.horizon_passed;
    if may_retry && class.is_retryable() && room {
        return Verdict::Retry;
    }
    match effect {
        Effect::ReadOnly | Effect::Transactional => Verdict::Failed,
        Effect::Idempotent if in_doubt => Verdict::Unknown(UnknownReason::RetriesExhausted),
        Effect::AtMostOnce if in_doubt => Verdict::Unknown(UnknownReason::UnknownOutcome),
        Effect::Idempotent | Effect::AtMostOnce => Verdict::Failed,
    }
}
