//! Faults planted on purpose, for a judge that must be seen to find them.
//!
//! Compiled out without the feature `planted-faults`. With it, `LONGHAUL_BREAK=name` breaks one promise of this process.

use engine::planted_fault::{SLOT_KEPT_BY_THE_DEAD, UNFENCED_RECORD, chosen, is_chosen};
use tracing::{error, warn};

/// A call leaves the process before its intent is committed.
pub(crate) const SEND_BEFORE_INTENT: &str = "send-before-intent";
/// Each attempt of a call goes out under a key of its own.
const KEY_BY_ATTEMPT: &str = "key-by-attempt";
/// Calls go out beside the trial call of a breaker.
pub(crate) const TWO_TRIAL_CALLS: &str = "two-trial-calls";

const FAULTS: [&str; 5] = [
    UNFENCED_RECORD,
    SEND_BEFORE_INTENT,
    KEY_BY_ATTEMPT,
    SLOT_KEPT_BY_THE_DEAD,
    TWO_TRIAL_CALLS,
];

/// Ends the process where a fault is asked for that there is not: what was to be broken would be whole.
pub(crate) fn check() {
    match chosen() {
        None => {}
        Some(fault) if FAULTS.contains(&fault) => warn!("this worker is broken on purpose: LONGHAUL_BREAK={fault}"),
        Some(unknown) => {
            error!(
                "LONGHAUL_BREAK={unknown} is no planted fault; there are {}",
                FAULTS.join(", ")
            );
            std::process::exit(2);
        }
    }
}

/// The key that an attempt goes out under.
pub(crate) fn key_sent(key: String, attempt: u32) -> String {
    if is_chosen(KEY_BY_ATTEMPT) {
        format!("{key}-{attempt}")
    } else {
        key
    }
}
