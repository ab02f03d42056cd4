//! What a rule may say: mistakes are found before the first request.

use serde_json::{Value, value::RawValue};

use super::{Answer, Rule, Script, ScriptError};
use crate::{contract::is_tool_name, template};

/// The events a stream can be cut before.
const EVENTS: [&str; 7] = [
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "ping",
    "message_delta",
    "message_stop",
];

impl Script {
    /// Finds what could not be played.
    pub(crate) fn check(&self) -> Result<(), ScriptError> {
        if self.rules.is_empty() {
            return Err(ScriptError::Empty);
        }
        let mut always: Option<String> = None;
        for (index, rule) in self.rules.iter().enumerate() {
            let mistake = match &always {
                Some(earlier) => Err(format!("it is never reached, because {earlier} always applies")),
                None => check_rule(rule),
            };
            mistake.map_err(|mistake| ScriptError::Mistake {
                place: place(rule, index),
                mistake,
            })?;
            if rule.when == super::When::default() {
                always = Some(rule.label(index));
            }
        }
        Ok(())
    }
}

fn place(rule: &Rule, index: usize) -> String {
    match rule.line {
        Some(line) => format!("line {line} of the script, {}", rule.label(index)),
        None => rule.label(index),
    }
}

fn check_rule(rule: &Rule) -> Result<(), String> {
    if rule.when.turn == Some(0) {
        return Err("turns are counted from 1".to_owned());
    }
    if rule.when.times == Some(0) {
        return Err("`times = 0` would never apply".to_owned());
    }
    let answer = &rule.answer;
    check_ending(answer)?;
    if answer.error.is_some() {
        return check_error(answer);
    }
    check_content(answer)
}

/// At most one way of ending badly.
fn check_ending(answer: &Answer) -> Result<(), String> {
    let endings = [
        answer.cut_after.is_some(),
        answer.cut_before.is_some(),
        answer.error_event.is_some(),
    ];
    if endings.into_iter().filter(|&given| given).count() > 1 {
        return Err("only one of `cut_after`, `cut_before` and `error_event` can happen".to_owned());
    }
    match &answer.cut_before {
        Some(event) if !EVENTS.contains(&event.as_str()) => Err(format!(
            "`cut_before = \"{event}\"` names no event; there are {}",
            EVENTS.join(", ")
        )),
        Some(_) | None => Ok(()),
    }
}

fn check_error(answer: &Answer) -> Result<(), String> {
    let Answer {
        thinking,
        text,
        raw,
        calls,
        stop_reason,
        stop_details,
        ..
    } = answer;
    let has_content = thinking.is_some() || text.is_some() || !raw.is_empty() || !calls.is_empty();
    let has_ending = answer.cut_after.is_some() || answer.cut_before.is_some() || answer.error_event.is_some();
    if has_content || stop_reason.is_some() || stop_details.is_some() || has_ending {
        return Err("an answer with `error` can have nothing else but `delay_ms`".to_owned());
    }
    match answer.error.as_ref().map(|error| error.status) {
        Some(status) if !(400..600).contains(&status) => Err(format!("status {status} is not an error (400 to 599)")),
        Some(_) | None => Ok(()),
    }
}

fn check_content(answer: &Answer) -> Result<(), String> {
    let Answer {
        thinking,
        text,
        raw,
        calls,
        ..
    } = answer;
    let empty = thinking.is_none() && text.is_none() && raw.is_empty() && calls.is_empty();
    if empty && answer.stop_reason.is_none() {
        return Err("it answers nothing; give text, calls, raw, thinking or error, \
                    or a stop_reason if an empty answer is meant"
            .to_owned());
    }
    for text in [thinking, text].into_iter().flatten() {
        template::check(text)?;
    }
    for block in raw {
        check_raw(block)?;
    }
    for (index, call) in calls.iter().enumerate() {
        if !is_tool_name(&call.name) {
            return Err(format!(
                "`{}` is not a tool name (letters, digits, _ and -, at most 64)",
                call.name
            ));
        }
        if call.id.is_some() && calls[..index].iter().any(|earlier| earlier.id == call.id) {
            return Err("two calls have the same id".to_owned());
        }
        call.input.values().try_for_each(check_value)?;
    }
    // The next request of a paused turn ends with this message, which is only allowed while a server tool is at work.
    if answer.stop_reason() == "pause_turn" && !raw.iter().any(|block| block.contains("server_tool_use")) {
        return Err("`pause_turn` needs a raw block of type server_tool_use: the API pauses nothing else".to_owned());
    }
    Ok(())
}

fn check_raw(block: &str) -> Result<(), String> {
    let parsed: &RawValue =
        serde_json::from_str(block).map_err(|error| format!("a raw block is not JSON: {error}: {block}"))?;
    let value: Value = serde_json::from_str(parsed.get()).map_err(|error| error.to_string())?;
    match value.get("type").and_then(Value::as_str) {
        Some(_) => Ok(()),
        None => Err(format!("a raw block must be an object with a `type`: {block}")),
    }
}

fn check_value(value: &Value) -> Result<(), String> {
    match value {
        Value::String(text) => template::check(text),
        Value::Array(items) => items.iter().try_for_each(check_value),
        Value::Object(fields) if fields.keys().any(|key| key.starts_with("$__toml")) => {
            Err("JSON has no dates; put the date in quotes".to_owned())
        }
        Value::Object(fields) => fields.values().try_for_each(check_value),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}
