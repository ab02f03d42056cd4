//! The bounds of the rehearsal.

use std::time::Duration;

/// Largest request body, as the real API has it: 32 MB.
pub(crate) const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Most messages in a request, as the real API has it.
pub(crate) const MESSAGES_MAX: usize = 100_000;

/// Requests kept in memory; older ones are forgotten, so that a long bench does not grow without end.
pub(crate) const ASKED_KEPT_MAX: usize = 10_000;

/// Longest that open connections are waited for at a stop.
pub(crate) const STOP_WITHIN: Duration = Duration::from_secs(3);

/// Cache breakpoints in a request, as the real API has it.
pub(crate) const CACHE_BREAKPOINTS_MAX: usize = 4;
