//! What the model is shown, rebuilt from the journal.
//!
//! Each message is recorded once; a request is put together anew for every turn. Assistant content goes back byte for
//! byte, but for blank text, which the provider gives and does not take. Every call of a turn is answered by exactly one result, in one user message, in the order asked, and results
//! stand before any text. A call whose record is missing gets an honest error.

use crate::definition::Agent;
use crate::error::{ErrorClass, StepError};
use crate::journal::{Journal, ModelReply, StepBody, StepState, ToolOutcome};
use crate::next_action::{cut_call, lost_call};
use crate::wire::messages::{Message, Role, history_messages, tool_calls};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use std::borrow::Cow;

#[cfg(test)]
mod tests;

/// Said once where the model answers nothing right after tool results.
const GO_ON: &str = "Please continue.";

/// Rebuilds the messages of the next request.
///
/// # Errors
/// `invalid_history` where an earlier conversation cannot be sent.
pub fn transcript(agent: &Agent, journal: &Journal) -> Result<Vec<Message>, StepError> {
    let mut draft = Draft {
        summarises: agent.summarise_failures,
        ..Draft::default()
    };
    let history = history_messages(&journal.history).map_err(|error| invalid_history(error.to_string()))?;
    for message in history {
        match message.role {
            Role::Assistant if draft.is_empty() => {
                return Err(invalid_history("the earlier conversation does not begin with its user"));
            }
            Role::Assistant => {
                draft.assistant(&message.content);
            }
            Role::User => draft.user(&message.content)?,
        }
    }
    draft.user.push(text_block(&input_text(&journal.input)));
    for step in &journal.steps {
        let StepBody::Model { reply: Some(reply) } = &step.body else {
            continue;
        };
        if step.state == StepState::Succeeded {
            draft.turn(journal, step.turn, reply);
        }
    }
    Ok(draft.finish())
}

fn invalid_history(message: impl Into<String>) -> StepError {
    StepError::new(ErrorClass::Permanent, "invalid_history", message)
        .suggest("start a new run with a conversation of {role, content} messages")
}

/// A run's input as its first message: a string as it is, anything else as its JSON text.
pub fn input_text(input: &RawValue) -> String {
    serde_json::from_str::<String>(input.get()).unwrap_or_else(|_| input.get().to_owned())
}

/// The text that tells the model of a failed call.
pub fn error_outcome(error: &StepError) -> ToolOutcome {
    let mut told = json!({
        "status": "error",
        "error_type": error.class.as_str(),
        "code": error.code,
        "message": error.message,
    });
    if let Some(suggestion) = &error.suggestion {
        told["suggestion"] = json!(suggestion);
    }
    if let Some(limit) = &error.limit {
        told["bound_by"] = json!(limit.bound_by);
        told["timeout_ms"] = json!(limit.timeout_ms);
    }
    ToolOutcome {
        content: told.to_string(),
        is_error: true,
        ..ToolOutcome::default()
    }
}

/// A conversation under construction. Results that are owed are paid before anything else is said.
#[derive(Default)]
struct Draft {
    messages: Vec<Message>,
    /// Blocks of the user message that is being collected, as they came.
    user: Vec<Value>,
    /// Calls of the last assistant message, until the message that answers them is closed.
    owed: Vec<String>,
    /// Whether the model is told that most calls of a turn failed.
    summarises: bool,
}

