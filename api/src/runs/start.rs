//! Starts runs, one or many.

use super::key::one_key;
use crate::answer::Json;
use crate::body::{Accepts, JsonBody};
use crate::fields::Fields;
use crate::limits;
use crate::parameter::Parameters;
use crate::problem::Problem;
use crate::server::App;
use agent::wire::messages::history_messages;
use axum::extract::State;
use axum::http::header::{HeaderValue, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use engine::limits::{WORKFLOW_NAME, is_workflow_name};
use engine::{RunId, StartRun, Started};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

const RUN_FIELDS: [&str; 11] = [
    "agent",
    "workflow",
    "input",
    "queue",
    "priority",
    "due_at",
    "deadline_at",
    "requester",
    "labels",
    "history",
    "idempotency_key",
];

/// A run to start: of an agent or of a workflow.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "agent": "refund-desk", "input": {"order_id": "ORD-1007", "reason": "arrived broken"}, "labels": {"team": "support"}
}))]
pub(crate) struct NewRun {
    /// The agent by name. The run keeps the version that is in force now.
    #[schema(min_length = 1, max_length = 255, pattern = r"^[^\u0000]*$")]
    agent: Option<String>,
    /// The workflow by the name under which a worker's program registered it. The run waits until a worker has it.
    #[schema(pattern = "^[a-z0-9][a-z0-9-]{0,62}$")]
    workflow: Option<String>,
    /// What it is about: any JSON, 1 MiB and 64 levels at most. `{}` if absent.
    #[serde(default)]
    #[schema(value_type = serde_json::Value)]
    input: Box<RawValue>,
    /// Where it lines up. `default` if absent.
    #[schema(min_length = 1, max_length = 255, pattern = r"^[^\u0000]*$", example = "default")]
    queue: Option<String>,
    /// 0 goes first, 1000 last. 100 if absent.
    #[schema(minimum = 0, maximum = 1000)]
    priority: Option<i32>,
    /// Not before this.
    #[schema(pattern = "^[2-9][0-9]{3}-")]
    due_at: Option<DateTime<Utc>>,
    /// Over at this; the agent's own wall-clock limit holds besides.
    #[schema(pattern = "^[2-9][0-9]{3}-")]
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
    /// An earlier conversation, sent to an agent's model first: 16 MiB at most.
    #[schema(value_type = Option<Vec<HistoryMessage>>)]
    history: Option<Box<RawValue>>,
    /// The same key with the same agent or workflow and input gives the same run. For keys that no header can hold, and for
    /// batches; beside the header `Idempotency-Key` it has to be the same.
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
#[derive(ToSchema)]
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

    fn read(body: &RawValue) -> Result<Self, Problem> {
        let fields = Fields::of_body(body)?;
        fields.known(&RUN_FIELDS)?;
        let (agent, workflow) = (fields.text("agent")?, fields.text("workflow")?);
        check_name(agent.as_deref(), workflow.as_deref())?;
        Ok(Self {
            agent,
            workflow,
            input: fields.raw("input").map_or_else(empty_object, ToOwned::to_owned),
            queue: fields.text("queue")?,
            priority: fields.whole("priority")?,
            due_at: fields.instant("due_at")?,
            deadline_at: fields.instant("deadline_at")?,
            requester: fields.text("requester")?,
            labels: fields.texts("labels")?,
            history: fields.value("history").map(ToOwned::to_owned),
            idempotency_key: fields.text("idempotency_key")?,
        })
    }
}

impl Accepts for NewBatch {
    const BYTES_MAX: usize = limits::BATCH_BYTES_MAX;

