//! Tells a run something, and shows what it was told.

use super::key::one_key;
use super::start::status;
use crate::answer::Json;
use crate::body::{Accepts, JsonBody};
use crate::fields::Fields;
use crate::parameter::{Parameters, RunPath};
use crate::problem::Problem;
use crate::server::App;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use chrono::{DateTime, Utc};
use engine::query::ReceivedSignal;
use engine::{SendSignal, SignalSent};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// Digits of a signal's place among what a run was told.
const CURSOR_DIGITS_MAX: usize = 18;

/// A signal to send.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "approved", "payload": {"by": "Ada"}, "id": "approval-17"}))]
pub(crate) struct NewSignal {
    /// What the run waits for.
    #[schema(min_length = 1, max_length = 255, pattern = r"^[^\u0000]*$")]
    name: String,
    /// What is told: any JSON, 1 MiB and 64 levels at most. `null` if absent.
    #[serde(default)]
    #[schema(value_type = serde_json::Value)]
    payload: Box<RawValue>,
    /// The same id is the same signal: sent twice is sent once. A new one if absent. For ids that no header can hold;
    /// beside the header `Idempotency-Key` it has to be the same.
    #[schema(min_length = 1, max_length = 255, pattern = r"^[^\u0000]*$")]
    id: Option<String>,
    /// Who sends it. The server's own principal if absent.
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = r"^[^\u0000]*$",
        example = "ada@example.com"
    )]
    sender: Option<String>,
}

impl Accepts for NewSignal {
    fn read(body: &RawValue) -> Result<Self, Problem> {
        let fields = Fields::of_body(body)?;
        fields.known(&["name", "payload", "id", "sender"])?;
        Ok(Self {
            name: fields.required("name", fields.text("name")?, "the signal's name")?,
            payload: fields.raw("payload").map(ToOwned::to_owned).unwrap_or_default(),
            id: fields.text("id")?,
            sender: fields.text("sender")?,
        })
    }
}

/// A signal that was sent, now or earlier under the same id.
#[derive(Serialize, ToSchema)]
pub(crate) struct SentSignal {
    /// Its id.
    #[schema(example = "approval-17")]
    id: String,
    /// False where it had been sent before.
    created: bool,
}

impl From<SignalSent> for SentSignal {
    fn from(sent: SignalSent) -> Self {
        Self {
            id: sent.id,
            created: sent.created,
        }
    }
}

/// A signal that a run has received.
#[derive(Serialize, ToSchema)]
pub(crate) struct Signal {
    /// Of its sender's choosing.
    id: String,
    name: String,
    sender: String,
    at: DateTime<Utc>,
    payload: Value,
    /// The step that took it; null: it is kept until the run waits for one of its name.
    #[schema(required)]
    taken_by: Option<i32>,
}

/// A page of signals.
#[derive(Serialize, ToSchema)]
pub(crate) struct SignalPage {
    /// In the order in which they came.
    signals: Vec<Signal>,
    /// The next page's `cursor`; null: there is none.
    #[schema(example = "w50")]
    next_cursor: Option<String>,
}

impl From<ReceivedSignal> for Signal {
    fn from(row: ReceivedSignal) -> Self {
        Self {
            id: row.id,
            name: row.name,
            sender: row.sender,
            at: row.at,
            payload: row.payload.0,
            taken_by: row.taken_by,
        }
    }
}

/// Send a signal
///
/// It is kept until the run waits for one of its name; each wait takes the oldest. With an id, in `Idempotency-Key` or in
/// the body, it is safe to send it again: 200 instead of 201, whatever became of the run since then; with another name or
/// payload it is refused as `signal_id_reused`.
#[utoipa::path(
    post, path = "/v1/runs/{id}/signals", tag = "runs", operation_id = "sendSignal",
    params(
        ("id" = uuid::Uuid, Path, description = "The run"),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$",
            description = "The signal's id: makes sending again safe"),
    ),
    request_body = NewSignal,
    responses(
        (status = 201, description = "Sent", body = SentSignal),
        (status = 200, description = "It had been sent before", body = SentSignal),
        (status = 400, description = "`key_conflict`: the header and the body name two ids, or there are two headers"),
        (status = 404, description = "`no_such_run`"),
        (status = 409, description = "`run_has_ended`, `signal_id_reused`"),
    ),
)]
pub(crate) async fn signal(
    State(app): State<App>,
    RunPath(run): RunPath,
    (headers, parameters): (HeaderMap, Parameters),
    JsonBody(new): JsonBody<NewSignal>,
) -> Result<(StatusCode, Json<SentSignal>), Problem> {
    parameters.known(&[])?;
    let id = one_key(&headers, ("id", new.id.as_deref()))?;
    app.engine.run_head(run, &app.options.tenant).await?;
    let sent = app
        .engine
        .send_signal(&SendSignal {
            run,
            name: new.name,
            payload: new.payload.get().to_owned(),
            id,
            sender: Some(new.sender.unwrap_or_else(|| app.options.principal.clone())),
        })
        .await?;
    Ok((status(sent.created), Json(sent.into())))
}

/// List signals
///
/// What a run was told, in the order in which it came, and which step took it.
#[utoipa::path(
    get, path = "/v1/runs/{id}/signals", tag = "runs", operation_id = "listSignals",
    params(
        ("id" = uuid::Uuid, Path, description = "The run"),
        ("cursor" = Option<String>, Query, pattern = "^w[0-9]{1,18}$", description = "`next_cursor` of the page before"),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 200, description = "Signals of a page, 50 if absent"),
    ),
    responses(
        (status = 200, description = "A page", body = SignalPage),
        (status = 404, description = "`no_such_run`"),
    ),
)]
pub(crate) async fn signals(
    State(app): State<App>,
    RunPath(run): RunPath,
    parameters: Parameters,
) -> Result<Json<SignalPage>, Problem> {
    parameters.known(&["cursor", "limit"])?;
    let (after, limit) = (parameters.cursor(read_cursor)?, parameters.limit()?);
    app.engine.run_head(run, &app.options.tenant).await?;
    let rows = app
        .engine
        .received_signals(run, after.unwrap_or_default(), limit)
        .await?;
    let is_full = i64::try_from(rows.len()) == Ok(limit);
    let next_cursor = rows.last().filter(|_| is_full).map(|last| format!("w{}", last.wake));
    let signals = rows.into_iter().map(Signal::from).collect();
    Ok(Json(SignalPage { signals, next_cursor }))
}

fn read_cursor(text: &str) -> Option<i64> {
    let number = text.strip_prefix('w')?;
    let is_ours = (1..=CURSOR_DIGITS_MAX).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    is_ours.then(|| number.parse().ok())?
}
