//! What the rehearsal was asked, in memory and in a file.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    io::Write,
};

use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};

use crate::limits::ASKED_KEPT_MAX;

/// Headers whose values are not written down.
const SECRETS: [&str; 3] = ["x-api-key", "authorization", "cookie"];

/// One request, written down before it was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Its number, from 1, over all endpoints.
    pub order: u64,
    /// The `request-id` it was answered with.
    pub request_id: String,
    /// Path it came to.
    pub path: String,
    /// Its headers; of secrets only that they came.
    pub headers: BTreeMap<String, String>,
    /// Its body as text.
    pub body: String,
    /// Name or number of the rule that answered.
    pub rule: Option<String>,
    /// How it was answered.
    pub answer: AnswerKind,
}

/// How a request was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AnswerKind {
    /// With a message in one piece.
    Message,
    /// With a whole stream.
    Stream,
    /// With a connection dropped before the end.
    Cut,
    /// With a stream that ends in an `error` event.
    ErrorEvent,
    /// With an error of the script.
    Error {
        /// HTTP status.
        status: u16,
    },
    /// With a refusal, because the request broke the contract.
    Refused {
        /// HTTP status.
        status: u16,
        /// What was wrong with it.
        message: String,
    },
    /// With a refusal, because the script could not be played: no rule, or a placeholder without a value.
    OffScript {
        /// What was missing.
        message: String,
    },
    /// With a count of tokens.
    TokenCount,
}

/// Where requests are written down.
pub(crate) struct Notebook {
    asked: VecDeque<Asked>,
    file: Option<File>,
}

impl Notebook {
    pub(crate) fn new(file: Option<File>) -> Self {
        Self {
            asked: VecDeque::new(),
            file,
        }
    }

    /// Keeps a request and writes its line.
    pub(crate) fn write_down(&mut self, asked: Asked) -> std::io::Result<()> {
        if let Some(file) = &mut self.file {
            let mut line = serde_json::to_string(&asked)?;
            line.push('\n');
            file.write_all(line.as_bytes())?;
            file.flush()?;
        }
        if self.asked.len() == ASKED_KEPT_MAX {
            self.asked.pop_front();
        }
        self.asked.push_back(asked);
        Ok(())
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.iter().cloned().collect()
    }
}

/// The headers as they are written down.
pub(crate) fn headers_of(headers: &HeaderMap) -> BTreeMap<String, String> {
    let readable = |name: &str, value: &[u8]| match SECRETS.contains(&name) {
        true => "(secret)".to_owned(),
        false => String::from_utf8_lossy(value).into_owned(),
    };
    headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), readable(name.as_str(), value.as_bytes())))
        .collect()
}
