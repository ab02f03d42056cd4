//! A whole message: what may be kept, and what is read from it.

use super::raw::{RawObject, api_error};
use super::{CONTENT_BYTES_MAX, WireError};
use crate::journal::ModelReply;
use crate::tool::ToolCall;
use serde_json::value::RawValue;

#[cfg(test)]
mod tests;

/// The text of a reply that was not streamed, as it came, once it is known to be a whole message.
pub fn complete_body(text: &str) -> Result<String, WireError> {
    check_message(text)?;
    Ok(text.to_owned())
}

/// Reads the text of a whole message.
pub fn parse_reply(text: &str) -> Result<ModelReply, WireError> {
    check_message(text)
}

/// The calls that a turn asks for, in its order. Blocks of any other type are passed over.
pub fn tool_calls(content: &RawValue) -> Vec<ToolCall> {
    blocks(content)
        .iter()
        .filter(|block| block.string("type").as_deref() == Some("tool_use"))
        .filter_map(call)
        .collect()
}

/// A turn's text: its text blocks with a blank line between them.
pub fn text_of(content: &RawValue) -> String {
    if let Ok(text) = serde_json::from_str::<String>(content.get()) {
        return text;
    }
    let texts: Vec<String> = blocks(content)
        .iter()
        .filter(|block| block.string("type").as_deref() == Some("text"))
        .filter_map(|block| block.string("text"))
        .collect();
    texts.join("\n\n")
}

pub(super) fn check_message(text: &str) -> Result<ModelReply, WireError> {
    let message = RawObject::parse(text).ok_or(WireError::Malformed("the reply is not a JSON object"))?;
    match message.string("type").as_deref() {
        Some("message") => {}
        Some("error") => return Err(api_error(&message).map_or(NO_MESSAGE, WireError::Api)),
        Some(_) | None => return Err(NO_MESSAGE),
    }
    if message.string("role").as_deref() != Some("assistant") {
        return Err(WireError::Malformed("the reply is not the assistant's"));
    }
    let content = message
        .get("content")
        .ok_or(WireError::Malformed("the reply has no content"))?;
    if content.get().len() > CONTENT_BYTES_MAX {
        return Err(WireError::TooLarge);
    }
    check_content(content)?;
    serde_json::from_str(text).map_err(|_| WireError::Malformed("a field of the reply has an unexpected type"))
}

const NO_MESSAGE: WireError = WireError::Malformed("the reply is not a message");

/// A call without id or name could be neither run nor answered, so a turn that holds one is unreadable.
fn check_content(content: &RawValue) -> Result<(), WireError> {
    let blocks: Vec<RawObject> = serde_json::from_str(content.get())
        .map_err(|_| WireError::Malformed("the reply's content is not an array of blocks"))?;
    for block in &blocks {
        match block.string("type").as_deref() {
            Some("tool_use") if call(block).is_none() => {
                return Err(WireError::Malformed("a tool_use block lacks its id, name or input"));
            }
            Some(_) => {}
            None => return Err(WireError::Malformed("a content block has no type")),
        }
    }
    Ok(())
}

fn call(block: &RawObject) -> Option<ToolCall> {
    Some(ToolCall {
        id: block.string("id")?,
        name: block.string("name")?,
        input: block.get("input")?.to_owned(),
    })
}

fn blocks(content: &RawValue) -> Vec<RawObject> {
    serde_json::from_str(content.get()).unwrap_or_default()
}
