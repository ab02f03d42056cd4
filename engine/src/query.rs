//! Questions. Nothing here changes anything.

mod detail;
mod driving;
mod lists;

pub use detail::{AttemptRow, EventRow, MessageRow, RunDetail};
pub use driving::{Look, Poll, StepRow, VersionRow};
pub use lists::{AgentRow, RunRow, RunsWanted};
