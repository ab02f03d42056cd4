//! `/v1/breakers`: what keeps calls from targets that fail, and the hands that open and close it.

mod control;

pub(crate) use control::{__path_open, __path_reset, open, reset};

use crate::answer::Json;
use crate::parameter::{Names, Parameters};
use crate::problem::Problem;
use crate::server::App;
use axum::extract::State;
use chrono::{DateTime, Utc};
use engine::RunId;
use engine::query::{BreakerChange, BreakerRow};
use serde::Serialize;
use utoipa::ToSchema;

/// Changes that are shown of one breaker.
const CHANGES_MAX: i64 = 50;

/// Whether calls go out.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BreakerState {
    /// They do.
    Closed,
    /// They do not, until `retry_at`.
    Open,
    /// One is out, to see whether the target works again.
    HalfOpen,
}

impl BreakerState {
    /// The state of that name; the table's constraint knows no others.
    fn of(name: &str) -> Self {
        match name {
            "open" => Self::Open,
            "half_open" => Self::HalfOpen,
            _ => Self::Closed,
        }
    }
}

/// A breaker that has had a failure.
#[derive(Serialize, ToSchema)]
pub(crate) struct BreakerSummary {
    /// `tool:AGENT.TOOL` or `model:HOST`.
    #[schema(example = "tool:refund-desk.refund")]
    name: String,
    state: BreakerState,
    /// In a row, as far as they were counted.
    failures: i32,
    /// So many in a row open it.
    failures_max: i32,
    /// For so long it is open then.
    cooldown_seconds: i32,
    changed_at: DateTime<Utc>,
    /// Of the last failure.
    #[schema(required)]
    error_code: Option<String>,
    /// Of one that is open: from then on one call goes out, on trial.
    #[schema(required)]
    retry_at: Option<DateTime<Utc>>,
    /// Of one that is half open: whose trial call is out.
    #[schema(required, value_type = Option<uuid::Uuid>)]
    trial_run_id: Option<RunId>,
    /// Its step.
    #[schema(required)]
    trial_step: Option<i32>,
    /// Calls that wait for what becomes of the trial call.
    waiting: i64,
}

impl From<BreakerRow> for BreakerSummary {
    fn from(row: BreakerRow) -> Self {
        Self {
            name: row.scope,
            state: BreakerState::of(&row.state),
            failures: row.failures,
            failures_max: row.failures_max,
            cooldown_seconds: row.cooldown_seconds,
            changed_at: row.changed_at,
            error_code: row.error_code,
            retry_at: row.retry_at,
            trial_run_id: row.trial_run,
            trial_step: row.trial_step,
            waiting: row.waiting,
        }
    }
}

/// A change of a breaker's state.
#[derive(Serialize, ToSchema)]
pub(crate) struct Change {
    at: DateTime<Utc>,
    state: BreakerState,
    /// `failures`, `trial`, `trial_succeeded`, `trial_failed`, `trial_lost`, `reset`, `opened_by_hand`.
    #[schema(example = "failures")]
    why: String,
    /// Whose call made it change.
    #[schema(required, value_type = Option<uuid::Uuid>)]
    run_id: Option<RunId>,
    /// Its step.
    #[schema(required)]
    step: Option<i32>,
    #[schema(required)]
    error_code: Option<String>,
    /// Who did, by hand.
    #[schema(required)]
    actor: Option<String>,
    /// And why.
    #[schema(required)]
    reason: Option<String>,
    #[schema(required)]
    retry_at: Option<DateTime<Utc>>,
}

impl From<BreakerChange> for Change {
    fn from(row: BreakerChange) -> Self {
        Self {
            at: row.at,
            state: BreakerState::of(&row.state),
            why: row.why,
            run_id: row.run,
            step: row.step,
            error_code: row.error_code,
            actor: row.actor,
            reason: row.reason,
            retry_at: row.retry_at,
        }
    }
}

/// A breaker, and how it came to be so.
#[derive(Serialize, ToSchema)]
pub(crate) struct Breaker {
    #[serde(flatten)]
    breaker: BreakerSummary,
    /// Its last changes, newest first.
    changes: Vec<Change>,
}

/// Breakers of a tenant.
#[derive(Serialize, ToSchema)]
pub(crate) struct Breakers {
    /// Those that keep calls back first; 200 at most.
    breakers: Vec<BreakerSummary>,
}

/// The breaker of that name, if it is there.
async fn found(app: &App, name: &str) -> Result<Breaker, Problem> {
    let tenant = &app.options.tenant;
    let row = app.engine.breakers(tenant, Some(name)).await?.pop();
    let row = row.ok_or_else(|| {
        Problem::not_found("no_such_breaker", format!("there is no breaker {name:?}"))
            .hint("a breaker is there from the first failure on; GET /v1/breakers lists them")
    })?;
    let changes = app.engine.breaker_changes(tenant, name, CHANGES_MAX).await?;
    Ok(Breaker {
        breaker: row.into(),
        changes: changes.into_iter().map(Change::from).collect(),
    })
}

/// List breakers
///
/// Those that have had a failure: any other is closed.
#[utoipa::path(
    get, path = "/v1/breakers", tag = "breakers", operation_id = "listBreakers",
    responses((status = 200, description = "Breakers", body = Breakers)),
)]
pub(crate) async fn list(State(app): State<App>, parameters: Parameters) -> Result<Json<Breakers>, Problem> {
    parameters.known(&[])?;
    let rows = app.engine.breakers(&app.options.tenant, None).await?;
    let breakers = rows.into_iter().map(BreakerSummary::from).collect();
    Ok(Json(Breakers { breakers }))
}

/// Show a breaker
///
/// With its last changes, and whose calls made them.
#[utoipa::path(
    get, path = "/v1/breakers/{name}", tag = "breakers", operation_id = "showBreaker",
    params(("name" = String, Path, description = "The breaker, such as `tool:refund-desk.refund`")),
    responses(
        (status = 200, description = "It", body = Breaker),
        (status = 404, description = "`no_such_breaker`"),
    ),
)]
pub(crate) async fn show(
    State(app): State<App>,
    Names(name): Names<String>,
    parameters: Parameters,
) -> Result<Json<Breaker>, Problem> {
    parameters.known(&[])?;
    Ok(Json(found(&app, &name).await?))
}
