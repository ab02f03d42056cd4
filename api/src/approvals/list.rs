//! A page of the inbox.

use super::ApprovalState;
use crate::answer::Json;
use crate::parameter::{Parameters, bad};
use crate::problem::Problem;
use crate::runs::workflow;
use crate::server::App;
use axum::extract::State;
use chrono::{DateTime, Utc};
use engine::RunId;
use engine::query::{ApprovalRow, ApprovalsWanted};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// Of a cursor: microseconds since 1970, so many that no year is out of bounds.
const MICROS_DIGITS: usize = 14;
const ID_DIGITS: usize = 32;

/// An approval in a list.
#[derive(Serialize, ToSchema)]
pub(crate) struct ApprovalSummary {
    id: Uuid,
    #[schema(value_type = uuid::Uuid)]
    run_id: RunId,
    run_state: String,
    /// The agent's name; null: the run is of a workflow.
    #[schema(required)]
    agent: Option<String>,
    /// The workflow's name; null: the run is of an agent.
    #[schema(required)]
    workflow: Option<String>,
    /// The step that it is about; null: the run as a whole.
    #[schema(required)]
    step: Option<i32>,
    /// The step's tool, or what a workflow calls the step.
    #[schema(required)]
    name: Option<String>,
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
}

/// A page of approvals.
#[derive(Serialize, ToSchema)]
pub(crate) struct ApprovalPage {
    /// Newest first.
    approvals: Vec<ApprovalSummary>,
    /// The next page's `cursor`; null: there is none.
    #[schema(required, example = "a064f3b2c1d0e0f0f7a3c2e6d9b4c1f8a5e7d6c3b2a190")]
    next_cursor: Option<String>,
}

impl From<ApprovalRow> for ApprovalSummary {
    fn from(row: ApprovalRow) -> Self {
        Self {
            id: row.id,
            run_id: row.run,
            run_state: row.run_state,
            workflow: workflow(&row.kind),
            agent: row.agent,
            step: row.step_seq,
            name: row.tool,
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
        }
    }
}

/// List approvals
///
/// What people are asked, newest first. A page stays what it is while new ones come: `cursor` goes on after the last
/// approval of the page before.
#[utoipa::path(
    get, path = "/v1/approvals", tag = "approvals", operation_id = "listApprovals",
    params(
        ("state" = Option<ApprovalState>, Query, description = "Only approvals in this state; `open` is the inbox"),
        ("run" = Option<uuid::Uuid>, Query, description = "Only approvals of this run"),
        ("cursor" = Option<String>, Query, pattern = "^a[0-9a-f]{46}$", description = "`next_cursor` of the page before"),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 200, description = "Rows of a page, 50 if absent"),
    ),
    responses((status = 200, description = "A page", body = ApprovalPage)),
)]
pub(crate) async fn list(State(app): State<App>, parameters: Parameters) -> Result<Json<ApprovalPage>, Problem> {
    parameters.known(&["state", "run", "cursor", "limit"])?;
    let wanted = ApprovalsWanted {
        tenant: app.options.tenant.clone(),
        state: parameters.text("state")?.map(state).transpose()?,
        run: parameters.parsed("run", "a run's id")?,
        before: parameters.cursor(read_cursor)?,
        rows: parameters.limit()?,
    };
    let rows = app.engine.approvals(&wanted).await?;
    let is_full = i64::try_from(rows.len()) == Ok(wanted.rows);
    let next_cursor = rows.last().filter(|_| is_full).map(cursor);
    let approvals = rows.into_iter().map(ApprovalSummary::from).collect();
    Ok(Json(ApprovalPage { approvals, next_cursor }))
}

fn state(given: &str) -> Result<String, Problem> {
    match ApprovalState::ALL.iter().find(|state| state.as_str() == given) {
        Some(state) => Ok(state.as_str().to_owned()),
        None => Err(bad("state", "open, decided, withdrawn or superseded")),
    }
}

fn cursor(last: &ApprovalRow) -> String {
    let micros = last.opened_at.timestamp_micros().max(0);
    format!("a{micros:0width$x}{}", last.id.simple(), width = MICROS_DIGITS)
}

fn read_cursor(text: &str) -> Option<(DateTime<Utc>, Uuid)> {
    let digits = text.strip_prefix('a')?;
    let is_ours = digits.len() == MICROS_DIGITS + ID_DIGITS
        && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let (micros, id) = is_ours.then(|| digits.split_at(MICROS_DIGITS))?;
    let at = DateTime::from_timestamp_micros(i64::from_str_radix(micros, 16).ok()?)?;
    Some((at, id.parse().ok()?))
}
