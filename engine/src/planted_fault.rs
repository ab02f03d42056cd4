//! Faults planted on purpose, for a judge that must be seen to find them.
//!
//! Compiled out without the feature `planted-faults`. With it, `LONGHAUL_BREAK=name` breaks one promise of this process;
//! where the promise is kept by a function of the database, the process breaks that one. Each hook does nothing unless
//! its fault was chosen.

mod claims;
mod functions;
mod records;
mod starts;

pub(crate) use claims::{child_key, forget_crashes, lease_clock};
pub(crate) use records::{WRITE_BEHIND, heard};
pub(crate) use starts::as_taken;

use std::sync::LazyLock;

/// A record is taken from whoever offers it, also from a worker that holds its run no more.
pub const UNFENCED_RECORD: &str = "unfenced-record";
/// Intents are taken for a run that is to be cancelled, and its holder is told only when it would end the run.
pub const INTENT_AFTER_CANCEL: &str = "intent-after-cancel";
/// A record is answered before it is committed.
pub const ANSWER_BEFORE_COMMIT: &str = "answer-before-commit";
/// A parking does not name the wake-ups that its holder has seen.
pub const WAKE_UP_LOST: &str = "wake-up-lost";
/// A result that came late is taken for the step's own, where that is unknown.
pub const LATE_RESULT_APPLIED: &str = "late-result-applied";
/// Whoever takes back runs judges leases by a clock of its own.
pub const LEASE_BY_OWN_CLOCK: &str = "lease-by-own-clock";
/// The claim of a run that was taken back leaves its fence as it is.
pub const CLAIM_KEEPS_FENCE: &str = "claim-keeps-fence";
/// Whoever claims a run that was taken back counts its events on from one too many.
pub const EVENT_NUMBER_SKIPPED: &str = "event-number-skipped";
/// A dead worker is not counted against its runs.
pub const CRASHES_UNCOUNTED: &str = "crashes-uncounted";
/// The key of a child's start depends on who holds the parent.
pub const CHILD_BY_FENCE: &str = "child-by-fence";
/// A start's idempotency key is not looked at.
pub const START_KEY_IGNORED: &str = "start-key-ignored";
/// A start is acknowledged before it is committed.
pub const START_ANSWERED_EARLY: &str = "start-answered-early";
/// What was decided can be decided once more.
pub const DECIDED_TWICE: &str = "decided-twice";
/// That a call did not happen is believed while it may still be on its way.
pub const DECIDED_TOO_EARLY: &str = "decided-too-early";

/// A slot stays taken when the worker is dead that held it.
pub const SLOT_KEPT_BY_THE_DEAD: &str = "slot-kept-by-the-dead";

/// All that are planted in this crate.
pub const FAULTS: [&str; 15] = [
    UNFENCED_RECORD,
    INTENT_AFTER_CANCEL,
    ANSWER_BEFORE_COMMIT,
    WAKE_UP_LOST,
    LATE_RESULT_APPLIED,
    LEASE_BY_OWN_CLOCK,
    CLAIM_KEEPS_FENCE,
    EVENT_NUMBER_SKIPPED,
    CRASHES_UNCOUNTED,
    CHILD_BY_FENCE,
    START_KEY_IGNORED,
    START_ANSWERED_EARLY,
    DECIDED_TWICE,
    DECIDED_TOO_EARLY,
    SLOT_KEPT_BY_THE_DEAD,
];

static CHOSEN: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("LONGHAUL_BREAK").ok());

/// The name that was given, whether or not there is such a fault.
pub fn chosen() -> Option<&'static str> {
    CHOSEN.as_deref().filter(|name| !name.is_empty())
}

/// Whether it is this one.
pub fn is_chosen(fault: &str) -> bool {
    chosen() == Some(fault)
}
