//! One content block while it is streamed.
//!
//! A block that no delta touched is the text it came as. One that was touched is that text with the touched members
//! replaced; everything else in it stays as it came.

use super::raw::{RawObject, is_null, json_string, raw_value};
use super::{INVALID_JSON, WireError};
use serde_json::value::RawValue;

#[cfg(test)]
mod tests;

/// A block between its start and its stop.
#[derive(Debug)]
pub(super) struct Block {
    raw: Box<RawValue>,
    start: RawObject,
    kind: String,
    text: Option<String>,
    thinking: Option<String>,
    signature: Option<String>,
    citations: Vec<Box<RawValue>>,
    input: String,
    stopped: Option<Box<RawValue>>,
}

/// What became of a delta.
#[derive(Debug)]
pub(super) enum Applied {
    /// Text of the answer.
    Text(String),
    /// That many bytes of something else.
    Silent(usize),
    /// Not known, or not for this kind of block.
    Unknown,
}

impl Block {
    /// The block of a `content_block_start`.
    pub(super) fn start(raw: &RawValue) -> Result<Self, WireError> {
        let start = RawObject::parse(raw.get()).ok_or(WireError::Malformed("a content block is not an object"))?;
        let kind = start
            .string("type")
            .ok_or(WireError::Malformed("a content block has no type"))?;
        Ok(Self {
            raw: raw.to_owned(),
            start,
            kind,
            text: None,
            thinking: None,
            signature: None,
            citations: Vec::new(),
            input: String::new(),
            stopped: None,
        })
    }

    /// Takes a delta in.
    pub(super) fn apply(&mut self, delta: &RawValue) -> Result<Applied, WireError> {
        if self.stopped.is_some() {
            return Err(WireError::Malformed("a delta came after its block's stop"));
        }
        let delta = RawObject::parse(delta.get()).ok_or(WireError::Malformed("a delta is not an object"))?;
        let kind = delta
            .string("type")
            .ok_or(WireError::Malformed("a delta has no type"))?;
        match (kind.as_str(), self.kind.as_str()) {
            ("text_delta", "text") => {
                let text = fragment(&delta, "text")?;
                let held = self
                    .text
                    .get_or_insert_with(|| self.start.string("text").unwrap_or_default());
                held.push_str(&text);
                Ok(Applied::Text(text))
            }
            ("thinking_delta", "thinking") => {
                let thinking = fragment(&delta, "thinking")?;
                let held = self
                    .thinking
                    .get_or_insert_with(|| self.start.string("thinking").unwrap_or_default());
                held.push_str(&thinking);
                Ok(Applied::Silent(thinking.len()))
            }
            ("signature_delta", "thinking") => {
                let signature = fragment(&delta, "signature")?;
                let bytes = signature.len();
                self.signature = Some(signature);
                Ok(Applied::Silent(bytes))
            }
            ("citations_delta", "text") => {
                let citation = delta
                    .get("citation")
                    .ok_or(WireError::Malformed("a citations_delta has no citation"))?;
                self.citations.push(citation.to_owned());
                Ok(Applied::Silent(citation.get().len()))
            }
            ("input_json_delta", kind) if kind == "tool_use" || self.start.get("input").is_some() => {
                let json = fragment(&delta, "partial_json")?;
                self.input.push_str(&json);
                Ok(Applied::Silent(json.len()))
            }
            _ => Ok(Applied::Unknown),
        }
    }

    /// Closes the block.
    pub(super) fn stop(&mut self) -> Result<(), WireError> {
        if self.stopped.is_some() {
            return Err(WireError::Malformed("a block stopped twice"));
        }
        self.stopped = Some(self.assemble()?);
        Ok(())
    }

    /// The block as it is kept, once it has stopped.
    pub(super) fn stopped(&self) -> Option<&RawValue> {
        self.stopped.as_deref()
    }

    fn assemble(&self) -> Result<Box<RawValue>, WireError> {
        let mut changes: Vec<(&str, String)> = Vec::new();
        changes.extend(self.text.as_deref().map(|text| ("text", json_string(text))));
        changes.extend(
            self.thinking
                .as_deref()
                .map(|thinking| ("thinking", json_string(thinking))),
        );
        changes.extend(
            self.signature
                .as_deref()
                .map(|signature| ("signature", json_string(signature))),
        );
        if !self.citations.is_empty() {
            changes.push(("citations", self.all_citations()));
        }
        changes.extend(self.whole_input().map(|input| ("input", input)));
        if changes.is_empty() {
            return Ok(self.raw.clone());
        }
        let mut block = self.start.clone();
        for (key, text) in changes {
            block.set(key, raw_value(text)?);
        }
        raw_value(block.to_text())
    }

    /// The input that takes the place of the start's placeholder.
    fn whole_input(&self) -> Option<String> {
        if !self.input.trim().is_empty() {
            return Some(object_or_wrapped(&self.input));
        }
        // Without deltas the placeholder is the input; some servers put the whole input there.
        match self.start.get("input") {
            Some(input) if !is_null(input) => None,
            Some(_) | None => (self.kind == "tool_use").then(|| "{}".to_owned()),
        }
    }

    fn all_citations(&self) -> String {
        let held: Vec<Box<RawValue>> = self
            .start
            .get("citations")
            .and_then(|held| serde_json::from_str(held.get()).ok())
            .unwrap_or_default();
        let all: Vec<&str> = held
            .iter()
            .chain(&self.citations)
            .map(|citation| citation.get())
            .collect();
        format!("[{}]", all.join(","))
    }
}

/// Anything but an object would be refused when the turn is sent back, so it is wrapped, and validation answers it.
fn object_or_wrapped(input: &str) -> String {
    let input_is_object = RawObject::parse(input).is_some();
    if input_is_object {
        input.trim().to_owned()
    } else {
        format!(r#"{{"{INVALID_JSON}":{}}}"#, json_string(input))
    }
}

fn fragment(delta: &RawObject, key: &str) -> Result<String, WireError> {
    delta.string(key).ok_or(WireError::Malformed("a delta lacks its text"))
}
