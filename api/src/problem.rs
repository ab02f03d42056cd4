//! Refusals and failures as `application/problem+json` (RFC 9457): a status, a stable code, a sentence, a hint.
//!
//! Each code has a page in `docs/errors/`, which this server shows too: see [`pages`].

pub(crate) mod pages;

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use engine::{BatchRefused, EngineError};
use serde::Serialize;
use serde_json::{Map, Value};
use std::borrow::Cow;
use tracing::error;

pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// What to do about `no_such_agent`, wherever it is told.
pub(crate) const APPLY_FIRST: &str = "apply it first: POST /v1/agents";

/// An answer that is not what was asked for.
#[derive(Debug)]
pub(crate) struct Problem(Box<Told>);

#[derive(Debug)]
struct Told {
    status: StatusCode,
    code: Cow<'static, str>,
    detail: String,
    hint: Option<String>,
    more: Map<String, Value>,
    header: Option<(HeaderName, HeaderValue)>,
}

/// As it is written; its schema is in `openapi.rs`.
#[derive(Serialize)]
struct Written<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    #[serde(flatten)]
    more: &'a Map<String, Value>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self(Box::new(Told {
            status,
            code: code.into(),
            detail: detail.into(),
            hint: None,
            more: Map::new(),
            header: None,
        }))
    }

    pub(crate) fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    pub(crate) fn not_found(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    pub(crate) fn too_large(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, code, detail)
    }

    pub(crate) fn unprocessable(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    /// For now: the same request may be answered in a moment.
    pub(crate) fn unavailable(code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).header(RETRY_AFTER, HeaderValue::from_static("1"))
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "the request shows no token that this server knows",
        )
        .hint("send the token as: Authorization: Bearer TOKEN")
        .header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"longhaul\""))
    }

    /// Something broke here; the caller learns no more than that.
    pub(crate) fn internal(code: &'static str) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            code,
            "something broke in this server; its log says what",
        )
        .hint("quote the x-request-id of this answer")
    }

    /// The same with what to do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// The same with more for programs.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.more.insert(name.to_owned(), value.into());
        self
    }

    /// The same of one run of a batch, from 0.
    pub(crate) fn of_item(mut self, item: usize) -> Self {
        self.0.detail = format!("runs[{item}]: {}; nothing was started", self.0.detail);
        self.with("item", item)
    }

    #[cfg(test)]
    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }

    fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.header = Some((name, value));
        self
    }
}

impl From<EngineError> for Problem {
    fn from(failed: EngineError) -> Self {
        match failed {
            EngineError::Refused {
                status,
                code,
                message,
                hint,
            } => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::UNPROCESSABLE_ENTITY);
                let mut problem = Self::new(status, code, message);
                problem.0.hint = hint;
                // The database's own hint names a command, which callers of HTTP may not have.
                if problem.0.code == "no_such_agent" {
                    problem.hint(APPLY_FIRST)
                } else {
                    problem
                }
            }
            EngineError::Unavailable(_) => {
                tracing::warn!(error = %chain(&failed), "the database does not answer");
                Self::unavailable("database_unavailable", "the database does not answer now")
                    .hint("try again; an Idempotency-Key makes that safe")
            }
            EngineError::Schema(what) => Self::unavailable("unknown_schema", what),
            EngineError::InvalidUrl => Self::internal("internal_error"),
            EngineError::Database(_) | EngineError::Unreadable(_) => {
                error!(error = %chain(&failed), "a request failed");
                let code = if matches!(failed, EngineError::Database(_)) {
                    "database_error"
                } else {
                    "unreadable_row"
                };
                Self::internal(code)
            }
        }
    }
}

impl From<BatchRefused> for Problem {
    fn from(refused: BatchRefused) -> Self {
        let problem = Self::from(refused.error);
        match refused.item {
            Some(item) => problem.of_item(item),
            None => problem,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let told = *self.0;
        let written = Written {
            r#type: format!("/docs/errors/{}", told.code),
            title: pages::title(&told.code).unwrap_or("Refused"),
            status: told.status.as_u16(),
            code: &told.code,
            detail: &told.detail,
            hint: told.hint.as_deref(),
            more: &told.more,
        };
        let mut body = serde_json::to_vec(&written).unwrap_or_default();
        body.push(b'\n');
        let mut response = (told.status, body).into_response();
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some((name, value)) = told.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// An error with its sources, for a log line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
