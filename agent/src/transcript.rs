//! What the model is shown, rebuilt from the journal.
//!
//! Each message is recorded once; a request is put together anew for every turn. Assistant content goes back byte for
//! byte. Every call of a turn is answered by exactly one result, in one user message, in the order asked, and results
//! stand before any text. A call whose record is missing gets an honest error.

use crate::error::{ErrorClass, StepError};
use crate::journal::{Journal, ModelReply, StepBody, StepState, ToolOutcome};
use crate::next_action::lost_call;
use crate::wire::messages::{Message, Role, history_messages, tool_calls};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use std::collections::HashSet;

#[cfg(test)]
mod tests;

/// Said once where the model answers nothing right after tool results.
const GO_ON: &str = "Please continue.";

/// Rebuilds the messages of the next request.
///
/// # Errors
/// `invalid_history` where an earlier conversation cannot be sent.
pub fn transcript(journal: &Journal) -> Result<Vec<Message>, StepError> {
    let mut draft = Draft::default();
    let history = history_messages(&journal.history).map_err(|error| {
        StepError::new(ErrorClass::Permanent, "invalid_history", error.to_string())
            .suggest("start a new run with a conversation of {role, content} messages")
    })?;
    for message in history {
        match message.role {
            Role::Assistant => draft.assistant(&message.content),
            Role::User => draft.user(&message.content)?,
        }
    }
    draft.user_block(text_block(&input_text(&journal.input)));
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
    if let (Some(suggestion), Some(told)) = (&error.suggestion, told.as_object_mut()) {
        told.insert("suggestion".to_owned(), json!(suggestion));
    }
    ToolOutcome {
        content: told.to_string(),
        is_error: true,
        notes: Vec::new(),
    }
}

/// A conversation under construction. Results that are still owed are paid before anything else is said.
#[derive(Default)]
struct Draft {
    messages: Vec<Message>,
    /// Blocks of the user message that is being collected.
    user: Vec<Value>,
    /// Calls of the last assistant message that have no result yet.
    owed: Vec<String>,
}

impl Draft {
    fn assistant(&mut self, content: &RawValue) {
        self.close_user();
        self.owed = tool_calls(content).into_iter().map(|call| call.id).collect();
        self.messages.push(Message {
            role: Role::Assistant,
            content: content.to_owned(),
        });
    }

    /// A user message of an earlier conversation. One that answers every call, or has none to answer, is kept as it came.
    fn user(&mut self, content: &RawValue) -> Result<(), StepError> {
        let blocks = match serde_json::from_str::<Value>(content.get()) {
            Ok(Value::Array(blocks)) => blocks,
            Ok(Value::String(text)) => vec![text_block(&text)],
            Ok(_) | Err(_) => {
                return Err(StepError::new(
                    ErrorClass::Permanent,
                    "invalid_history",
                    "a message of the earlier conversation cannot be read",
                ));
            }
        };
        let is_result = |block: &&Value| block["type"] == "tool_result";
        let answered: HashSet<&str> = blocks
            .iter()
            .filter(is_result)
            .filter_map(|b| b["tool_use_id"].as_str())
            .collect();
        let whole = self.owed.iter().all(|id| answered.contains(id.as_str())) && answered.len() == self.owed.len();
        if whole && self.user.is_empty() {
            self.owed.clear();
            self.messages.push(Message {
                role: Role::User,
                content: content.to_owned(),
            });
            return Ok(());
        }
        let owed = std::mem::take(&mut self.owed);
        for id in &owed {
            let given = blocks
                .iter()
                .filter(is_result)
                .find(|block| block["tool_use_id"] == id.as_str());
            self.user.push(
                given
                    .cloned()
                    .unwrap_or_else(|| result_block(id, &error_outcome(&lost_call()))),
            );
        }
        // A result that nobody asked for would be refused by the provider.
        self.user
            .extend(blocks.iter().filter(|block| !is_result(block)).cloned());
        Ok(())
    }

    fn user_block(&mut self, block: Value) {
        self.pay_owed();
        self.user.push(block);
    }

    fn turn(&mut self, journal: &Journal, turn: u32, reply: &ModelReply) {
        if !is_empty(&reply.content) {
            self.assistant(&reply.content);
        }
        let owed = std::mem::take(&mut self.owed);
        if owed.is_empty() && reply.stop_reason.as_deref() != Some("pause_turn") {
            self.user_block(text_block(GO_ON));
        }
        for (id, index) in owed.iter().zip(0..) {
            let outcome = journal.call_step(turn, index).and_then(|step| match &step.body {
                StepBody::Tool { outcome, .. } if step.state.has_ended() => outcome.clone(),
                StepBody::Tool { .. } | StepBody::Model { .. } => None,
            });
            let outcome = outcome.unwrap_or_else(|| error_outcome(&lost_call()));
            self.user.push(result_block(id, &outcome));
        }
    }

    fn pay_owed(&mut self) {
        for id in std::mem::take(&mut self.owed) {
            self.user.push(result_block(&id, &error_outcome(&lost_call())));
        }
    }

    fn close_user(&mut self) {
        self.pay_owed();
        if self.user.is_empty() {
            return;
        }
        let blocks = std::mem::take(&mut self.user);
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

fn is_empty(content: &RawValue) -> bool {
    serde_json::from_str::<Vec<&RawValue>>(content.get()).is_ok_and(|blocks| blocks.is_empty())
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
