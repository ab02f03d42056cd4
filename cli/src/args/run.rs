//! `longhaul run …`.

use clap::{Args, Subcommand, ValueEnum};
use engine::limits::{WORKFLOW_NAME, is_workflow_name};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum RunCommand {
    /// Start a run of an agent or a workflow, and print its id
    Start(StartRun),
    /// Runs, newest first
    List(ListRuns),
    /// One run: its state, conversation and journal
    #[command(after_help = "Example:\n  longhaul run show 019a2f3c-5d5e-7000-8f65-0a8c3e1b2d4f")]
    Show {
        /// The run's id
        #[arg(value_name = "ID", value_parser = run_id)]
        run: engine::RunId,
        /// Print the SQL that shows the same
        #[arg(long)]
        sql: bool,
    },
    /// Follow a run until it ends or waits for a person
    #[command(after_help = "Example:\n  longhaul run watch 019a2f3c-5d5e-7000-8f65-0a8c3e1b2d4f")]
    Watch {
        /// The run's id
        #[arg(value_name = "ID", value_parser = run_id)]
        run: engine::RunId,
    },
    /// Tell a run something; it is kept until the run waits for a signal of that name
    Signal(SignalRun),
    /// End a run, and its children; calls that are already on their way are still recorded
    #[command(
        after_help = "Example:\n  longhaul run cancel 019a2f3c-5d5e-7000-8f65-0a8c3e1b2d4f --reason 'asked twice'"
    )]
    Cancel {
        #[command(flatten)]
        steer: Steer,
        /// Let its children go on, whatever they were told when they were started
        #[arg(long)]
        spare_children: bool,
    },
    /// Stop work on a run for a while; calls that are already on their way are still recorded
    #[command(
        after_help = "Example:\n  longhaul run pause 019a2f3c-5d5e-7000-8f65-0a8c3e1b2d4f --reason 'bank holiday'"
    )]
    Pause(Steer),
    /// Let a run go on that failed, is paused or waits for a person; what it has done is not done again
    #[command(
        after_help = "Example:\n  longhaul run resume 019a2f3c-5d5e-7000-8f65-0a8c3e1b2d4f --reason 'key renewed'"
    )]
    Resume(Steer),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longhaul run start refund-desk --input '{\"order_id\":\"ORD-1007\",\"reason\":\"arrived broken\"}' --watch
  longhaul run start refund-desk --input-file request.json --key request-4711 --label shop=eu
  longhaul run start --workflow settle-invoices --input '[{\"id\":\"INV-1\",\"cents\":4200}]'
  longhaul run start refund-desk --file requests.jsonl

