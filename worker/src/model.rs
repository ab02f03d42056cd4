//! One attempt of a model call: bytes out, bytes in, and an honest account of what came of it.
//!
//! Owns the connection, its time limits and the bound on what is read. Never retries, never follows a redirect and never
//! reads what a message says; that is [`agent::wire::messages`]. Dropping the future of [`ModelClient::call`] cuts the
//! stream, which is how a call is cancelled. Start there.

mod evidence;
mod failure;
mod stream;

use crate::model::evidence::Evidence;
use crate::model::failure::{Broken, no_first_byte, outcome_of, time_is_over};
use agent::wire::messages::{self, CONTENT_BYTES_MAX, ResponseFacts, WireError};
use agent::{AttemptOutcome, CallLimit, ErrorClass, StepError};
use chrono::{DateTime, Utc};
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Response, Url};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;
use tokio::time::timeout;

#[cfg(test)]
mod tests;

/// Longest time until a connection stands.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Largest reply that is read: the content that is kept and what stands around it.
const REPLY_BYTES_MAX: usize = CONTENT_BYTES_MAX + 1024 * 1024;

/// Largest part of an error answer that is read; a description is far shorter.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// Longest wait for an error answer's description: the status alone says enough.
const ERROR_PATIENCE: Duration = Duration::from_secs(5);

/// Shortest key that is looked for in what is recorded: a shorter one would be found in ordinary words.
const KEY_CHARS_MIN: usize = 8;

/// Where a model is reached.
#[derive(Debug, Clone)]
pub struct ModelEndpoint {
    /// Scheme, host and, where needed, a path before `/v1/messages`.
    pub base_url: String,
    /// Sent as `x-api-key`. A server that wants none still needs some value here.
    pub api_key: Option<SecretString>,
}

impl ModelEndpoint {
    /// The provider's own address.
    pub const BASE_URL: &'static str = "https://api.anthropic.com";
}

impl Default for ModelEndpoint {
    fn default() -> Self {
        Self {
            base_url: Self::BASE_URL.to_owned(),
            api_key: None,
        }
    }
}

/// Why no client could be built.
#[derive(Debug, thiserror::Error)]
pub enum ModelClientError {
    /// The base URL is none.
    #[error("the model's base URL is not an http or https address without credentials")]
    BaseUrl,
    /// The key cannot be sent.
    #[error("the model's API key holds a character that a header cannot carry")]
    ApiKey,
    /// TLS or the resolver could not be set up.
    #[error("could not set up the model's HTTP client")]
    Setup(#[source] reqwest::Error),
}

/// Calls models at one endpoint. Built once; its connections are shared.
#[derive(Debug, Clone)]
pub struct ModelClient {
    http: reqwest::Client,
    url: Url,
    host: String,
    key: Option<Key>,
}

#[derive(Debug, Clone)]
struct Key {
    secret: SecretString,
    header: HeaderValue,
}

/// One call.
#[derive(Debug, Clone, Copy)]
pub struct ModelCall<'a> {
    /// The request's exact text.
    pub body: &'a str,
    /// Which model and how.
    pub model: &'a agent::definition::Model,
    /// On the whole: the smallest limit that applies.
    pub limit: CallLimit,
    /// When the attempt begins, by the database's clock: a date in `retry-after` is measured against it where the endpoint
    /// tells no `date`.
    pub now: DateTime<Utc>,
    /// Longest time until an answer begins.
    pub first_byte_timeout: Option<Duration>,
    /// Longest silence within a stream.
    pub idle_timeout: Duration,
}

impl<'a> ModelCall<'a> {
    /// A call with the model's own limits on its beginning and on silence.
    pub fn new(body: &'a str, model: &'a agent::definition::Model, limit: CallLimit, now: DateTime<Utc>) -> Self {
        Self {
            body,
            model,
            limit,
            now,
            first_byte_timeout: model
                .first_byte_timeout_seconds
                .map(|seconds| Duration::from_secs(u64::from(seconds))),
            idle_timeout: Duration::from_secs(u64::from(model.idle_timeout_seconds)),
        }
    }
}

/// What came of a call.
#[derive(Debug)]
pub struct ModelAttempt {
    /// The whole message's JSON text, or what went wrong.
    pub outcome: AttemptOutcome<String>,
    /// What was seen on the way, for the record: no secrets, bounded.
    pub evidence: serde_json::Value,
    /// Whether a person must act before another attempt can help, such as at a spend cap.
    pub needs_person: bool,
}

