//! The project's tasks: one runner, the same commands for people and CI.
//!
//! `cargo xtask check` asks whether the tree is in order, `cargo xtask test` runs all tests against one private
//! Postgres, `cargo xtask prepare` writes sqlx's offline cache. Start at [`run`].
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task talks to the person who started it"
)]

mod check;
mod command;
mod fuzz_api;
mod peers;
mod prepare;
mod rules;
mod storm;
mod test;
mod workspace;

use std::process::ExitCode;

use anyhow::bail;

const USAGE: &str = "\
usage: cargo xtask <task>

  check              format, the project's own rules, clippy with warnings as errors
  test [ARGS…]       all tests of the workspace; ARGS go to the test runner
  prepare            write sqlx's offline cache (.sqlx) against a migrated database
  prepare --check    fail if the cache is not what prepare would write
  fuzz-api [ARGS…]   schemathesis against the HTTP door; ARGS go to schemathesis
  storm [OPTIONS]    faults without end over all of it, and a verdict: --seconds S, --seed N, --workers W,
                     --break NAME; --fixed for each seed of tests/storm/seeds,
                     --score for each planted fault and each seed without it
  peers [OPTIONS]    longhaul's bench and its peer's on one private Postgres, in turn, and how they compare:
                     --seconds S of each measurement, --rounds N for medians of several";

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<String>) -> anyhow::Result<ExitCode> {
    let mut arguments = arguments.into_iter();
    let task = arguments.next();
    let rest: Vec<String> = arguments.collect();
    let words: Vec<&str> = rest.iter().map(String::as_str).collect();
    match (task.as_deref(), words.as_slice()) {
        (Some("check"), []) => check::check(),
        (Some("test"), _) => test::test(&rest),
        (Some("fuzz-api"), _) => fuzz_api::fuzz_api(&rest),
        (Some("peers"), _) => peers::peers(&rest),
        (Some("storm"), _) => storm::storm(&rest),
        (Some("prepare"), []) => prepare::prepare(prepare::Mode::Write),
        (Some("prepare"), ["--check"]) => prepare::prepare(prepare::Mode::Compare),
        (None | Some("help" | "--help" | "-h"), _) => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        (Some(other), _) => bail!("there is no task \"{other} {}\"\n\n{USAGE}", rest.join(" ")),
    }
}
