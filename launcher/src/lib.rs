//! A private Postgres server: find the binaries, drop privilege, start, stop, clean up.
//!
//! Owns one server process and the folder it lives in, for `longhaul dev`, the demo, the bench and the tests. Never
//! speaks SQL over a connection and knows nothing of longhaul's schema. The server listens on 127.0.0.1 only, and it goes away with
//! the process that started it, however that process ends. Start at [`Server::start`].

mod binaries;
mod error;
mod home;
mod owner;
mod process;
mod server;
mod watchdog;

pub use binaries::PostgresBinaries;
pub use error::LauncherError;
pub use server::{Durability, Server, ServerOptions, measured_settings};
