//! Faults of what leaves the process.

use super::{ANSWERS_SWAPPED, BODY_REBUILT, KEY_BY_ATTEMPT};
use agent::tool::ToolRequest;
use engine::planted_fault::is_chosen;
use serde_json::Value;
use std::sync::Arc;

/// The key that an attempt goes out under.
pub(crate) fn key_sent(key: String, attempt: u32) -> String {
    if is_chosen(KEY_BY_ATTEMPT) {
        format!("{key}-{attempt}")
    } else {
        key
    }
}

/// The bytes that an attempt sends.
pub(crate) fn request_sent(request: Arc<ToolRequest>, attempt: u32) -> Arc<ToolRequest> {
    if attempt < 2 || !is_chosen(BODY_REBUILT) {
        return request;
    }
    let mut rebuilt = request.as_ref().clone();
    match &mut rebuilt {
        ToolRequest::Http { body: Some(text), .. } => text.push(' '),
        ToolRequest::Http { body: None, .. } => {}
        ToolRequest::Command { stdin, .. } => stdin.push(' '),
        ToolRequest::Function { input, .. } => input.push(' '),
        ToolRequest::Sql { statement, .. } => statement.push(' '),
    }
    Arc::new(rebuilt)
}

/// What a model is shown: where the last turn has several results, the first two stand under each other's names.
pub(crate) fn shown(body: String) -> String {
    if is_chosen(ANSWERS_SWAPPED) {
        swapped(&body).unwrap_or(body)
    } else {
        body
    }
}

fn swapped(body: &str) -> Option<String> {
    let mut request: Value = serde_json::from_str(body).ok()?;
    let last = request["messages"].as_array_mut()?.last_mut()?;
    let content = last["content"].as_array_mut()?;
    let mut results = content.iter_mut().filter(|block| block["type"] == "tool_result");
    let (first, second) = (results.next()?, results.next()?);
    std::mem::swap(&mut first["content"], &mut second["content"]);
    Some(request.to_string())
}
