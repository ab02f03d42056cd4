//! What a reply says of the call's fate.
//!
//! The status decides, and the body only explains it. An outcome is called not applied only where the status says so for certain
//! (429 and the other 4xx, without 408 and 409); every other failure is left to the effect's verdict.

use crate::tool::limit::Limit;
use crate::tool::output::{self, Seen, Total};
use crate::tool::secrets::Secrets;
use agent::{AttemptOutcome, ErrorClass, StepError, ToolOutcome};
use chrono::{DateTime, Utc};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderMap, LOCATION, RETRY_AFTER};
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use std::time::Duration;

/// How much of a failure's body is quoted.
const EXCERPT_BYTES_MAX: usize = 2 * 1024;

/// How much of a header is quoted.
const HEADER_BYTES_MAX: usize = 512;

/// Longest pause that is believed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Names under which targets tell their own id of a request.
const REQUEST_ID_HEADERS: [&str; 2] = ["x-request-id", "request-id"];

/// A reply without its body.
#[derive(Debug)]
pub(super) struct Head {
    status: StatusCode,
    location: Option<String>,
    retry_after: Option<Duration>,
    request_id: Option<String>,
    content_type: Option<String>,
    content_encoding: Option<String>,
    content_length: Option<u64>,
}

/// What was read of a body.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    pub(super) end: End,
}

/// How reading a body ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With the body's own end.
    Complete,
    /// It was longer than anybody wants to read.
    Capped,
    /// The connection broke; why.
    Broken(String),
    /// The call's time ran out.
    TimedOut,
}

/// What a status says of the call's fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Done,
    NotApplied(ErrorClass),
    Ambiguous(ErrorClass),
}

impl Head {
    /// `now`: what a date is measured against where the target does not tell its own.
    pub(super) fn of(response: &reqwest::Response, now: DateTime<Utc>) -> Self {
        let headers = response.headers();
        Self {
            status: response.status(),
            location: header(headers, LOCATION.as_str()),
            retry_after: retry_after(headers, now),
            request_id: REQUEST_ID_HEADERS.into_iter().find_map(|name| header(headers, name)),
            content_type: header(headers, CONTENT_TYPE.as_str()),
            content_encoding: header(headers, CONTENT_ENCODING.as_str()),
            content_length: response.content_length(),
        }
    }
}

