//! The text that a version of an agent is known by.

use super::{Agent, Tool};
use serde_json::Value;

/// The normalised JSON text of a definition: what is stored, and what the version's digest is the SHA-256 of. Keys of
/// maps are in order whichever way they were written or `serde_json` was built.
pub fn digest_text(agent: &Agent) -> String {
    #[expect(
        clippy::expect_used,
        reason = "text keys and finite numbers only: see the property test"
    )]
    let value = serde_json::to_value(agent).expect("an agent is JSON");
    canonical_text(&value)
}

/// The text that a version of a tool is known by: results are told again only of the version that gave them.
pub fn tool_text(tool: &Tool) -> String {
    #[expect(clippy::expect_used, reason = "text keys and finite numbers only, as in an agent")]
    let value = serde_json::to_value(tool).expect("a tool is JSON");
    canonical_text(&value)
}

/// A value's JSON text with every object's keys in order and no spaces.
pub(crate) fn canonical_text(value: &Value) -> String {
    let mut text = String::new();
    push(&mut text, value);
    text
}

fn push(text: &mut String, value: &Value) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                push_comma(text, index);
                push(text, item);
            }
            text.push(']');
        }
        Value::Object(fields) => {
            let mut sorted: Vec<(&String, &Value)> = fields.iter().collect();
            sorted.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (index, (name, field)) in sorted.into_iter().enumerate() {
                push_comma(text, index);
                text.push_str(&Value::String(name.clone()).to_string());
                text.push(':');
                push(text, field);
            }
            text.push('}');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => text.push_str(&value.to_string()),
    }
}

fn push_comma(text: &mut String, index: usize) {
    if index > 0 {
        text.push(',');
    }
}

#[cfg(test)]
mod tests;
