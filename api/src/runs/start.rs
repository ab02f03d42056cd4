//! Starts runs, one or many.

use crate::body::{Accepts, JsonBody};
use crate::limits;
use crate::problem::Problem;
use crate::server::App;
use agent::wire::messages::history_messages;
use axum::Json;
use axum::extract::State;
use axum::http::header::{HeaderName, HeaderValue, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use engine::{RunId, StartRun, Started};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Number;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A run to start.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "agent": "refund-desk", "input": {"order_id": "ORD-1007", "reason": "arrived broken"}, "labels": {"team": "support"}
}))]
pub(crate) struct NewRun {
    /// The agent by name. The run keeps the version that is in force now.
    #[schema(min_length = 1, max_length = 255, pattern = r"^[^\u0000]*$")]
    agent: String,
    /// What it is about: any JSON, 1 MiB and 64 levels at most. `{}` if absent.
    #[serde(default = "empty_object")]
    #[schema(value_type = serde_json::Value)]
    input: Box<RawValue>,
    /// Where it lines up. `default` if absent.
    #[schema(min_length = 1, max_length = 255, pattern = r"^[^\u0000]*$", example = "default")]
    queue: Option<String>,
    /// 0 goes first, 1000 last. 100 if absent.
    #[serde(default, deserialize_with = "whole")]
    #[schema(minimum = 0, maximum = 1000)]
    priority: Option<i32>,
    /// Not before this.
    due_at: Option<DateTime<Utc>>,
    /// Over at this; the agent's own wall-clock limit holds besides.
    deadline_at: Option<DateTime<Utc>>,
    /// On whose behalf. The server's own principal if absent.
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = r"^[^\u0000]*$",
        example = "ada@example.com"
    )]
    requester: Option<String>,
    /// Free words for search: 64 names at most, 8 KiB in all.
    #[schema(schema_with = labels_schema)]
    labels: Option<BTreeMap<String, String>>,
    /// An earlier conversation, sent to the model first: 16 MiB at most.
    #[schema(value_type = Option<Vec<HistoryMessage>>)]
    history: Option<Box<RawValue>>,
    /// The same key with the same agent and input gives the same run. Of the header `Idempotency-Key` and this one the
    /// header holds.
    #[schema(min_length = 1, max_length = 255, pattern = r"^[^\u0000]*$")]
    idempotency_key: Option<String>,
}

fn labels_schema() -> Object {
    let text = || {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(r"^[^\u0000]*$"))
    };
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Object, Type::Null]))
        .description(Some("Free words for search: 64 names at most, 8 KiB in all."))
        .property_names(Some(text()))
        .additional_properties(Some(text()))
        .max_properties(Some(limits::LABELS_MAX))
        .build()
}

/// A message of an earlier conversation.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what the agent crate reads")]
pub(crate) struct HistoryMessage {
    role: HistoryRole,
    /// Text, or an array of content blocks.
    content: HistoryContent,
}

/// Who said it.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "it describes what the agent crate reads")]
pub(crate) enum HistoryRole {
    User,
    Assistant,
}

/// Text, or an array of content blocks.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes what the agent crate reads")]
pub(crate) enum HistoryContent {
    Text(String),
    Blocks(Vec<ContentBlock>),
}

/// As the Messages API has them; whatever is in one is passed on as it is.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what the agent crate reads")]
pub(crate) struct ContentBlock {
    /// `text`, `image`, …
    r#type: String,
}

/// Runs to start together, all or none.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"runs": [
    {"agent": "refund-desk", "input": {"order_id": "ORD-1007"}, "idempotency_key": "ORD-1007"},
    {"agent": "refund-desk", "input": {"order_id": "ORD-1008"}, "idempotency_key": "ORD-1008"}
]}))]
pub(crate) struct NewBatch {
    /// 1,000 at most.
    #[schema(min_items = 1, max_items = 1000)]
    runs: Vec<NewRun>,
}

impl Accepts for NewRun {
    const BYTES_MAX: usize = limits::START_BYTES_MAX;
}

impl Accepts for NewBatch {
    const BYTES_MAX: usize = limits::BATCH_BYTES_MAX;
}

/// A run that was started, now or earlier under the same key.
#[derive(Serialize, ToSchema)]
pub(crate) struct StartedRun {
    /// Its id.
    #[schema(value_type = uuid::Uuid, example = "01a1f762-b174-7000-a4f5-d095ea2e20bd")]
    id: RunId,
    /// False where the key had started it before.
    created: bool,
}

/// Runs that were started, in the order asked.
#[derive(Serialize, ToSchema)]
pub(crate) struct StartedBatch {
    runs: Vec<StartedRun>,
}

impl From<Started> for StartedRun {
    fn from(started: Started) -> Self {
        Self {
            id: started.run,
            created: started.created,
        }
    }
}

/// A whole number, however it is written: 7 and 7.0 are the same in JSON.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i32>, D::Error> {
    let Some(number) = Option::<Number>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let whole = number.as_i64().or_else(|| {
        let float = number.as_f64().filter(|float| float.fract() == 0.0)?;
        format!("{float:.0}").parse().ok()
    });
    let fitting = whole.and_then(|whole| i32::try_from(whole).ok());
    fitting
        .map(Some)
        .ok_or_else(|| D::Error::custom(format!("{number} is not a whole number that fits")))
}

