//! Messages of an earlier conversation, given with a run's input.

use super::raw::RawObject;
use super::{Message, Role};
use serde_json::value::RawValue;

#[cfg(test)]
mod tests;

/// What is wrong with an earlier conversation, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("history[{position}]: {problem}")]
pub struct HistoryError {
    /// From 0.
    pub position: usize,
    /// A fragment for people.
    pub problem: &'static str,
}

/// The messages to send first. Content stays the text it came as; fields besides `role` and `content` are left out.
pub fn history_messages(raw: &[Box<RawValue>]) -> Result<Vec<Message>, HistoryError> {
    raw.iter()
        .enumerate()
        .map(|(position, message)| read_message(message).map_err(|problem| HistoryError { position, problem }))
        .collect()
}

fn read_message(raw: &RawValue) -> Result<Message, &'static str> {
    let message = RawObject::parse(raw.get()).ok_or("a message is an object with `role` and `content`")?;
    let role = match message.string("role").as_deref() {
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some(_) | None => return Err("`role` is `user` or `assistant`"),
    };
    let content = message.get("content").ok_or("`content` is missing")?;
    if !is_string(content) && !is_blocks(content) {
        return Err("`content` is a string or an array of blocks, each an object with a `type`");
    }
    Ok(Message {
        role,
        content: content.to_owned(),
    })
}

fn is_string(content: &RawValue) -> bool {
    serde_json::from_str::<String>(content.get()).is_ok()
}

fn is_blocks(content: &RawValue) -> bool {
    serde_json::from_str::<Vec<RawObject>>(content.get())
        .is_ok_and(|blocks| blocks.iter().all(|block| block.string("type").is_some()))
}
