//! Faults planted on purpose, for a judge that must be seen to find them.
//!
//! Compiled out without the feature `planted-faults`. With it, `LONGHAUL_BREAK=name` breaks one promise of this process.
//! Each hook does nothing unless its fault was chosen.

mod sent;

pub(crate) use sent::{key_sent, request_sent, shown};

use agent::{Journal, StepState};
use chrono::TimeDelta;
use engine::Engine;
use engine::planted_fault::{self, WAKE_UP_LOST, chosen, is_chosen};
use std::borrow::Cow;
use std::time::Duration;
use tracing::{error, warn};

/// A call leaves the process before its intent is committed.
pub(crate) const SEND_BEFORE_INTENT: &str = "send-before-intent";
/// Each attempt of a call goes out under a key of its own.
const KEY_BY_ATTEMPT: &str = "key-by-attempt";
/// The bytes of a call are made anew for each attempt, and not quite the same.
const BODY_REBUILT: &str = "body-rebuilt";
/// The model is told of the results of a turn under each other's names.
const ANSWERS_SWAPPED: &str = "answers-swapped";
/// A call that may have been made is taken for one that was not.
const DOUBT_TAKEN_FOR_NO: &str = "doubt-taken-for-no";
/// An intent that a dead worker left is taken for a call that was not made.
const INTENT_TAKEN_FOR_UNSENT: &str = "intent-taken-for-unsent";
/// A workflow's call that may not be repeated has no intent.
const INTENT_MISSING: &str = "intent-missing";
/// Attempts are not counted.
const BUDGET_UNCOUNTED: &str = "budget-uncounted";
/// What falls due is judged by a clock of the worker's own.
const TIMER_BY_OWN_CLOCK: &str = "timer-by-own-clock";
/// A commit whose answer was lost is taken for a failure, and done again.
const LOST_COMMIT_REDONE: &str = "lost-commit-redone";
/// Whoever takes a workflow up does not know which signals were taken.
const SIGNAL_TAKEN_TWICE: &str = "signal-taken-twice";
/// A probe's no is believed while the call may still be on its way.
const PROBE_BELIEVED_EARLY: &str = "probe-believed-early";

/// Calls go out beside the trial call of a breaker.
pub(crate) const TWO_TRIAL_CALLS: &str = "two-trial-calls";

const FAULTS: [&str; 13] = [
    SEND_BEFORE_INTENT,
    KEY_BY_ATTEMPT,
    BODY_REBUILT,
    ANSWERS_SWAPPED,
    DOUBT_TAKEN_FOR_NO,
    INTENT_TAKEN_FOR_UNSENT,
    INTENT_MISSING,
    BUDGET_UNCOUNTED,
    TIMER_BY_OWN_CLOCK,
    LOST_COMMIT_REDONE,
    SIGNAL_TAKEN_TWICE,
    PROBE_BELIEVED_EARLY,
    TWO_TRIAL_CALLS,
];

/// How long a run lingers before it is parked, so that something can come meanwhile.
const LINGERING: Duration = Duration::from_millis(200);
/// How far ahead of the database the clock of every other worker is.
const AHEAD: TimeDelta = TimeDelta::milliseconds(900);
/// Between two tries to break a function of a database that is away.
const AGAIN_AFTER: Duration = Duration::from_millis(250);

/// Ends the process where a fault is asked for that there is not: what was to be broken would be whole.
pub(crate) fn check() {
    let known = || planted_fault::FAULTS.into_iter().chain(FAULTS);
    match chosen() {
        None => {}
        Some(fault) if known().any(|name| name == fault) => {
            warn!("this worker is broken on purpose: LONGHAUL_BREAK={fault}");
        }
        Some(unknown) => {
            let names: Vec<&str> = known().collect();
            error!(
                "LONGHAUL_BREAK={unknown} is no planted fault; there are {}",
                names.join(", ")
            );
            std::process::exit(2);
        }
    }
}

/// Breaks a function of the database, where that is the fault.
pub(crate) async fn plant(engine: &Engine) {
    while let Err(error) = engine.plant().await {
        if !error.is_transient() {
            error!("the fault cannot be planted: {error}");
            std::process::exit(2);
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// Whether it is certain that nothing was done.
pub(crate) fn known_undone(known: bool) -> bool {
    known || is_chosen(DOUBT_TAKEN_FOR_NO)
}

/// What a step of a dead worker is taken for.
pub(crate) fn found(state: StepState) -> StepState {
    if state == StepState::Interrupted && is_chosen(INTENT_TAKEN_FOR_UNSENT) {
        StepState::Waiting
    } else {
        state
    }
}

/// Whether a workflow's call that may not be repeated has an intent.
pub(crate) fn has_intent() -> bool {
    !is_chosen(INTENT_MISSING)
}

/// The number of an attempt, as its budget knows it.
pub(crate) fn counted(attempt: u32) -> u32 {
    if is_chosen(BUDGET_UNCOUNTED) { 1 } else { attempt }
}

/// How far a worker's clock is from the database's.
pub(crate) fn clock_error() -> TimeDelta {
    let is_ahead = is_chosen(TIMER_BY_OWN_CLOCK) && std::process::id().is_multiple_of(2);
    if is_ahead { AHEAD } else { TimeDelta::zero() }
}

/// Time for something to come before a run is parked.
pub(crate) async fn linger() {
    if is_chosen(WAKE_UP_LOST) {
        tokio::time::sleep(LINGERING).await;
    }
}

/// Whether a commit whose answer was lost is done again without a look.
pub(crate) fn is_redone() -> bool {
    is_chosen(LOST_COMMIT_REDONE)
}

/// Whether it is known which signals were taken.
pub(crate) fn knows_taken() -> bool {
    !is_chosen(SIGNAL_TAKEN_TWICE)
}

/// The journal as it is decided upon.
pub(crate) fn seen(journal: &Journal) -> Cow<'_, Journal> {
    if !is_chosen(PROBE_BELIEVED_EARLY) {
        return Cow::Borrowed(journal);
    }
    let mut seen = journal.clone();
    let unknown = seen.steps.iter_mut().filter(|step| step.state == StepState::Unknown);
    for step in unknown {
        // As if its time limit were long over.
        step.attempt_started_at -= TimeDelta::minutes(1);
    }
    Cow::Owned(seen)
}
