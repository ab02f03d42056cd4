//! `longhaul inbox …`.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;
use uuid::Uuid;

#[derive(Debug, Subcommand)]
pub(crate) enum InboxCommand {
    /// What people are asked, newest first
    List(ListApprovals),
    /// One of them, with all that there is to judge it by
    #[command(after_help = "Example:\n  longhaul inbox show 0f7a3c2e-6d9b-4c1f-8a5e-7d6c3b2a1908")]
    Show {
        /// The approval's id
        #[arg(value_name = "ID", value_parser = approval_id)]
        approval: Uuid,
    },
    /// The call happened: the model or the workflow goes on with its result
    Happened(Happened),
    /// The call did not happen: it is made, under its old key
    #[command(after_help = "\
Example:
  longhaul inbox did-not-happen 0f7a3c2e-6d9b-4c1f-8a5e-7d6c3b2a1908 --words 'not on the statement'

Refused until the call's own time limit has passed: until then it may still be on its way.")]
    DidNotHappen(Decision),
    /// Ask the call's probe once more
    #[command(after_help = "Example:\n  longhaul inbox probe-again 0f7a3c2e-6d9b-4c1f-8a5e-7d6c3b2a1908")]
    ProbeAgain(Decision),
    /// Nobody knows whether it happened: it has failed, and the model is told so
    #[command(
        after_help = "Example:\n  longhaul inbox give-up 0f7a3c2e-6d9b-4c1f-8a5e-7d6c3b2a1908 --words 'the bank is silent'"
    )]
    GiveUp(Decision),
    /// Go on, with fresh retries
    #[command(after_help = "Example:\n  longhaul inbox approve 0f7a3c2e-6d9b-4c1f-8a5e-7d6c3b2a1908")]
    Approve(Decision),
    /// Fail, with your words
    #[command(
        after_help = "Example:\n  longhaul inbox reject 0f7a3c2e-6d9b-4c1f-8a5e-7d6c3b2a1908 --words 'over the limit'"
    )]
    Reject(Decision),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longhaul inbox list
  longhaul inbox list --state all --run 019a2f3c-5d5e-7000-8f65-0a8c3e1b2d4f --json")]
pub(crate) struct ListApprovals {
    /// Only those in this state
    #[arg(long, value_enum, default_value_t = ApprovalState::Open)]
    pub(crate) state: ApprovalState,
    /// Only those of this run
    #[arg(long, value_name = "ID", value_parser = super::run::run_id)]
    pub(crate) run: Option<engine::RunId>,
    /// Rows, 200 at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=engine::limits::PAGE_ROWS_MAX))]
    pub(crate) limit: i64,
    /// Only those older than this one: the last of the page before
    #[arg(long, value_name = "ID", value_parser = approval_id)]
    pub(crate) before: Option<Uuid>,
}

/// The states of an approval, and all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ApprovalState {
    Open,
    Decided,
    Withdrawn,
    Superseded,
    All,
}

impl ApprovalState {
    /// None: whatever it is.
    pub(crate) const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Open => Some("open"),
            Self::Decided => Some("decided"),
            Self::Withdrawn => Some("withdrawn"),
            Self::Superseded => Some("superseded"),
            Self::All => None,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Decision {
    /// The approval's id
    #[arg(value_name = "ID", value_parser = approval_id)]
    pub(crate) approval: Uuid,
    /// For the model and the record
    #[arg(long)]
    pub(crate) words: Option<String>,
    /// Who decides; kept with the decision [default: the database user]
    #[arg(
        long,
        visible_alias = "actor",
        value_name = "NAME",
        env = "LONGHAUL_ACTOR",
        hide_env_values = true
    )]
    pub(crate) by: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longhaul inbox happened 0f7a3c2e-6d9b-4c1f-8a5e-7d6c3b2a1908 --result '{\"refund_id\":7}' --words 'the bank shows it'
  longhaul inbox happened 0f7a3c2e-6d9b-4c1f-8a5e-7d6c3b2a1908 --text 'paid, reference 4711'

Without a result, what is told is that the call was carried out and its result is not known.")]
pub(crate) struct Happened {
    #[command(flatten)]
    pub(crate) decision: Decision,
    /// What it answered, as JSON; - is standard input
    #[arg(long, value_name = "JSON", group = "answered")]
    pub(crate) result: Option<String>,
    /// The same from a file; - is standard input
    #[arg(long, value_name = "FILE", group = "answered")]
    pub(crate) file: Option<PathBuf>,
    /// The same as plain text
    #[arg(long, value_name = "TEXT", group = "answered")]
    pub(crate) text: Option<String>,
}

fn approval_id(text: &str) -> Result<Uuid, String> {
    text.parse()
        .map_err(|_| "expected an approval's whole id, such as 0f7a3c2e-6d9b-4c1f-8a5e-7d6c3b2a1908".to_owned())
}
