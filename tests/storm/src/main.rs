//! A storm: faults without end over a real Longhaul, and an account of what was really done.
//!
//! One program, several processes: the conductor starts the others. The ledger is the world outside and remembers what
//! was done in it; the driver asks for runs; the nemesis owns the victims (workers, the API, Postgres) and all that is
//! done to them; the judge reads what these wrote down, beside a plain dump of the database, and knows the laws.
//! Nothing here shares code with the product: it is met as its users meet it. Start at [`conduct::conduct`].
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a storm is watched, and its verdict is read, on a terminal"
)]

mod conduct;
mod driver;
mod dump;
mod judge;
mod ledger;
mod machine;
mod nemesis;
mod note;
mod orders;
mod plan;
mod record;
mod score;

use clap::Parser;
use std::process::ExitCode;

/// The parts of a storm, each a process of its own.
#[derive(Debug, Parser)]
#[command(name = "longhaul-storm")]
enum Part {
    /// The whole storm; `cargo xtask storm` starts this one
    Conduct(conduct::Options),
    /// A storm for each planted fault, and one without it; `cargo xtask storm --score` starts this one
    Score(score::Options),
    /// The world outside
    Ledger(ledger::Options),
    /// A command that a worker runs: tells the ledger, and ends as the ledger says
    Note,
    /// Asks for runs
    Drive(driver::Options),
    /// Owns the victims
    Nemesis(nemesis::Options),
    /// Reads what was written down, and judges
    Judge(judge::Options),
}

fn main() -> anyhow::Result<ExitCode> {
    let part = Part::parse();
    if matches!(part, Part::Note) {
        // Thousands of these are started, and need no runtime.
        return note::note();
    }
    run(part)
}

#[tokio::main]
async fn run(part: Part) -> anyhow::Result<ExitCode> {
    // reqwest is built without a provider of its own and refuses to make a client before one is there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match part {
        Part::Conduct(options) => Ok(conduct::conduct(options).await),
        Part::Score(options) => score::score(options).await,
        Part::Ledger(options) => Ok(ended(ledger::serve(options).await)),
        Part::Note => note::note(),
        Part::Drive(options) => Ok(ended(driver::drive(options).await)),
        Part::Nemesis(options) => Ok(ended(nemesis::rage(options).await)),
        Part::Judge(options) => judge::judge(&options),
    }
}

/// How a part ended, for its conductor.
fn ended(ended: anyhow::Result<()>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            orders::tell_failure(&error);
            ExitCode::FAILURE
        }
    }
}
