//! What can be typed. The words here are the help that people read.

use crate::settings::Settings;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

mod bench;
mod breaker;
mod inbox;
mod run;
mod serving;

pub(crate) use bench::{Bench, Workload};
pub(crate) use breaker::{BreakerCommand, OpenBreaker, ResetBreaker};
pub(crate) use inbox::{Decision, Happened, InboxCommand, ListApprovals};
pub(crate) use run::{ListRuns, RunCommand, SignalRun, StartRun, State, Steer};
pub(crate) use serving::{Api, Demo, Dev, Health, Payments, Rehearse, Worker};

const AFTER_HELP: &str = "\
Start here:
  longhaul demo                                see a run survive kill -9, in ten seconds
  longhaul dev                                 a database, the API, a worker and an example
  longhaul agent apply agent.toml              store an agent of your own
  longhaul run start my-agent --input-text Hi --watch

On a database of your own:
  longhaul migrate                             prepare it, or bring it up to this release
  longhaul worker                              do the work; start as many as you like
  longhaul api                                 HTTP for programs

Exit codes:
  0  done
  1  tried and failed; or the run that was watched failed, was cancelled or waits for a person
  2  usage: a wrong option, file or payload
  3  refused: no such run or agent, a key used again, an outcome that is unknown
  4  the database cannot be reached
  5  the database's schema is not the one this program knows

Settings are options, or else LONGHAUL_* variables, or else in longhaul.toml: see longhaul config.
Colours are for terminals, unless NO_COLOR is set.";

/// Durable agents and workflows on Postgres: every step is recorded, so a run survives the death of its worker.
#[derive(Debug, Parser)]
#[command(name = "longhaul", version, after_help = AFTER_HELP, max_term_width = 110)]
#[command(arg_required_else_help = true, subcommand_required = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The settings file [default: longhaul.toml, if there is one] [env: LONGHAUL_CONFIG]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Everywhere")]
    pub(crate) config: Option<PathBuf>,
    /// The database: postgres://user:password@host:port/database [env: LONGHAUL_DATABASE_URL, DATABASE_URL]
    #[arg(long, global = true, value_name = "URL", help_heading = "Everywhere")]
    pub(crate) database_url: Option<String>,
    /// Print JSON for programs; errors too, to standard error
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(crate) json: bool,
    /// Whose agents and runs
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        default_value = "default",
        env = "LONGHAUL_TENANT"
    )]
    #[arg(help_heading = "Everywhere", hide_env_values = true)]
    pub(crate) tenant: String,
    /// How logs are written to standard error
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, env = "LONGHAUL_LOG_FORMAT")]
    #[arg(help_heading = "Everywhere", hide_env_values = true)]
    pub(crate) log: LogFormat,
    /// What variables and the settings file say besides.
    #[arg(skip)]
    pub(crate) settings: Settings,
}

// No words for each: they would double the length of every help.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// See one agent run survive kill -9, on this machine and in ten seconds
    Demo(Demo),
    /// Start everything on this machine: a private Postgres, the API, a worker and an example
    ///
    /// The data is kept in a folder and found again at the next start. Without a key for a model a script plays it, for
    /// free. Ctrl-C stops all of it in good order.
    Dev(Dev),
    /// Prepare a database, or bring it up to this release
    #[command(after_help = "Example:\n  longhaul migrate --database-url postgres://me@localhost/longhaul")]
    Migrate,
    /// Drive runs until told to stop
    ///
    /// SIGTERM, SIGINT and a closed terminal drain: nothing new is claimed, what is in hand is finished or given back. A second signal
    /// ends the process at once: another worker carries on from what was recorded, and a call in flight that may not be
    /// repeated waits for a person. The key for the model is LONGHAUL_MODEL_KEY or ANTHROPIC_API_KEY.
    Worker(Worker),
    /// Serve HTTP until told to stop
    ///
    /// Runs, agents and live events under /v1, behind a bearer token; /healthz, /readyz, and /openapi.json with a page
    /// for people. SIGTERM ends open streams, waits for answers on their way, and exits.
    Api(Api),
    /// Ask a running API or worker whether it is ready
    Health(Health),
    /// Store and show agents
    #[command(subcommand)]
    Agent(AgentCommand),
    /// Start, show, tell and steer runs
    #[command(subcommand)]
    Run(RunCommand),
    /// Show what people are asked, and decide it
    ///
    /// A call of unknown outcome, or a run that only a person may let go on, is put here. Each decision is taken once.
    #[command(subcommand)]
    Inbox(InboxCommand),
    /// Show what keeps calls from targets that fail; open and close it by hand
    #[command(subcommand)]
    Breaker(BreakerCommand),
    /// Play a script as a model, on the real wire and for free
    Rehearse(Rehearse),
    /// Measure what this machine and its Postgres give
    ///
    /// Figures are rates and times; the floor in the same run makes each of them a ratio, which can be compared where
    /// figures cannot. Ctrl-C stops in good order.
    Bench(Bench),
    /// Show every setting in force, and where it comes from
    #[command(after_help = "\
Examples:
  longhaul config
  longhaul config --config production.toml --json
  longhaul config --get database_url        as it is, secrets too, for scripts")]
    Config {
        /// Print the value of this setting alone
        #[arg(long, value_name = "SETTING")]
        get: Option<String>,
    },
    /// Print the completions of a shell
    #[command(after_help = "\
Examples:
  longhaul completions bash > ~/.local/share/bash-completion/completions/longhaul
  longhaul completions zsh > \"${fpath[1]}/_longhaul\"
  longhaul completions fish > ~/.config/fish/completions/longhaul.fish")]
    Completions {
        /// For which one
        shell: clap_complete::Shell,
    },
    /// The demo's payments service
    #[command(hide = true)]
    Payments(Payments),
}

#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// Store agents from their files; every mistake of every file is told, and then nothing is stored
    #[command(after_help = "Example:\n  longhaul agent apply examples/refund-desk/agent.toml")]
    Apply {
        /// Agent files, TOML
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Tell every mistake of agent files and all that could be better, and store nothing; no database is asked
    #[command(
        after_help = "Exit code 2 where there is a mistake, 1 where something could be better.\n\nExample:\n  longhaul agent lint agents/*.toml"
    )]
    Lint {
        /// Agent files, TOML
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Agents with the version that new runs get
    #[command(after_help = "Example:\n  longhaul agent list")]
    List,
    /// An agent's definition
    #[command(after_help = "Example:\n  longhaul agent show refund-desk")]
    Show {
        /// The agent's name
        name: String,
    },
}

#[cfg(test)]
mod tests;
