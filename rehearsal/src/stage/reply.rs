//! Answers as bytes: headers, bodies, streams, dropped connections.

use std::{collections::VecDeque, io, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use futures_util::stream;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    clock,
    contract::Refusal,
    perform::Message,
    script::{Answer, ErrorAnswer},
    stream::{Ending, events},
};

/// The limits this server claims to have: a kind, and how much per minute.
const RATE_LIMITS: [(&str, u64); 4] = [
    ("requests", 4_000),
    ("tokens", 2_400_000),
    ("input-tokens", 2_000_000),
    ("output-tokens", 400_000),
];

/// A refusal of the judge.
pub(super) fn refusal(refusal: &Refusal, request_id: &str) -> Response {
    let error = ErrorAnswer {
        status: refusal.status,
        kind: Some(refusal.kind.to_owned()),
        message: Some(refusal.message.clone()),
        ..ErrorAnswer::default()
    };
    self::error(&error, request_id)
}

/// An error of the script.
pub(super) fn error(error: &ErrorAnswer, request_id: &str) -> Response {
    let message = error
        .message
        .clone()
        .unwrap_or_else(|| format!("the rehearsal's script says {}", error.status));
    let mut inner = json!({"type": error.kind(), "message": message});
    if let Some(code) = &error.error_code {
        inner["details"] = json!({"error_code": code});
    }
    let body = json!({"type": "error", "error": inner, "request_id": request_id}).to_string();
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, request_id, body);
    if let Some(seconds) = error.retry_after_seconds {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// A message in one piece, or half of it and a dropped connection.
pub(super) fn message(message: &Message, answer: &Answer, request_id: &str) -> Response {
    let body = match message.to_json() {
        Ok(body) => body,
        Err(error) => {
            let message = format!("rehearsal: could not write the message: {error}");
            return refusal(
                &Refusal {
                    status: 500,
                    kind: "api_error",
                    message,
                },
                request_id,
            );
        }
    };
    if answer.cut_after.is_none() && answer.cut_before.is_none() {
        return json(StatusCode::OK, request_id, body);
    }
    let half = Bytes::copy_from_slice(&body.as_bytes()[..body.len() / 2]);
    let body = Playing {
        frames: VecDeque::from([half]),
        ending: Ending::Cut,
        ..Playing::default()
    };
    respond((StatusCode::OK, "application/json"), request_id, body.into_body())
}

/// A message as a stream.
pub(super) fn stream(
    message: &Message,
    answer: &Answer,
    (request_id, stopping): (&str, CancellationToken),
) -> Response {
    let (events, ending) = events(message, answer);
    let playing = Playing {
        frames: events.iter().map(|event| Bytes::from(event.frame())).collect(),
        ending,
        between: answer.delay_between_events(),
        stopping,
    };
    let mut response = respond(
        (StatusCode::OK, "text/event-stream; charset=utf-8"),
        request_id,
        playing.into_body(),
    );
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// A body of JSON.
pub(super) fn json(status: StatusCode, request_id: &str, body: String) -> Response {
    respond((status, "application/json"), request_id, Body::from(body))
}

/// Waits, unless the rehearsal stops.
pub(super) async fn wait(delay: Duration, stopping: &CancellationToken) {
    if delay.is_zero() {
        return;
    }
    tokio::select! {
        () = tokio::time::sleep(delay) => {}
        () = stopping.cancelled() => {}
    }
}

/// Frames on their way out.
struct Playing {
    frames: VecDeque<Bytes>,
    ending: Ending,
    between: Duration,
    stopping: CancellationToken,
}

impl Default for Playing {
    fn default() -> Self {
        Self {
            frames: VecDeque::new(),
            ending: Ending::Whole,
            between: Duration::ZERO,
            stopping: CancellationToken::new(),
        }
    }
}

impl Playing {
    fn into_body(self) -> Body {
        let is_first = true;
        Body::from_stream(stream::unfold(Some((self, is_first)), |state| async move {
            let (mut playing, is_first) = state?;
            // Giving way lets the server flush what it has: an event is on the wire before the next one is made, and
            // before the connection is dropped.
            tokio::task::yield_now().await;
            if !is_first {
                wait(playing.between, &playing.stopping).await;
            }
            if playing.stopping.is_cancelled() {
                return Some((Err(cut()), None));
            }
            match (playing.frames.pop_front(), playing.ending) {
                (Some(frame), _) => Some((Ok(frame), Some((playing, false)))),
                (None, Ending::Cut) => Some((Err(cut()), None)),
                (None, Ending::Whole) => None,
            }
        }))
    }
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the script cuts the connection here")
}

fn respond((status, content_type): (StatusCode, &'static str), request_id: &str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    let remaining = |limit: u64| {
        if status == StatusCode::TOO_MANY_REQUESTS {
            0
        } else {
            limit - 1
        }
    };
    let reset = clock::rfc3339_in(1);
    let mut set = |name: &str, value: &str| {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    };
    set("request-id", request_id);
    set("anthropic-organization-id", "00000000-0000-4000-8000-000000000000");
    for (kind, limit) in RATE_LIMITS {
        set(&format!("anthropic-ratelimit-{kind}-limit"), &limit.to_string());
        set(
            &format!("anthropic-ratelimit-{kind}-remaining"),
            &remaining(limit).to_string(),
        );
        set(&format!("anthropic-ratelimit-{kind}-reset"), &reset);
    }
    response
}
