//! One attempt of an HTTP tool: send exactly the stored request, and say what can be said of its fate.
//!
//! No redirect is followed, nothing is retried, no cookie is kept, no proxy is asked, and each attempt has a connection
//! of its own: on a kept one that the server has just closed, a call that never arrived could not be told from one that
//! did. Which addresses a connection may lead to is in [`address`].
//! The body goes out as stored. `{env:NAME}` is resolved in the URL and the headers, which the agent's author wrote,
//! and never in the body, which the model wrote: a model cannot name a secret into its own request.
//! Start at [`call`]; what a status means is in [`reply`].

mod address;
mod prepare;
mod reply;

use super::environment::Environment;
use super::limit::Limit;
use super::output::{self, READ_BEYOND_BYTES};
use super::{Attempt, Call};
pub(super) use address::Names;
use address::{Guard, Reach, Refused};
use agent::definition::HttpTool;
use agent::tool::OUTPUT_BYTES_MAX;
use agent::{AttemptOutcome, Bound, CallLimit, ErrorClass, StepError};
use prepare::{Prepared, Target, Unsendable};
use reply::{Body, End, Head};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What is read of a body; enough to say how much longer than the shown output it is.
const BODY_BYTES_MAX: usize = 1024 * 1024;

const _: () = assert!(BODY_BYTES_MAX > OUTPUT_BYTES_MAX + READ_BEYOND_BYTES);

/// How long connecting may take. A call uses the longest that ends before its own limit, so that a connection which
/// does not come about is known not to have been one, instead of being lost in the call's timeout.
const CONNECT_LIMITS: [Duration; 5] = [
    Duration::from_secs(5),
    Duration::from_secs(2),
    Duration::from_secs(1),
    Duration::from_millis(400),
    Duration::from_millis(100),
];

/// A stored request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    pub(super) url: &'a str,
    pub(super) headers: &'a BTreeMap<String, String>,
    pub(super) body: Option<&'a str>,
    pub(super) tool: &'a HttpTool,
}

/// One client for each reach and each limit on connecting, made when first needed: a worker without HTTP tools needs no
/// certificates.
#[derive(Debug)]
pub(super) struct Clients {
    names: Names,
    built: Mutex<HashMap<(Reach, Duration), reqwest::Client>>,
}

/// A client and its connect limit.
struct Client {
    client: reqwest::Client,
    connect: CallLimit,
}

impl Clients {
    pub(super) fn new(names: Names) -> Self {
        Self {
            names,
            built: Mutex::default(),
        }
    }

    fn client(&self, reach: Reach, connect: CallLimit) -> Result<Client, StepError> {
        let key = (reach, connect.timeout);
        let built = || self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = built().get(&key) {
            let client = client.clone();
            return Ok(Client { client, connect });
        }
        let guard = Guard {
            names: self.names.clone(),
            reach,
        };
        let client = build(connect.timeout, guard).map_err(|error| {
            let why = root_cause(&error);
            StepError::new(
                ErrorClass::Permanent,
                "http_client",
                format!("no HTTP client could be made: {why}"),
            )
            .suggest("check that this machine has its certificate authorities installed")
            .fatal()
        })?;
        built().insert(key, client.clone());
        Ok(Client { client, connect })
    }
}

/// The limit on connecting: the tool's own, if that ends before the call's.
fn connect_limit(tool: &HttpTool, timeout: Duration) -> CallLimit {
    let own = seconds(tool.connect_timeout_seconds).filter(|own| *own < timeout);
    let longest = CONNECT_LIMITS.into_iter().find(|limit| *limit < timeout);
    let shortest = CONNECT_LIMITS[CONNECT_LIMITS.len() - 1];
    CallLimit {
        timeout: own.or(longest).unwrap_or(shortest),
        bound: Bound::Connect,
    }
}

fn seconds(number: Option<u32>) -> Option<Duration> {
    number.map(|number| Duration::from_secs(u64::from(number)))
}

/// The limit on a part of the call, where its tool has one.
fn part(number: Option<u32>, bound: Bound) -> Option<CallLimit> {
    seconds(number).map(|timeout| CallLimit { timeout, bound })
}

fn build(connect_limit: Duration, guard: Guard) -> reqwest::Result<reqwest::Client> {
    // Another part of the process may have installed one already; any will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(concat!("longhaul/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .pool_max_idle_per_host(0)
        // A proxy would be the address that is judged, and would connect to any other.
        .no_proxy()
        .dns_resolver(guard)
        .connect_timeout(connect_limit)
        .build()
}

