//! A tool call on its way from the model's words to the bytes that leave the process.
//!
//! [`check_input`](check::InputSchema::check_input) validates, [`render`](render::render) makes the request. The request's JSON text
//! is stored with the intent and is what every attempt sends, so an attempt cannot differ from the one before.

pub mod address;
pub mod check;
pub mod render;
pub mod sql;
pub(crate) mod template;
pub(crate) mod url;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Longest text of a tool's output that the model is shown; the rest is cut with a note.
pub const OUTPUT_BYTES_MAX: usize = 256 * 1024;

/// A `tool_use` block of a complete turn.
#[derive(Debug, Clone, Deserialize)]
pub struct ToolCall {
    /// The provider's id.
    pub id: String,
    /// The tool as the model wrote it.
    pub name: String,
    /// As the model wrote it.
    pub input: Box<RawValue>,
}

/// What leaves the process, with references in the place of secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ToolRequest {
    /// An HTTP request. The engine's key and its headers are added at sending.
    Http {
        /// Upper case.
        method: String,
        /// After templates; `{env:NAME}` stays until sending.
        url: String,
        /// Values keep `{env:NAME}` until sending.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        headers: BTreeMap<String, String>,
        /// JSON text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<String>,
    },
    /// A program's start.
    Command {
        /// After templates.
        argv: Vec<String>,
        /// The input's JSON text.
        stdin: String,
    },
    /// A registered function's call.
    Function {
        /// The registered name.
        function: String,
        /// The input's JSON text.
        input: String,
    },
    /// A statement and its parameters.
    Sql {
        /// As the worker's configuration names it. Absent: the engine's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        database: Option<String>,
        /// As the tool has it, fields in braces.
        statement: String,
        /// The text of each field that it names; absent and null are null.
        parameters: BTreeMap<String, Option<String>>,
    },
}
