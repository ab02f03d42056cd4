//! One run.

use super::standing::{State as RunState, waits_for, workflow};
use crate::answer::Json;
use crate::parameter::{Parameters, RunPath};
use crate::problem::Problem;
use crate::server::App;
use axum::extract::State;
use chrono::{DateTime, Utc};
use engine::RunId;
use engine::query::RunDetail;
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A run.
#[derive(Serialize, ToSchema)]
pub(crate) struct Run {
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
    /// What it waits for, in words; null: it is driven, or it has ended.
    #[schema(example = "a worker that is free")]
    waits_for: Option<String>,
    /// What a waiting run waits for: `timer`, `signal`, `child`, `approval`, …
    waiting_for: Option<String>,
    /// More exactly, such as `unknown_outcome`.
    wait_reason: Option<String>,
    /// Names of the signals that it is parked for.
    awaited_signals: Vec<String>,
    /// The run that started it.
    #[schema(value_type = Option<uuid::Uuid>)]
    parent_id: Option<RunId>,
    /// The run that its tree began with: itself, where no other run started it.
    #[schema(value_type = uuid::Uuid)]
    tree_id: RunId,
    /// Of a child: `cancel`, or `abandon`, where it goes on when its parent ends.
    on_parent_end: Option<String>,
    /// Whether a live worker takes from its queue, and has what its agent needs or its workflow.
    drivable: bool,
    requester: String,
    labels: BTreeMap<String, String>,
    queue: String,
    priority: i16,
    /// Which worker drives it.
    worker: Option<String>,
    /// Workers that it has lost since its last result.
    crashes: i32,
    /// Set while somebody keeps it from going on.
    paused: Option<Asked>,
    /// Set once somebody asked for its end.
    cancel_requested: Option<Asked>,
    /// When it may go on.
    due_at: Option<DateTime<Utc>>,
    /// When its time is over.
    deadline_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    /// As it was given.
    #[schema(value_type = serde_json::Value)]
    input: Option<Box<RawValue>>,
    /// What it came to; null before, and where it came to nothing.
    #[schema(value_type = serde_json::Value)]
    result: Option<Box<RawValue>>,
    /// Why it failed.
    #[schema(value_type = serde_json::Value)]
    error: Option<Box<RawValue>>,
}

/// Who asked, when and why.
#[derive(Serialize, ToSchema)]
pub(crate) struct Asked {
    at: DateTime<Utc>,
    by: Option<String>,
    reason: Option<String>,
}

impl From<RunDetail> for Run {
    fn from(run: RunDetail) -> Self {
        let waits_for = waits_for(&run);
        Self {
            id: run.id,
            workflow: workflow(&run.kind),
            kind: run.kind,
            agent: run.agent,
            agent_version: run.agent_version,
            state: RunState::of(&run.state),
            waits_for,
            waiting_for: run.waiting_for,
            wait_reason: run.wait_reason,
            awaited_signals: run.awaited_signals,
            parent_id: run.parent_id,
            tree_id: run.tree_id,
            on_parent_end: run.on_parent_end,
            drivable: run.drivable,
            requester: run.requester,
            labels: run.labels.0,
            queue: run.queue,
            priority: run.priority,
            worker: run.worker,
            crashes: run.crashes,
            paused: asked(run.paused_at, run.paused_by, run.pause_reason),
            cancel_requested: asked(run.cancel_requested_at, run.cancel_requested_by, run.cancel_reason),
            due_at: run.due_at,
            deadline_at: run.deadline_at,
            created_at: run.created_at,
            started_at: run.started_at,
            ended_at: run.ended_at,
            input: raw(Some(run.input)),
            result: raw(run.result),
            error: raw(run.error),
        }
    }
}

fn asked(at: Option<DateTime<Utc>>, by: Option<String>, reason: Option<String>) -> Option<Asked> {
    at.map(|at| Asked { at, by, reason })
}

/// The stored text, as it is.
pub(crate) fn raw(text: Option<String>) -> Option<Box<RawValue>> {
    RawValue::from_string(text?).ok()
}

/// Look at a run
///
/// How it stands, what it waits for, and what it came to.
#[utoipa::path(
    get, path = "/v1/runs/{id}", tag = "runs", operation_id = "showRun",
    params(("id" = uuid::Uuid, Path, description = "The run")),
    responses(
        (status = 200, description = "The run", body = Run),
        (status = 404, description = "`no_such_run`"),
    ),
)]
pub(crate) async fn show(
    State(app): State<App>,
    RunPath(run): RunPath,
    parameters: Parameters,
) -> Result<Json<Run>, Problem> {
    parameters.known(&[])?;
    detail(&app, run).await.map(Json)
}

/// The run, if it is this tenant's.
pub(crate) async fn detail(app: &App, run: RunId) -> Result<Run, Problem> {
    let detail = app.engine.run_detail(run).await?;
    if detail.tenant != app.options.tenant {
        return Err(Problem::not_found("no_such_run", format!("run {run} does not exist")));
    }
    Ok(detail.into())
}
