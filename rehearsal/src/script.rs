//! What the scripted model says, and when.
//!
//! A [`Script`] is a list of rules; the first whose conditions all hold answers. It is read from TOML
//! ([`Script::read`], [`Script::from_toml`]) or built in Rust ([`Script::new`]), and checked before it is played, so
//! that a mistake is found at the start and not in the middle of a run. Start at [`Rule`].

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

mod build;
mod check;
mod parse;
#[cfg(test)]
mod tests;

pub use parse::ScriptError;

/// An ordered list of rules.
#[derive(Debug, Clone, Default)]
pub struct Script {
    pub(crate) rules: Vec<Rule>,
}

/// One rule: when it applies and what it answers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What records and mistakes call this rule; else its number.
    #[serde(default)]
    pub name: Option<String>,
    /// The conditions. None at all: always.
    #[serde(default)]
    pub when: When,
    /// The answer.
    pub answer: Answer,
    /// Line of the script file it begins on.
    #[serde(skip)]
    pub(crate) line: Option<usize>,
}

/// The conditions of a rule; all that are given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct When {
    /// The number of assistant messages in the request, plus one.
    pub turn: Option<usize>,
    /// Occurs in the text of the last user message (tool results not counted).
    pub text_contains: Option<String>,
    /// The last message holds a result of this tool.
    pub last_tool: Option<String>,
    /// Occurs in the text of a tool result of the last message.
    pub tool_result_contains: Option<String>,
    /// Occurs in the system prompt.
    pub system_contains: Option<String>,
    /// Occurs anywhere in the messages: texts, call inputs, results.
    pub conversation_contains: Option<String>,
    /// Whether the request's `tool_choice` is `none`.
    pub tools_off: Option<bool>,
    /// The rule applies to its first N matches of a conversation only. A conversation is known by the text of its
    /// first user message.
    pub times: Option<u32>,
}

/// What a rule answers. Blocks come in the order thinking, text, raw, calls.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Answer {
    /// A thinking block; its signature is made up and demanded back.
    pub thinking: Option<String>,
    /// A text block.
    pub text: Option<String>,
    /// Content blocks as JSON texts, sent byte for byte: for kinds of blocks nobody knows yet.
    pub raw: Vec<String>,
    /// Tool calls.
    pub calls: Vec<Call>,
    /// Any stop reason; by default `tool_use` with calls and `end_turn` without. With `max_tokens` or
    /// `model_context_window_exceeded` the input of the last call is cut off in the middle.
    pub stop_reason: Option<String>,
    /// Sent as `stop_details`.
    pub stop_details: Option<Value>,
    /// Time before the first byte of the answer.
    pub delay_ms: u64,
    /// Time between two events of a stream.
    pub delay_between_events_ms: u64,
    /// An error in place of an answer.
    pub error: Option<ErrorAnswer>,
    /// The connection is dropped after this many events of a stream; without streaming, within the body.
    pub cut_after: Option<usize>,
    /// The connection is dropped before the first event of this type, for example `message_stop`.
    pub cut_before: Option<String>,
    /// The stream ends with an `error` event after HTTP 200.
    pub error_event: Option<ErrorEvent>,
    /// Token counts; what is not given is estimated.
    pub usage: UsageNumbers,
}

/// One tool call of an answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// Name of the tool.
    pub name: String,
    /// Its input; strings may hold placeholders.
    #[serde(default)]
    pub input: Map<String, Value>,
    /// The id; by default made from conversation, turn and index.
    #[serde(default)]
    pub id: Option<String>,
}

/// An HTTP error in place of an answer.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorAnswer {
    /// HTTP status, 400 to 599.
    pub status: u16,
    /// Error type; by default the one the API pairs with the status.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// The message.
    #[serde(default)]
    pub message: Option<String>,
    /// Sent as the header `retry-after`.
    #[serde(default)]
    pub retry_after_seconds: Option<u64>,
    /// Sent as `error.details.error_code`.
    #[serde(default)]
    pub error_code: Option<String>,
}

/// An `error` event within a stream. A request without streaming gets it as an HTTP error.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorEvent {
    /// How many events come before it.
    #[serde(default = "ErrorEvent::default_after")]
    pub after: usize,
    /// Error type.
    #[serde(default = "ErrorEvent::default_kind", rename = "type")]
    pub kind: String,
    /// The message.
    #[serde(default)]
    pub message: Option<String>,
}

/// Token counts of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UsageNumbers {
    /// Input tokens that were neither read from nor written to the cache.
    pub input_tokens: Option<u64>,
    /// Output tokens.
    pub output_tokens: Option<u64>,
    /// Input tokens written to the cache.
    pub cache_creation_input_tokens: Option<u64>,
    /// Input tokens read from the cache.
    pub cache_read_input_tokens: Option<u64>,
}

impl Rule {
    /// What records call this rule: its name, else its number.
    pub(crate) fn label(&self, index: usize) -> String {
        self.name.clone().unwrap_or_else(|| format!("rule {}", index + 1))
    }
}

impl Answer {
    /// The stop reason, given or implied.
    pub(crate) fn stop_reason(&self) -> &str {
        match &self.stop_reason {
            Some(reason) => reason,
            None if self.calls.is_empty() => "end_turn",
            None => "tool_use",
        }
    }

    /// Whether the answer ends because it ran out of room.
    pub(crate) fn is_truncated(&self) -> bool {
        matches!(self.stop_reason(), "max_tokens" | "model_context_window_exceeded")
    }

    pub(crate) fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_ms)
    }

    pub(crate) fn delay_between_events(&self) -> Duration {
        Duration::from_millis(self.delay_between_events_ms)
    }
}

impl ErrorAnswer {
    /// The error type, given or implied by the status.
    pub(crate) fn kind(&self) -> &str {
        match &self.kind {
            Some(kind) => kind,
            None => match self.status {
                401 => "authentication_error",
                402 => "billing_error",
                403 => "permission_error",
                404 => "not_found_error",
                409 => "conflict_error",
                413 => "request_too_large",
                429 => "rate_limit_error",
                504 => "timeout_error",
                529 => "overloaded_error",
                status if status < 500 => "invalid_request_error",
                _ => "api_error",
            },
        }
    }
}

impl ErrorEvent {
    fn default_after() -> usize {
        1
    }

    fn default_kind() -> String {
        "overloaded_error".to_owned()
    }

    /// The same error as an HTTP answer, for requests that do not stream.
    pub(crate) fn as_http(&self) -> ErrorAnswer {
        let status = match self.kind.as_str() {
            "invalid_request_error" => 400,
            "rate_limit_error" => 429,
            "timeout_error" => 504,
            "overloaded_error" => 529,
            _ => 500,
        };
        ErrorAnswer {
            status,
            kind: Some(self.kind.clone()),
            message: self.message.clone(),
            ..ErrorAnswer::default()
        }
    }
}
