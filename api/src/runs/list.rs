//! A page of runs.

use super::standing::{State as RunState, workflow};
use crate::answer::Json;
use crate::parameter::{Parameters, RunPath, bad};
use crate::problem::Problem;
use crate::server::App;
use axum::extract::State;
use chrono::{DateTime, Utc};
use engine::RunId;
use engine::limits::{WORKFLOW_NAME, is_workflow_name};
use engine::query::{RunRow, RunsWanted};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

const PARAMETERS: [&str; 9] = [
    "state",
    "agent",
    "workflow",
    "requester",
    "label",
    "created_after",
    "created_before",
    "cursor",
    "limit",
];

/// A label that runs must carry.
#[derive(ToSchema)]
#[schema(pattern = r"^[^=\u0000]*=[^\u0000]*$", example = "team=support")]
#[expect(dead_code, reason = "it describes what is read by hand")]
pub(crate) struct LabelFilter(String);

/// A run in a list.
#[derive(Serialize, ToSchema)]
pub(crate) struct RunSummary {
    #[schema(value_type = uuid::Uuid)]
    id: RunId,
    /// `agent`, or the workflow's name.
    kind: String,
    /// The agent's name; null: it is of a workflow.
    agent: Option<String>,
    /// The workflow's name; null: it is of an agent.
    workflow: Option<String>,
    /// The version that the run keeps.
    agent_version: Option<i32>,
    state: RunState,
    /// What a waiting run waits for: `timer`, `signal`, `child`, `approval`, …
    waiting_for: Option<String>,
    /// More exactly, such as `unknown_outcome`.
    wait_reason: Option<String>,
    requester: String,
    queue: String,
    labels: BTreeMap<String, String>,
    /// Which worker drives it.
    worker: Option<String>,
    /// When it may go on.
    due_at: Option<DateTime<Utc>>,
    paused_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    /// The run that started it.
    #[schema(value_type = Option<uuid::Uuid>)]
    parent_id: Option<RunId>,
    /// Of a child: `cancel`, or `abandon`, where it goes on when its parent ends.
    on_parent_end: Option<String>,
}

/// A page of runs.
#[derive(Serialize, ToSchema)]
pub(crate) struct RunPage {
    /// Newest first; children oldest first.
    runs: Vec<RunSummary>,
    /// The next page's `cursor`; null: there is none.
    #[schema(example = "r01a1f762b1747000a4f5d095ea2e20bd")]
    next_cursor: Option<String>,
}

impl From<RunRow> for RunSummary {
    fn from(row: RunRow) -> Self {
        Self {
            id: row.id,
            workflow: workflow(&row.kind),
            kind: row.kind,
            agent: row.agent,
            agent_version: row.agent_version,
            state: RunState::of(&row.state),
            waiting_for: row.waiting_for,
            wait_reason: row.wait_reason,
            requester: row.requester,
            queue: row.queue,
            labels: row.labels.0,
            worker: row.worker,
            due_at: row.due_at,
            paused_at: row.paused_at,
            created_at: row.created_at,
            started_at: row.started_at,
            ended_at: row.ended_at,
            parent_id: row.parent_id,
            on_parent_end: row.on_parent_end,
        }
    }
}

