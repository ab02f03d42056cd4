//! Stops a run, for good or for a while, and lets it go on.

use super::show::{Run, detail};
use crate::answer::Json;
use crate::body::{Accepts, JsonBody};
use crate::fields::Fields;
use crate::parameter::{Parameters, RunPath};
use crate::problem::Problem;
use crate::server::App;
use axum::extract::State;
use axum::http::StatusCode;
use engine::{Cancelled, RunId};
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// Why. The body may be left out.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"reason": "ordered twice"}))]
pub(crate) struct Reason {
    /// For whoever reads the journal.
    #[schema(max_length = 4096, pattern = r"^[^\u0000]*$")]
    reason: Option<String>,
}

/// Why, and how far. The body may be left out.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"reason": "ordered twice"}))]
pub(crate) struct Cancel {
    /// For whoever reads the journal.
    #[schema(max_length = 4096, pattern = r"^[^\u0000]*$")]
    reason: Option<String>,
    /// Whether the children that are to end with the run, and theirs, are cancelled too. `true` if absent.
    children: Option<bool>,
}

const REASON_CHARS_MAX: usize = 4096;

impl Accepts for Option<Reason> {
    const NOTHING: Option<&'static str> = Some("null");

    fn read(body: &RawValue) -> Result<Self, Problem> {
        if body.get() == "null" {
            return Ok(None);
        }
        let fields = Fields::of_body(body)?;
        fields.known(&["reason"])?;
        let reason = fields.text("reason")?;
        Ok(Some(Reason { reason }))
    }
}

impl Accepts for Option<Cancel> {
    const NOTHING: Option<&'static str> = Some("null");

    fn read(body: &RawValue) -> Result<Self, Problem> {
        if body.get() == "null" {
            return Ok(None);
        }
        let fields = Fields::of_body(body)?;
        fields.known(&["reason", "children"])?;
        Ok(Some(Cancel {
            reason: fields.text("reason")?,
            children: fields.flag("children")?,
        }))
    }
}

/// The run is this tenant's, and the reason fits.
async fn check(app: &App, run: RunId, reason: Option<String>) -> Result<Option<String>, Problem> {
    if let Some(reason) = &reason
        && (reason.contains('\0') || reason.chars().count() > REASON_CHARS_MAX)
    {
        let detail = format!("a reason has {REASON_CHARS_MAX} characters at most, and none of them is NUL");
        return Err(Problem::unprocessable("invalid_body", detail));
    }
    app.engine.run_head(run, &app.options.tenant).await?;
    Ok(reason)
}

/// Cancel a run
///
/// A run that nobody holds ends at once: 200. The worker of a running one is asked to end it: 202; calls already sent
/// are waited for. Its children that are to end with it are cancelled too, and theirs, unless `children` is false. Asking
/// again changes nothing.
#[utoipa::path(
    post, path = "/v1/runs/{id}/cancel", tag = "runs", operation_id = "cancelRun",
    params(("id" = uuid::Uuid, Path, description = "The run")),
    request_body = Option<Cancel>,
    responses(
        (status = 200, description = "It has ended", body = Run),
        (status = 202, description = "Its worker was asked to end it", body = Run),
        (status = 404, description = "`no_such_run`"),
        (status = 409, description = "`run_has_ended`"),
    ),
)]
pub(crate) async fn cancel(
    State(app): State<App>,
    RunPath(run): RunPath,
    parameters: Parameters,
    JsonBody(how): JsonBody<Option<Cancel>>,
) -> Result<(StatusCode, Json<Run>), Problem> {
    parameters.known(&[])?;
    let (reason, children) = how.map_or((None, None), |how| (how.reason, how.children));
    let reason = check(&app, run, reason).await?;
    let actor = Some(app.options.principal.as_str());
    let cancelled = if children.unwrap_or(true) {
        app.engine.cancel_run(run, reason.as_deref(), actor).await?
    } else {
        app.engine.cancel_run_alone(run, reason.as_deref(), actor).await?
    };
    let status = match cancelled {
        Cancelled::Now => StatusCode::OK,
        Cancelled::Requested => StatusCode::ACCEPTED,
    };
    Ok((status, Json(detail(&app, run).await?)))
}

/// Pause a run
///
/// It is not taken up, woken or driven on until it is resumed. What is out is waited for and recorded.
#[utoipa::path(
    post, path = "/v1/runs/{id}/pause", tag = "runs", operation_id = "pauseRun",
    params(("id" = uuid::Uuid, Path, description = "The run")),
    request_body = Option<Reason>,
    responses(
        (status = 200, description = "It is paused, or will be once its worker has put it down", body = Run),
        (status = 404, description = "`no_such_run`"),
        (status = 409, description = "`run_has_ended`"),
    ),
)]
pub(crate) async fn pause(
    State(app): State<App>,
    RunPath(run): RunPath,
    parameters: Parameters,
    JsonBody(why): JsonBody<Option<Reason>>,
) -> Result<Json<Run>, Problem> {
    parameters.known(&[])?;
    let reason = check(&app, run, why.and_then(|why| why.reason)).await?;
    let actor = Some(app.options.principal.as_str());
    app.engine.pause_run(run, reason.as_deref(), actor).await?;
    detail(&app, run).await.map(Json)
}

/// Resume a run
///
/// Lets a paused run go on where it was, and a failed one, or one that waits for a person, begin again where it stopped:
/// what was done is kept and not done again.
#[utoipa::path(
    post, path = "/v1/runs/{id}/resume", tag = "runs", operation_id = "resumeRun",
    params(("id" = uuid::Uuid, Path, description = "The run")),
    request_body = Option<Reason>,
    responses(
        (status = 200, description = "It goes on", body = Run),
        (status = 404, description = "`no_such_run`"),
        (status = 409, description = "`not_resumable`, `unknown_outcome`"),
    ),
)]
pub(crate) async fn resume(
    State(app): State<App>,
    RunPath(run): RunPath,
    parameters: Parameters,
    JsonBody(why): JsonBody<Option<Reason>>,
) -> Result<Json<Run>, Problem> {
    parameters.known(&[])?;
    let reason = check(&app, run, why.and_then(|why| why.reason)).await?;
    let actor = Some(app.options.principal.as_str());
    app.engine.resume_run(run, reason.as_deref(), actor).await?;
    detail(&app, run).await.map(Json)
}
