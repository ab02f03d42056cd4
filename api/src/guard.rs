//! What every request goes through: an id, a log line, a bound on its time, and the question who asks.

use crate::limits::HEAD_BYTES_MAX;
use crate::options::Access;
use crate::problem::Problem;
use crate::server::App;
use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderName, HeaderValue, ORIGIN, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use engine::payload::digest;
use futures_util::FutureExt;
use secrecy::ExposeSecret;
use std::panic::AssertUnwindSafe;
use tracing::{Instrument, debug, error, info_span};
use uuid::Uuid;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Longer ones are not ids.
const REQUEST_ID_BYTES_MAX: usize = 128;
/// Only pages of this server are styled, and nothing runs in them.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'",
);

/// Outermost: whatever happens further in, the answer has an id, safe headers and a body that says what happened.
pub(crate) async fn surround(State(app): State<App>, request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let span = info_span!("request", request.id = %id, method = %request.method(), path = %request.uri().path());
    let mut response = async {
        let started = tokio::time::Instant::now();
        let response = guarded(&app, request, next).await;
        let status = response.status().as_u16();
        let ms = started.elapsed().as_secs_f64() * 1000.0;
        debug!(status, ms, "answered {status}");
        response
    }
    .instrument(span)
    .await;
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn guarded(app: &App, request: Request, next: Next) -> Response {
    if let Err(problem) = admit(app, &request) {
        return problem.into_response();
    }
    let answering = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(app.options.limits.request_timeout, answering).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            error!("a request's handler broke");
            Problem::internal("internal_error").into_response()
        }
        Err(_) => Problem::unavailable("timed_out", "the answer took too long").into_response(),
    }
}

/// The caller's id where it is one, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let is_id = |id: &&str| {
        (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
    };
    given
        .filter(is_id)
        .map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

fn admit(app: &App, request: &Request) -> Result<(), Problem> {
    let headers = request.headers().iter();
    let bytes: usize = headers.map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > HEAD_BYTES_MAX {
        return Err(Problem::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "headers_too_large",
            format!("the headers have {bytes} bytes, the limit is {HEAD_BYTES_MAX}"),
        ));
    }
    refuse_other_sites(app, request.headers())?;
    let path = request.uri().path();
    if path == "/v1" || path.starts_with("/v1/") {
        authorize(app, request.headers())?;
    }
    Ok(())
}

/// A page of another site may make a browser send requests here. None of them is let in, whether or not a token is
/// asked for: where anybody is let in, this is what stands between a web page and the agents of whoever looks at it.
fn refuse_other_sites(app: &App, headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(&HOST);
    // A browser that says where the page came from is believed; an older one tells only the page's origin, which a proxy
    // may know by another name than this server.
    let is_other_site = match (text(&FETCH_SITE), text(&ORIGIN)) {
        (Some(site), _) => site != "same-origin" && site != "none",
        (None, Some(origin)) => origin.split_once("://").map(|(_, authority)| authority) != host,
        (None, None) => false,
    };
    if is_other_site {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "cross_site_request",
            "a page of another site may not use this server",
        ));
    }
    if matches!(app.options.access, Access::AllowAnyone)
        && app.options.listen.ip().is_loopback()
        && !host.is_none_or(names_this_machine)
    {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "wrong_host",
            "a server that lets anybody in from this machine is called by the name of this machine",
        )
        .hint("use http://127.0.0.1 or http://localhost with its port"));
    }
    Ok(())
}

fn names_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    name.eq_ignore_ascii_case("localhost") || ["127.0.0.1", "[::1]"].contains(&name)
}

fn authorize(app: &App, headers: &HeaderMap) -> Result<(), Problem> {
    let Access::Token(token) = &app.options.access else {
        return Ok(());
    };
    let shown = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.as_bytes().split_at_checked("Bearer ".len()))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "))
        .and_then(|(_, token)| std::str::from_utf8(token).ok())
        .ok_or_else(Problem::unauthorized)?;
    if is_same(shown.trim(), token.expose_secret()) {
        Ok(())
    } else {
        Err(Problem::unauthorized())
    }
}

/// Compares digests, each byte whatever the others say: the time taken tells nothing about the token.
fn is_same(shown: &str, known: &str) -> bool {
    let pairs = digest(shown).into_iter().zip(digest(known));
    pairs.fold(0, |differences, (one, other)| differences | (one ^ other)) == 0
}

#[cfg(test)]
mod tests;
