//! Every bound of the HTTP door, with its reason.

use std::time::Duration;

/// What an operator may set.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections held at once; further ones wait in the kernel's queue.
    pub connections_max: usize,
    /// Event streams held at once: fewer than connections, so that followers never shut out everybody else.
    pub streams_max: usize,
    /// From the last header to the answer's first byte. Streams go on for as long as they like.
    pub request_timeout: Duration,
    /// A client that takes nothing for so long is cut.
    pub stall_timeout: Duration,
    /// Between two comments on a stream that has nothing to tell.
    pub keep_alive: Duration,
    /// How long a stop waits for answers that are on their way.
    pub stop_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            streams_max: 896,
            request_timeout: Duration::from_secs(40),
            stall_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(15),
            stop_grace: Duration::from_secs(10),
        }
    }
}

/// Longer a health check does not wait for what `/readyz` asks of the database.
pub(crate) const READY_LIMIT: Duration = Duration::from_millis(1500);
/// All headers of a request: tokens and cookies fit, and nothing else belongs there.
pub(crate) const HEAD_BYTES_MAX: usize = 32 * 1024;
/// What is read of a head, and written to a client ahead of its reading, before anybody looks at it.
pub(crate) const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// A request's headers come at once, or somebody holds the connection for nothing.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
/// A body that trickles in longer than this holds memory for nothing.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// A request's body: an input of 1 MiB with room around it.
pub(crate) const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// A run's start: an earlier conversation of 16 MiB besides its input.
pub(crate) const START_BYTES_MAX: usize = 18 * 1024 * 1024;
/// A batch: a thousand runs of ordinary inputs.
pub(crate) const BATCH_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bodies above [`BODY_BYTES_MAX`] that are read at once: together a quarter of a GiB.
pub(crate) const LARGE_BODIES_MAX: usize = 8;
/// What is read and dropped of a body that is refused, so that its sender sees the answer.
pub(crate) const DRAIN_BYTES_MAX: usize = 48 * 1024 * 1024;
/// And for how long.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);
/// A body nests around its payloads.
pub(crate) const BODY_DEPTH_MAX: usize = engine::limits::DEPTH_MAX + 4;

/// Rows of one page, as in the engine.
pub(crate) const PAGE_ROWS_MAX: i64 = engine::limits::PAGE_ROWS_MAX;
/// Rows of one page, where the caller does not say.
pub(crate) const PAGE_ROWS: i64 = 50;

/// Characters of names given by callers: agents, queues, requesters, keys.
pub(crate) const NAME_CHARS_MAX: usize = 255;
/// A value that does not fit is repeated in the refusal where it is short.
pub(crate) const SHOWN_CHARS_MAX: usize = 64;
/// Labels of a run, and characters of a label's name.
pub(crate) const LABELS_MAX: usize = 64;

/// Events of one run that one statement reads; the next statement reads on.
pub(crate) const EVENTS_PER_READ: i64 = 128;
/// Batches of events that wait for one follower. One that is further behind reads for itself.
pub(crate) const FOLLOWER_BATCHES_MAX: usize = 16;
/// Statements of the safety net: it finds what no notification told.
pub(crate) const LOOK_PERIOD: Duration = Duration::from_secs(1);
