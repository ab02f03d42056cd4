//! The floor: what the server gives for the barest record of a step.

use super::Bench;
use super::callers::Caller;
use super::measured::{Cost, Figure, Measured};
use super::meters::Meters;
use crate::args::Workload;
use engine::bench_floor::{Floor, FloorWriter};

/// As many as start runs in W4.
pub(super) const CALLERS: usize = 16;
/// More writers gain nothing where each brings a batch.
const BATCH_CALLERS: usize = 4;
/// Steps of one batch.
const BATCH: usize = 50;

/// The floor of a time that one caller waits for one record.
pub(super) const ALONE_P50: &str = "alone_p50_ms";
/// The floor of a rate where every record is a commit of its own, and of the times that its callers wait.
pub(super) const SINGLE: &str = "single_per_second";
pub(super) const SINGLE_P50: &str = "single_p50_ms";
pub(super) const SINGLE_P99: &str = "single_p99_ms";
/// The floor of a rate where records share a commit.
pub(super) const BATCHED: &str = "batch_per_second";

impl Caller for FloorWriter {
    async fn call(&mut self) -> anyhow::Result<u64> {
        Ok(self.record().await?)
    }
}

pub(super) async fn measure(bench: &Bench, meters: &mut Meters) -> anyhow::Result<Vec<Measured>> {
    let floor = bench.ground.floor().await?;
    let one = writers(&floor, 1, 1).await?;
    bench.tell("the floor, one caller");
    let (tally, spent) = bench.calls(meters, one).await?;
    let alone = Measured {
        workload: Workload::Floor,
        part: "alone",
        what: "record a step, one caller".to_owned(),
        figures: vec![
            figure(ALONE_P50, tally.millis(50), "ms"),
            figure("alone_p99_ms", tally.millis(99), "ms"),
        ],
        cost: Cost::of("steps", tally.units(), &spent),
    };
    bench.tell("the floor, many callers");
    let many = writers(&floor, CALLERS, 1).await?;
    let (tally, spent) = bench.calls(meters, many).await?;
    let single = Measured {
        workload: Workload::Floor,
        part: "single",
        what: format!("record a step, {CALLERS} callers"),
        figures: vec![
            figure(SINGLE, tally.per_second(), "steps/s"),
            figure(SINGLE_P50, tally.millis(50), "ms"),
            figure(SINGLE_P99, tally.millis(99), "ms"),
        ],
        cost: Cost::of("steps", tally.units(), &spent),
    };
    bench.tell("the floor, in batches");
    let batches = writers(&floor, BATCH_CALLERS, BATCH).await?;
    let (tally, spent) = bench.calls(meters, batches).await?;
    let batch = Measured {
        workload: Workload::Floor,
        part: "batch",
        what: format!("record {BATCH} steps at once, {BATCH_CALLERS} callers"),
        figures: vec![figure(BATCHED, tally.per_second(), "steps/s")],
        cost: Cost::of("steps", tally.units(), &spent),
    };
    Ok(vec![alone, single, batch])
}

const fn figure(key: &'static str, value: f64, unit: &'static str) -> Figure {
    Figure {
        key,
        value,
        unit,
        floor: None,
    }
}

async fn writers(floor: &Floor, callers: usize, runs: usize) -> anyhow::Result<Vec<FloorWriter>> {
    let mut writers = Vec::with_capacity(callers);
    for _ in 0..callers {
        writers.push(floor.writer(runs).await?);
    }
    Ok(writers)
}
