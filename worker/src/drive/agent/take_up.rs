//! Takes a claimed run up: its agent version and its recorded steps, read once.

use super::attempt::InFlight;
use super::begin::Sent;
use super::{Driver, Held, Shared};
use crate::hold::Hold;
use agent::gate::BREAKER_OPEN;
use agent::wire::messages::parse_reply;
use agent::{
    Asked, Bound, Decision, Effect, ErrorClass, Journal, Standing, Step, StepBody, StepError, StepState, Verb,
};
use engine::query::{AskedRow, StepRow};
use engine::{Claimed, EngineError, Fence};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

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
                let version = shared.version(id).await?;
                let steps = shared.engine.steps(&claimed.claim).await?;
                // What people were asked matters where they were asked: in few runs.
                let asked = match needs_people(&claimed, &steps) {
                    true => shared.engine.asked(claimed.claim.run).await?,
                    false => Vec::new(),
                };
                Ok((version, steps, asked))
            })
            .await
            .and_then(|(version, rows, asked)| {
                let sent: HashMap<u32, Sent> = rows.iter().map(sent).collect::<Result<_, _>>()?;
                let mut journal = journal(&claimed, &rows)?;
                journal.asked = decisions(&asked, claimed.resumed_fence)?;
                Ok((version, journal, sent))
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
            deadline_bound: if claimed.deadline_is_callers {
                Bound::Caller
            } else {
                Bound::Run
            },
            resumed_fence: claimed.resumed_fence,
            asked_at: claimed.wakes,
            sent,
            in_flight: InFlight::default(),
            admitted: HashMap::new(),
            gates_asked_at: 0,
            room: Mutex::default(),
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
        steps: steps(rows, claimed.resumed_fence)?,
        asked: Vec::new(),
        held_back: Vec::new(),
    })
}

/// Whether people may have been asked something about a run: a call is in doubt or waits, or something has woken it.
fn needs_people(claimed: &Claimed, steps: &[StepRow]) -> bool {
    let waits = |step: &StepRow| step.state == "unknown" || (step.state == "waiting" && step.attempt == 0);
    claimed.wakes > 0 || steps.iter().any(waits)
}

/// What people were asked, and what they decided.
pub(super) fn decisions(rows: &[AskedRow], resumed_fence: Fence) -> Result<Vec<Asked>, EngineError> {
    rows.iter().map(|row| asked(row, resumed_fence)).collect()
}

fn asked(row: &AskedRow, resumed_fence: Fence) -> Result<Asked, EngineError> {
    let what = |part: &str| format!("approval {}, {part}", row.id);
    let standing = match (row.state.as_str(), row.verb.as_deref()) {
        ("open", _) => Standing::Open,
        ("decided", Some(verb)) => Standing::Decided(Decision {
            verb: Verb::parse(verb).ok_or_else(|| unreadable(&what("verb"), &verb))?,
            actor: row.actor.clone().unwrap_or_default(),
            words: row.words.clone(),
            told: parsed(row.told.as_deref(), &what("result"))?,
        }),
        _ => Standing::Closed,
    };
    let about = row.step_seq.zip(row.attempt);
    Ok(Asked {
        id: row.id.to_string(),
        about: about
            .map(|(seq, attempt)| Ok::<_, EngineError>((number(seq)?, number(attempt)?)))
            .transpose()?,
        resumed_over: row.fence <= resumed_fence,
        standing,
    })
}

/// The steps in their order. A probe is of the turn of the call that it is about.
fn steps(rows: &[StepRow], resumed_fence: Fence) -> Result<Vec<Step>, EngineError> {
    let mut steps: Vec<Step> = Vec::with_capacity(rows.len());
    for row in rows {
        let mut read = step(row, resumed_fence)?;
        if let StepBody::Probe { of, .. } = &read.body {
            let probed = steps.iter().find(|step| step.seq == *of);
            read.turn = probed.map_or(0, |step| step.turn);
        }
        steps.push(read);
    }
    Ok(steps)
}

/// Where a probe stands: the step that it is about, its attempt, and how many probes of it there were before.
pub(super) fn probe_identity(of: u32, attempt: u32, earlier: usize) -> String {
    format!("{of}.{attempt}#{}", earlier + 1)
}

fn probed(identity: Option<&str>) -> Option<(u32, u32)> {
    let (about, _) = identity?.split_once('#')?;
    let (of, attempt) = about.split_once('.')?;
    Some((of.parse().ok()?, attempt.parse().ok()?))
}

fn unreadable(what: &str, error: &dyn std::fmt::Display) -> EngineError {
    EngineError::Unreadable(format!("{what}: {error}"))
}

/// What a column's JSON text says.
fn parsed<T: DeserializeOwned>(text: Option<&str>, what: &str) -> Result<Option<T>, EngineError> {
    let parse = |text| serde_json::from_str(text).map_err(|error| unreadable(what, &error));
    text.map(parse).transpose()
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
    #[cfg(feature = "planted-faults")]
    let state = crate::planted_fault::found(state);
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
            outcome: parsed(row.result.as_deref(), &what("result"))?,
        },
        "probe" => {
            let about = probed(row.identity.as_deref());
            let (of, attempt) = about.ok_or_else(|| unreadable(&what("identity"), &"no probe's"))?;
            StepBody::Probe {
                of,
                attempt,
                name: row.name.clone(),
                outcome: parsed(row.result.as_deref(), &what("result"))?,
            }
        }
        other => return Err(unreadable(&what("kind"), &other)),
    };
    let error: Option<StepError> = parsed(row.error.as_deref(), &what("error"))?;
    // Whether its breaker is still open is asked anew.
    let is_held = error.as_ref().is_some_and(|error| error.code == BREAKER_OPEN);
    Ok(Step {
        seq: number(row.seq)?,
        turn: number(row.turn)?,
        state,
        attempt: number(row.attempt)?,
        attempts_max: number(row.attempts_max)?,
        maybe_applied: row.maybe_applied,
        attempt_started_at: row.attempt_started_at.unwrap_or(row.budget_from),
        budget_from: row.budget_from,
        due_at: row.due_at.filter(|_| !is_held),
        error,
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