fn empty_object() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).unwrap_or_default()
}

/// Start a run
///
/// With an `Idempotency-Key` it is safe to ask again: the same key with the same agent and input answers with the run
/// that it started, 200 instead of 201; with another agent or input it is refused as `key_reused`.
#[utoipa::path(
    post, path = "/v1/runs", tag = "runs", operation_id = "startRun",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$",
        description = "Makes asking again safe")),
    request_body = NewRun,
    responses(
        (status = 201, description = "Started", body = StartedRun,
         headers(("Location" = String, description = "Where the run is"))),
        (status = 200, description = "This key had started it before", body = StartedRun,
         headers(("Location" = String, description = "Where the run is"))),
        (status = 404, description = "`no_such_agent`"),
        (status = 409, description = "`key_reused`"),
    ),
)]
pub(crate) async fn start(
    State(app): State<App>,
    headers: HeaderMap,
    JsonBody(new): JsonBody<NewRun>,
) -> Result<Response, Problem> {
    let key = header_key(&headers)?;
    let wanted = StartRun {
        idempotency_key: key.or_else(|| new.idempotency_key.clone()),
        ..wanted(&app, new)?
    };
    let started = app.engine.start_run(&wanted).await?;
    let mut response = (status(started.created), Json(StartedRun::from(started))).into_response();
    if let Ok(place) = HeaderValue::from_str(&format!("/v1/runs/{}", started.run)) {
        response.headers_mut().insert(LOCATION, place);
    }
    Ok(response)
}

/// Start many runs
///
/// In one transaction: all of them or, where one is refused, none; `item` of the refusal tells which, from 0.
#[utoipa::path(
    post, path = "/v1/runs/batch", tag = "runs", operation_id = "startRuns",
    request_body = NewBatch,
    responses(
        (status = 201, description = "Started; some may have been before", body = StartedBatch),
        (status = 200, description = "All of them had been started before", body = StartedBatch),
        (status = 404, description = "`no_such_agent`"),
        (status = 409, description = "`key_reused`"),
    ),
)]
pub(crate) async fn start_batch(
    State(app): State<App>,
    JsonBody(batch): JsonBody<NewBatch>,
) -> Result<Response, Problem> {
    if batch.runs.is_empty() {
        return Err(Problem::unprocessable("invalid_body", "a batch has at least one run"));
    }
    let mut starts = Vec::with_capacity(batch.runs.len());
    for (item, new) in batch.runs.into_iter().enumerate() {
        starts.push(wanted(&app, new).map_err(|problem| problem.with("item", item))?);
    }
    let started = app.engine.start_runs(&app.options.tenant, &starts).await?;
    let status = status(started.iter().any(|started| started.created));
    let runs = started.into_iter().map(StartedRun::from).collect();
    Ok((status, Json(StartedBatch { runs })).into_response())
}

const fn status(created: bool) -> StatusCode {
    if created { StatusCode::CREATED } else { StatusCode::OK }
}

fn header_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let is_key = |key: &&str| {
        (1..=limits::NAME_CHARS_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let key = key.to_str().ok().filter(is_key).ok_or_else(|| {
        Problem::bad_request("bad_header", "Idempotency-Key has 1 to 255 visible ASCII characters")
            .hint("a UUID is a good key; other keys fit into the body, as idempotency_key")
    })?;
    Ok(Some(key.to_owned()))
}

/// What the engine is asked for. What the database would refuse it still does.
fn wanted(app: &App, new: NewRun) -> Result<StartRun, Problem> {
    if let Some(history) = &new.history {
        let messages: Vec<Box<RawValue>> = serde_json::from_str(history.get()).map_err(|_| {
            Problem::unprocessable("invalid_history", "an earlier conversation is an array of messages")
        })?;
        history_messages(&messages).map_err(|error| Problem::unprocessable("invalid_history", error.to_string()))?;
    }
    // Checked here too, since a key in the header stands in its place.
    let is_key = |key: &String| (1..=limits::NAME_CHARS_MAX).contains(&key.len()) && !key.contains('\0');
    if !new.idempotency_key.as_ref().is_none_or(is_key) {
        let detail = "an idempotency key has 1 to 255 bytes, none of them NUL";
        return Err(Problem::unprocessable("invalid_key", detail));
    }
    let labels = new.labels.unwrap_or_default();
    if labels.len() > limits::LABELS_MAX {
        let detail = format!("a run has {} labels at most", limits::LABELS_MAX);
        return Err(Problem::unprocessable("invalid_labels", detail));
    }
    let given = StartRun::new(new.agent, new.input.get());
    Ok(StartRun {
        queue: new.queue.unwrap_or(given.queue),
        priority: new.priority.unwrap_or(given.priority),
        due_at: new.due_at,
        deadline_at: new.deadline_at,
        requester: Some(new.requester.unwrap_or_else(|| app.options.principal.clone())),
        tenant: app.options.tenant.clone(),
        labels,
        idempotency_key: new.idempotency_key,
        history: new.history.map(|history| history.get().to_owned()),
        ..given
    })
}
