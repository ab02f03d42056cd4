//! The front door: the command line.
//!
//! A program of one line makes the binary: [`main_with`] with the Rust functions that its workers have. Each command is
//! a file of `command/`; what people are shown is made in `show/`, everything is printed through `output`, and every
//! error is told once, by `failure`.

mod args;
mod command;
mod database;
mod demo;
mod dev;
mod failure;
mod logging;
mod output;
mod settings;
mod show;
mod signals;

use failure::Exit;
use std::process::ExitCode;
use worker::Program;

/// Does what the command line asks; workers have what this program brings along: functions, workflows or both.
pub fn main_with(program: impl Into<Program>) -> ExitCode {
    let program = program.into();
    // A provider that is already installed serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    output::find_program();
    let typed: Vec<_> = std::env::args_os().collect();
    let wants_json = typed.iter().any(|word| word == "--json");
    let cli = match settings::parse(typed) {
        Ok(cli) => cli,
        Err(unparsed) => return or_lost(settings::tell(unparsed, wants_json), wants_json).into(),
    };
    let json = cli.global.json;
    let exit = run(cli, program).unwrap_or_else(|error| failure::tell(&error, json));
    or_lost(exit, json).into()
}

/// How the command ends, unless what it printed is lost: then that is told, and it has not done what was asked.
fn or_lost(exit: Exit, json: bool) -> Exit {
    let Some(why) = output::lost() else {
        return exit;
    };
    let message = format!("not everything could be written to standard output: {why}");
    let failure = failure::Failure::new(Exit::Failed, "output_lost", message)
        .hint("what the command did stays done: runs that it started are in the list of runs");
    let lost = failure::tell(&failure.into(), json);
    if exit == Exit::Ok { lost } else { exit }
}

fn run(cli: args::Cli, program: Program) -> anyhow::Result<Exit> {
    logging::start(&cli)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(command::run(cli, program))
}
