//! A request as rules and templates see it. Reads only; takes whatever JSON comes, since the contract is judged apart.

use serde_json::Value;

/// A view of one request body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conversation<'a> {
    body: &'a Value,
}

impl<'a> Conversation<'a> {
    pub(crate) fn new(body: &'a Value) -> Self {
        Self { body }
    }

    /// Which turn the answer will be: assistant messages so far, plus one.
    pub(crate) fn turn(self) -> usize {
        self.messages()
            .iter()
            .filter(|message| role(message) == "assistant")
            .count()
            + 1
    }

    /// Text of the first user message: what a conversation is known by.
    pub(crate) fn first_user_text(self) -> String {
        let first = self.messages().iter().find(|message| role(message) == "user");
        first.map(|message| text_of(&message["content"])).unwrap_or_default()
    }

    /// Text of the last user message, tool results not counted.
    pub(crate) fn last_user_text(self) -> String {
        let last = self.messages().iter().rev().find(|message| role(message) == "user");
        last.map(|message| text_of(&message["content"])).unwrap_or_default()
    }

    /// Texts of the tool results in the last message.
    pub(crate) fn last_results(self) -> Vec<String> {
        self.last_result_blocks()
            .map(|block| text_of(&block["content"]))
            .collect()
    }

    /// Names of the tools whose results are in the last message.
    pub(crate) fn last_tools(self) -> Vec<&'a str> {
        self.last_result_blocks()
            .filter_map(|block| self.name_of(block["tool_use_id"].as_str()?))
            .collect()
    }

    /// Text of the system prompt.
    pub(crate) fn system_text(self) -> String {
        text_of(&self.body["system"])
    }

    /// Whether `tool_choice` is `none`.
    pub(crate) fn tools_off(self) -> bool {
        self.body["tool_choice"]["type"] == "none"
    }

    /// Whether `text` occurs in a text, a call's input or a result.
    pub(crate) fn contains(self, text: &str) -> bool {
        self.messages().iter().any(|message| {
            message["content"].as_str().is_some_and(|own| own.contains(text))
                || blocks(message).iter().any(|block| block_contains(block, text))
        })
    }

    fn messages(self) -> &'a [Value] {
        self.body["messages"].as_array().map_or(&[], Vec::as_slice)
    }

    fn last_result_blocks(self) -> impl Iterator<Item = &'a Value> {
        let last = self.messages().last().filter(|message| role(message) == "user");
        let blocks = last.map_or(&[][..], |message| blocks(message));
        blocks.iter().filter(|block| block["type"] == "tool_result")
    }

    fn name_of(self, tool_use_id: &str) -> Option<&'a str> {
        let mut calls = self
            .messages()
            .iter()
            .rev()
            .filter(|message| role(message) == "assistant")
            .flat_map(blocks);
        calls.find(|block| block["type"] == "tool_use" && block["id"] == tool_use_id)?["name"].as_str()
    }
}

fn role(message: &Value) -> &str {
    message["role"].as_str().unwrap_or_default()
}

fn blocks(message: &Value) -> &[Value] {
    message["content"].as_array().map_or(&[], Vec::as_slice)
}

/// Content that is a string, or the text blocks of a list, joined by newlines.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            let texts: Vec<&str> = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
            texts.join("\n")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    }
}

fn block_contains(block: &Value, text: &str) -> bool {
    match block["type"].as_str() {
        Some("tool_use") => {
            let input = &block["input"];
            input.to_string().contains(text) || any_string_contains(input, text)
        }
        Some("tool_result") => text_of(&block["content"]).contains(text),
        Some(_) | None => block["text"].as_str().is_some_and(|own| own.contains(text)),
    }
}

fn any_string_contains(value: &Value, text: &str) -> bool {
    match value {
        Value::String(own) => own.contains(text),
        Value::Array(items) => items.iter().any(|item| any_string_contains(item, text)),
        Value::Object(fields) => fields.values().any(|item| any_string_contains(item, text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