    fn read(body: &RawValue) -> Result<Self, Problem> {
        let fields = Fields::of_body(body)?;
        fields.known(&["runs"])?;
        let runs = fields.required("runs", fields.array("runs")?, "an array of runs")?;
        let read = |(item, run)| NewRun::read(run).map_err(|problem| problem.of_item(item));
        let runs = runs.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
        Ok(Self { runs })
    }
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

/// What no derived schema says of [`NewRun`]: it is of an agent or of a workflow, and a workflow is shown no conversation.
pub(crate) fn agent_or_workflow() -> Value {
    let (name, nothing) = (json!({"type": "string"}), json!({"type": "null"}));
    json!([
        {"required": ["agent"], "properties": {"agent": name, "workflow": nothing}},
        {"required": ["workflow"], "properties": {"workflow": name, "agent": nothing, "history": nothing}},
    ])
}

/// A run names its agent or its workflow, and by a name that can be one: else the database would look for it, and not
/// find it.
fn check_name(agent: Option<&str>, workflow: Option<&str>) -> Result<(), Problem> {
    match (agent, workflow) {
        (None, None) => Err(
            Problem::unprocessable("agent_missing", "a run names its agent or its workflow")
                .hint(r#"{"agent": "NAME"} or {"workflow": "NAME"}"#),
        ),
        (Some(_), Some(_)) => Err(Problem::unprocessable(
            "not_an_agent",
            "a run is of an agent or of a workflow, and this one names both",
        )),
        (Some(agent), None) if agent.is_empty() || agent.chars().count() > limits::NAME_CHARS_MAX => Err(
            Problem::unprocessable("invalid_name", "agent: expected 1 to 255 characters"),
        ),
        (None, Some(workflow)) if !is_workflow_name(workflow) => Err(Problem::unprocessable(
            "invalid_kind",
            format!("workflow: expected {}", WORKFLOW_NAME),
        )),
        (Some(_), None) | (None, Some(_)) => Ok(()),
    }
}

fn empty_object() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).unwrap_or_default()
}

/// Start a run
///
/// Of an agent or of a workflow. With an `Idempotency-Key` it is safe to ask again: the same key with the same agent or
/// workflow and input answers with the run that it started, 200 instead of 201; with another one it is refused as
/// `key_reused`.
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
        (status = 400, description = "`key_conflict`: the header and the body name two keys, or there are two headers"),
        (status = 404, description = "`no_such_agent`"),
        (status = 409, description = "`key_reused`"),
    ),
)]
pub(crate) async fn start(
    State(app): State<App>,
    headers: HeaderMap,
    parameters: Parameters,
    JsonBody(new): JsonBody<NewRun>,
) -> Result<Response, Problem> {
    parameters.known(&[])?;
    let key = one_key(&headers, ("idempotency_key", new.idempotency_key.as_deref()))?;
    let wanted = StartRun {
        idempotency_key: key,
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
    parameters: Parameters,
    JsonBody(batch): JsonBody<NewBatch>,
) -> Result<Response, Problem> {
    parameters.known(&[])?;
    if batch.runs.is_empty() {
        return Err(Problem::unprocessable("invalid_body", "a batch has at least one run"));
    }
    let mut starts = Vec::with_capacity(batch.runs.len());
    for (item, new) in batch.runs.into_iter().enumerate() {
        starts.push(wanted(&app, new).map_err(|problem| problem.of_item(item))?);
    }
    let started = app.engine.start_runs(&app.options.tenant, &starts).await?;
    let status = status(started.iter().any(|started| started.created));
    let runs = started.into_iter().map(StartedRun::from).collect();
    Ok((status, Json(StartedBatch { runs })).into_response())
}

pub(crate) const fn status(created: bool) -> StatusCode {
    if created { StatusCode::CREATED } else { StatusCode::OK }
}

/// What the engine is asked for. What the database would refuse it still does.
fn wanted(app: &App, new: NewRun) -> Result<StartRun, Problem> {
    if let Some(history) = &new.history {
        let messages: Vec<Box<RawValue>> = serde_json::from_str(history.get()).map_err(|_| {
            Problem::unprocessable("invalid_history", "an earlier conversation is an array of messages")
        })?;
        history_messages(&messages).map_err(|error| Problem::unprocessable("invalid_history", error.to_string()))?;
    }
    let labels = new.labels.unwrap_or_default();
    if labels.len() > limits::LABELS_MAX {
        let detail = format!("a run has {} labels at most", limits::LABELS_MAX);
        return Err(Problem::unprocessable("invalid_labels", detail));
    }
    let given = match new.workflow {
        Some(workflow) => StartRun::workflow(workflow, new.input.get()),
        None => StartRun::new(new.agent.unwrap_or_default(), new.input.get()),
    };
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
