//! A message as server-sent events, in the order and with the awkwardness of the real stream.
//!
//! Texts come in pieces; the input of a call comes as JSON fragments of which the first is empty and others are cut
//! inside a `\u` escape; an empty input comes without any fragment; a ping comes at the start. Pure. Start at
//! [`events`].

use std::fmt::Write as _;

use serde_json::{Value, json, value::RawValue};

use crate::{
    perform::{Block, Message},
    script::{Answer, ErrorEvent},
};

#[cfg(test)]
mod tests;

/// Pieces a text is cut into, about.
const TEXT_PIECES: usize = 5;
/// Shortest piece of a text, in characters.
const TEXT_PIECE_CHARS_MIN: usize = 8;
/// Cuts inside an escape, in one input.
const ESCAPE_CUTS_MAX: usize = 3;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) name: &'static str,
    pub(crate) data: String,
}

impl Event {
    fn new(name: &'static str, mut data: Value) -> Self {
        data["type"] = Value::from(name);
        Self {
            name,
            data: data.to_string(),
        }
    }

    /// The event on the wire. Data of several lines takes several `data:` lines.
    pub(crate) fn frame(&self) -> String {
        let mut frame = format!("event: {}\n", self.name);
        for line in self.data.lines() {
            // Writing to a string cannot fail.
            let _ = writeln!(frame, "data: {line}");
        }
        frame.push('\n');
        frame
    }
}

/// How a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// As it should.
    Whole,
    /// The connection is dropped.
    Cut,
}

/// The events of a message as far as the answer lets them go, and how they end.
pub(crate) fn events(message: &Message, answer: &Answer) -> (Vec<Event>, Ending) {
    let mut events = all_events(message);
    if let Some(count) = answer.cut_after {
        events.truncate(count);
        return (events, Ending::Cut);
    }
    if let Some(name) = &answer.cut_before {
        let at = events
            .iter()
            .position(|event| event.name == name)
            .unwrap_or(events.len());
        events.truncate(at);
        return (events, Ending::Cut);
    }
    if let Some(error) = &answer.error_event {
        events.truncate(error.after.min(events.len().saturating_sub(1)));
        events.push(error_event(error));
    }
    (events, Ending::Whole)
}

fn error_event(error: &ErrorEvent) -> Event {
    let message = error.message.as_deref().unwrap_or("the rehearsal's script says so");
    Event::new("error", json!({"error": {"type": error.kind, "message": message}}))
}

fn all_events(message: &Message) -> Vec<Event> {
    let mut start = message.envelope();
    start["content"] = json!([]);
    start["stop_reason"] = Value::Null;
    start["stop_details"] = Value::Null;
    start["usage"] = message.usage.to_json();
    start["usage"]["output_tokens"] = Value::from(message.usage.output_tokens.min(1));
    let mut events = vec![Event::new("message_start", json!({"message": start}))];
    for (index, block) in message.blocks.iter().enumerate() {
        events.push(block_start(index, block));
        if index == 0 {
            events.push(Event::new("ping", json!({})));
        }
        let deltas = block_deltas(block).into_iter();
        events.extend(deltas.map(|delta| Event::new("content_block_delta", json!({"index": index, "delta": delta}))));
        events.push(Event::new("content_block_stop", json!({"index": index})));
    }
    let delta = json!({
        "stop_reason": message.stop_reason,
        "stop_sequence": null,
        "stop_details": message.stop_details,
    });
    events.push(Event::new(
        "message_delta",
        json!({"delta": delta, "usage": final_usage(message)}),
    ));
    events.push(Event::new("message_stop", json!({})));
    events
}

fn final_usage(message: &Message) -> Value {
    json!({
        "input_tokens": message.usage.input_tokens,
        "cache_creation_input_tokens": message.usage.cache_creation_input_tokens,
        "cache_read_input_tokens": message.usage.cache_read_input_tokens,
        "output_tokens": message.usage.output_tokens,
    })
}

fn block_start(index: usize, block: &Block) -> Event {
    let empty = match block {
        Block::Thinking { .. } => json!({"type": "thinking", "thinking": "", "signature": ""}),
        Block::Text(_) => json!({"type": "text", "text": ""}),
        Block::Call { id, name, .. } => json!({"type": "tool_use", "id": id, "name": name, "input": {}}),
        Block::Raw(raw) => return raw_block_start(index, raw),
    };
    Event::new("content_block_start", json!({"index": index, "content_block": empty}))
}

/// Written by hand, so that the block stays as it is to the byte.
fn raw_block_start(index: usize, raw: &RawValue) -> Event {
    let data = format!(
        r#"{{"type":"content_block_start","index":{index},"content_block":{}}}"#,
        raw.get()
    );
    Event {
        name: "content_block_start",
        data,
    }
}

fn block_deltas(block: &Block) -> Vec<Value> {
    match block {
        Block::Thinking { thinking, signature } => {
            let pieces = pieces(thinking).into_iter();
            let mut deltas: Vec<Value> = pieces
                .map(|piece| json!({"type": "thinking_delta", "thinking": piece}))
                .collect();
            deltas.push(json!({"type": "signature_delta", "signature": signature}));
            deltas
        }
        Block::Text(text) => pieces(text)
            .into_iter()
            .map(|piece| json!({"type": "text_delta", "text": piece}))
            .collect(),
        Block::Raw(_) => Vec::new(),
        Block::Call { input, is_cut, .. } => {
            let mut fragments = fragments(input);
            if *is_cut {
                fragments.truncate(fragments.len().div_ceil(2));
            }
            let fragments = fragments.into_iter();
            fragments
                .map(|fragment| json!({"type": "input_json_delta", "partial_json": fragment}))
                .collect()
        }
    }
}

/// A text in about [`TEXT_PIECES`] pieces.
fn pieces(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let size = chars.len().div_ceil(TEXT_PIECES).max(TEXT_PIECE_CHARS_MIN);
    chars.chunks(size).map(|piece| piece.iter().collect()).collect()
}

/// The input of a call as fragments of JSON: none for an empty input, else first an empty one.
fn fragments(input: &Value) -> Vec<String> {
    if input.as_object().is_some_and(serde_json::Map::is_empty) {
        return Vec::new();
    }
    let json = ascii_json(input);
    let escapes = json.match_indices("\\u").map(|(at, _)| at + 4).take(ESCAPE_CUTS_MAX);
    let mut cuts: Vec<usize> = escapes
        .chain([1, json.len() / 3, json.len() / 2, json.len() - 1])
        .collect();
    cuts.sort_unstable();
    cuts.dedup();
    let mut fragments = vec![String::new()];
    let mut from = 0;
    for cut in cuts.into_iter().chain([json.len()]) {
        fragments.push(json[from..cut].to_owned());
        from = cut;
    }
    fragments
}

/// JSON in ASCII, so that it may be cut at any byte.
fn ascii_json(value: &Value) -> String {
    let mut ascii = String::new();
    for char in value.to_string().chars() {
        if char.is_ascii() {
            ascii.push(char);
            continue;
        }
        for unit in char.encode_utf16(&mut [0; 2]) {
            // Writing to a string cannot fail.
            let _ = write!(ascii, "\\u{unit:04x}");
        }
    }
    ascii
}
