//! Action: claims runs, drives them, keeps its lease.
//!
//! A worker can vanish at any instruction: whatever it was about to do is recorded before it does it, and another worker
//! goes on from what was committed. Start at [`worker::Worker::run`].

mod announcer;
mod cache;
pub mod config;
mod crash_point;
pub mod drive;
mod gates;
mod hold;
mod lease;
pub mod model;
mod outlook;
mod partitions;
#[cfg(feature = "planted-faults")]
mod planted_fault;
mod scribe;
mod session;
pub mod tool;
pub mod worker;
pub mod workflow;

pub use config::Config;
pub use engine::{OnParentEnd, PgConnection, SettingsOfTools};
pub use model::ModelEndpoint;
pub use tool::{Environment, FunctionContext, FunctionError, Functions};
pub use worker::{Builder, Program, Worker, WorkerError};
pub use workflow::{Child, ChildRun, Context, Retry, Step, StepCall, StepFailed, WorkflowError, Workflows};