/// Makes one attempt.
pub(super) async fn call(
    clients: &Clients,
    environment: &Environment,
    call: &Call<'_>,
    request: Request<'_>,
) -> Attempt {
    let tool = request.tool;
    let Prepared {
        client,
        request,
        target,
    } = match prepare::prepare(clients, environment, call, request) {
        Ok(prepared) => prepared,
        Err(Unsendable::Invalid(error)) => return Attempt::not_sent(error),
        Err(Unsendable::Refused(refused, host)) => return address_refused(refused, &host),
    };
    let mut limit = Limit::of(call);
    let (first_byte, idle) = (
        part(tool.first_byte_timeout_seconds, Bound::FirstByte),
        part(tool.idle_timeout_seconds, Bound::Idle),
    );
    match limit.within_part(first_byte, client.client.execute(request)).await {
        None => Attempt {
            outcome: AttemptOutcome::Ambiguous {
                error: limit.expired(),
                retry_after: None,
            },
            evidence: evidence(&target, &limit),
        },
        Some(Err(error)) if let Some(refused) = Refused::behind(&error) => address_refused(refused, &target.host),
        Some(Err(error)) => Attempt {
            outcome: send_failed(&error, client.connect, &target),
            evidence: evidence(&target, &limit),
        },
        Some(Ok(response)) => {
            let head = Head::of(&response, call.now);
            let body = read(response, (&mut limit, idle)).await;
            let mut evidence = evidence(&target, &limit);
            reply::add_evidence(&mut evidence, &head, &body, &target.secrets);
            Attempt {
                outcome: reply::outcome(head, body, &limit, &target.secrets),
                evidence,
            }
        }
    }
}

fn address_refused(refused: Refused, host: &str) -> Attempt {
    Attempt {
        outcome: AttemptOutcome::NotSent(refused.error(host)),
        evidence: json!({ "kind": "http", "host": host, "address": refused.address.to_string() }),
    }
}

fn evidence(target: &Target, limit: &Limit) -> Value {
    json!({ "kind": "http", "host": target.host, "limit": limit.evidence() })
}

/// Reads the body up to [`BODY_BYTES_MAX`].
async fn read(mut response: reqwest::Response, (limit, idle): (&mut Limit, Option<CallLimit>)) -> Body {
    let mut bytes = Vec::new();
    let end = loop {
        match limit.within_part(idle, response.chunk()).await {
            None => break End::TimedOut,
            Some(Ok(Some(chunk))) => bytes.extend_from_slice(&chunk),
            Some(Ok(None)) => break End::Complete,
            Some(Err(error)) => break End::Broken(root_cause(&error)),
        }
        if bytes.len() > BODY_BYTES_MAX {
            break End::Capped;
        }
    };
    bytes.truncate(BODY_BYTES_MAX);
    Body { bytes, end }
}

/// No reply came. While the connection was being made nothing can have been sent; after that, nobody knows.
fn send_failed<T>(error: &reqwest::Error, connect: CallLimit, target: &Target) -> AttemptOutcome<T> {
    let host = &target.host;
    let why = target.secrets.hide(root_cause(error));
    if error.is_builder() {
        let error = StepError::new(
            ErrorClass::Permanent,
            "invalid_request",
            format!("the request to {host} cannot be sent: {why}"),
        );
        return AttemptOutcome::NotSent(error.fatal());
    }
    if !error.is_connect() {
        return AttemptOutcome::Ambiguous {
            error: StepError::new(
                ErrorClass::Transient,
                "connection_lost",
                format!("{host} took the connection but gave no readable reply: {why}"),
            ),
            retry_after: None,
        };
    }
    let transient = |code, message| StepError::new(ErrorClass::Transient, code, message);
    let error = if error.is_timeout() {
        let (limit_ms, set_by) = (connect.timeout.as_millis(), connect.bound.set_by());
        let message = format!("no connection to {host} within {limit_ms} ms: {set_by}");
        transient("connect_timeout", message).limited(connect)
    } else if is_refused(error) {
        transient("connection_refused", format!("{host} refused the connection"))
    } else {
        transient("connect_failed", format!("no connection to {host}: {why}"))
    };
    AttemptOutcome::NotSent(error)
}

fn is_refused(error: &reqwest::Error) -> bool {
    std::iter::successors(error.source(), |&cause| cause.source())
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::ConnectionRefused)
}

/// The innermost cause. The error's own text is never shown, since it holds the URL.
fn root_cause(error: &reqwest::Error) -> String {
    std::iter::successors(error.source(), |&cause| cause.source())
        .last()
        .map_or_else(
            || "no further cause".to_owned(),
            |cause| output::clean(cause.to_string().as_bytes()),
        )
}

#[cfg(test)]
mod tests;
