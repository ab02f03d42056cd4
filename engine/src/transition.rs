//! The verbs of a run's life: one file pair each, one statement each.
//!
//! Every write for a run names its fence in the `where`. Zero rows is an answer, never an error. Client verbs call the
//! SQL functions of `migrations/`, which applications call too.

mod admit_calls;
mod agent;
mod announce_events;
mod claim_runs;
mod decide_approval;
mod doors;
mod finish_run;
mod lease;
mod make_partitions;
mod park_run;
mod reclaim_runs;
mod record;
mod release_run;
mod send_signal;
mod start_child;
mod start_runs;
mod sweep_children;
mod tool_cache;
mod transact;
mod wake_runs;

pub use admit_calls::{Admission, AdmitCall, CallReport, OpenBreaker, Pass};
pub use agent::{Applied, ApplyAgent};
pub use claim_runs::{ClaimRuns, Claimed, Which};
pub use decide_approval::{Decide, LateResult};
pub use doors::{Cancelled, StartRun, Started};
pub use finish_run::Ending;
pub use lease::{Attention, LiveLease, Registration};
pub use make_partitions::MonthMade;
pub use park_run::Park;
pub use reclaim_runs::Reclaimed;
pub use record::{EventWrite, Place, Recorded, StepBegin, StepChange, StepWrites, Then, Transition};
pub use release_run::Release;
pub use send_signal::{SendSignal, SignalSent};
pub use start_child::{OnParentEnd, StartChild};
pub use start_runs::BatchRefused;
pub use tool_cache::{CacheKey, Kept};
pub use transact::{SettingsOfTools, Uncommitted};

/// What a holder must know before it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Control {
    /// How often something woke this run; parking names it.
    pub wakes: i64,
    /// Somebody asked for the run's end: no intent is accepted any more.
    pub cancel_requested: bool,
    /// Somebody paused the run: no intent is accepted until it is resumed.
    pub paused: bool,
}
