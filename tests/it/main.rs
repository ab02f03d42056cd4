//! Promises about runs, shown against a real Postgres, a rehearsed model and real tools.

mod agent_loop;
mod resting;
