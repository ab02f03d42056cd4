//! A call as the model asked for it, on its way into a step.

use agent::definition::Tool;
use agent::tool::{ToolCall, ToolRequest};
use agent::{Effect, StepBody, ToolOutcome};
use engine::payload;
use serde_json::json;

/// A call as the model asked for it.
pub(super) struct Wanted {
    pub(super) turn: u32,
    pub(super) index: u32,
    pub(super) call: ToolCall,
    pub(super) replaces: Option<u32>,
}

impl Wanted {
    /// What answers it, by a call of that tool.
    pub(super) fn body(&self, tool: &Tool, outcome: Option<ToolOutcome>) -> StepBody {
        self.body_of((&tool.name, tool.effect), outcome)
    }

    pub(super) fn body_of(&self, (name, effect): (&str, Effect), outcome: Option<ToolOutcome>) -> StepBody {
        StepBody::Tool {
            index: self.index,
            call_id: storable(&self.call.id),
            name: name.to_owned(),
            effect,
            outcome,
        }
    }
}

/// What all attempts of a call are known by.
pub(super) fn digest_of(request: &ToolRequest) -> Vec<u8> {
    payload::digest(&json!(request).to_string())
}

/// Text of a model as a text column takes it: no NUL, and no longer than a name is shown.
pub(super) fn storable(name: &str) -> String {
    name.chars()
        .take(256)
        .map(|letter| {
            if letter == '\0' {
                char::REPLACEMENT_CHARACTER
            } else {
                letter
            }
        })
        .collect()
}
