//! `longhaul bench`.

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longhaul bench                            all of it, on a private Postgres
  longhaul bench --only floor,w4 --seconds 10
  longhaul bench --json > before.json
  longhaul bench --history 1000000 --hold-xmin
  longhaul bench --database-url postgres://me@localhost/scratch

What is measured:
  floor  the barest statements that record a step: what this server gives at best
  w1     steps of workflows, 64 runs of ten steps at once
  w2     from a start to its first step and to its end, on an idle system
  w3     the time of a step in one long run
  w4     starting runs by the Rust client: one by one from 16 callers, and in batches
  w5     turns of agents, whose model is played in this process and answers at once

Only a database that is typed is used: variables and the settings file are not asked. Otherwise
a private server is started, with fsync on, and removed in the end; it may need several GB in the
folder for temporary files.
A database that is typed holds Longhaul's schema, or is empty and gets it. The bench keeps to
tenants and queues of its own, which begin with longhaul-bench, and to a schema longhaul_bench; all
of that is deleted in the end, or at the next start where a bench was killed. One bench at a time.
Whatever else the server does is measured with it.")]
pub(crate) struct Bench {
    /// How long each measurement takes
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) seconds: u64,
    /// Only these; ratios to the floor need the floor
    #[arg(long, value_name = "WORKLOAD", value_enum, value_delimiter = ',')]
    pub(crate) only: Vec<Workload>,
    /// So many old runs of 3 steps are there before anything is measured
    #[arg(long, value_name = "RUNS", default_value_t = 0)]
    pub(crate) history: u64,
    /// A reader with an old snapshot is there all the time: no dead row can be cleaned up
    #[arg(long)]
    pub(crate) hold_xmin: bool,
}

/// What can be measured, in the order in which it is shown. No words for each: the help has them in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Workload {
    Floor,
    W1,
    W2,
    W3,
    W4,
    W5,
    W6,
}
