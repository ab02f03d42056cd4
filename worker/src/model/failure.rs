//! What a failure of the transport means: whether anything left this process, and which time limit ended it.

use agent::wire::messages::{ModelError, WireError};
use agent::{AttemptOutcome, Bound, CallLimit, ErrorClass, StepError};
use std::error::Error;
use std::io;
use std::time::Duration;

/// Code of an error that says no connection stood in time.
pub(super) const CONNECT_TIMEOUT_CODE: &str = "connect_timeout";

/// How a reply broke off.
#[derive(Debug)]
pub(super) enum Broken {
    /// By what came, or by nothing more coming.
    Wire(WireError),
    /// By a time limit.
    Time(TimeLimit),
}

/// A time limit that ran out.
#[derive(Debug)]
pub(super) struct TimeLimit {
    /// Its name, which is the error's code.
    pub(super) code: &'static str,
    message: String,
    limit: CallLimit,
}

impl TimeLimit {
    /// The call is out, and nobody can say how far it came.
    pub(super) fn outcome(self) -> AttemptOutcome<String> {
        AttemptOutcome::Ambiguous {
            error: StepError::new(ErrorClass::Timeout, self.code, self.message).limited(self.limit),
            retry_after: None,
        }
    }
}

/// The whole call took too long.
pub(super) fn time_is_over(limit: CallLimit) -> TimeLimit {
    TimeLimit {
        code: "model_timeout",
        message: format!(
            "the model call did not end within {:?}: {}",
            limit.timeout,
            limit.bound.set_by()
        ),
        limit,
    }
}

/// No answer began.
pub(super) fn no_first_byte(timeout: Duration) -> TimeLimit {
    let limit = CallLimit {
        timeout,
        bound: Bound::FirstByte,
    };
    TimeLimit {
        code: "model_first_byte_timeout",
        message: format!(
            "the model's answer did not begin within {timeout:?}: {}",
            limit.bound.set_by()
        ),
        limit,
    }
}

/// A stream fell silent.
pub(super) fn silence(timeout: Duration) -> TimeLimit {
    let limit = CallLimit {
        timeout,
        bound: Bound::Idle,
    };
    TimeLimit {
        code: "model_idle_timeout",
        message: format!(
            "the model's stream was silent for {timeout:?}: {}",
            limit.bound.set_by()
        ),
        limit,
    }
}

/// An answered error: not applied, unless tokens may have been spent.
pub(super) fn outcome_of(judged: ModelError) -> AttemptOutcome<String> {
    let ModelError { error, retry_after, .. } = judged;
    if judged.may_be_billed {
        AttemptOutcome::Ambiguous { error, retry_after }
    } else {
        AttemptOutcome::NotApplied { error, retry_after }
    }
}

/// A request that got no answer. It left this process once a connection stood.
pub(super) fn unanswered(error: &reqwest::Error, host: &str) -> AttemptOutcome<String> {
    if error.is_builder() {
        let error = StepError::new(
            ErrorClass::Permanent,
            "model_request_invalid",
            "the model request could not be built",
        )
        .suggest("check the agent's `api_version`: it is sent as a header")
        .fatal();
        return AttemptOutcome::NotSent(error);
    }
    let cause = innermost(error);
    if !error.is_connect() {
        return AttemptOutcome::Ambiguous {
            error: StepError::new(
                ErrorClass::Transient,
                "connection_lost",
                format!("the connection to {host} was lost before an answer came: {cause}"),
            ),
            retry_after: None,
        };
    }
    let message = format!("could not connect to {host}: {cause}");
    let error = if error.is_timeout() {
        StepError::new(ErrorClass::Timeout, CONNECT_TIMEOUT_CODE, message)
    } else if causes(error).any(|cause| is_io(cause, io::ErrorKind::ConnectionRefused)) {
        StepError::new(ErrorClass::Transient, "connection_refused", message)
    } else if causes(error).any(is_bad_certificate) {
        StepError::new(ErrorClass::Permanent, "certificate_refused", message)
            .suggest("check the base URL, and that this machine trusts the endpoint's certificate authority")
            .fatal()
    } else {
        StepError::new(ErrorClass::Transient, "connection_failed", message)
    };
    AttemptOutcome::NotSent(error)
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

fn is_io(error: &(dyn Error + 'static), kind: io::ErrorKind) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == kind)
}

/// An `io::Error` does not name what it wraps among its sources.
fn is_bad_certificate(error: &(dyn Error + 'static)) -> bool {
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    let found = error
        .downcast_ref()
        .or_else(|| wrapped.and_then(|wrapped| wrapped.downcast_ref()));
    matches!(found, Some(rustls::Error::InvalidCertificate(_)))
}
