//! One file per command.

mod agent;
pub(crate) mod api;
mod bench;
mod breaker;
mod config;
mod health;
mod inbox;
mod input;
mod migrate;
mod rehearse;
mod run;
mod start_file;
pub(crate) mod watch;
mod worker;

pub(crate) use rehearse::unplayable;

use crate::args::{AgentCommand, Cli, Command, RunCommand};
use crate::failure::Exit;
use ::worker::Program;

/// Does what was asked.
pub(crate) async fn run(cli: Cli, program: Program) -> anyhow::Result<Exit> {
    let global = &cli.global;
    match cli.command {
        Command::Demo(args) => crate::demo::run(global, args).await,
        Command::Dev(args) => crate::dev::run(global, args, program).await,
        Command::Api(args) => api::run(global, args).await,
        Command::Health(args) => health::run(global, &args).await,
        Command::Bench(args) => bench::run(global, args).await,
        Command::Config { get } => config::run(global, get.as_deref()),
        Command::Completions { shell } => Ok(config::completions(shell)),
        Command::Migrate => migrate::run(global).await,
        Command::Worker(args) => worker::run(global, args, program).await,
        Command::Agent(AgentCommand::Apply { files }) => agent::apply(global, &files).await,
        Command::Agent(AgentCommand::Lint { files }) => agent::lint(global, &files),
        Command::Agent(AgentCommand::List) => agent::list(global).await,
        Command::Agent(AgentCommand::Show { name }) => agent::show(global, &name).await,
        Command::Run(RunCommand::Start(args)) if args.file.is_some() => start_file::run(global, args).await,
        Command::Run(RunCommand::Start(args)) => run::start(global, args).await,
        Command::Run(RunCommand::List(args)) => run::list(global, args).await,
        Command::Run(RunCommand::Show { run, sql: true }) => {
            crate::output::line(crate::show::sql::of_run(run));
            Ok(Exit::Ok)
        }
        Command::Run(RunCommand::Show { run, sql: false }) => run::show(global, run).await,
        Command::Run(RunCommand::Watch { run }) => watch::run(global, run).await,
        Command::Run(RunCommand::Signal(args)) => run::signal(global, args).await,
        Command::Run(RunCommand::Cancel { steer, spare_children }) => run::cancel(global, steer, spare_children).await,
        Command::Run(RunCommand::Pause(args)) => run::pause(global, args).await,
        Command::Run(RunCommand::Resume(args)) => run::resume(global, args).await,
        Command::Breaker(command) => breaker::run(global, command).await,
        Command::Inbox(command) => inbox::run(global, command).await,
        Command::Rehearse(args) => rehearse::run(global, args).await,
        Command::Payments(args) => rehearse::payments(args).await,
    }
}
