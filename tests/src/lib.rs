//! What the tests of the promises share: databases and servers.
//!
//! Owns where a test's Postgres comes from and how it is cleaned up. Holds no test of a promise itself; those are in
//! `tests/it`, `tests/wire` and `tests/crash`. Start at [`database::TestDatabase`].
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a harness that cannot do its work ends the test, and says so at the line"
)]

pub mod database;
pub mod dev_process;
pub mod http_door;
pub mod process;
pub mod world;