impl ModelClient {
    /// Host and, where one is named, port: what models share a breaker by.
    pub(crate) fn authority(&self) -> String {
        match self.url.port() {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    /// A client for that endpoint.
    pub fn new(endpoint: &ModelEndpoint) -> Result<Self, ModelClientError> {
        let (url, host) = messages_url(&endpoint.base_url).ok_or(ModelClientError::BaseUrl)?;
        // A provider that is already installed serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("longhaul/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&host) {
            http = http.no_proxy();
        }
        Ok(Self {
            http: http.build().map_err(ModelClientError::Setup)?,
            url,
            host,
            key: endpoint.api_key.as_ref().map(Key::new).transpose()?,
        })
    }

    /// Makes one attempt. `on_text` is shown the answer's text as it comes; nothing of it counts until the whole message
    /// is there.
    pub async fn call(&self, call: ModelCall<'_>, on_text: impl FnMut(&str)) -> ModelAttempt {
        let mut evidence = Evidence::default();
        let attempt = self.attempt(&call, &mut evidence, on_text);
        let outcome = match timeout(call.limit.timeout, attempt).await {
            Ok(outcome) => outcome,
            Err(_) => evidence.bound(time_is_over(call.limit)),
        };
        let needs_person = evidence.needs_person;
        ModelAttempt {
            outcome: self.without_key(outcome),
            evidence: evidence.into_json(&self.host),
            needs_person,
        }
    }

    async fn attempt(
        &self,
        call: &ModelCall<'_>,
        evidence: &mut Evidence,
        mut on_text: impl FnMut(&str),
    ) -> AttemptOutcome<String> {
        let Some(key) = &self.key else {
            return AttemptOutcome::NotSent(missing_key());
        };
        let request = self
            .http
            .post(self.url.clone())
            .header("x-api-key", key.header.clone())
            .header("anthropic-version", &call.model.api_version)
            .header(CONTENT_TYPE, "application/json")
            .body(call.body.to_owned());
        let first_byte = call.first_byte_timeout.unwrap_or(call.limit.timeout);
        let response = match timeout(first_byte, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return evidence.unanswered(&error, &self.host),
            // A limit as long as the call's own is the call's own.
            Err(_) if first_byte >= call.limit.timeout => return evidence.bound(time_is_over(call.limit)),
            Err(_) => return evidence.bound(no_first_byte(first_byte)),
        };
        evidence.answered(&response);
        if !response.status().is_success() {
            return refused(response, call, evidence).await;
        }
        let reply = if is_event_stream(response.headers()) {
            stream::read(response, call.idle_timeout, evidence, &mut on_text).await
        } else {
            read_whole(response, evidence, &mut on_text).await
        };
        match reply {
            Ok(text) => AttemptOutcome::Done(text),
            Err(broken) => evidence.broke(broken),
        }
    }

    /// An endpoint may repeat the key in its complaint.
    fn without_key(&self, mut outcome: AttemptOutcome<String>) -> AttemptOutcome<String> {
        let secret = self.key.as_ref().map_or("", |key| key.secret.expose_secret().trim());
        if secret.len() >= KEY_CHARS_MIN {
            match &mut outcome {
                AttemptOutcome::Done(_) => {}
                AttemptOutcome::NotSent(error)
                | AttemptOutcome::NotApplied { error, .. }
                | AttemptOutcome::Ambiguous { error, .. } => {
                    error.message = error.message.replace(secret, "[redacted]")
                }
            }
        }
        outcome
    }
}

impl Key {
    fn new(secret: &SecretString) -> Result<Self, ModelClientError> {
        let mut header = HeaderValue::from_str(secret.expose_secret().trim()).map_err(|_| ModelClientError::ApiKey)?;
        header.set_sensitive(true);
        Ok(Self {
            secret: secret.clone(),
            header,
        })
    }
}

/// Judges an error answer.
async fn refused(mut response: Response, call: &ModelCall<'_>, evidence: &mut Evidence) -> AttemptOutcome<String> {
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let mut body = Vec::new();
    let read = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() > ERROR_BYTES_MAX {
                break;
            }
        }
    };
    let _ = timeout(call.idle_timeout.min(ERROR_PATIENCE), read).await;
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let facts = ResponseFacts {
        retry_after: header(RETRY_AFTER.as_str()),
        retry_after_ms: header("retry-after-ms"),
        should_retry: header("x-should-retry"),
        // The answer's own date is of the same clock as the date it asks to wait for.
        now: header(DATE.as_str())
            .and_then(|date| DateTime::parse_from_rfc2822(date).ok())
            .map_or(Some(call.now), |date| Some(date.into())),
    };
    let judged = messages::classify(status, &String::from_utf8_lossy(&body), &facts);
    evidence.needs_person = judged.needs_person;
    outcome_of(judged)
}

/// Reads a reply that is not streamed.
async fn read_whole(
    mut response: Response,
    evidence: &mut Evidence,
    on_text: &mut impl FnMut(&str),
) -> Result<String, Broken> {
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|_| Broken::Wire(WireError::Incomplete))?
    {
        body.extend_from_slice(&chunk);
        if body.len() > REPLY_BYTES_MAX {
            return Err(Broken::Wire(WireError::TooLarge));
        }
    }
    let body = String::from_utf8(body).map_err(|_| Broken::Wire(WireError::Malformed("the reply is not UTF-8")))?;
    let text = messages::complete_body(&body).map_err(Broken::Wire)?;
    let reply = messages::parse_reply(&text).map_err(Broken::Wire)?;
    evidence.message_id = reply.id;
    on_text(&messages::text_of(&reply.content));
    Ok(text)
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.trim_start().to_ascii_lowercase().starts_with("text/event-stream"))
}

/// The address of the Messages API below a base URL, and its host.
fn messages_url(base_url: &str) -> Option<(Url, String)> {
    let mut url = Url::parse(base_url.trim())
        .ok()
        .filter(|url| ["http", "https"].contains(&url.scheme()))?;
    let host = url.host_str()?.to_owned();
    // The key travels in its header; credentials here would show in logs.
    if !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    url.path_segments_mut().ok()?.pop_if_empty().extend(["v1", "messages"]);
    Some((url, host))
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn missing_key() -> StepError {
    StepError::new(
        ErrorClass::Permanent,
        "missing_secret",
        "this worker has no API key for the model",
    )
    .suggest("set ANTHROPIC_API_KEY where the worker runs, then resume the run")
    .fatal()
}
