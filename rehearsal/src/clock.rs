//! The only place that asks for the time: these servers stand outside the product and have a clock of their own.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

/// The present moment by this machine's clock.
#[expect(clippy::disallowed_methods, reason = "an outside service has its own clock")]
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now()
}

/// The present moment as RFC 3339 with milliseconds.
pub(crate) fn now_rfc3339() -> String {
    now().to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The moment `seconds` from now as RFC 3339.
pub(crate) fn rfc3339_in(seconds: u32) -> String {
    (now() + TimeDelta::seconds(i64::from(seconds))).to_rfc3339_opts(SecondsFormat::Secs, true)
}
