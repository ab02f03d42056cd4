//! Decision: what an agent run does next.
//!
//! Everything here is pure: no clock, randomness, sockets, SQL or async. The worker loads recorded facts, asks
//! [`next_action`], acts, records what happened, and asks again. Start at [`next_action()`].

pub mod definition;
mod doubt;
pub mod effect;
pub mod error;
pub mod fallback;
#[cfg(test)]
mod fixture;
pub mod gate;
mod given_up;
pub mod journal;
pub mod next_action;
mod order;
pub mod probe;
pub mod sanitise;
pub mod time_limit;
pub mod tool;
pub mod transcript;
pub mod turn;
pub mod wire;

pub use definition::Agent;
pub use effect::{AttemptOutcome, Effect, Verdict};
pub use error::{ErrorClass, StepError};
pub use journal::{
    Asked, Decision, Gate, HeldBack, Journal, ModelReply, Standing, Step, StepBody, StepState, ToolOutcome, Verb,
};
pub use next_action::{Action, Move, WaitFor, next_action};
pub use time_limit::{Bound, CallLimit, TimeLimit};
