//! Promises about runs, shown against a real Postgres, a rehearsed model and real tools.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "the harness of tests: what cannot be arranged ends the test at its line"
)]

mod agent_loop;
mod api;
mod asked;
mod audit;
mod bench;
mod command_line;
mod dev;
mod doors;
mod driving;
mod explain;
mod gates;
mod inbox;
mod model;
mod partitions;
mod quiet;
mod readme;
mod resting;
mod schema;
mod stage;
mod telling;
mod transitions;
mod undrivable;
mod waiting;
mod workflow;
