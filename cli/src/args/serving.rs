//! Commands that run until they are told to stop, and what they share.

use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longhaul dev                              keeps its data in ./.longhaul
  longhaul dev --script my-script.toml      a script plays the model for an agent of your own
  ANTHROPIC_API_KEY=… longhaul dev          the real model
  longhaul dev --state /tmp/try --listen 127.0.0.1:0

While it runs, other longhaul commands in the same folder use its database by themselves.
A database of your own is used where --database-url names it; variables and the settings file are not asked.")]
pub(crate) struct Dev {
    /// The folder that holds its database, its token and the example's files; made if it is not there
    #[arg(long, value_name = "FOLDER", default_value = ".longhaul")]
    #[arg(env = "LONGHAUL_DEV_STATE", hide_env_values = true)]
    pub(crate) state: PathBuf,
    /// Where the API listens; port 0 takes any that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7700")]
    #[arg(env = "LONGHAUL_DEV_LISTEN", hide_env_values = true)]
    pub(crate) listen: SocketAddr,
    /// A script that plays the model, TOML; may be given several times. Without a key for a model the example's script
    /// plays in any case
    #[arg(long = "script", value_name = "FILE")]
    pub(crate) scripts: Vec<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longhaul api --token-file /run/secrets/longhaul-token
  LONGHAUL_API_TOKEN=… longhaul api --listen 0.0.0.0:7700
  longhaul api --insecure-no-token          for a machine of your own")]
pub(crate) struct Api {
    /// Where to listen; port 0 takes any that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7700")]
    #[arg(env = "LONGHAUL_API_LISTEN", hide_env_values = true)]
    pub(crate) listen: SocketAddr,
    /// The file that holds the token; or set LONGHAUL_API_TOKEN to the token itself
    #[arg(long, value_name = "FILE", env = "LONGHAUL_API_TOKEN_FILE", hide_env_values = true)]
    pub(crate) token_file: Option<PathBuf>,
    /// Let everybody in who is on this machine: without a token, and on loopback only
    #[arg(long, conflicts_with = "token_file")]
    pub(crate) insecure_no_token: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  longhaul health 127.0.0.1:8081    a worker with that --health-address")]
pub(crate) struct Health {
    /// Where it listens
    #[arg(default_value = "127.0.0.1:7700")]
    pub(crate) address: SocketAddr,
    /// Only whether the process answers, whatever its database does
    #[arg(long)]
    pub(crate) live: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longhaul worker --name mill-1 --health-address 127.0.0.1:8081
  longhaul worker --queue emails --queue refunds --runs-max 16")]
pub(crate) struct Worker {
    /// Shown in the journal [default: host and process number]
    #[arg(long, env = "LONGHAUL_WORKER_NAME", hide_env_values = true)]
    pub(crate) name: Option<String>,
    /// A queue to take runs from; may be given several times
    #[arg(
        long = "queue",
        value_name = "QUEUE",
        default_value = "default",
        value_delimiter = ','
    )]
    #[arg(env = "LONGHAUL_QUEUES", hide_env_values = true)]
    pub(crate) queues: Vec<String>,
    /// How long this worker may be silent before others take over what it held; at least 0.5
    #[arg(long = "lease-seconds", value_name = "SECONDS", default_value = "15", value_parser = lease)]
    #[arg(env = "LONGHAUL_LEASE_SECONDS", hide_env_values = true)]
    pub(crate) lease: Duration,
    /// How often it looks for work without being told; at least 0.01
    #[arg(long = "poll-seconds", value_name = "SECONDS", default_value = "5", value_parser = poll)]
    #[arg(env = "LONGHAUL_POLL_SECONDS", hide_env_values = true)]
    pub(crate) poll: Duration,
    /// Runs driven at once
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 64,
        env = "LONGHAUL_RUNS_MAX",
        hide_env_values = true
    )]
    #[arg(value_parser = count)]
    pub(crate) runs_max: usize,
    /// Tool calls out at once, over all runs
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 128,
        env = "LONGHAUL_CALLS_MAX",
        hide_env_values = true
    )]
    #[arg(value_parser = count)]
    pub(crate) calls_max: usize,
    /// How long calls in flight may go on after a signal; those that may not be repeated are waited for in any case
    #[arg(long = "drain-seconds", value_name = "SECONDS", default_value = "20", value_parser = seconds)]
    #[arg(env = "LONGHAUL_DRAIN_SECONDS", hide_env_values = true)]
    pub(crate) drain: Duration,
    /// Only poll: for databases behind a pooler in transaction mode
    #[arg(long, env = "LONGHAUL_NO_NOTIFICATIONS", hide_env_values = true)]
    #[arg(value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) no_notifications: bool,
    /// Where the model is reached, such as the address that `longhaul rehearse` prints
    #[arg(long, value_name = "URL", env = "LONGHAUL_MODEL_URL", hide_env_values = true)]
    #[arg(default_value = worker::ModelEndpoint::BASE_URL)]
    pub(crate) model_url: String,
    /// Serve /healthz and /readyz here
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "LONGHAUL_HEALTH_ADDRESS",
        hide_env_values = true
    )]
    pub(crate) health_address: Option<SocketAddr>,
    /// End when standard input does
    #[arg(long, hide = true)]
    pub(crate) end_with_stdin: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  longhaul demo --yes    without the pause at the end that lets you look around")]
pub(crate) struct Demo {
    /// Do not wait for Enter at the end
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Call the real model, with ANTHROPIC_API_KEY; it costs a few cents
    #[arg(long)]
    pub(crate) live: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  longhaul rehearse examples/refund-desk/rehearsal.toml --listen 127.0.0.1:8080")]
pub(crate) struct Rehearse {
    /// The script, TOML
    pub(crate) script: PathBuf,
    /// Where to listen; port 0 takes any that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Write every request to this file, one line of JSON each
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Payments {
    /// The ledger file; made if it is not there, continued if it is
    #[arg(long, value_name = "FILE")]
    pub(crate) ledger: PathBuf,
    /// Where to listen; port 0 takes any that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Hold the answer to the first refund for this long
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0)]
    pub(crate) hold_ms: u64,
    /// Never answer refunds of this order, although they are made
    #[arg(long, value_name = "ORDER")]
    pub(crate) lose_order: Option<String>,
    /// Pay again when a key comes again
    #[arg(long)]
    pub(crate) ignore_keys: bool,
    /// End when standard input does
    #[arg(long)]
    pub(crate) end_with_stdin: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text
        .parse()
        .map_err(|_| "expected a number of seconds, such as 15 or 0.5".to_owned())?;
    if !(0.0..=86_400.0).contains(&number) {
        return Err("expected 0 to 86400 seconds".to_owned());
    }
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}

/// Below this a busy machine loses leases that it should keep.
const LEASE_SECONDS_MIN: f64 = 0.5;
/// Below this an idle worker is a load.
const POLL_SECONDS_MIN: f64 = 0.01;

fn lease(text: &str) -> Result<Duration, String> {
    seconds_from(text, LEASE_SECONDS_MIN)
}

fn poll(text: &str) -> Result<Duration, String> {
    seconds_from(text, POLL_SECONDS_MIN)
}

fn seconds_from(text: &str, least: f64) -> Result<Duration, String> {
    let wanted = seconds(text).map_err(|told| told.replace("0 to", &format!("{least} to")))?;
    if wanted.as_secs_f64() < least {
        return Err(format!("expected {least} to 86400 seconds"));
    }
    Ok(wanted)
}

fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("expected a whole number from 1 on".to_owned()),
        Ok(count) => Ok(count),
    }
}