A line of --file is one run:
  {\"key\": \"request-4711\", \"input\": {\"order_id\": \"ORD-1007\"}, \"labels\": {\"shop\": \"eu\"}}
Its fields: agent or workflow, input, key, queue, priority, requester, labels, due_at, deadline_at, history.
What a line does not say, the options say. Every line is read before anything is started.
Give each line a key: then the same file can be given again, and no run is started twice.")]
pub(crate) struct StartRun {
    /// The agent's name; with --file, that of the lines that name neither
    #[arg(required_unless_present_any = ["file", "workflow"])]
    pub(crate) agent: Option<String>,
    /// The workflow's name, in place of an agent's
    #[arg(long, value_name = "NAME", value_parser = workflow, conflicts_with_all = ["agent", "history"])]
    pub(crate) workflow: Option<String>,
    /// Start a run for each line of this file, JSON Lines; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["what", "key", "history", "watch"])]
    pub(crate) file: Option<PathBuf>,
    /// What the agent or the workflow is given, as JSON [default: {}]
    #[arg(long, value_name = "JSON", group = "what")]
    pub(crate) input: Option<String>,
    /// The same from a file; - is standard input
    #[arg(long, value_name = "FILE", group = "what")]
    pub(crate) input_file: Option<PathBuf>,
    /// The same as plain text
    #[arg(long, value_name = "TEXT", group = "what")]
    pub(crate) input_text: Option<String>,
    /// Idempotency key: the same key with the same input gives the same run, never a second one
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// The queue to line up in
    #[arg(long, default_value = "default")]
    pub(crate) queue: String,
    /// 0 goes first, 1000 last
    #[arg(long, default_value_t = 100)]
    pub(crate) priority: i32,
    /// On whose behalf [default: the database user]
    #[arg(long, value_name = "NAME", env = "LONGHAUL_REQUESTER", hide_env_values = true)]
    pub(crate) requester: Option<String>,
    /// A label for search; may be given several times
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    pub(crate) labels: Vec<(String, String)>,
    /// An earlier conversation: a file with a JSON array of {role, content}
    #[arg(long, value_name = "FILE")]
    pub(crate) history: Option<PathBuf>,
    /// Follow the run until it ends or waits for a person
    #[arg(long, short)]
    pub(crate) watch: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longhaul run list --state failed --limit 20
  longhaul run list --agent refund-desk --label shop=eu --json")]
pub(crate) struct ListRuns {
    /// Only runs in this state
    #[arg(long, value_enum)]
    pub(crate) state: Option<State>,
    /// Only runs of this agent
    #[arg(long)]
    pub(crate) agent: Option<String>,
    /// Only runs of this workflow
    #[arg(long, value_name = "NAME", value_parser = workflow, conflicts_with = "agent")]
    pub(crate) workflow: Option<String>,
    /// Only runs on behalf of this requester
    #[arg(long, value_name = "NAME")]
    pub(crate) requester: Option<String>,
    /// Only runs with this label; may be given several times
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    pub(crate) labels: Vec<(String, String)>,
    /// Rows, 200 at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=engine::limits::PAGE_ROWS_MAX))]
    pub(crate) limit: i64,
    /// Only runs older than this one: the last of the page before
    #[arg(long, value_name = "ID", value_parser = run_id)]
    pub(crate) before: Option<engine::RunId>,
}

/// The states of a run.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum State {
    Queued,
    Running,
    Waiting,
    Succeeded,
    Failed,
    Cancelled,
}

impl State {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Steer {
    /// The run's id
    #[arg(value_name = "ID", value_parser = run_id)]
    pub(crate) run: engine::RunId,
    /// Why; kept in the run's events
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Who; kept in the run's events [default: the database user]
    #[arg(long, value_name = "NAME", env = "LONGHAUL_ACTOR", hide_env_values = true)]
    pub(crate) by: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longhaul run signal 019a2f3c-5d5e-7000-8f65-0a8c3e1b2d4f approved '{\"by\":\"Ada\"}' --id approval-17
  longhaul run signal 019a2f3c-5d5e-7000-8f65-0a8c3e1b2d4f delivery --file delivery.json

Each wait of the run takes the oldest signal of its name. Give it an id: then the same signal can be sent again, and the
run is not told twice.")]
pub(crate) struct SignalRun {
    /// The run's id
    #[arg(value_name = "ID", value_parser = run_id)]
    pub(crate) run: engine::RunId,
    /// What the run waits for
    pub(crate) name: String,
    /// What it is told, as JSON; - is standard input [default: null]
    #[arg(value_name = "PAYLOAD", group = "told")]
    pub(crate) payload: Option<String>,
    /// The same from a file; - is standard input
    #[arg(long, value_name = "FILE", group = "told")]
    pub(crate) file: Option<PathBuf>,
    /// The same as plain text
    #[arg(long, value_name = "TEXT", group = "told")]
    pub(crate) text: Option<String>,
    /// The signal's id: sent twice is sent once [default: a new one]
    #[arg(long = "id", value_name = "SIGNAL")]
    pub(crate) id: Option<String>,
    /// Who sends it [default: the database user]
    #[arg(long, value_name = "NAME", env = "LONGHAUL_ACTOR", hide_env_values = true)]
    pub(crate) by: Option<String>,
}

pub(super) fn run_id(text: &str) -> Result<engine::RunId, String> {
    text.parse()
        .map_err(|_| "expected a run's whole id, such as 019a2f3c-5d5e-7000-8f65-0a8c3e1b2d4f".to_owned())
}

fn workflow(text: &str) -> Result<String, String> {
    if is_workflow_name(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("expected {WORKFLOW_NAME}"))
    }
}

pub(super) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("expected NAME=VALUE, such as shop=eu".to_owned()),
    }
}
