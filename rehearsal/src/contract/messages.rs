//! The messages: roles, content, and each tool call answered at once, once, and first.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{Judgement, Refusal, VERSION_2026, is_tool_name, is_word, only_fields, text};
use crate::{limits::MESSAGES_MAX, perform};

/// What may stand in a user message.
const USER_BLOCKS: [&str; 7] = [
    "text",
    "image",
    "document",
    "search_result",
    "tool_result",
    "container_upload",
    "tool_reference",
];
/// What may not stand in an assistant message; what nobody knows may.
const NOT_ASSISTANT_BLOCKS: [&str; 2] = ["tool_result", "image"];
/// What may stand in a tool result.
const RESULT_BLOCKS: [&str; 6] = [
    "text",
    "image",
    "document",
    "search_result",
    "tool_reference",
    "browser_state",
];

const TEXT_FIELDS: [&str; 4] = ["type", "text", "citations", "cache_control"];
const CALL_FIELDS: [&str; 7] = ["type", "id", "name", "input", "cache_control", "caller", "toolset_name"];
const RESULT_FIELDS: [&str; 6] = [
    "type",
    "tool_use_id",
    "content",
    "is_error",
    "cache_control",
    "toolset_name",
];

pub(super) fn judge(body: &Map<String, Value>, version: &str) -> Judgement {
    let messages = body
        .get("messages")
        .ok_or_else(|| Refusal::invalid("messages: Field required"))?;
    let messages = messages
        .as_array()
        .ok_or_else(|| Refusal::invalid("messages: Input should be a valid list"))?;
    if messages.is_empty() {
        return Err(Refusal::invalid("messages: at least one message is required"));
    }
    if messages.len() > MESSAGES_MAX {
        return Err(Refusal::invalid(format!(
            "messages: at most {MESSAGES_MAX} messages are permitted"
        )));
    }
    let mut calls_seen = HashSet::new();
    for (index, message) in messages.iter().enumerate() {
        judge_message(index, message, version)?;
        for id in ids(message, "tool_use", "id") {
            if !calls_seen.insert(id) {
                return Err(Refusal::invalid(format!(
                    "messages.{index}: `tool_use` ids must be unique, {id} is not"
                )));
            }
        }
        let before = index.checked_sub(1).and_then(|before| messages.get(before));
        judge_answers(index, before, message)?;
    }
    let has_tools = body
        .get("tools")
        .and_then(Value::as_array)
        .is_some_and(|tools| !tools.is_empty());
    if !calls_seen.is_empty() && !has_tools {
        return Err(Refusal::invalid(
            "requests which include `tool_use` or `tool_result` blocks must define tools",
        ));
    }
    judge_first_and_last(messages)
}

fn judge_first_and_last(messages: &[Value]) -> Judgement {
    if messages.first().is_some_and(|first| first["role"] != "user") {
        return Err(Refusal::invalid("messages: first message must use the \"user\" role"));
    }
    let Some((index, last)) = messages.len().checked_sub(1).zip(messages.last()) else {
        return Ok(());
    };
    if last["role"] != "assistant" {
        return Ok(());
    }
    let unanswered: Vec<&str> = ids(last, "tool_use", "id").collect();
    if !unanswered.is_empty() {
        return Err(missing_results(index, &unanswered));
    }
    // Only a turn that a server tool paused may be sent back as the last message.
    if ids(last, "server_tool_use", "id").next().is_none() {
        return Err(Refusal::invalid(
            "this model does not support assistant message prefill; the conversation must end with a user message",
        ));
    }
    Ok(())
}

fn judge_message(index: usize, message: &Value, version: &str) -> Judgement {
    let place = format!("messages.{index}");
    let object = message
        .as_object()
        .ok_or_else(|| Refusal::invalid(format!("{place}: must be an object")))?;
    let role = text(&format!("{place}."), object, "role")?;
    if !matches!(role, "user" | "assistant") && (role != "system" || version != VERSION_2026) {
        return Err(Refusal::invalid(format!("{place}.role: unexpected role \"{role}\"")));
    }
    only_fields(&format!("{place}."), object, &["role", "content"])?;
    match object.get("content") {
        None => Err(Refusal::invalid(format!("{place}.content: Field required"))),
        Some(Value::String(content)) if content.trim().is_empty() => Err(Refusal::invalid(format!(
            "{place}: all messages must have non-empty content"
        ))),
        Some(Value::String(_)) => Ok(()),
        Some(Value::Array(blocks)) if blocks.is_empty() => Err(Refusal::invalid(format!(
            "{place}: all messages must have non-empty content"
        ))),
        Some(Value::Array(blocks)) => blocks.iter().enumerate().try_for_each(|(at, block)| {
            let scene = BlockPlace {
                place: format!("{place}.content.{at}"),
                role,
                version,
            };
            scene.judge_block(block)
        }),
        Some(_) => Err(Refusal::invalid(format!(
            "{place}.content: must be a string or a list of blocks"
        ))),
    }
}

/// Where a block stands.
struct BlockPlace<'a> {
    place: String,
    role: &'a str,
    version: &'a str,
}

