//! The contract of the Messages API, judged as strictly as the real one judges it.
//!
//! [`judge`] is pure: headers and a body go in, and what the API would have refused comes out. Content blocks of a kind
//! nobody knows are let through in assistant messages, because they are what an earlier answer said. Where the API is
//! lenient and an engine should not be (results spread over several messages), this judge is strict.

use serde_json::{Map, Value};

mod messages;
mod settings;
#[cfg(test)]
mod tests;
mod tools;

/// The API version that refuses sampling parameters.
pub const VERSION_2026: &str = "2026-10-21";
/// The API version before it.
pub const VERSION_2023: &str = "2023-06-01";

/// What is judged.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The header `anthropic-version`.
    pub version: Option<&'a str>,
    /// Whether `x-api-key` or `authorization: Bearer` came with something in it.
    pub has_key: bool,
    /// Whether an `anthropic-beta` header came, which opens the beta fields.
    pub has_beta: bool,
    /// Which endpoint was asked.
    pub endpoint: Endpoint,
    /// The body.
    pub body: &'a Value,
}

/// The endpoints that take messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `POST /v1/messages`.
    Messages,
    /// `POST /v1/messages/count_tokens`.
    CountTokens,
}

/// Why the API would not take a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status} {kind}: {message}")]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Error type of the body.
    pub kind: &'static str,
    /// What is wrong, beginning with where.
    pub message: String,
}

impl Refusal {
    /// A 400 `invalid_request_error`.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self {
            status: 400,
            kind: "invalid_request_error",
            message: message.into(),
        }
    }
}

pub(crate) type Judgement = Result<(), Refusal>;

/// Judges one request: headers, settings, tools, then the messages.
pub fn judge(request: &Request<'_>) -> Result<(), Refusal> {
    if !request.has_key {
        return Err(Refusal {
            status: 401,
            kind: "authentication_error",
            message: "x-api-key header is required".into(),
        });
    }
    let version = request
        .version
        .ok_or_else(|| Refusal::invalid("anthropic-version: header is required"))?;
    if version != VERSION_2023 && version != VERSION_2026 {
        return Err(Refusal::invalid(format!(
            "anthropic-version: {version:?} is not a valid version"
        )));
    }
    let body = request
        .body
        .as_object()
        .ok_or_else(|| Refusal::invalid("body: must be a JSON object"))?;
    settings::judge(request, body, version)?;
    tools::judge(body)?;
    messages::judge(body, version)
}

/// Whether this can name a tool: `^[a-zA-Z0-9_-]{1,64}$`.
pub(crate) fn is_tool_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && is_word(name)
}

/// Letters, digits, `_` and `-`.
fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// Refuses fields that are not on the list.
fn only_fields(place: &str, object: &Map<String, Value>, known: &[&str]) -> Judgement {
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(Refusal::invalid(format!(
            "{place}{key}: Extra inputs are not permitted"
        ))),
        None => Ok(()),
    }
}

/// A text that must be there and hold something.
fn text<'a>(place: &str, object: &'a Map<String, Value>, field: &str) -> Result<&'a str, Refusal> {
    match object.get(field) {
        None => Err(Refusal::invalid(format!("{place}{field}: Field required"))),
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        Some(_) => Err(Refusal::invalid(format!("{place}{field}: must be a non-empty string"))),
    }
}
