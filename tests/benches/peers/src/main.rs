//! What `longhaul bench` measures in W1 to W3, done with the `dbos` crate on a Postgres that is named.
//!
//! Windows, warm-ups, steps and results are those of `cli/src/command/bench`; the peer's best setting counts. Start at
//! [`measure`].

mod dbos_peer;
mod report;
mod start;
mod steps;

use clap::Parser;
use dbos_peer::Ground;
use report::Report;
use std::time::Duration;
use steps::{ALONE, LARGE, SMALL, Setting, rate};

/// Measures the dbos crate as `longhaul bench` measures longhaul.
#[derive(Debug, Parser)]
struct Args {
    /// The server; the peer gets a schema of its own there, which is dropped before and after
    #[arg(long, value_name = "URL")]
    database_url: String,
    /// How long each measurement takes
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// One JSON object in place of the table
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let ground = Ground::new(args.database_url.clone());
    let measured = measure(&ground, &args).await;
    // What is left is dropped even where a measurement failed.
    ground.clear().await?;
    let report = measured?;
    #[expect(clippy::print_stdout, reason = "the one place that tells what came of it")]
    if args.json {
        println!("{}", report.json());
    } else {
        println!("{}", report.text());
    }
    Ok(())
}

async fn measure(ground: &Ground, args: &Args) -> anyhow::Result<Report> {
    let window = Duration::from_secs(args.seconds);
    let tell = |what: &str| {
        #[expect(clippy::print_stderr, reason = "the one place that tells what takes its time")]
        if !args.json {
            eprintln!("measuring: {what}");
        }
    };
    let mut report = Report::new(args.seconds);

    // In the order of longhaul's bench.
    tell("w2, one run of two steps at a time");
    let times = start::times(ground, window).await?;
    for (key, times) in [
        ("start", &times.starts),
        ("recorded", &times.records),
        ("end", &times.ends),
    ] {
        report.millis(&format!("w2.{key}_p50_ms"), times, 50);
        report.millis(&format!("w2.{key}_p99_ms"), times, 99);
    }

    tell("w3, the steps of one run, one after the other");
    let alone = rate(ground, Setting::ALONE, ALONE, window).await?;
    report.figure("w3.step_ms", 1000.0 / alone, "ms");

    for (name, shape) in [("steps_per_second", SMALL), ("large_steps_per_second", LARGE)] {
        let mut best: Option<(f64, Setting)> = None;
        for setting in Setting::MANY {
            tell(&format!("w1, results of {} bytes, {setting}", shape.result_bytes));
            let rate = rate(ground, setting, shape, window).await?;
            report.figure(&format!("w1.runs_{}.{name}", setting.runs), rate, "steps/s");
            if best.is_none_or(|(highest, _)| rate > highest) {
                best = Some((rate, setting));
            }
        }
        if let Some((rate, setting)) = best {
            report.figure(&format!("w1.{name}"), rate, "steps/s");
            report.best(&format!("w1.{name}"), &setting);
        }
    }
    Ok(report)
}
