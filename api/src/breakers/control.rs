//! Closes a breaker by hand, and opens one.

use super::{Breaker, found};
use crate::answer::Json;
use crate::body::{Accepts, JsonBody};
use crate::fields::Fields;
use crate::parameter::{Names, Parameters};
use crate::problem::Problem;
use crate::server::App;
use axum::extract::State;
use engine::OpenBreaker;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// Of a reason, in characters.
const REASON_CHARS_MAX: usize = 4096;
/// How long a breaker is open where nothing is said.
const SECONDS: i32 = 3600;

/// Why. The body may be left out.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"reason": "the bank says that it is up again"}))]
pub(crate) struct ResetBreaker {
    /// For whoever reads the history.
    #[schema(max_length = 4096, pattern = r"^[^\u0000]*$")]
    reason: Option<String>,
}

/// For how long, and why. The body may be left out.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"seconds": 1800, "reason": "the bank is at work on it"}))]
pub(crate) struct NewOpening {
    /// For how long: an hour if absent.
    #[schema(minimum = 1, maximum = 31_536_000)]
    seconds: Option<i32>,
    /// For whoever reads the history.
    #[schema(max_length = 4096, pattern = r"^[^\u0000]*$")]
    reason: Option<String>,
}

impl Accepts for Option<ResetBreaker> {
    const NOTHING: Option<&'static str> = Some("null");

    fn read(body: &RawValue) -> Result<Self, Problem> {
        if body.get() == "null" {
            return Ok(None);
        }
        let fields = Fields::of_body(body)?;
        fields.known(&["reason"])?;
        Ok(Some(ResetBreaker {
            reason: fitting(fields.text("reason")?)?,
        }))
    }
}

impl Accepts for Option<NewOpening> {
    const NOTHING: Option<&'static str> = Some("null");

    fn read(body: &RawValue) -> Result<Self, Problem> {
        if body.get() == "null" {
            return Ok(None);
        }
        let fields = Fields::of_body(body)?;
        fields.known(&["seconds", "reason"])?;
        Ok(Some(NewOpening {
            seconds: fields.whole("seconds")?,
            reason: fitting(fields.text("reason")?)?,
        }))
    }
}

fn fitting(reason: Option<String>) -> Result<Option<String>, Problem> {
    if let Some(reason) = &reason
        && (reason.contains('\0') || reason.chars().count() > REASON_CHARS_MAX)
    {
        let detail = format!("a reason has {REASON_CHARS_MAX} characters at most, and none of them is NUL");
        return Err(Problem::unprocessable("invalid_body", detail));
    }
    Ok(reason)
}

/// Reset a breaker
///
/// It is closed: calls go out again, and those that waited are called. Asking again changes nothing.
#[utoipa::path(
    post, path = "/v1/breakers/{name}/reset", tag = "breakers", operation_id = "resetBreaker",
    params(("name" = String, Path, description = "The breaker, such as `tool:refund-desk.refund`")),
    request_body = Option<ResetBreaker>,
    responses(
        (status = 200, description = "It is closed", body = Breaker),
        (status = 404, description = "`no_such_breaker`"),
    ),
)]
pub(crate) async fn reset(
    State(app): State<App>,
    Names(name): Names<String>,
    parameters: Parameters,
    JsonBody(how): JsonBody<Option<ResetBreaker>>,
) -> Result<Json<Breaker>, Problem> {
    parameters.known(&[])?;
    let reason = how.and_then(|how| how.reason);
    let actor = Some(app.options.principal.as_str());
    let breaker = (app.options.tenant.as_str(), name.as_str());
    app.engine.reset_breaker(breaker, reason.as_deref(), actor).await?;
    Ok(Json(found(&app, &name).await?))
}

/// Open a breaker
///
/// No call goes out for so long; then one does, on trial. A breaker that is open already is open for that long from now on.
#[utoipa::path(
    post, path = "/v1/breakers/{name}/open", tag = "breakers", operation_id = "openBreaker",
    params(("name" = String, Path, description = "The breaker: `tool:AGENT.TOOL` or `model:HOST`")),
    request_body = Option<NewOpening>,
    responses(
        (status = 200, description = "It is open", body = Breaker),
        (status = 422, description = "`invalid_breaker`"),
    ),
)]
pub(crate) async fn open(
    State(app): State<App>,
    Names(name): Names<String>,
    parameters: Parameters,
    JsonBody(how): JsonBody<Option<NewOpening>>,
) -> Result<Json<Breaker>, Problem> {
    parameters.known(&[])?;
    let (seconds, reason) = how.map_or((None, None), |how| (how.seconds, how.reason));
    let wanted = OpenBreaker {
        scope: name.clone(),
        tenant: app.options.tenant.clone(),
        seconds: seconds.unwrap_or(SECONDS),
        reason,
        actor: Some(app.options.principal.clone()),
    };
    app.engine.open_breaker(&wanted).await?;
    Ok(Json(found(&app, &name).await?))
}
