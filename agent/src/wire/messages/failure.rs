//! What an error answer of a model endpoint means: whether trying again helps, and whether the call may be billed.

use super::raw::{RawObject, api_error};
use super::{ApiError, WireError};
use crate::error::{ErrorClass, StepError};
use chrono::{DateTime, Utc};
use std::time::Duration;

#[cfg(test)]
mod tests;

/// Code of an error that says the account's spending is capped: nothing helps until a person raises the cap or its
/// period ends.
pub const SPEND_CAP: &str = "spend_cap";

/// Longest pause that an endpoint can ask for: a month, the longest period of a limit.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(31 * 24 * 60 * 60);

/// Longest sentence of a provider that is kept.
const MESSAGE_CHARS_MAX: usize = 500;

/// What the headers of an answer say, as they came.
#[derive(Debug, Clone, Copy, Default)]
pub struct ResponseFacts<'a> {
    /// `retry-after`: seconds or an HTTP date.
    pub retry_after: Option<&'a str>,
    /// `retry-after-ms`.
    pub retry_after_ms: Option<&'a str>,
    /// `x-should-retry`.
    pub should_retry: Option<&'a str>,
    /// The instant that a `retry-after` date is counted from: best the answer's own `date`, which is of the same clock.
    pub now: Option<DateTime<Utc>>,
}

/// An error answer, judged.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelError {
    /// As recorded.
    pub error: StepError,
    /// How long the endpoint asked to be left alone.
    pub retry_after: Option<Duration>,
    /// Whether tokens may have been spent all the same.
    pub may_be_billed: bool,
    /// Whether a person must act before anything helps.
    pub needs_person: bool,
}

/// Judges an answer whose status is not a success.
pub fn classify(status: u16, body: &str, headers: &ResponseFacts<'_>) -> ModelError {
    let api = RawObject::parse(body).and_then(|body| api_error(&body));
    let said = match &api {
        Some(api) if !api.message.is_empty() => format!(" ({}): {}", api.kind, bounded(&api.message)),
        Some(api) => format!(" ({})", api.kind),
        None => " without an explanation".to_owned(),
    };
    let error = judge(
        status,
        api.as_ref(),
        format!("the model endpoint answered {status}{said}"),
    );
    let needs_person = needs_person(&error.code);
    let mut judged = ModelError {
        error,
        retry_after: retry_after(headers),
        may_be_billed: status_may_be_billed(status),
        needs_person,
    };
    if !needs_person {
        obey_should_retry(&mut judged.error, headers.should_retry);
    }
    judged
}

/// Judges a reply that began well (status 200) and broke. `started` says whether its message had begun.
pub fn broken_reply(error: &WireError, started: bool) -> ModelError {
    let (error, may_be_billed) = match error {
        WireError::Api(api) => judge_event(api, started),
        WireError::Malformed(_) => (
            StepError::new(
                ErrorClass::Transient,
                "model_reply_unreadable",
                format!("the model sent an {error}"),
            )
            .suggest("check that the base URL is that of a Messages API"),
            true,
        ),
        WireError::Incomplete => (
            StepError::new(
                ErrorClass::Transient,
                "stream_cut",
                "the model's reply was cut before it was complete",
            ),
            true,
        ),
        WireError::TooLarge => (
            StepError::new(ErrorClass::Permanent, "model_reply_too_large", error.to_string()).fatal(),
            true,
        ),
    };
    ModelError {
        needs_person: needs_person(&error.code),
        error,
        retry_after: None,
        may_be_billed,
    }
}

fn judge_event(api: &ApiError, started: bool) -> (StepError, bool) {
    let message = format!(
        "the model endpoint broke off with {}: {}",
        api.kind,
        bounded(&api.message)
    );
    let status = match api.kind.as_str() {
        "invalid_request_error" => 400,
        "authentication_error" => 401,
        "billing_error" => 402,
        "permission_error" => 403,
        "not_found_error" => 404,
        "conflict_error" => 409,
        "request_too_large" => 413,
        "rate_limit_error" => 429,
        "api_error" => 500,
        "timeout_error" => 504,
        "overloaded_error" => 529,
        _ => {
            return (
                StepError::new(ErrorClass::Transient, "model_stream_error", message),
                true,
            );
        }
    };
    (
        judge(status, Some(api), message),
        started || status_may_be_billed(status),
    )
}

