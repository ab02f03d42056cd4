//! Questions. Nothing here changes anything.

mod approvals;
mod breakers;
mod detail;
mod driving;
mod lists;
mod shown;
mod waits;

pub use approvals::{ApprovalDetail, ApprovalRow, ApprovalsWanted, AskedRow};
pub use breakers::{BreakerChange, BreakerRow};
pub use detail::{AttemptRow, EventRow, MessageRow, NewEvent, ReceivedSignal, RunDetail, RunHead, Undrivable};
pub use driving::{Look, Poll, Poller, StepRow, TaskRow, VersionRow};
pub use lists::{AgentRow, AgentSummary, AgentVersionRow, RunRow, RunsWanted, VersionsWanted};
pub use shown::Shown;
pub use waits::{EndedChild, LastFailure, SignalRow, Wanted};