/// List runs
///
/// Newest first. A page stays what it is while new runs come: `cursor` goes on after the last run of the page before.
#[utoipa::path(
    get, path = "/v1/runs", tag = "runs", operation_id = "listRuns",
    params(
        ("state" = Option<RunState>, Query, description = "Only runs in this state"),
        ("agent" = Option<String>, Query, min_length = 1, max_length = 255, pattern = r"^[^\u0000]*$", description = "Only runs of this agent"),
        ("workflow" = Option<String>, Query, pattern = "^[a-z0-9][a-z0-9-]{0,62}$", description = "Only runs of this workflow"),
        ("requester" = Option<String>, Query, min_length = 1, max_length = 255, pattern = r"^[^\u0000]*$", description = "Only runs on behalf of this one"),
        ("label" = Option<Vec<LabelFilter>>, Query, style = Form, explode, description = "`name=value`: only runs with this label; may come more than once",
            example = json!(["team=support"])),
        ("created_after" = Option<DateTime<Utc>>, Query, description = "Only runs created then or later"),
        ("created_before" = Option<DateTime<Utc>>, Query, description = "Only runs created earlier"),
        ("cursor" = Option<String>, Query, pattern = "^r[0-9a-f]{32}$", description = "`next_cursor` of the page before"),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 200, description = "Rows of a page, 50 if absent"),
    ),
    responses((status = 200, description = "A page", body = RunPage)),
)]
pub(crate) async fn list(State(app): State<App>, parameters: Parameters) -> Result<Json<RunPage>, Problem> {
    parameters.known(&PARAMETERS)?;
    let labels = labels(&parameters)?;
    let wanted = RunsWanted {
        state: parameters.text("state")?.map(state).transpose()?,
        agent: parameters.name("agent")?,
        workflow: named_workflow(&parameters)?,
        requester: parameters.name("requester")?,
        labels: labels.clone().unwrap_or_default(),
        created_from: parameters.instant("created_after")?,
        created_before: parameters.instant("created_before")?,
        before: parameters.cursor(read_cursor)?,
        rows: parameters.limit()?,
        ..RunsWanted::of(app.options.tenant.as_str())
    };
    // No run has two values under one name.
    let rows = match labels {
        Some(_) => app.engine.run_list(&wanted).await?,
        None => Vec::new(),
    };
    Ok(Json(page(rows, wanted.rows)))
}

/// List children
///
/// The runs that a run has started, oldest first, whether they have ended or not.
#[utoipa::path(
    get, path = "/v1/runs/{id}/children", tag = "runs", operation_id = "listChildren",
    params(
        ("id" = uuid::Uuid, Path, description = "The run"),
        ("cursor" = Option<String>, Query, pattern = "^r[0-9a-f]{32}$", description = "`next_cursor` of the page before"),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 200, description = "Rows of a page, 50 if absent"),
    ),
    responses(
        (status = 200, description = "A page", body = RunPage),
        (status = 404, description = "`no_such_run`"),
    ),
)]
pub(crate) async fn children(
    State(app): State<App>,
    RunPath(run): RunPath,
    parameters: Parameters,
) -> Result<Json<RunPage>, Problem> {
    parameters.known(&["cursor", "limit"])?;
    let (after, limit) = (parameters.cursor(read_cursor)?, parameters.limit()?);
    app.engine.run_head(run, &app.options.tenant).await?;
    let rows = app.engine.children(run, after, limit).await?;
    Ok(Json(page(rows, limit)))
}

/// Rows of a page of so many, and where the next one goes on.
fn page(rows: Vec<RunRow>, limit: i64) -> RunPage {
    let is_full = i64::try_from(rows.len()) == Ok(limit);
    let next_cursor = rows.last().filter(|_| is_full).map(|last| cursor(last.id));
    RunPage {
        runs: rows.into_iter().map(RunSummary::from).collect(),
        next_cursor,
    }
}

fn named_workflow(parameters: &Parameters) -> Result<Option<String>, Problem> {
    match parameters.text("workflow")? {
        Some(name) if !is_workflow_name(name) => Err(bad("workflow", WORKFLOW_NAME)),
        name => Ok(name.map(str::to_owned)),
    }
}

fn state(given: &str) -> Result<String, Problem> {
    match RunState::ALL.iter().find(|state| state.as_str() == given) {
        Some(state) => Ok(state.as_str().to_owned()),
        None => Err(bad("state", "queued, running, waiting, succeeded, failed or cancelled")),
    }
}

/// None: two values are asked for under one name.
fn labels(parameters: &Parameters) -> Result<Option<BTreeMap<String, String>>, Problem> {
    let mut labels = BTreeMap::new();
    let mut is_possible = true;
    for label in parameters.all("label") {
        let (name, value) = label.split_once('=').ok_or_else(|| bad("label", "name=value"))?;
        let earlier = labels.insert(name.to_owned(), value.to_owned());
        is_possible &= earlier.is_none_or(|earlier| earlier == value);
    }
    Ok(is_possible.then_some(labels))
}

fn cursor(last: RunId) -> String {
    format!("r{}", last.0.simple())
}

fn read_cursor(text: &str) -> Option<RunId> {
    let id = text.strip_prefix('r')?;
    let is_ours = id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_ours.then(|| id.parse().ok())?
}
