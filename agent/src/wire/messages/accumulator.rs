//! A streamed reply on its way to a whole message.
//!
//! Only [`Accumulator::finish`] after `message_stop` gives a message: the calls of a broken stream must never run, so
//! nothing else here hands out content. What a broken stream leaves is evidence: an id and the last usage seen.

use super::block::{Applied, Block};
use super::raw::{RawObject, api_error, raw_value};
use super::reply::check_message;
use super::{ApiError, CONTENT_BYTES_MAX, WireError};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

#[cfg(test)]
mod tests;

/// What an event brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Some of the answer's text, for people who watch.
    TextDelta(String),
    /// A sign of life.
    Other,
    /// The message is whole.
    Complete,
}

/// Takes a reply's events in, one after the other.
#[derive(Debug, Default)]
pub struct Accumulator {
    head: Option<RawObject>,
    usage: RawObject,
    blocks: BTreeMap<u64, Block>,
    unknown: Vec<Box<RawValue>>,
    bytes: usize,
    complete: bool,
}

impl Accumulator {
    /// Takes one event in. An event without a name of its own has its data's `type`. After an error the stream is
    /// broken; further events mean nothing.
    pub fn event(&mut self, event: &str, data: &str) -> Result<Progress, WireError> {
        if self.complete {
            return Ok(Progress::Other);
        }
        let named;
        let kind = match event {
            "" | "message" => {
                named = RawObject::parse(data)
                    .and_then(|data| data.string("type"))
                    .unwrap_or_default();
                named.as_str()
            }
            name => name,
        };
        match kind {
            "message_start" => self.start_message(&object(data)?),
            "content_block_start" => self.start_block(&object(data)?),
            "content_block_delta" => self.apply_delta(&object(data)?),
            "content_block_stop" => {
                let index = index_of(&object(data)?)?;
                self.block(index)?.stop()?;
                Ok(Progress::Other)
            }
            "message_delta" => self.overwrite_message(object(data)?, data.len()),
            "message_stop" => self.stop_message(),
            "error" => Err(WireError::Api(error_of(data))),
            _ => Ok(Progress::Other),
        }
    }

    /// The whole message as JSON text, in the shape of a reply that was not streamed.
    pub fn finish(self) -> Result<String, WireError> {
        let Some(mut message) = self.head.filter(|_| self.complete) else {
            return Err(WireError::Incomplete);
        };
        let blocks: Vec<&str> = self
            .blocks
            .values()
            .filter_map(Block::stopped)
            .map(RawValue::get)
            .collect();
        message.set("content", raw_value(format!("[{}]", blocks.join(",")))?);
        if !self.usage.is_empty() {
            message.set("usage", raw_value(self.usage.to_text())?);
        }
        let text = message.to_text();
        check_message(&text)?;
        Ok(text)
    }

    /// Whether the message has begun: from then on the call may be billed.
    pub const fn has_started(&self) -> bool {
        self.head.is_some()
    }

    /// The provider's id of the message, once it has begun.
    pub fn message_id(&self) -> Option<String> {
        self.head.as_ref()?.string("id")
    }

    /// The last usage seen, as JSON text.
    pub fn partial_usage(&self) -> Option<String> {
        (!self.usage.is_empty()).then(|| self.usage.to_text())
    }

    /// Deltas that were passed over, as they came.
    pub fn unknown(&self) -> &[Box<RawValue>] {
        &self.unknown
    }

    fn start_message(&mut self, data: &RawObject) -> Result<Progress, WireError> {
        if self.head.is_some() {
            return Err(WireError::Malformed("a message started twice"));
        }
        let message = data
            .object("message")
            .ok_or(WireError::Malformed("message_start holds no message"))?;
        self.charge(message.to_text().len())?;
        let content_is_empty = message.get("content").is_none_or(|content| {
            serde_json::from_str::<Option<Vec<&RawValue>>>(content.get())
                .is_ok_and(|blocks| blocks.is_none_or(|blocks| blocks.is_empty()))
        });
        if !content_is_empty {
            return Err(WireError::Malformed("message_start holds content"));
        }
        self.usage = message.object("usage").unwrap_or_default();
        self.head = Some(message);
        Ok(Progress::Other)
    }

    fn start_block(&mut self, data: &RawObject) -> Result<Progress, WireError> {
        if self.head.is_none() {
            return Err(WireError::Malformed("a content block came before its message"));
        }
        let index = index_of(data)?;
        let raw = data
            .get("content_block")
            .ok_or(WireError::Malformed("content_block_start holds no block"))?;
        self.charge(raw.get().len())?;
        if self.blocks.insert(index, Block::start(raw)?).is_some() {
            return Err(WireError::Malformed("two content blocks have one index"));
        }
        Ok(Progress::Other)
    }

    fn apply_delta(&mut self, data: &RawObject) -> Result<Progress, WireError> {
        let index = index_of(data)?;
        let delta = data
            .get("delta")
            .ok_or(WireError::Malformed("content_block_delta holds no delta"))?;
        match self.block(index)?.apply(delta)? {
            Applied::Text(text) => {
                self.charge(text.len())?;
                Ok(Progress::TextDelta(text))
            }
            Applied::Silent(bytes) => {
                self.charge(bytes)?;
                Ok(Progress::Other)
            }
            Applied::Unknown => {
                self.charge(delta.get().len())?;
                self.unknown.push(delta.to_owned());
                Ok(Progress::Other)
            }
        }
    }

    /// Usage is cumulative, so the newer numbers count.
    fn overwrite_message(&mut self, data: RawObject, bytes: usize) -> Result<Progress, WireError> {
        self.charge(bytes)?;
        let head = self
            .head
            .as_mut()
            .ok_or(WireError::Malformed("message_delta came before its message"))?;
        self.usage.overwrite(data.object("usage").unwrap_or_default());
        // `content` is what the blocks say, whatever a delta claims.
        head.overwrite(data.object("delta").unwrap_or_default().without(&["content"]));
        head.overwrite(data.without(&["type", "delta", "usage", "content"]));
        Ok(Progress::Other)
    }

    fn stop_message(&mut self) -> Result<Progress, WireError> {
        if self.head.is_none() {
            return Err(WireError::Malformed("message_stop came before its message"));
        }
        if self.blocks.values().any(|block| block.stopped().is_none()) {
            return Err(WireError::Malformed("message_stop came before a block's stop"));
        }
        self.complete = true;
        Ok(Progress::Complete)
    }

    fn block(&mut self, index: u64) -> Result<&mut Block, WireError> {
        self.blocks
            .get_mut(&index)
            .ok_or(WireError::Malformed("an event names a block that never started"))
    }

    fn charge(&mut self, bytes: usize) -> Result<(), WireError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > CONTENT_BYTES_MAX {
            return Err(WireError::TooLarge);
        }
        Ok(())
    }
}

fn object(data: &str) -> Result<RawObject, WireError> {
    RawObject::parse(data).ok_or(WireError::Malformed("an event's data is not an object"))
}

fn index_of(data: &RawObject) -> Result<u64, WireError> {
    data.get("index")
        .and_then(|index| serde_json::from_str(index.get()).ok())
        .ok_or(WireError::Malformed("an event names no block"))
}

fn error_of(data: &str) -> ApiError {
    RawObject::parse(data)
        .and_then(|data| api_error(&data))
        .unwrap_or_else(|| ApiError {
            kind: "unknown_error".to_owned(),
            message: "an error event without a description".to_owned(),
            error_code: None,
            request_id: None,
        })
}
