//! A scripted model behind the real wire, and the demo's payments service.
//!
//! A rehearsal is a local HTTP server that speaks the Claude Messages API, judges each request as strictly as the real
//! one, answers from a [`Script`] and writes down what it was asked. A worker under test has no special path for it:
//! it is given another base URL and nothing else. Knows no other crate of the product. Start at [`Rehearsal::start`];
//! [`payments`] stands alone.

mod clock;
pub mod contract;
mod conversation;
mod digest;
mod limits;
mod listen;
pub mod payments;
mod perform;
mod record;
mod scene;
pub mod script;
mod stage;
mod stream;
mod template;

#[cfg(test)]
mod client;

pub use record::{AnswerKind, Asked};
pub use script::{Answer, Call, ErrorAnswer, ErrorEvent, Rule, Script, ScriptError, UsageNumbers, When};
pub use stage::{Rehearsal, RehearsalError, RehearsalOptions, serve};
