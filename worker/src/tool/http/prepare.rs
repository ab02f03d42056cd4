//! From the stored request to the one that is sent: references resolved, the engine's headers added.

use super::address::{Reach, Refused};
use super::{Client, Clients, Request, connect_limit};
use crate::tool::Call;
use crate::tool::environment::Environment;
use crate::tool::secrets::Secrets;
use agent::tool::render::resolve;
use agent::{ErrorClass, StepError};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use std::cell::RefCell;

/// Where a request goes and what was put into it.
pub(super) struct Target {
    /// Host and port.
    pub(super) host: String,
    pub(super) secrets: Secrets,
}

/// A request that can be sent, and the client that reaches as far as it may.
pub(super) struct Prepared {
    pub(super) client: Client,
    pub(super) request: reqwest::Request,
    pub(super) target: Target,
}

/// Why a request is not sent.
pub(super) enum Unsendable {
    Invalid(StepError),
    /// It leads where its tool may not go; host and port, for people.
    Refused(Refused, String),
}

impl From<StepError> for Unsendable {
    fn from(error: StepError) -> Self {
        Self::Invalid(error)
    }
}

/// Makes the request. Nothing has left the process when this fails.
pub(super) fn prepare(
    clients: &Clients,
    environment: &Environment,
    call: &Call<'_>,
    stored: Request<'_>,
) -> Result<Prepared, Unsendable> {
    let secrets = RefCell::new(Secrets::default());
    let lookup = |name: &str| {
        let value = environment.get(name)?;
        secrets.borrow_mut().remember(name, &value);
        Some(value)
    };

    let method = Method::from_bytes(stored.method.as_bytes()).map_err(|_| invalid("its method is no method"))?;
    let url = Url::parse(&resolve(stored.url, lookup)?).map_err(|error| invalid(&format!("its URL: {error}")))?;
    let mut headers = HeaderMap::new();
    for (name, text) in stored.headers {
        let mut value = header_value(name, &resolve(text, lookup)?)?;
        value.set_sensitive(text.contains("{env:"));
        headers.insert(header_name(name)?, value);
    }
    if stored.body.is_some() && !headers.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    // Last, so that no header of the definition can take their place.
    for (name, value) in [
        (stored.tool.idempotency_header.as_str(), call.key),
        ("longhaul-run", &call.context.run),
        ("longhaul-step", &call.context.step.to_string()),
        ("longhaul-attempt", &call.attempt.to_string()),
        ("longhaul-worker", &call.context.worker),
        ("longhaul-tenant", &in_header(&call.context.tenant)),
        (
            "longhaul-requester",
            &in_header(call.context.requester.as_deref().unwrap_or_default()),
        ),
    ] {
        headers.insert(header_name(name)?, header_value(name, value)?);
    }

    let host = host_of(&url).ok_or_else(|| invalid("its URL names no host"))?;
    let host = secrets.borrow().hide(host);
    let reach = Reach::of(&url, stored.tool).map_err(|refused| Unsendable::Refused(refused, host.clone()))?;
    let client = clients.client(reach, connect_limit(stored.tool, call.limit.timeout))?;
    let mut builder = client.client.request(method, url).headers(headers);
    if let Some(body) = stored.body {
        builder = builder.body(body.to_owned());
    }
    let request = builder.build().map_err(|error| invalid(&super::root_cause(&error)))?;
    let secrets = secrets.into_inner();
    Ok(Prepared {
        client,
        request,
        target: Target { host, secrets },
    })
}

/// Text of a caller's as a header takes it: whatever is not visible ASCII, and the sign itself, percent-encoded.
fn in_header(text: &str) -> String {
    let encoded = |byte: u8| match byte {
        b'%' => "%25".to_owned(),
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encoded).collect()
}

fn host_of(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(
        url.port()
            .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")),
    )
}

fn header_name(name: &str) -> Result<HeaderName, StepError> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid(&format!("{name:?} cannot be a header's name")))
}

fn header_value(name: &str, value: &str) -> Result<HeaderValue, StepError> {
    HeaderValue::from_str(value)
        .or_else(|_| HeaderValue::from_bytes(value.as_bytes()))
        .map_err(|_| {
            invalid(&format!(
                "the value of its header {name:?} has characters that no header may have"
            ))
        })
}

/// What only the agent's author or an operator can mend.
fn invalid(why: &str) -> StepError {
    StepError::new(
        ErrorClass::Permanent,
        "invalid_request",
        format!("the request cannot be sent: {why}"),
    )
    .suggest("look at the tool's url and headers in the agent's definition, and at the variables they refer to")
    .fatal()
}
