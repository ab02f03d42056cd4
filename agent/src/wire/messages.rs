//! The Messages API: bytes to our types and back.
//!
//! A request is text that is put together from recorded pieces ([`request_body`]); a reply is kept as the text it came
//! as, or as a stream assembles to ([`Accumulator`], [`complete_body`]). Content goes back to the provider byte for
//! byte, so nothing here re-serialises a block that it has not had to assemble. Enums of the provider are open:
//! what is unknown is kept and passed over. [`classify`] says what an error answer means.

mod accumulator;
mod block;
mod failure;
mod history;
mod raw;
mod reply;
mod request;

pub use accumulator::{Accumulator, Progress};
pub use failure::{
    ModelError, ORGANIZATION_ON_HOLD, RETRY_AFTER_MAX, ResponseFacts, SPEND_CAP, broken_reply, classify,
};
pub use history::{HistoryError, history_messages};
pub use reply::{complete_body, parse_reply, text_of, tool_calls};
pub use request::{RequestParts, ToolChoice, ToolSpec, request_body};

use serde_json::value::RawValue;

/// Largest content of one reply that is kept. A reply beyond it is refused, since half a turn is no turn.
pub const CONTENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The only key of a streamed tool input that was no JSON object; its value is the text as the model wrote it.
pub const INVALID_JSON: &str = "INVALID_JSON";

/// Who speaks in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The person or program that uses the model, tool results included.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// As sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One message of a request.
#[derive(Debug, Clone)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// The exact text to send: a JSON string or an array of blocks.
    pub content: Box<RawValue>,
}

/// An error that the provider describes, in an error answer or within a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {message}")]
pub struct ApiError {
    /// The provider's `type`, an open set.
    pub kind: String,
    /// The provider's sentence.
    pub message: String,
    /// The provider's `details.error_code`.
    pub error_code: Option<String>,
    /// The provider's id of the request.
    pub request_id: Option<String>,
}

/// Why bytes from a model endpoint are no complete message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The provider broke off with an error.
    #[error("the model endpoint reported an error")]
    Api(#[source] ApiError),
    /// Not what the wire format allows.
    #[error("unreadable reply: {0}")]
    Malformed(&'static str),
    /// The stream ended before `message_stop`.
    #[error("the stream ended before its message was complete")]
    Incomplete,
    /// More content than is kept.
    #[error("the reply holds more than {CONTENT_BYTES_MAX} bytes of content")]
    TooLarge,
}