/// The class and code of a status; an `error_code` that speaks of money or a hold counts for more.
fn judge(status: u16, api: Option<&ApiError>, message: String) -> StepError {
    match api.and_then(|api| api.error_code.as_deref()) {
        Some(
            "enforced_spend_limit_reached" | "contract_spend_limit_reached" | "linked_organization_spend_limit_reached",
        ) => {
            return StepError::new(ErrorClass::RateLimited, SPEND_CAP, message)
                .suggest("raise the spend limit at the provider, or wait until its period ends; then resume the run");
        }
        Some("organization_on_hold") => {
            return StepError::new(ErrorClass::Permanent, ORGANIZATION_ON_HOLD, message)
                .suggest("the provider holds this account: ask its support, then resume the run")
                .fatal();
        }
        Some(_) | None => {}
    }
    let permanent = |code: &str, suggestion: &str| {
        StepError::new(ErrorClass::Permanent, code, message.clone())
            .suggest(suggestion)
            .fatal()
    };
    match status {
        300..=399 => permanent(
            "http_redirect",
            "give the address itself as the base URL; redirects are not followed",
        ),
        400 | 422 => permanent("model_invalid_request", "correct the agent's definition or its history"),
        401 => permanent("model_authentication", "check the model's API key, then resume the run"),
        402 => permanent("model_billing", "check billing at the provider, then resume the run"),
        403 => permanent(
            "model_permission",
            "check what this API key may use at the provider, then resume the run",
        ),
        404 => permanent(
            "model_not_found",
            "check the model's name and the base URL; the model may be retired",
        ),
        413 => permanent(
            "request_too_large",
            "the conversation is too long for one request: shorten the input or history",
        ),
        408 | 409 | 425 => StepError::new(ErrorClass::Transient, format!("http_{status}"), message),
        429 => StepError::new(ErrorClass::RateLimited, "model_rate_limited", message),
        529 => StepError::new(ErrorClass::Overloaded, "model_overloaded", message),
        500..=599 => StepError::new(ErrorClass::Transient, format!("http_{status}"), message),
        _ if (400..500).contains(&status) => {
            permanent(&format!("http_{status}"), "the provider will not answer this request")
        }
        _ => StepError::new(ErrorClass::Unknown, format!("http_{status}"), message).fatal(),
    }
}

/// Code of an error that says the organization is on hold: only a person can clear it.
pub const ORGANIZATION_ON_HOLD: &str = "model_organization_on_hold";

fn needs_person(code: &str) -> bool {
    code == SPEND_CAP || code == ORGANIZATION_ON_HOLD
}

/// A server error may come after tokens were spent, unless it says that no work was begun: not implemented (501),
/// unavailable (503), overloaded (529), or a proxy that never reached the service (521, 522, 523, 525, 526).
const fn status_may_be_billed(status: u16) -> bool {
    !matches!(status, 501 | 503 | 521 | 522 | 523 | 525 | 526 | 529) && status >= 500
}

fn obey_should_retry(error: &mut StepError, should_retry: Option<&str>) {
    match should_retry.map(str::trim) {
        Some("true") if !error.class.is_retryable() => {
            error.class = ErrorClass::Transient;
            error.fatal = false;
        }
        Some("false") if error.class.is_retryable() => {
            error.class = ErrorClass::Permanent;
            error.fatal = true;
        }
        Some(_) | None => {}
    }
}

/// The pause that the headers ask for, if it is one.
fn retry_after(headers: &ResponseFacts<'_>) -> Option<Duration> {
    let number = |text: &str| text.trim().parse::<f64>().ok();
    let seconds = match (headers.retry_after_ms.and_then(number), headers.retry_after) {
        (Some(milliseconds), _) => milliseconds / 1000.0,
        (None, Some(text)) => number(text).or_else(|| seconds_until(text, headers.now?))?,
        (None, None) => return None,
    };
    if seconds.is_nan() || seconds <= 0.0 {
        return None;
    }
    Some(Duration::try_from_secs_f64(seconds).map_or(RETRY_AFTER_MAX, |pause| pause.min(RETRY_AFTER_MAX)))
}

fn seconds_until(date: &str, now: DateTime<Utc>) -> Option<f64> {
    let until = DateTime::parse_from_rfc2822(date.trim()).ok()?;
    let pause = until.with_timezone(&Utc).signed_duration_since(now).to_std().ok()?;
    Some(pause.as_secs_f64())
}

/// One line of bounded length.
fn bounded(message: &str) -> String {
    let line: String = message
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MESSAGE_CHARS_MAX + 1)
        .collect();
    match line.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
