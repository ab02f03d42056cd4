//! What this worker knows of breakers, and how many calls it has out. What it knows is a hint: the database decides.

use agent::gate::{Breaker, Mark};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// For so long a breaker that was found closed is taken to be. Shorter than any cooldown, so that nobody here takes one for
/// closed whose trial call is out.
const TRUST: Duration = Duration::from_millis(500);

/// Breakers kept in mind; more are seldom in use at once.
const KNOWN_MAX: usize = 4_096;

/// Shared by all drivers of a worker.
#[derive(Debug)]
pub(crate) struct Gates {
    closed: Mutex<HashMap<String, Closed>>,
    /// Breakers that a failure was reported to from here, and no success since.
    failing: Mutex<HashSet<String>>,
    /// As many tool calls may be out at once.
    pub(crate) room: Arc<Semaphore>,
}

/// A breaker that was found closed.
#[derive(Debug, Clone, Copy)]
struct Closed {
    pass: Pass,
    found_at: Instant,
}

/// Under what a call is let out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pass {
    /// The breaker's, which the outcome is reported under.
    pub(crate) generation: i64,
    /// The breaker's failures in a row.
    pub(crate) failures: i32,
    /// Whether it is the breaker's trial call.
    pub(crate) is_trial: bool,
}

/// A call that was let out.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// Whose breaker and limits.
    pub(crate) scope: String,
    /// The breaker, and under what it let the call out.
    pub(crate) breaker: Option<(Breaker, Pass)>,
    /// The key under which it has a slot.
    pub(crate) slot: Option<String>,
    /// Its place among those that this worker may have out.
    pub(crate) permit: Option<tokio::sync::OwnedSemaphorePermit>,
}

impl Gates {
    /// For so many calls at once.
    pub(crate) fn new(calls_max: usize) -> Self {
        Self {
            closed: Mutex::default(),
            failing: Mutex::default(),
            room: Arc::new(Semaphore::new(calls_max.clamp(1, Semaphore::MAX_PERMITS))),
        }
    }

    /// Under what a call goes out whose breaker was found closed just now.
    pub(crate) fn closed(&self, tenant: &str, scope: &str) -> Option<Pass> {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        let known = closed.get(&name(tenant, scope))?;
        (known.found_at.elapsed() < TRUST).then_some(known.pass)
    }

    /// How many failures a breaker counts, as far as it is known here: a success after one of ours is told, although its
    /// call went out before.
    pub(crate) fn failures(&self, tenant: &str, scope: &str, mark: Mark) -> i32 {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let name = name(tenant, scope);
        let has_failed = match mark {
            Mark::Failed if failing.len() < KNOWN_MAX => {
                failing.insert(name);
                true
            }
            Mark::Succeeded => failing.remove(&name),
            Mark::Failed | Mark::RateLimited | Mark::Neutral => false,
        };
        let known = self.closed(tenant, scope).map_or(0, |pass| pass.failures);
        known.max(i32::from(has_failed))
    }

    /// A breaker was asked at that instant, and is closed.
    pub(crate) fn found_closed(&self, (tenant, scope): (&str, &str), pass: Pass, asked_at: Instant) {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        if closed.len() >= KNOWN_MAX {
            closed.clear();
        }
        let known = Closed {
            pass,
            found_at: asked_at,
        };
        closed.insert(name(tenant, scope), known);
    }

    /// A breaker is not as it was.
    pub(crate) fn forget(&self, tenant: &str, scope: &str) {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        closed.remove(&name(tenant, scope));
    }
}

fn name(tenant: &str, scope: &str) -> String {
    format!("{tenant}\n{scope}")
}
