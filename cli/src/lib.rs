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
use worker::Functions;

/// Does what the command line asks; workers have these functions.
pub fn main_with(functions: Functions) -> ExitCode {
    // A provider that is already installed serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let typed: Vec<_> = std::env::args_os().collect();
    let wants_json = typed.iter().any(|word| word == "--json");
    let cli = match settings::parse(typed) {
        Ok(cli) => cli,
        Err(unparsed) => return settings::tell(unparsed, wants_json).into(),
    };
    let json = cli.global.json;
    match run(cli, functions) {
        Ok(exit) => exit.into(),
        Err(error) => failure::tell(&error, json).into(),
    }
}

fn run(cli: args::Cli, functions: Functions) -> anyhow::Result<Exit> {
    logging::start(&cli)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(command::run(cli, functions))
}