impl Draft {
    const fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.user.is_empty()
    }

    /// The ids of the calls that are owed a result now.
    fn assistant(&mut self, content: &RawValue) -> Vec<String> {
        let Some(content) = sendable(content) else {
            return Vec::new();
        };
        self.close_user();
        self.owed = tool_calls(&content).into_iter().map(|call| call.id).collect();
        self.messages.push(Message {
            role: Role::Assistant,
            content: content.into_owned(),
        });
        self.owed.clone()
    }

    /// A user message of an earlier conversation. One that answers as the provider wants it is kept as it came.
    fn user(&mut self, content: &RawValue) -> Result<(), StepError> {
        let blocks = match serde_json::from_str::<Value>(content.get()) {
            Ok(Value::Array(blocks)) => blocks,
            Ok(Value::String(text)) => vec![text_block(&text)],
            Ok(_) | Err(_) => return Err(invalid_history("a message of the earlier conversation cannot be read")),
        };
        let results = blocks.iter().take_while(|block| is_result(block)).count();
        let (answers, rest) = blocks.split_at(results);
        let is_sound = answers.iter().map(|block| &block["tool_use_id"]).eq(&self.owed)
            && !rest.iter().any(|block| is_result(block) || is_blank(block))
            && !blocks.is_empty();
        if is_sound && self.user.is_empty() {
            self.owed.clear();
            self.messages.push(Message {
                role: Role::User,
                content: content.to_owned(),
            });
        } else {
            self.user.extend(blocks.into_iter().filter(|block| !is_blank(block)));
        }
        Ok(())
    }

    fn turn(&mut self, journal: &Journal, turn: u32, reply: &ModelReply) {
        let calls = self.assistant(&reply.content);
        let stop_reason = reply.stop_reason.as_deref();
        if calls.is_empty() && stop_reason != Some("pause_turn") {
            self.user.push(text_block(GO_ON));
        }
        let mut failed = 0;
        for (id, index) in calls.iter().zip(0..) {
            let recorded = journal.call_step(turn, index).and_then(|step| match &step.body {
                StepBody::Tool { outcome, .. } if step.state.has_ended() => outcome.clone(),
                StepBody::Tool { .. } | StepBody::Model { .. } | StepBody::Probe { .. } => None,
            });
            let outcome = recorded.unwrap_or_else(|| {
                error_outcome(&match stop_reason {
                    Some("tool_use" | "end_turn") => lost_call(),
                    other => cut_call(other),
                })
            });
            failed += usize::from(outcome.is_error);
            self.user.push(result_block(id, &outcome));
        }
        // While a tool of the provider's own is at work, nothing but results may come between.
        let is_alone = !reply.content.get().contains("\"server_tool_use\"");
        if let (true, Some(summary)) = (self.summarises && is_alone, summary_of(calls.len(), failed)) {
            self.user.push(text_block(&summary));
        }
    }

    /// One result for each call in the order asked, then the rest. A result that nobody asked for would be refused by the
    /// provider and is left out.
    fn close_user(&mut self) {
        let (mut results, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.user).into_iter().partition(is_result);
        let mut blocks = Vec::with_capacity(self.owed.len() + rest.len());
        for id in std::mem::take(&mut self.owed) {
            let given = results.iter().position(|block| block["tool_use_id"] == id.as_str());
            blocks.push(match given {
                Some(position) => results.swap_remove(position),
                None => result_block(&id, &error_outcome(&lost_call())),
            });
        }
        blocks.extend(rest);
        if blocks.is_empty() {
            return;
        }
        if let Ok(content) = to_raw_value(&blocks) {
            self.messages.push(Message {
                role: Role::User,
                content,
            });
        }
    }

    fn finish(mut self) -> Vec<Message> {
        self.close_user();
        self.messages
    }
}

/// An assistant message as the provider takes it back: without blank text, and not at all if nothing but thinking is
/// left. Every block that is sent is the text it came as.
fn sendable(content: &RawValue) -> Option<Cow<'_, RawValue>> {
    #[derive(Deserialize)]
    struct Shape {
        #[serde(rename = "type")]
        kind: String,
        text: Option<String>,
    }
    if let Ok(text) = serde_json::from_str::<String>(content.get()) {
        return (!text.trim().is_empty()).then_some(Cow::Borrowed(content));
    }
    let Ok(blocks) = serde_json::from_str::<Vec<&RawValue>>(content.get()) else {
        return Some(Cow::Borrowed(content));
    };
    let shapes: Vec<Option<Shape>> = blocks
        .iter()
        .map(|block| serde_json::from_str(block.get()).ok())
        .collect();
    let is_kind = |shape: &Option<Shape>, kinds: &[&str]| {
        shape.as_ref().is_some_and(|shape| kinds.contains(&shape.kind.as_str()))
    };
    let is_blank = |shape: &Option<Shape>| {
        let text = shape.as_ref().and_then(|shape| shape.text.as_deref());
        is_kind(shape, &["text"]) && text.is_none_or(|text| text.trim().is_empty())
    };
    let says_something =
        |shape: &Option<Shape>| !is_blank(shape) && !is_kind(shape, &["thinking", "redacted_thinking"]);
    if !shapes.iter().any(says_something) {
        return None;
    }
    if !shapes.iter().any(is_blank) {
        return Some(Cow::Borrowed(content));
    }
    let kept: Vec<&&RawValue> = blocks
        .iter()
        .zip(&shapes)
        .filter(|(_, shape)| !is_blank(shape))
        .map(|(block, _)| block)
        .collect();
    Some(to_raw_value(&kept).map_or(Cow::Borrowed(content), Cow::Owned))
}

/// What the model is told where more than half of a turn's calls failed.
fn summary_of(calls: usize, failed: usize) -> Option<String> {
    (calls >= 2 && 2 * failed > calls).then(|| {
        let done = calls - failed;
        format!(
            "{failed} of the {calls} calls of this turn failed, {done} did not. Retry those whose errors say that it may \
             help; otherwise approximate the answer from what there is, and say what is missing and why."
        )
    })
}

fn is_result(block: &Value) -> bool {
    block["type"] == "tool_result"
}

/// Text that the provider would refuse.
fn is_blank(block: &Value) -> bool {
    block["type"] == "text" && block["text"].as_str().is_none_or(|text| text.trim().is_empty())
}

fn text_block(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn result_block(id: &str, outcome: &ToolOutcome) -> Value {
    let mut block = json!({"type": "tool_result", "tool_use_id": id, "content": outcome.content});
    if let (true, Some(block)) = (outcome.is_error, block.as_object_mut()) {
        block.insert("is_error".to_owned(), Value::Bool(true));
    }
    block
}
