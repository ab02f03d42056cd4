//! What went wrong with a step, as it is recorded.

use crate::time_limit::{CallLimit, TimeLimit};
use serde::{Deserialize, Serialize};

/// Whether and how an error is retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// May pass by itself: a refused connection, a reset, a 5xx.
    Transient,
    /// The target asked for a pause.
    RateLimited,
    /// The target has no room.
    Overloaded,
    /// A time limit ran out.
    Timeout,
    /// Will not pass by itself.
    Permanent,
    /// The model asked for something that the tool explains how to ask better.
    UserError,
    /// The input does not match the tool's schema.
    InvalidInput,
    /// Nobody knows what this is.
    Unknown,
}

impl ErrorClass {
    /// Whether another attempt may help. Whether it is allowed is the effect's matter.
    pub const fn is_retryable(self) -> bool {
        match self {
            Self::Transient | Self::RateLimited | Self::Overloaded | Self::Timeout => true,
            Self::Permanent | Self::UserError | Self::InvalidInput | Self::Unknown => false,
        }
    }

    /// As stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Timeout => "timeout",
            Self::Permanent => "permanent",
            Self::UserError => "user_error",
            Self::InvalidInput => "invalid_input",
            Self::Unknown => "unknown",
        }
    }
}

/// Code of a transaction that was ended by what ran in it: what it wrote may stand.
pub const TRANSACTION_LEFT: &str = "transaction_left";
/// Code of a call that a person gave up.
pub const GIVEN_UP: &str = "given_up";
/// Code of what a person decided against.
pub const REJECTED: &str = "rejected";

/// An error as recorded on a step or a run and shown to people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepError {
    /// Whether and how it is retried.
    pub class: ErrorClass,
    /// A stable word for programs, such as `connection_refused`, `http_503`, `missing_secret`; each has a line in
    /// `docs/errors/steps.md`.
    pub code: String,
    /// One sentence, no secrets.
    pub message: String,
    /// What the reader can do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
    /// On a run, the step of a workflow that failed it: its identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Box<str>>,
    /// Of a timeout, the limit that was the smallest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Box<TimeLimit>>,
    /// Not for the model to handle: the run fails with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fatal: bool,
}

impl StepError {
    /// An error without suggestion that is not fatal.
    pub fn new(class: ErrorClass, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            class,
            code: code.into(),
            message: message.into(),
            suggestion: None,
            step: None,
            limit: None,
            fatal: false,
        }
    }

    /// Of a call that a person gave up. It may have happened, so nothing ever makes it anew.
    pub fn given_up(words: Option<&str>) -> Self {
        let message = match words {
            Some(words) => format!("a person gave this call up: {words}"),
            None => "a person gave this call up".to_owned(),
        };
        Self::new(ErrorClass::Unknown, GIVEN_UP, message)
            .suggest("nobody knows whether it happened: do not repeat it, and do not count on it")
    }

    /// Of a run that a person decided is not to go on.
    pub fn rejected(actor: &str, words: Option<&str>) -> Self {
        let message = match words {
            Some(words) => format!("{actor} decided that the run does not go on: {words}"),
            None => format!("{actor} decided that the run does not go on"),
        };
        Self::new(ErrorClass::Permanent, REJECTED, message)
    }

    /// Of a call that a person decided is not to be made once more. It has failed for certain.
    pub fn call_rejected(actor: &str, words: Option<&str>) -> Self {
        let message = match words {
            Some(words) => format!("{actor} decided that this call is not made again: {words}"),
            None => format!("{actor} decided that this call is not made again"),
        };
        Self::new(ErrorClass::Permanent, REJECTED, message)
    }

    /// The same with a suggestion.
    #[must_use]
    pub fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }

    /// The same, naming the limit that ran out.
    #[must_use]
    pub fn limited(mut self, limit: CallLimit) -> Self {
        self.limit = Some(Box::new(limit.told()));
        self
    }

    /// The same, ending the run.
    #[must_use]
    pub fn fatal(mut self) -> Self {
        self.fatal = true;
        self
    }
}
