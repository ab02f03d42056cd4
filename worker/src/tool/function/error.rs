//! How a function says what went wrong.

use crate::worker::chain;
use agent::{AttemptOutcome, ErrorClass, StepError, ToolOutcome};
use engine::{DatabaseError, EngineError};
use std::fmt;
use std::time::Duration;

/// Longest pause that is believed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What went wrong in a function. Unless it is marked [`not_applied`](Self::not_applied), the function may have acted
/// before it failed, and a tool that must not be repeated is then left to a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionError {
    class: ErrorClass,
    message: String,
    suggestion: Option<String>,
    not_applied: bool,
    retry_after: Option<Duration>,
    code: Option<&'static str>,
}

impl FunctionError {
    /// The model asked for something that it can ask better. The message reaches the model.
    pub fn user_error(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::UserError, message)
    }

    /// Will not pass by itself.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Permanent, message)
    }

    /// May pass by itself.
    pub fn transient(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Transient, message)
    }

    /// Whoever was asked wants to be left alone for a while: see [`retry_after`](Self::retry_after).
    pub fn rate_limited(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::RateLimited, message)
    }

    /// Whoever was asked has no room.
    pub fn overloaded(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Overloaded, message)
    }

    fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
            suggestion: None,
            not_applied: false,
            retry_after: None,
            code: None,
        }
    }

    /// The same, vouching that nothing was done.
    #[must_use]
    pub fn not_applied(mut self) -> Self {
        self.not_applied = true;
        self
    }

    /// The same, with the least that is waited before another attempt: what the target asked for, at most 30 days.
    #[must_use]
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause.min(RETRY_AFTER_MAX));
        self
    }

    /// The same, saying what the reader can do about it.
    #[must_use]
    pub fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }
}

impl FunctionError {
    /// The same, under a word for programs of our own.
    pub(crate) fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// As it is recorded, whether nothing was done, and the pause that was asked for.
    pub(crate) fn into_step_error(self, code: &str) -> (StepError, bool, Option<Duration>) {
        let mut error = StepError::new(self.class, self.code.unwrap_or(code), storable(&self.message));
        error.suggestion = self.suggestion.as_deref().map(storable);
        (error, self.not_applied, self.retry_after)
    }
}

/// What the database said to a statement of a step's own. A lost connection, a deadlock or a serialization failure may
/// pass by itself.
impl From<DatabaseError> for FunctionError {
    fn from(error: DatabaseError) -> Self {
        let error = EngineError::from(error);
        let message = error.said_by_server().map_or_else(|| chain(&error), str::to_owned);
        let told = if error.is_transient() {
            Self::transient(message)
        } else {
            Self::permanent(message)
        };
        told.code("database_error")
    }
}

impl fmt::Display for FunctionError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for FunctionError {}

/// Why a call of a function gave no output.
#[derive(Debug)]
pub(super) enum Failure {
    /// The input is not what the function takes; it was not called.
    Input(String),
    /// The function said so.
    Told(FunctionError),
    /// Its output cannot be written as JSON.
    Output(String),
}

impl Failure {
    pub(super) fn into_outcome(self, name: &str) -> AttemptOutcome<ToolOutcome> {
        match self {
            Self::Input(why) => AttemptOutcome::NotApplied {
                error: StepError::new(
                    ErrorClass::InvalidInput,
                    "invalid_input",
                    format!("function {name} does not take this input: {}", storable(&why)),
                )
                .suggest("correct the input so that it matches the tool's schema"),
                retry_after: None,
            },
            Self::Told(told) => {
                let (error, not_applied, retry_after) = told.into_step_error("function_failed");
                if not_applied {
                    AttemptOutcome::NotApplied { error, retry_after }
                } else {
                    AttemptOutcome::Ambiguous { error, retry_after }
                }
            }
            Self::Output(why) => AttemptOutcome::Ambiguous {
                error: StepError::new(
                    ErrorClass::Permanent,
                    "output_unreadable",
                    format!(
                        "function {name} ended well, but its output cannot be written as JSON: {}",
                        storable(&why)
                    ),
                ),
                retry_after: None,
            },
        }
    }
}

/// How much of a function's message is recorded.
const MESSAGE_BYTES_MAX: usize = 4 * 1024;

pub(crate) fn storable(text: &str) -> String {
    let text = crate::tool::output::clean(text.as_bytes());
    crate::tool::output::head(&text, MESSAGE_BYTES_MAX).to_owned()
}
