//! Takes a claimed run up: its agent version and its recorded steps, read once.

use super::attempt::InFlight;
use super::begin::Sent;
use super::{Driver, Held, Shared};
use crate::hold::Hold;
use agent::wire::messages::parse_reply;
use agent::{Effect, ErrorClass, Journal, Step, StepBody, StepError, StepState};
use engine::query::StepRow;
use engine::{Claimed, EngineError, Fence};
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::Arc;

impl Driver {
    /// None: the run could not be read and was failed.
    pub(super) async fn take_up(shared: Arc<Shared>, held: Held) -> Result<Option<Self>, EngineError> {
        let (mut hold, claimed) = Hold::of(shared, held);
        let shared = Arc::clone(&hold.shared);
        let read = hold
            .scribe
            .until_answered(async || {
                let id = claimed
                    .agent_version_id
                    .ok_or_else(|| EngineError::Unreadable(format!("kind {} has no driver here", claimed.kind)))?;
                Ok((shared.version(id).await?, shared.engine.steps(&claimed.claim).await?))
            })
            .await
            .and_then(|(version, rows)| {
                let sent: HashMap<u32, Sent> = rows.iter().map(sent).collect::<Result<_, _>>()?;
                Ok((version, journal(&claimed, &rows)?, sent))
            });
        let (version, journal, sent) = match read {
            Ok(read) => read,
            Err(EngineError::Unreadable(what)) => {
                let error = StepError::new(ErrorClass::Permanent, "unreadable_row", what)
                    .suggest("use the release that wrote it, or mend the row, then resume the run");
                Self::refuse(&mut hold.scribe, error).await?;
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        Ok(Some(Self {
            hold,
            version,
            tenant: claimed.tenant,
            requester: claimed.requester,
            journal,
            sent,
            in_flight: InFlight::default(),
        }))
    }
}

fn journal(claimed: &Claimed, rows: &[StepRow]) -> Result<Journal, EngineError> {
    let history = match &claimed.history {
        Some(history) => serde_json::from_str(history).map_err(|error| unreadable("history", &error))?,
        None => Vec::new(),
    };
    Ok(Journal {
        history,
        input: RawValue::from_string(claimed.input.clone()).map_err(|error| unreadable("input", &error))?,
        deadline: claimed.deadline_at,
        steps: rows
            .iter()
            .map(|row| step(row, claimed.resumed_fence))
            .collect::<Result<_, _>>()?,
    })
}

fn unreadable(what: &str, error: &dyn std::fmt::Display) -> EngineError {
    EngineError::Unreadable(format!("{what}: {error}"))
}

fn number(value: i32) -> Result<u32, EngineError> {
    u32::try_from(value).map_err(|error| unreadable("step number", &error))
}

fn step(row: &StepRow, resumed_fence: Fence) -> Result<Step, EngineError> {
    let what = |part: &str| format!("step {}, {part}", row.seq);
    let state = match row.state.as_str() {
        "waiting" => StepState::Waiting,
        // Its worker is not this one: this run was claimed just now.
        "running" => StepState::Interrupted,
        "succeeded" => StepState::Succeeded,
        "failed" => StepState::Failed,
        "cancelled" => StepState::Cancelled,
        "unknown" => StepState::Unknown,
        other => return Err(unreadable(&what("state"), &other)),
    };
    let body = match row.kind.as_str() {
        "model" => StepBody::Model {
            reply: row
                .result
                .as_deref()
                .map(parse_reply)
                .transpose()
                .map_err(|error| unreadable(&what("result"), &error))?,
        },
        "tool" => StepBody::Tool {
            index: number(row.call_index)?,
            call_id: row.call_id.clone().unwrap_or_default(),
            name: row.name.clone(),
            effect: Effect::parse(&row.effect).ok_or_else(|| unreadable(&what("effect"), &row.effect))?,
            outcome: row
                .result
                .as_deref()
                .map(serde_json::from_str)
                .transpose()
                .map_err(|error| unreadable(&what("result"), &error))?,
        },
        other => return Err(unreadable(&what("kind"), &other)),
    };
    Ok(Step {
        seq: number(row.seq)?,
        turn: number(row.turn)?,
        state,
        attempt: number(row.attempt)?,
        attempts_max: number(row.attempts_max)?,
        maybe_applied: row.maybe_applied,
        budget_from: row.budget_from,
        due_at: row.due_at,
        error: row
            .error
            .as_deref()
            .map(serde_json::from_str)
            .transpose()
            .map_err(|error| unreadable(&what("error"), &error))?,
        resumed_over: row.fence <= resumed_fence,
        replaces: row.replaces_seq.map(number).transpose()?,
        body,
    })
}

fn sent(row: &StepRow) -> Result<(u32, Sent), EngineError> {
    let request = row
        .request
        .as_deref()
        .map(serde_json::from_str)
        .transpose()
        .map_err(|error| unreadable(&format!("step {}, request", row.seq), &error))?;
    let sent = Sent {
        key: row.key.clone(),
        digest: row.request_digest.clone(),
        request: request.map(Arc::new),
    };
    Ok((number(row.seq)?, sent))
}
