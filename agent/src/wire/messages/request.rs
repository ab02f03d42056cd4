//! The request's text, the same for the same parts on every machine: its digest is recorded with the intent.

use super::Message;
use super::raw::json_string;
use crate::definition::Model;
use serde_json::Value;

#[cfg(test)]
mod tests;

/// What a request is made of.
#[derive(Debug, Clone, Copy)]
pub struct RequestParts<'a> {
    /// Which model and how.
    pub model: &'a Model,
    /// The system prompt.
    pub system: Option<&'a str>,
    /// The transcript.
    pub messages: &'a [Message],
    /// Offered to the model, in this order.
    pub tools: &'a [ToolSpec],
    /// Whether the model may use them.
    pub tool_choice: ToolChoice,
}

/// A tool as the provider is told of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolSpec {
    /// What the model calls it by.
    pub name: String,
    /// What the model knows of it.
    pub description: String,
    /// JSON Schema of its input.
    pub input_schema: Value,
    /// Whether the provider is asked to enforce the schema.
    pub strict: bool,
}

/// Whether the model may use its tools. To force one is refused by the newest models and not offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolChoice {
    /// As it sees fit.
    Auto,
    /// As it sees fit, one at a time.
    OneAtATime,
    /// Not in this turn. The tools stay in the request, so that earlier calls keep their meaning.
    None,
}

impl ToolChoice {
    const fn as_json(self) -> &'static str {
        match self {
            Self::Auto => r#"{"type":"auto"}"#,
            Self::OneAtATime => r#"{"type":"auto","disable_parallel_tool_use":true}"#,
            Self::None => r#"{"type":"none"}"#,
        }
    }
}

/// The request's JSON text. Message content is taken over byte for byte; there are no sampling parameters.
pub fn request_body(parts: &RequestParts<'_>) -> String {
    let mut body = format!(
        r#"{{"model":{},"max_tokens":{}"#,
        json_string(&parts.model.name),
        parts.model.max_tokens
    );
    if let Some(system) = parts.system {
        body.push_str(r#","system":"#);
        body.push_str(&json_string(system));
    }
    body.push_str(r#","messages":["#);
    for (position, message) in parts.messages.iter().enumerate() {
        if position > 0 {
            body.push(',');
        }
        body.push_str(r#"{"role":""#);
        body.push_str(message.role.as_str());
        body.push_str(r#"","content":"#);
        body.push_str(message.content.get());
        body.push('}');
    }
    body.push(']');
    if !parts.tools.is_empty() {
        push_tools(&mut body, parts.tools);
        body.push_str(r#","tool_choice":"#);
        body.push_str(parts.tool_choice.as_json());
    }
    body.push_str(if parts.model.stream {
        r#","stream":true}"#
    } else {
        r#","stream":false}"#
    });
    body
}

fn push_tools(body: &mut String, tools: &[ToolSpec]) {
    body.push_str(r#","tools":["#);
    for (position, tool) in tools.iter().enumerate() {
        if position > 0 {
            body.push(',');
        }
        body.push_str(r#"{"name":"#);
        body.push_str(&json_string(&tool.name));
        body.push_str(r#","description":"#);
        body.push_str(&json_string(&tool.description));
        body.push_str(r#","input_schema":"#);
        body.push_str(&tool.input_schema.to_string());
        body.push_str(if tool.strict { r#","strict":true}"# } else { "}" });
    }
    body.push(']');
}
