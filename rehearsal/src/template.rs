//! Placeholders in answers, so that one script serves many runs.
//!
//! `{{first_user_text}}`, `{{turn}}`, `{{input}}` and `{{input.order_id}}`, where `input` is the JSON in the first user
//! message: the whole text, or the first object in it. A string that is one placeholder and nothing else takes the
//! type of what it names, so a number stays a number.

use serde_json::{Map, Value};

use crate::conversation::Conversation;

#[cfg(test)]
mod tests;

/// Finds placeholders that nothing could fill.
pub(crate) fn check(text: &str) -> Result<(), String> {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("{{") {
        let (name, tail) = after
            .split_once("}}")
            .ok_or_else(|| format!("a `{{{{` without `}}}}` in: {text}"))?;
        let name = name.trim();
        let known = matches!(name, "first_user_text" | "turn" | "input") || name.starts_with("input.");
        if !known {
            return Err(format!(
                "unknown placeholder {{{{{name}}}}}; there are first_user_text, turn, input and input.<path>"
            ));
        }
        rest = tail;
    }
    Ok(())
}

/// What placeholders stand for in one conversation.
pub(crate) struct Values {
    first_user_text: String,
    turn: usize,
    input: Option<Value>,
}

impl Values {
    pub(crate) fn of(conversation: Conversation<'_>) -> Self {
        let first_user_text = conversation.first_user_text();
        let input = json_in(&first_user_text);
        Self {
            first_user_text,
            turn: conversation.turn(),
            input,
        }
    }

    /// Fills the placeholders of a text.
    pub(crate) fn fill(&self, text: &str) -> Result<String, String> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((name, tail)) = after.split_once("}}") else {
                break;
            };
            filled.push_str(before);
            let value = self.look_up(name.trim())?;
            match value.as_str() {
                Some(text) => filled.push_str(text),
                None => filled.push_str(&value.to_string()),
            }
            rest = tail;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    /// Fills the placeholders of a call's input.
    pub(crate) fn fill_input(&self, input: &Map<String, Value>) -> Result<Map<String, Value>, String> {
        input
            .iter()
            .map(|(key, value)| Ok((key.clone(), self.fill_value(value)?)))
            .collect()
    }

    fn fill_value(&self, value: &Value) -> Result<Value, String> {
        match value {
            Value::String(text) => match lone_placeholder(text) {
                Some(name) => self.look_up(name),
                None => self.fill(text).map(Value::String),
            },
            Value::Array(items) => items.iter().map(|item| self.fill_value(item)).collect(),
            Value::Object(fields) => self.fill_input(fields).map(Value::Object),
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(value.clone()),
        }
    }

    fn look_up(&self, name: &str) -> Result<Value, String> {
        match name {
            "first_user_text" => return Ok(Value::String(self.first_user_text.clone())),
            "turn" => return Ok(Value::from(self.turn)),
            _ => {}
        }
        let input = self
            .input
            .as_ref()
            .ok_or_else(|| format!("{{{{{name}}}}}: the first user message holds no JSON"))?;
        let Some(path) = name.strip_prefix("input.") else {
            return Ok(input.clone());
        };
        let pointer = format!("/{}", path.replace('.', "/"));
        let found = input.pointer(&pointer).cloned();
        found.ok_or_else(|| format!("{{{{{name}}}}}: the JSON of the first user message has no such field"))
    }
}

fn lone_placeholder(text: &str) -> Option<&str> {
    let name = text.strip_prefix("{{")?.strip_suffix("}}")?;
    (!name.contains("{{") && !name.contains("}}")).then(|| name.trim())
}

fn json_in(text: &str) -> Option<Value> {
    if let Ok(value) = serde_json::from_str(text) {
        return Some(value);
    }
    let start = text.find('{')?;
    serde_json::Deserializer::from_str(&text[start..])
        .into_iter()
        .next()?
        .ok()
}
