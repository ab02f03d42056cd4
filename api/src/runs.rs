//! `/v1/runs`: start, list, look at, tell, stop, let go on.

mod control;
mod key;
mod list;
mod read;
mod show;
mod signal;
mod standing;
mod start;

pub(crate) use control::{__path_cancel, __path_pause, __path_resume, cancel, pause, resume};
pub(crate) use list::{__path_children, __path_list, LabelFilter, children, list};
pub(crate) use read::{__path_journal, __path_transcript, journal, numbered, transcript};
pub(crate) use show::{__path_show, raw, show};
pub(crate) use signal::{__path_signal, __path_signals, signal, signals};
pub(crate) use standing::{State as RunState, workflow};
pub(crate) use start::{__path_start, __path_start_batch, agent_or_workflow, start, start_batch};