impl Head {
    /// What the target calls its body, and how that is packed: nothing is unpacked, so nothing can burst.
    fn called(&self, secrets: &Secrets) -> Option<String> {
        let packed = self
            .content_encoding
            .iter()
            .map(|encoding| format!("packed as {}", quoted(encoding, secrets)));
        let parts: Vec<String> = self
            .content_type
            .iter()
            .map(|kind| quoted(kind, secrets))
            .chain(packed)
            .collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    fn is_called_json(&self) -> bool {
        let kind = self.content_type.as_deref().unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        self.content_encoding.is_none() && (kind == "application/json" || kind.ends_with("+json"))
    }
}

/// A header's value, for people.
fn quoted(value: &str, secrets: &Secrets) -> String {
    output::head(&secrets.hide(value.to_owned()), HEADER_BYTES_MAX).to_owned()
}

/// What the attempt's outcome is.
pub(super) fn outcome(head: Head, body: Body, limit: &Limit, secrets: &Secrets) -> AttemptOutcome<ToolOutcome> {
    let retry_after = head.retry_after;
    match fate(head.status.as_u16()) {
        Fate::Done => match body.end {
            End::Complete | End::Capped => AttemptOutcome::Done(done(&head, &body, secrets)),
            End::Broken(why) => AttemptOutcome::Ambiguous {
                error: reply_cut(head.status, &body.bytes, &secrets.hide(why)),
                retry_after,
            },
            End::TimedOut => AttemptOutcome::Ambiguous {
                error: limit.expired(),
                retry_after,
            },
        },
        Fate::NotApplied(class) => AttemptOutcome::NotApplied {
            error: refusal(class, &head, &body, secrets),
            retry_after,
        },
        Fate::Ambiguous(class) => AttemptOutcome::Ambiguous {
            error: refusal(class, &head, &body, secrets),
            retry_after,
        },
    }
}

fn done(head: &Head, body: &Body, secrets: &Secrets) -> ToolOutcome {
    let read = body.bytes.len() as u64;
    let is_whole = body.end == End::Complete;
    let called = head.called(secrets);
    let seen = Seen {
        bytes: &body.bytes,
        total: match head.content_length {
            _ if is_whole => Total::Bytes(read),
            Some(told) => Total::Bytes(told),
            None => Total::MoreThan(read),
        },
        called: called.as_deref(),
    };
    let mut outcome = output::admit(seen, secrets);
    if is_whole && head.is_called_json() && !is_json(&body.bytes) {
        outcome
            .notes
            .push("the target calls it JSON, which it is not: shown as it came".to_owned());
    }
    outcome
}

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

/// Adds to the evidence what a reply told.
pub(super) fn add_evidence(evidence: &mut Value, head: &Head, body: &Body, secrets: &Secrets) {
    evidence["status"] = json!(head.status.as_u16());
    evidence["bytes"] = json!(body.bytes.len());
    evidence["reply"] = json!(match body.end {
        End::Complete => "complete",
        End::Capped => "capped",
        End::Broken(_) => "broken",
        End::TimedOut => "timed_out",
    });
    if let Some(id) = &head.request_id {
        evidence["request_id"] = json!(quoted(id, secrets));
    }
    if let Some(called) = head.called(secrets) {
        evidence["content_type"] = json!(called);
    }
}

const fn fate(status: u16) -> Fate {
    match status {
        200..=299 => Fate::Done,
        400 | 404 | 422 => Fate::NotApplied(ErrorClass::UserError),
        408 => Fate::Ambiguous(ErrorClass::Timeout),
        409 => Fate::Ambiguous(ErrorClass::Permanent),
        429 => Fate::NotApplied(ErrorClass::RateLimited),
        400..=499 => Fate::NotApplied(ErrorClass::Permanent),
        501 | 505 => Fate::Ambiguous(ErrorClass::Permanent),
        529 => Fate::Ambiguous(ErrorClass::Overloaded),
        500..=599 => Fate::Ambiguous(ErrorClass::Transient),
        // A redirect after a POST often means that it was done; what lies outside of HTTP means nothing certain.
        _ => Fate::Ambiguous(ErrorClass::Permanent),
    }
}

fn refusal(class: ErrorClass, head: &Head, body: &Body, secrets: &Secrets) -> StepError {
    let status = head.status;
    let text = secrets.hide(output::clean(&body.bytes));
    let excerpt = output::head(text.trim(), EXCERPT_BYTES_MAX);
    let message = if status.is_redirection() {
        let location = head.location.clone().map(|location| secrets.hide(location));
        let location = location
            .as_deref()
            .map_or("nowhere", |text| output::head(text, HEADER_BYTES_MAX));
        format!("the target answered {status} and points to {location}; redirects are not followed")
    } else if excerpt.is_empty() {
        format!("the target answered {status}")
    } else {
        format!("the target answered {status}: {excerpt}")
    };
    let error = StepError::new(class, format!("http_{}", status.as_u16()), message);
    match status.as_u16() {
        300..=399 => error.suggest("let the tool's url name the final address"),
        400 | 422 => error.suggest("correct the input as the answer says"),
        401 | 403 => error.suggest("look at the credential in the tool's headers"),
        404 => error.suggest("look whether the input names something that exists"),
        _ => error,
    }
}

fn reply_cut(status: StatusCode, read: &[u8], why: &str) -> StepError {
    let bytes = read.len();
    StepError::new(
        ErrorClass::Transient,
        "reply_cut",
        format!("the target answered {status}, but its reply broke off after {bytes} bytes: {why}"),
    )
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| output::clean(value.as_bytes()))
}

/// Seconds, or a date. A date is measured against the reply's own `Date`, so that nobody's clock matters but the
/// target's; only where it tells none, against `now`.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let pause = if is_number {
        // A number too large for its type is still a pause, the longest there is.
        text.parse().map_or(RETRY_AFTER_MAX, Duration::from_secs)
    } else {
        let until = DateTime::parse_from_rfc2822(text).ok()?;
        let told = headers.get(DATE).and_then(|date| date.to_str().ok());
        let from = told.and_then(|date| DateTime::parse_from_rfc2822(date).ok());
        let from = from.map_or(now, Into::into);
        until
            .with_timezone(&Utc)
            .signed_duration_since(from)
            .to_std()
            .unwrap_or_default()
    };
    Some(pause.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests;
