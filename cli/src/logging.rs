//! Logs go to standard error, so that standard output holds the answer alone.

use crate::args::{Cli, Command, LogFormat};
use crate::failure::Failure;
use crate::output;
use tracing::Metadata;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Writes the value of any parameter of an address that it does not know: a password whose name was mistyped, say.
const LEAKY: &str = "sqlx_postgres::options";

/// Starts logging. The setting `log` says what: `info`, `worker=debug,info`, …
pub(crate) fn start(cli: &Cli) -> Result<(), Failure> {
    let usual = match cli.command {
        Command::Worker(_) | Command::Api(_) | Command::Rehearse(_) => "info,sqlx=error",
        Command::Demo(_) => "off",
        Command::Dev(_)
        | Command::Migrate
        | Command::Agent(_)
        | Command::Run(_)
        | Command::Inbox(_)
        | Command::Breaker(_)
        | Command::Health(_)
        | Command::Bench(_)
        | Command::Config { .. }
        | Command::Completions { .. }
        | Command::Payments(_) => "warn,sqlx=error",
    };
    let filter = match cli.global.settings.value("log") {
        Some(wanted) => EnvFilter::try_new(&wanted).map_err(|error| {
            Failure::usage("invalid_log_filter", format!("LONGHAUL_LOG is {wanted:?}: {error}"))
                .hint("for example LONGHAUL_LOG=debug, or LONGHAUL_LOG=worker=debug,info")
        })?,
        None => EnvFilter::new(usual),
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(output::has_colours());
    match cli.global.log {
        LogFormat::Text => subscriber.with_target(false).finish().with(filter_fn(is_safe)).init(),
        LogFormat::Json => subscriber
            .json()
            .flatten_event(true)
            .finish()
            .with(filter_fn(is_safe))
            .init(),
    }
    Ok(())
}

/// Whatever `log` asks for.
fn is_safe(told: &Metadata<'_>) -> bool {
    !told.target().starts_with(LEAKY)
}
