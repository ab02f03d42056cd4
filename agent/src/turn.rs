//! What a complete reply of a model means for its turn.
//!
//! Reactions to stop reasons: Claude Messages API, "Handling stop reasons". An unknown one is kept and waits for a person.

use crate::definition::Agent;
use crate::error::{ErrorClass, StepError};
use crate::journal::{Journal, ModelReply, StepBody, StepState};
use crate::tool::ToolCall;
use crate::wire::messages::{Role, history_messages, text_of, tool_calls};
use std::collections::HashSet;

#[cfg(test)]
mod tests;

/// Pauses of the provider's own tool loop that one run may send back.
pub const PAUSES_MAX: usize = 10;
/// Empty answers that one run is asked to go on from: a known quirk right after tool results.
pub const EMPTY_ANSWERS_MAX: usize = 1;

/// What a reply asks for.
#[derive(Debug, Clone)]
pub enum Turn {
    /// Run these calls and answer them all.
    Calls(Vec<ToolCall>),
    /// Send the content back and let the model go on.
    Paused,
    /// Nothing was said.
    Empty,
    /// The answer.
    Answer(String),
}

/// Whether tools are switched off in that turn: on the last one that the limits allow the model must answer.
pub fn tools_off(agent: &Agent, turn: u32) -> bool {
    !agent.tools.is_empty() && turn >= agent.limits.turns_max
}

/// Reads a reply that has just come: as [`read`], and no call of it may have the id of an earlier one of the conversation.
/// The provider refuses a conversation with two, so once such a call is made, its result could never be told.
///
/// # Errors
/// As [`read`].
pub fn accept(agent: &Agent, journal: &Journal, (turn, reply): (u32, &ModelReply)) -> Result<Turn, StepError> {
    let read = read(agent, turn, reply)?;
    let calls = tool_calls(&reply.content);
    if calls.is_empty() {
        return Ok(read);
    }
    let earlier = earlier_ids(journal);
    match calls.iter().find(|call| earlier.contains(&call.id)) {
        Some(call) => Err(permanent(
            "malformed_reply",
            format!(
                "a call of the reply has the id {:?} of an earlier call; it was not run",
                call.id
            ),
        )),
        None => Ok(read),
    }
}

/// The ids of all calls that the model is shown, those of an earlier conversation included.
fn earlier_ids(journal: &Journal) -> HashSet<String> {
    let history = history_messages(&journal.history).unwrap_or_default();
    let told = history
        .iter()
        .filter(|message| message.role == Role::Assistant)
        .map(|message| &*message.content);
    let replies = journal.steps.iter().filter_map(|step| match &step.body {
        StepBody::Model { reply: Some(reply) } if step.state == StepState::Succeeded => Some(&*reply.content),
        StepBody::Model { .. } | StepBody::Tool { .. } | StepBody::Probe { .. } => None,
    });
    told.chain(replies).flat_map(tool_calls).map(|call| call.id).collect()
}

/// Reads a reply. An error fails the model step; calls of such a turn never run.
///
/// # Errors
/// `max_tokens`, `context_window_exceeded`, `refusal`, `unknown_stop_reason`, `tools_were_off`, `malformed_reply`.
pub fn read(agent: &Agent, turn: u32, reply: &ModelReply) -> Result<Turn, StepError> {
    let calls = tool_calls(&reply.content);
    match reply.stop_reason.as_deref() {
        // Their results could not be told apart, and the provider would refuse them once the calls are made.
        Some("tool_use" | "end_turn" | "stop_sequence" | "pause_turn") if has_twins(&calls) => {
            Err(permanent("malformed_reply", "two calls of the reply have the same id"))
        }
        Some("tool_use" | "end_turn") if !calls.is_empty() => {
            if tools_off(agent, turn) {
                return Err(permanent(
                    "tools_were_off",
                    "the model called tools although they were switched off",
                )
                .suggest("this was the last turn that limits.turns_max allows; raise it and start a new run"));
            }
            Ok(Turn::Calls(calls))
        }
        Some("tool_use") => Err(permanent(
            "malformed_reply",
            "the model stopped for tools but called none",
        )),
        Some("end_turn" | "stop_sequence") => {
            let text = text_of(&reply.content);
            Ok(if text.trim().is_empty() {
                Turn::Empty
            } else {
                Turn::Answer(text)
            })
        }
        Some("pause_turn") => Ok(Turn::Paused),
        Some("max_tokens") => Err(
            permanent("max_tokens", "the reply was cut at max_tokens; its calls were not run")
                .suggest("raise model.max_tokens in the agent file, apply it and start a new run"),
        ),
        Some("model_context_window_exceeded") => Err(permanent(
            "context_window_exceeded",
            "the conversation no longer fits the model's context window; calls of the cut reply were not run",
        )
        .suggest("use a model with a larger window, or have tools return less")),
        Some("refusal") => Err(permanent("refusal", refusal_message(reply))
            .suggest("the same prompt is not sent again by itself; change the prompt or the model")),
        other => Err(StepError::new(
            ErrorClass::Unknown,
            "unknown_stop_reason",
            format!("the model stopped with {other:?}, which this release does not know; its reply is kept as it came"),
        )
        .suggest("look at the reply; resume the run to call the model again, or cancel it")),
    }
}

fn has_twins(calls: &[ToolCall]) -> bool {
    let mut ids = HashSet::new();
    !calls.iter().all(|call| ids.insert(call.id.as_str()))
}

fn permanent(code: &str, message: impl Into<String>) -> StepError {
    StepError::new(ErrorClass::Permanent, code, message)
}

fn refusal_message(reply: &ModelReply) -> String {
    let category = reply
        .stop_details
        .as_ref()
        .and_then(|details| serde_json::from_str::<serde_json::Value>(details.get()).ok())
        .and_then(|details| details.get("category")?.as_str().map(str::to_owned));
    category.map_or_else(
        || "the model refused".to_owned(),
        |category| format!("the model refused ({category})"),
    )
}
