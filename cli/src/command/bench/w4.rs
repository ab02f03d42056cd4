//! W4: starting runs by the Rust client, one by one and in batches. Nobody takes them.

use super::callers::Caller;
use super::floor::{BATCHED, CALLERS, SINGLE, SINGLE_P50, SINGLE_P99};
use super::measured::{Cost, Figure, Measured};
use super::meters::Meters;
use super::{Bench, TENANT};
use crate::args::Workload;
use engine::{Engine, StartRun};

const QUEUE: &str = "longhaul-bench-w4";
const AGENT: &str = "bench-started";
/// Never driven: its words are for the schema alone.
const FILE: &str = r#"
name = "bench-started"
system = "You are started."
[model]
name = "claude-sonnet-5-5"
max_tokens = 64
"#;
/// Callers that bring a batch each.
const BATCH_CALLERS: usize = 4;
/// Runs of one batch: half of what the engine takes.
const BATCH: usize = 500;

/// Starts one run a call.
struct Single {
    engine: Engine,
    start: StartRun,
}

impl Caller for Single {
    async fn call(&mut self) -> anyhow::Result<u64> {
        self.engine.start_run(&self.start).await?;
        Ok(1)
    }
}

/// Starts many.
struct Bulk {
    engine: Engine,
    starts: Vec<StartRun>,
}

impl Caller for Bulk {
    async fn call(&mut self) -> anyhow::Result<u64> {
        let started = self.engine.start_runs(TENANT, &self.starts).await;
        let started = started.map_err(|refused| refused.error)?;
        Ok(u64::try_from(started.len())?)
    }
}

pub(super) async fn measure(bench: &Bench, meters: &mut Meters) -> anyhow::Result<Vec<Measured>> {
    bench.ground.apply(TENANT, FILE).await?;
    let start = bench.ground.start(AGENT, QUEUE);
    let engine = bench.ground.connect(CALLERS).await?;
    bench.tell("w4, one by one");
    let single = || Single {
        engine: engine.clone(),
        start: start.clone(),
    };
    let callers = (0..CALLERS).map(|_| single()).collect();
    let (tally, spent) = bench.calls(meters, callers).await?;
    let single = Measured {
        workload: Workload::W4,
        part: "single",
        what: format!("start a run, {CALLERS} callers"),
        figures: vec![
            rate("single_per_second", tally.per_second(), SINGLE),
            millis("single_p50_ms", tally.millis(50), SINGLE_P50),
            millis("single_p99_ms", tally.millis(99), SINGLE_P99),
        ],
        cost: Cost::of("runs", tally.units(), &spent),
    };
    bench.tell("w4, in batches");
    let bulk = || Bulk {
        engine: engine.clone(),
        starts: vec![start.clone(); BATCH],
    };
    let callers = (0..BATCH_CALLERS).map(|_| bulk()).collect();
    let (tally, spent) = bench.calls(meters, callers).await?;
    engine.close().await;
    let bulk = Measured {
        workload: Workload::W4,
        part: "bulk",
        what: format!("start {BATCH} runs at once, {BATCH_CALLERS} callers"),
        figures: vec![rate("bulk_per_second", tally.per_second(), BATCHED)],
        cost: Cost::of("runs", tally.units(), &spent),
    };
    Ok(vec![single, bulk])
}

const fn rate(key: &'static str, value: f64, floor: &'static str) -> Figure {
    Figure {
        key,
        value,
        unit: "runs/s",
        floor: Some(floor),
    }
}

const fn millis(key: &'static str, value: f64, floor: &'static str) -> Figure {
    Figure {
        unit: "ms",
        ..rate(key, value, floor)
    }
}
