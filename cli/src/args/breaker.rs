//! `longhaul breaker …`.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum BreakerCommand {
    /// Breakers that have had a failure, those that keep calls back first; any other is closed
    #[command(after_help = "Example:\n  longhaul breaker list")]
    List,
    /// One of them, with its last changes and whose calls made them
    #[command(after_help = "Example:\n  longhaul breaker show tool:refund-desk.refund")]
    Show {
        /// tool:AGENT.TOOL or model:HOST
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Close it: calls go out again
    #[command(
        after_help = "Example:\n  longhaul breaker reset tool:refund-desk.refund --reason 'the bank is up again'"
    )]
    Reset(ResetBreaker),
    /// Open it: no call goes out for so long, then one on trial
    #[command(
        after_help = "Example:\n  longhaul breaker open tool:refund-desk.refund --seconds 1800 --reason 'the bank is at work'"
    )]
    Open(OpenBreaker),
}

#[derive(Debug, Args)]
pub(crate) struct ResetBreaker {
    /// tool:AGENT.TOOL or model:HOST
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Why; kept in its history
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Who does; kept in its history [default: the database user]
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
pub(crate) struct OpenBreaker {
    #[command(flatten)]
    pub(crate) how: ResetBreaker,
    /// For how long
    #[arg(long, default_value_t = 3600, value_parser = clap::value_parser!(i32).range(1..=31_536_000))]
    pub(crate) seconds: i32,
}
