//! Reads request bodies within their bounds, and tells what is wrong with one.

use crate::limits;
use crate::problem::Problem;
use crate::server::App;
use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http_body_util::BodyExt;
use serde_json::value::RawValue;

/// How a body of this type is taken.
pub(crate) trait Accepts: Sized {
    /// Bytes at most.
    const BYTES_MAX: usize = limits::BODY_BYTES_MAX;
    /// What no body at all stands for, where it stands for something.
    const NOTHING: Option<&'static str> = None;

    /// Reads the body, which is JSON of one type or another.
    fn read(body: &RawValue) -> Result<Self, Problem>;
}

/// A JSON body.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: Accepts> FromRequest<App> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let is_json = is_json(&request);
        let text = read_text(request, app, T::BYTES_MAX, "malformed_json").await?;
        let text = match T::NOTHING {
            Some(nothing) if text.is_empty() => nothing,
            _ if !is_json => return Err(unsupported("application/json")),
            _ => &text,
        };
        let depth = engine::payload::depth(text);
        if depth > limits::BODY_DEPTH_MAX {
            let detail = format!(
                "the body nests {depth} levels deep, the limit is {}",
                limits::BODY_DEPTH_MAX
            );
            return Err(Problem::too_large("body_too_deep", detail));
        }
        let body = serde_json::from_str::<&RawValue>(text)
            .map_err(|error| Problem::bad_request("malformed_json", format!("the body is not JSON: {error}")))?;
        T::read(body).map(Self)
    }
}

fn is_json(request: &Request) -> bool {
    essence(request).is_some_and(|essence| {
        essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
    })
}

/// The media type without its parameters, in lower case.
pub(crate) fn essence(request: &Request) -> Option<String> {
    let value = request.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

pub(crate) fn unsupported(wanted: &str) -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        format!("this route takes {wanted}"),
    )
    .hint(format!(
        "send it with: Content-Type: {}",
        wanted.split(' ').next().unwrap_or_default()
    ))
}

/// The body as text. What is too large is refused as early as it is known.
pub(crate) async fn read_text(
    request: Request,
    app: &App,
    bytes_max: usize,
    malformed: &'static str,
) -> Result<String, Problem> {
    let declared = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let is_encoded = |encoding: &HeaderValue| !encoding.as_bytes().eq_ignore_ascii_case(b"identity");
    let is_encoded = request.headers().get_all(CONTENT_ENCODING).iter().any(is_encoded);
    let mut body = request.into_body();
    if is_encoded {
        drain(body).await;
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "this server takes bodies as they are, not compressed",
        )
        .hint("leave out Content-Encoding"));
    }
    if declared.is_some_and(|length| length > bytes_max) {
        drain(body).await;
        return Err(too_large(bytes_max));
    }
    match tokio::time::timeout(limits::BODY_TIMEOUT, read(&mut body, app, bytes_max)).await {
        Ok(Ok(Some(bytes))) => String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Problem::bad_request(
                malformed,
                format!("the body is not UTF-8 text: byte {at} begins no character"),
            )
        }),
        Ok(Ok(None)) => {
            drain(body).await;
            Err(too_large(bytes_max))
        }
        Ok(Err(problem)) => Err(problem),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            format!("the body did not arrive within {} s", limits::BODY_TIMEOUT.as_secs()),
        )),
    }
}

fn too_large(bytes_max: usize) -> Problem {
    Problem::too_large(
        "body_too_large",
        format!("the body has more than {bytes_max} bytes, the limit of this route"),
    )
}

/// None: it is too large.
async fn read(body: &mut Body, app: &App, bytes_max: usize) -> Result<Option<Vec<u8>>, Problem> {
    let mut bytes = Vec::new();
    let mut large = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::bad_request("incomplete_body", "the body ended before its end"))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if bytes.len() + data.len() > bytes_max {
            return Ok(None);
        }
        if bytes.len() + data.len() > limits::BODY_BYTES_MAX && large.is_none() {
            large = app.large_bodies.acquire().await.ok();
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Some(bytes))
}

/// Reads on for a while, so that a client that sends first and reads then comes to see its answer.
async fn drain(mut body: Body) {
    let dropping = async {
        let mut dropped = 0;
        while let Some(Ok(frame)) = body.frame().await {
            dropped += frame.data_ref().map_or(0, axum::body::Bytes::len);
            if dropped > limits::DRAIN_BYTES_MAX {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(limits::DRAIN_TIMEOUT, dropping).await;
}