impl BlockPlace<'_> {
    fn judge_block(&self, block: &Value) -> Judgement {
        let object = block.as_object().ok_or_else(|| self.refuse("must be an object"))?;
        let kind = text(&format!("{}.", self.place), object, "type")?;
        let is_user = self.role != "assistant";
        if is_user && !USER_BLOCKS.contains(&kind) {
            return Err(self.refuse(&format!("`{kind}` blocks cannot be in {} messages", self.role)));
        }
        let barred = NOT_ASSISTANT_BLOCKS.contains(&kind) || (kind == "document" && self.version == VERSION_2026);
        if !is_user && barred {
            return Err(self.refuse(&format!("`{kind}` blocks cannot be in assistant messages")));
        }
        match kind {
            "text" => self.judge_text(object, is_user),
            "tool_use" => self.judge_call(object),
            "tool_result" => self.judge_result(object),
            "thinking" => self.judge_thinking(block),
            _ => Ok(()),
        }
    }

    fn judge_text(&self, block: &Map<String, Value>, is_user: bool) -> Judgement {
        only_fields(&format!("{}.text.", self.place), block, &TEXT_FIELDS)?;
        let text = block
            .get("text")
            .and_then(Value::as_str)
            .ok_or_else(|| self.refuse("text: Field required"))?;
        if text.is_empty() {
            return Err(self.refuse("text content blocks must be non-empty"));
        }
        if text.trim().is_empty() {
            return Err(self.refuse("text content blocks must contain non-whitespace text"));
        }
        let cites = block
            .get("citations")
            .and_then(Value::as_array)
            .is_some_and(|list| !list.is_empty());
        if is_user && cites && self.version == VERSION_2026 {
            return Err(self.refuse("citations: must be empty in user messages"));
        }
        Ok(())
    }

    fn judge_call(&self, block: &Map<String, Value>) -> Judgement {
        let place = format!("{}.tool_use.", self.place);
        only_fields(&place, block, &CALL_FIELDS)?;
        if !is_word(text(&place, block, "id")?) {
            return Err(self.refuse("tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"));
        }
        if !is_tool_name(text(&place, block, "name")?) {
            return Err(self.refuse("tool_use.name: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'"));
        }
        match block.get("input") {
            Some(Value::Object(_)) => Ok(()),
            Some(_) => Err(self.refuse("tool_use.input: Input should be a valid dictionary")),
            None => Err(self.refuse("tool_use.input: Field required")),
        }
    }

    fn judge_result(&self, block: &Map<String, Value>) -> Judgement {
        let place = format!("{}.tool_result.", self.place);
        only_fields(&place, block, &RESULT_FIELDS)?;
        text(&place, block, "tool_use_id")?;
        if block.get("is_error").is_some_and(|flag| !flag.is_boolean()) {
            return Err(self.refuse("tool_result.is_error: Input should be a valid boolean"));
        }
        let blocks = match block.get("content") {
            None | Some(Value::String(_)) => return Ok(()),
            Some(Value::Array(blocks)) => blocks,
            Some(_) => return Err(self.refuse("tool_result.content: must be a string or a list of blocks")),
        };
        for inner in blocks {
            let kind = inner["type"].as_str().unwrap_or_default();
            if !RESULT_BLOCKS.contains(&kind) {
                return Err(self.refuse(&format!(
                    "tool_result.content: `{kind}` blocks cannot be in tool results"
                )));
            }
            if kind == "text" && inner["text"].as_str().is_none_or(str::is_empty) {
                return Err(self.refuse("tool_result.content: text content blocks must be non-empty"));
            }
        }
        Ok(())
    }

    fn judge_thinking(&self, block: &Value) -> Judgement {
        let thinking = block["thinking"]
            .as_str()
            .ok_or_else(|| self.refuse("thinking: Field required"))?;
        if block["signature"].as_str() != Some(&perform::signature_of(thinking)) {
            return Err(self.refuse("Invalid `signature` in `thinking` block: it must come back as it was sent"));
        }
        Ok(())
    }

    fn refuse(&self, message: &str) -> Refusal {
        Refusal::invalid(format!("{}: {message}", self.place))
    }
}

/// Each call of the message before is answered here, once, before anything else.
fn judge_answers(index: usize, before: Option<&Value>, message: &Value) -> Judgement {
    let calls: Vec<&str> = before
        .map(|before| ids(before, "tool_use", "id").collect())
        .unwrap_or_default();
    let mut answered = HashSet::new();
    for id in ids(message, "tool_result", "tool_use_id") {
        if !calls.contains(&id) {
            return Err(Refusal::invalid(format!(
                "messages.{index}: unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each `tool_result` \
                 block must have a corresponding `tool_use` block in the previous message"
            )));
        }
        if !answered.insert(id) {
            return Err(Refusal::invalid(format!(
                "messages.{index}: each tool_use must have a single result. Found multiple `tool_result` blocks with \
                 id: {id}"
            )));
        }
    }
    let unanswered: Vec<&str> = calls.into_iter().filter(|id| !answered.contains(id)).collect();
    if !unanswered.is_empty() {
        return Err(missing_results(index.saturating_sub(1), &unanswered));
    }
    let blocks = message["content"].as_array().map_or(&[][..], Vec::as_slice);
    let is_result = |block: &Value| block["type"] == "tool_result";
    if blocks.iter().skip_while(|block| is_result(block)).any(is_result) {
        return Err(Refusal::invalid(format!(
            "messages.{index}: `tool_result` blocks must come before other content"
        )));
    }
    Ok(())
}

fn missing_results(index: usize, ids: &[&str]) -> Refusal {
    Refusal::invalid(format!(
        "messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: {}. Each \
         `tool_use` block must have a corresponding `tool_result` block in the next message",
        ids.join(", ")
    ))
}

/// The ids in `field` of the blocks of one kind.
fn ids<'a>(message: &'a Value, kind: &'static str, field: &'static str) -> impl Iterator<Item = &'a str> {
    let blocks = message["content"].as_array().map_or(&[][..], Vec::as_slice);
    blocks
        .iter()
        .filter(move |block| block["type"] == kind)
        .filter_map(move |block| block[field].as_str())
}
