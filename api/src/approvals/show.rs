//! One approval.

use super::{ApprovalState, found};
use crate::answer::Json;
use crate::parameter::{ApprovalPath, Parameters};
use crate::problem::Problem;
use crate::runs::workflow;
use crate::server::App;
use axum::extract::State;
use chrono::{DateTime, Utc};
use engine::RunId;
use engine::query::ApprovalDetail;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

/// What somebody is asked, with all that there is to judge it by.
#[derive(Serialize, ToSchema)]
pub(crate) struct Approval {
    id: Uuid,
    #[schema(value_type = uuid::Uuid)]
    run_id: RunId,
    run_state: String,
    /// On whose behalf the run is.
    requester: String,
    /// The agent's name; null: the run is of a workflow.
    #[schema(required)]
    agent: Option<String>,
    /// The workflow's name; null: the run is of an agent.
    #[schema(required)]
    workflow: Option<String>,
    /// The step that it is about; null: the run as a whole.
    #[schema(required)]
    step: Option<i32>,
    /// Of the step's attempts, the one that it is about.
    #[schema(required)]
    attempt: Option<i32>,
    /// The step's tool, or what a workflow calls the step.
    #[schema(required)]
    name: Option<String>,
    /// Of the step: `at_most_once`, `idempotent`, …
    #[schema(required)]
    effect: Option<String>,
    /// The key that its target was given.
    #[schema(required)]
    key: Option<String>,
    /// Why somebody is asked: `unknown_outcome`, `retries_exhausted`, `crashes`, …
    #[schema(example = "unknown_outcome")]
    reason: String,
    /// How soon somebody should look: `low`, `normal` or `high`.
    #[schema(example = "normal")]
    priority: String,
    state: ApprovalState,
    /// The question in one sentence.
    summary: String,
    /// What may be decided.
    #[schema(example = json!(["happened", "did_not_happen", "give_up"]))]
    verbs: Vec<String>,
    opened_at: DateTime<Utc>,
    /// Until then nobody can say that it did not happen.
    #[schema(required)]
    settles_at: Option<DateTime<Utc>>,
    /// When it was decided, or nobody was asked any more.
    #[schema(required)]
    decided_at: Option<DateTime<Utc>>,
    /// What was decided.
    #[schema(required)]
    verb: Option<String>,
    /// Who decided.
    #[schema(required)]
    actor: Option<String>,
    /// In whose words.
    #[schema(required)]
    words: Option<String>,
    /// What a call that happened has answered, as it was told.
    #[schema(value_type = serde_json::Value)]
    result: Option<Box<RawValue>>,
    /// What was sent, in full.
    #[schema(value_type = serde_json::Value)]
    request: Option<Box<RawValue>>,
    /// What the step failed with.
    #[schema(value_type = serde_json::Value)]
    error: Option<Box<RawValue>>,
    /// Of the attempt: status, bytes sent, exit code, …
    #[schema(value_type = serde_json::Value)]
    evidence: Option<Box<RawValue>>,
    /// What probes answered, in the order asked.
    #[schema(value_type = Vec<serde_json::Value>)]
    probes: Vec<Box<RawValue>>,
    /// Results that came when the run had moved on; none was applied.
    #[schema(value_type = Vec<serde_json::Value>)]
    late_results: Vec<Box<RawValue>>,
}

impl From<ApprovalDetail> for Approval {
    fn from(row: ApprovalDetail) -> Self {
        Self {
            id: row.approval_id,
            run_id: row.run_id,
            run_state: row.run_state,
            requester: row.requester,
            workflow: workflow(&row.kind),
            agent: row.agent,
            step: row.step_seq,
            attempt: row.attempt,
            name: row.name,
            effect: row.effect,
            key: row.key,
            reason: row.reason,
            priority: row.priority,
            state: ApprovalState::of(&row.state),
            summary: row.summary,
            verbs: row.verbs,
            opened_at: row.opened_at,
            settles_at: row.settles_at,
            decided_at: row.decided_at,
            verb: row.verb,
            actor: row.actor,
            words: row.words,
            result: row.result.map(|json| json.0),
            request: row.request.map(|json| json.0),
            error: row.error.map(|json| json.0),
            evidence: row.evidence.map(|json| json.0),
            probes: row.probes.0,
            late_results: row.late_results.0,
        }
    }
}

/// Look at an approval
///
/// All that there is to judge by: the question, what may be decided, the full request, the error, the evidence of the
/// attempt, what probes answered, and results that came late.
#[utoipa::path(
    get, path = "/v1/approvals/{id}", tag = "approvals", operation_id = "showApproval",
    params(("id" = uuid::Uuid, Path, description = "The approval")),
    responses(
        (status = 200, description = "The approval", body = Approval),
        (status = 404, description = "`no_such_approval`"),
    ),
)]
pub(crate) async fn show(
    State(app): State<App>,
    ApprovalPath(id): ApprovalPath,
    parameters: Parameters,
) -> Result<Json<Approval>, Problem> {
    parameters.known(&[])?;
    Ok(Json(found(&app, id).await?.into()))
}
