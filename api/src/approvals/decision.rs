//! Decides what somebody was asked.

use super::found;
use crate::answer::Json;
use crate::body::{Accepts, JsonBody};
use crate::fields::Fields;
use crate::parameter::{ApprovalPath, Parameters};
use crate::problem::Problem;
use crate::runs::RunState;
use crate::server::App;
use axum::extract::State;
use engine::{Decide, RunId};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

/// What may be decided; each approval names those that it takes.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "it describes what the database judges")]
pub(crate) enum Verb {
    /// The call happened: the step has succeeded.
    Happened,
    /// It did not: it is made, under its old key.
    DidNotHappen,
    /// Its probe is asked once more.
    ProbeAgain,
    /// Nobody knows: the step has failed.
    GiveUp,
    /// It goes on, with fresh retries.
    Approve,
    /// It fails, with your words.
    Reject,
}

/// A decision.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"verb": "happened", "words": "the bank shows it", "result": {"refund_id": 7}}))]
pub(crate) struct NewDecision {
    #[schema(value_type = Verb)]
    verb: String,
    /// For the model and the record.
    #[schema(min_length = 1, max_length = 4096, pattern = r"^[^\u0000]*$")]
    words: Option<String>,
    /// What a call that `happened` has answered: any JSON, 1 MiB and 64 levels at most. Absent or null: that it was
    /// carried out is all that is known.
    #[serde(default)]
    #[schema(value_type = serde_json::Value)]
    result: Option<Box<RawValue>>,
    /// Who decides. The server's own principal if absent.
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = r"^[^\u0000]*$",
        example = "ada@example.com"
    )]
    actor: Option<String>,
}

impl Accepts for NewDecision {
    fn read(body: &RawValue) -> Result<Self, Problem> {
        let fields = Fields::of_body(body)?;
        fields.known(&["verb", "words", "result", "actor"])?;
        let verb: String = fields.required("verb", fields.text("verb")?, "a decision, such as \"happened\"")?;
        // Null is what a step that returns nothing has answered.
        let result = match verb.as_str() {
            "happened" => fields.raw("result"),
            _ => fields.value("result"),
        };
        Ok(Self {
            verb,
            words: fields.text("words")?,
            result: result.map(ToOwned::to_owned),
            actor: fields.text("actor")?,
        })
    }
}

/// A decision that was taken.
#[derive(Serialize, ToSchema)]
pub(crate) struct Decided {
    approval_id: Uuid,
    #[schema(value_type = uuid::Uuid)]
    run_id: RunId,
    /// The state that it leaves the run in.
    run_state: RunState,
}

/// Decide an approval
///
/// Once: the same decision sent again is refused as `already_decided`, which says who was first, when, and what they
/// decided. So it is safe to send it again when an answer was lost; an `Idempotency-Key` is neither needed nor looked at.
/// Decision and wake-up are one transaction.
#[utoipa::path(
    post, path = "/v1/approvals/{id}/decision", tag = "approvals", operation_id = "decideApproval",
    params(("id" = uuid::Uuid, Path, description = "The approval")),
    request_body = NewDecision,
    responses(
        (status = 200, description = "Decided", body = Decided),
        (status = 404, description = "`no_such_approval`"),
        (status = 409, description = "`already_decided`, `approval_closed`, `verb_not_allowed`, `too_early`"),
        (status = 413, description = "`result_too_large`, `result_too_deep`, `body_too_large`, `body_too_deep`"),
        (status = 422, description = "`invalid_decision`, `invalid_result`, `invalid_body`, `unknown_field`"),
    ),
)]
pub(crate) async fn decide(
    State(app): State<App>,
    ApprovalPath(id): ApprovalPath,
    parameters: Parameters,
    JsonBody(new): JsonBody<NewDecision>,
) -> Result<Json<Decided>, Problem> {
    parameters.known(&[])?;
    let run_id = found(&app, id).await?.run_id;
    let decision = Decide {
        approval: id,
        verb: new.verb,
        words: new.words,
        result: new.result.map(|result| result.get().to_owned()),
        actor: Some(new.actor.unwrap_or_else(|| app.options.principal.clone())),
    };
    let state = app.engine.decide_approval(&decision).await?;
    Ok(Json(Decided {
        approval_id: id,
        run_id,
        run_state: RunState::of(&state),
    }))
}
