//! `longhaul bench`: what this machine and its Postgres give.
//!
//! Each workload is a file that does real work through the public API and answers with [`Measured`] parts: [`floor`],
//! [`w1`], [`w2`], [`w4`], [`w5`], [`w6`]. A new one is a file, a variant of `args::Workload` and an arm of [`Bench::measure`]; what drives runs
//! takes a [`crew::Crew`]. Nothing here knows SQL: the floor and the meters are `engine::bench_floor`. Start at [`run`].

mod callers;
mod cpu;
mod crew;
mod floor;
mod ground;
mod history;
mod measured;
mod meters;
mod show;
mod w1;
mod w2;
mod w4;
mod w5;
mod w6;

use crate::args::{Bench as Args, Global, Workload};
use crate::failure::{Exit, Failure};
use crate::output::{self, style};
use crate::signals;
use callers::{Caller, Tally, call_all};
use ground::Ground;
use measured::{Measured, Report};
use meters::{Meters, Spent};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Whose runs they are.
const TENANT: &str = "longhaul-bench";
/// Whose old runs they are.
const HISTORY_TENANT: &str = "longhaul-bench-history";
/// The worker of this process; its queues begin with it too.
const NAME: &str = "longhaul-bench";
/// Connections are made, caches filled and statements prepared before anything counts.
const WARM_UP: Duration = Duration::from_millis(300);
/// W4 comes last: it leaves runs that nobody has taken.
const ORDER: [Workload; 7] = [
    Workload::Floor,
    Workload::W2,
    Workload::W3,
    Workload::W1,
    Workload::W5,
    Workload::W6,
    Workload::W4,
];

pub(crate) async fn run(global: &Global, args: Args) -> anyhow::Result<Exit> {
    let shutdown = CancellationToken::new();
    signals::cancel_on_signal(shutdown.clone())?;
    if cfg!(debug_assertions) {
        let label = style::yellow("warning:");
        output::note(format!("{label} this is a debug build: its figures mean little"));
    }
    let mut bench = Bench {
        ground: Ground::prepare(global.database_url.clone()).await?,
        window: Duration::from_secs(args.seconds),
        shutdown,
        quiet: global.json,
    };
    let measured = bench.all(&args).await;
    let left = bench.leave().await;
    let report = measured?;
    left?;
    if global.json {
        output::json(&show::json(&report));
    } else {
        output::line(show::text(&report));
    }
    Ok(Exit::Ok)
}

/// Where measurements are made, and for how long.
struct Bench {
    ground: Ground,
    window: Duration,
    shutdown: CancellationToken,
    quiet: bool,
}

impl Bench {
    async fn all(&mut self, args: &Args) -> anyhow::Result<Report> {
        self.ground.tidy().await?;
        if args.history > 0 {
            self.tell("history");
            history::fill(self, args.history).await?;
        }
        let snapshot = match args.hold_xmin {
            true => Some(self.ground.snapshot().await?),
            false => None,
        };
        let mut meters = self.ground.meters().await?;
        let mut parts = Vec::new();
        for workload in ORDER {
            if args.only.is_empty() || args.only.contains(&workload) {
                parts.extend(self.measure(workload, &mut meters).await?);
            }
        }
        parts.sort_by_key(|part| part.workload);
        if let Some(snapshot) = snapshot {
            snapshot.release().await?;
        }
        Ok(Report {
            parts,
            seconds: args.seconds,
            history: args.history,
            hold_xmin: args.hold_xmin,
            is_private: self.ground.is_private(),
            postgres: meters.version().await?,
            counted: meters.counted(),
        })
    }

    async fn measure(&self, workload: Workload, meters: &mut Meters) -> anyhow::Result<Vec<Measured>> {
        match workload {
            Workload::Floor => floor::measure(self, meters).await,
            Workload::W1 => w1::measure(self, meters).await,
            Workload::W2 => w2::measure(self, meters).await,
            Workload::W3 => w1::measure_alone(self, meters).await,
            Workload::W4 => w4::measure(self, meters).await,
            Workload::W5 => w5::measure(self, meters).await,
            Workload::W6 => w6::measure(self, meters).await,
        }
    }

    /// Has all callers call for the length of a window, after a moment of the same that does not count.
    async fn calls<C: Caller>(&self, meters: &mut Meters, callers: Vec<C>) -> anyhow::Result<(Tally, Spent)> {
        let (callers, _) = call_all(callers, WARM_UP, &self.shutdown).await?;
        let before = meters.begin().await?;
        // Their connections are not closed before the meters are read.
        let (_callers, tally) = call_all(callers, self.window, &self.shutdown).await?;
        let spent = meters.since(&before).await?;
        Ok((tally, spent))
    }

    /// Lets time pass, unless somebody wants it all to end.
    async fn pass(&self, time: Duration) -> Result<(), Failure> {
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            () = self.shutdown.cancelled() => Err(interrupted()),
        }
    }

    /// What takes its time now.
    fn tell(&self, what: &str) {
        if !self.quiet {
            output::note(style::dim(format!("measuring: {what}")));
        }
    }

    async fn leave(self) -> anyhow::Result<()> {
        self.ground.leave().await
    }
}

fn interrupted() -> Failure {
    Failure::new(Exit::Failed, "interrupted", "stopped before its end")
}
