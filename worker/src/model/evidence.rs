//! What was seen of an attempt, kept outside of it so that a time limit which cuts the attempt does not lose it.

use crate::model::failure::{Broken, CONNECT_TIMEOUT_CODE, TimeLimit, outcome_of, unanswered};
use agent::AttemptOutcome;
use agent::wire::messages::{Accumulator, WireError, broken_reply};
use reqwest::Response;
use serde_json::{Map, Value};

/// Most headers that are recorded.
const HEADERS_MAX: usize = 48;

/// Longest header value that is recorded.
const HEADER_CHARS_MAX: usize = 256;

/// Most passed-over deltas that are recorded, and the longest of them.
const UNKNOWN_MAX: usize = 16;
const UNKNOWN_BYTES_MAX: usize = 1024;

/// The account of one attempt.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// A stream's events so far.
    pub(super) reply: Accumulator,
    /// The provider's id of a whole message.
    pub(super) message_id: Option<String>,
    /// Whether a person must act.
    pub(super) needs_person: bool,
    http_status: Option<u16>,
    request_id: Option<String>,
    rate_limits: Map<String, Value>,
    unknown_deltas: Vec<Value>,
    bound_by: Option<&'static str>,
}

impl Evidence {
    /// Notes an answer's head.
    pub(super) fn answered(&mut self, response: &Response) {
        self.http_status = Some(response.status().as_u16());
        for (name, value) in response.headers() {
            let Ok(value) = value.to_str() else { continue };
            let value: String = value.chars().take(HEADER_CHARS_MAX).collect();
            if name == "request-id" {
                self.request_id = Some(value);
            } else if tells_of_limits(name.as_str()) && self.rate_limits.len() < HEADERS_MAX {
                self.rate_limits.insert(name.as_str().to_owned(), value.into());
            }
        }
    }

    /// Notes that no answer came. The client itself has one time limit, that on connecting.
    pub(super) fn unanswered(&mut self, error: &reqwest::Error, host: &str) -> AttemptOutcome<String> {
        self.bound_by = error.is_timeout().then_some(CONNECT_TIMEOUT_CODE);
        unanswered(error, host)
    }

    /// Takes the whole message out of a stream's events.
    pub(super) fn finish_reply(&mut self) -> Result<String, WireError> {
        self.message_id = self.reply.message_id();
        self.unknown_deltas = unknown_of(&self.reply);
        std::mem::take(&mut self.reply).finish()
    }

    /// Notes the time limit that ended the attempt.
    pub(super) fn bound(&mut self, limit: TimeLimit) -> AttemptOutcome<String> {
        self.bound_by = Some(limit.code);
        limit.outcome()
    }

    /// Notes how a reply broke off.
    pub(super) fn broke(&mut self, broken: Broken) -> AttemptOutcome<String> {
        match broken {
            Broken::Time(limit) => self.bound(limit),
            Broken::Wire(error) => {
                if let (WireError::Api(api), None) = (&error, &self.request_id) {
                    self.request_id.clone_from(&api.request_id);
                }
                let judged = broken_reply(&error, self.reply.has_started());
                self.needs_person = judged.needs_person;
                outcome_of(judged)
            }
        }
    }

    /// As recorded: only what was seen.
    pub(super) fn into_json(self, endpoint: &str) -> Value {
        let mut json = Map::new();
        json.insert("endpoint".to_owned(), endpoint.into());
        let mut note = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                json.insert(key.to_owned(), value);
            }
        };
        note("http_status", self.http_status.map(Into::into));
        note("request_id", self.request_id.map(Into::into));
        note(
            "message_id",
            self.message_id.or_else(|| self.reply.message_id()).map(Into::into),
        );
        note(
            "partial_usage",
            self.reply
                .partial_usage()
                .and_then(|usage| serde_json::from_str(&usage).ok()),
        );
        note("bound_by", self.bound_by.map(Into::into));
        note("needs_person", self.needs_person.then_some(Value::Bool(true)));
        note(
            "rate_limits",
            (!self.rate_limits.is_empty()).then_some(Value::Object(self.rate_limits)),
        );
        let mut unknown = self.unknown_deltas;
        unknown.extend(unknown_of(&self.reply));
        note("unknown_deltas", (!unknown.is_empty()).then_some(Value::Array(unknown)));
        Value::Object(json)
    }
}

fn tells_of_limits(header: &str) -> bool {
    ["anthropic-ratelimit-", "anthropic-priority-", "anthropic-fast-"]
        .iter()
        .any(|prefix| header.starts_with(prefix))
        || ["retry-after", "retry-after-ms", "x-should-retry"].contains(&header)
}

/// As text, since nobody knows what they hold.
fn unknown_of(reply: &Accumulator) -> Vec<Value> {
    reply
        .unknown()
        .iter()
        .filter(|delta| delta.get().len() <= UNKNOWN_BYTES_MAX)
        .take(UNKNOWN_MAX)
        .map(|delta| Value::from(delta.get()))
        .collect()
}
