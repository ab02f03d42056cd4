//! A run's events as they happen: `text/event-stream`, resumable, without gaps or doubles.
//!
//! A follower first reads what is recorded, page by page as fast as it takes them, and then hangs on the [`Hub`], which
//! reads for all followers together. Nothing of a follower is kept here when it leaves: the number of the last event that
//! it saw is all that it needs to come back, to this process or another.

mod frame;
mod hub;
mod stream;

pub(crate) use hub::{Feed, Hub};

use crate::parameter::{Parameters, RunPath, bad};
use crate::problem::Problem;
use crate::server::App;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use stream::{Follower, Place};
use utoipa::ToSchema;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Proxies that gather answers are asked not to.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// An event of a stream.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what is written by hand")]
pub(crate) struct StreamEvent {
    /// The event's number; the last word, `end`, has none.
    #[schema(pattern = "^[0-9]+$", nullable = false)]
    id: Option<String>,
    /// Its kind, such as `step.succeeded`; or `end`.
    event: String,
    /// A JSON object: `seq`, `at`, `kind`, `step_seq`, `worker`, `data`; of `end`: `state` and `seq`.
    data: String,
}

/// Follow a run
///
/// Server-sent events: `id` is the event's number, `event` its kind, `data` a JSON object. The stream begins after the
/// event that `Last-Event-ID` or `after` names, or at the beginning, misses none and repeats none, and ends with
/// `event: end` after the run's last event. Comments keep it alive. It may be cut at any time (a restart, a client
/// that takes nothing for 30 s): come back with the number of the last event seen.
#[utoipa::path(
    get, path = "/v1/runs/{id}/events", tag = "runs", operation_id = "followRun",
    params(
        ("id" = uuid::Uuid, Path, description = "The run"),
        ("after" = Option<i32>, Query, minimum = 0, description = "Begin after the event of this number"),
        ("follow" = Option<bool>, Query, description = "Stay when the run has ended: it may be resumed"),
        ("Last-Event-ID" = Option<i32>, Header, minimum = 0, description = "As `after`; browsers send it when they come back"),
    ),
    responses(
        (status = 200, description = "The events, as they happen", body = StreamEvent, content_type = "text/event-stream",
         example = "id: 1\nevent: run.started\ndata: {\"seq\":1,\"at\":\"2026-11-23T08:00:00Z\",\"kind\":\"run.started\",\"step_seq\":null,\"worker\":null,\"data\":{\"agent\":\"refund-desk\",\"version\":1}}\n\nevent: end\ndata: {\"state\":\"succeeded\",\"seq\":9}\n\n"),
        (status = 204, description = "To a `Last-Event-ID`: the run has ended, and its last event was seen"),
        (status = 404, description = "`no_such_run`, `no_such_event`"),
    ),
)]
pub(crate) async fn follow(
    State(app): State<App>,
    RunPath(run): RunPath,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.known(&["after", "follow"])?;
    let follows_on = parameters.parsed::<bool>("follow", "true or false")?.unwrap_or(false);
    let returning = last_event_id(&headers)?;
    let asked = parameters.parsed::<i32>("after", "a number from 0")?;
    if asked.is_some_and(|asked| asked < 0) {
        return Err(bad("after", "a number from 0"));
    }
    let after = returning.or(asked).unwrap_or_default();
    let head = app.engine.run_head(run, &app.options.tenant).await?;
    if after > head.event_seq {
        let detail = format!("the run has {} events, and {after} is not one of them", head.event_seq);
        return Err(Problem::not_found("no_such_event", detail).hint("begin anew, without a number"));
    }
    let is_over = head.has_ended && after == head.event_seq;
    if is_over && returning.is_some() && !follows_on {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let permit = Arc::clone(&app.streams).try_acquire_owned().map_err(|_| {
        Problem::unavailable("too_many_streams", "this server has as many followers as it takes")
            .hint("come back in a moment, or ask for the run instead: GET /v1/runs/{id}")
    })?;
    let place = Place {
        seen: after,
        ended: is_over.then_some(head.state),
        follows_on,
    };
    let follower = Follower::new(app, run, place, permit);
    let mut response = Body::from_stream(follower.into_stream()).into_response();
    let answer = response.headers_mut();
    answer.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    answer.insert(BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<i32>, Problem> {
    let Some(value) = headers.get(LAST_EVENT_ID) else {
        return Ok(None);
    };
    let seen = value.to_str().ok().and_then(|text| text.parse::<i32>().ok());
    seen.filter(|seen| *seen >= 0).map(Some).ok_or_else(|| {
        Problem::bad_request("bad_header", "Last-Event-ID is the number of an event, from 0")
            .hint("begin anew, without the header")
    })
}
