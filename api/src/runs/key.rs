//! The key that makes asking again safe, in the header or in the body.

use crate::limits;
use crate::problem::Problem;
use axum::http::HeaderMap;
use axum::http::header::HeaderName;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The key of the header or of the body's field. Which of two the caller will send again nobody can know.
pub(crate) fn one_key(headers: &HeaderMap, (field, body): (&str, Option<&str>)) -> Result<Option<String>, Problem> {
    match (header_key(headers, field)?, body) {
        (Some(header), Some(body)) if header != body => Err(conflict(&format!(
            "the header Idempotency-Key and {field} in the body differ"
        ))),
        (header, body) => Ok(header.or_else(|| body.map(str::to_owned))),
    }
}

fn header_key(headers: &HeaderMap, field: &str) -> Result<Option<String>, Problem> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else {
        return Ok(None);
    };
    if keys.next().is_some() {
        return Err(conflict("the request has several headers Idempotency-Key"));
    }
    let is_key = |key: &&str| {
        (1..=limits::NAME_CHARS_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let key = key.to_str().ok().filter(is_key).ok_or_else(|| {
        Problem::bad_request("bad_header", "Idempotency-Key has 1 to 255 visible ASCII characters").hint(format!(
            "a UUID is a good key; other keys fit into the body, as {field}"
        ))
    })?;
    Ok(Some(key.to_owned()))
}

fn conflict(detail: &str) -> Problem {
    Problem::bad_request("key_conflict", format!("{detail}; nothing was done"))
        .hint("send one key, in the header or in the body")
}
