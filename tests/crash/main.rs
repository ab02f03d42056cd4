//! Real worker processes killed at named points, judged by the ledgers of their tools.
//!
//! What is asked of every story: did the world outside see an effect twice, did the run come to the end that was
//! promised, are its events dense. The payments service and the note's file answer the first question, our tables only
//! the others. Start at [`desk`].
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a harness that cannot do its work ends the test, and says so at the line"
)]

mod attempts;
mod cancelled;
mod child;
mod command;
mod desk;
mod doubt;
mod draining;
mod function;
mod gates;
mod parallel;
mod parked;
mod planted_faults;
mod points;
mod random;
mod signal;
mod stopped;
mod storm;
mod tale;
mod transaction;
mod workflow;
