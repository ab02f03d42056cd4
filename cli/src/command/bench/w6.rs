//! W6: workflows that are parked and woken: how soon one with a long journal goes on, and what many of them hold.

use super::crew::{Crew, CrewPlan};
use super::measured::{Cost, Figure, Measured};
use super::meters::Meters;
use super::w1::silent;
use super::{Bench, TENANT, cpu, interrupted};
use crate::args::Workload;
use anyhow::Context as _;
use engine::RunId;
use engine::query::EventRow;
use std::time::Duration;
use worker::{Context, Program, Workflows};

const QUEUE: &str = "longhaul-bench-w6";
/// A workflow with a long journal, and one that sleeps only.
const LONG: &str = "longhaul-bench-w6-long";
const SLEEPER: &str = "longhaul-bench-w6-sleeper";
/// Steps that are recorded when it is woken.
const RECORDED: i32 = 1000;
/// Runs with such a journal, one after the other.
const LONG_RUNS: usize = 3;
const SLEEPERS: usize = 1000;
/// Longer than a run waits in its worker.
const NAP: Duration = Duration::from_millis(2500);
/// Between two looks at a run, and at the memory.
const LOOK_PERIOD: Duration = Duration::from_millis(50);
/// A run that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn measure(bench: &Bench, meters: &mut Meters) -> anyhow::Result<Vec<Measured>> {
    let mut workflows = Workflows::new();
    workflows.register(LONG, |ctx: Context, _: serde_json::Value| async move {
        for _ in 0..RECORDED {
            ctx.step("step", (), |_, ()| async { Ok(()) }).idempotent().await?;
        }
        ctx.sleep(NAP).await?;
        ctx.step("next", (), |_, ()| async { Ok(()) }).await?;
        Ok(())
    });
    workflows.register(SLEEPER, |ctx: Context, _: serde_json::Value| async move {
        ctx.sleep(NAP).await?;
        ctx.step("next", (), |_, ()| async { Ok(()) }).idempotent().await?;
        Ok(())
    });
    let plan = CrewPlan {
        queue: QUEUE,
        script: silent(),
        program: Program {
            workflows,
            ..Program::default()
        },
        runs_max: 64,
    };
    let crew = Crew::start(&bench.ground, plan).await?;
    let outcome = async { Ok(vec![long(bench, meters).await?, sleepers(bench, meters).await?]) }.await;
    crew.stop().await?;
    outcome
}

/// From the wake-up of a run to the intent of its first step that is not recorded.
async fn long(bench: &Bench, meters: &mut Meters) -> anyhow::Result<Measured> {
    bench.tell(&format!("w6, a workflow with {RECORDED} recorded steps is woken"));
    let before = meters.begin().await?;
    let mut times = Vec::new();
    for _ in 0..LONG_RUNS {
        let run = start(bench, LONG, 1).await?;
        ended(bench, &run).await?;
        // It has run.started, run.claimed and an event for each step before that.
        let events = bench.ground.engine().events(run[0], RECORDED, 100).await?;
        let at = |kind: &str| events.iter().find(|event: &&EventRow| event.kind == kind);
        let woken = at("run.woken").context("the run was not woken")?.at;
        let intent = events
            .iter()
            .find(|event| event.kind == "step.started" && event.at >= woken);
        times.push((intent.context("the run did not go on")?.at - woken).to_std()?);
    }
    times.sort_unstable();
    let runs = u64::try_from(times.len())?;
    Ok(Measured {
        workload: Workload::W6,
        part: "long",
        what: format!("a workflow with {RECORDED} recorded steps, from its wake-up to its next step"),
        figures: vec![figure(
            "woken_p50_ms",
            times[times.len() / 2].as_secs_f64() * 1000.0,
            "ms",
        )],
        cost: Cost::of("runs", runs, &meters.since(&before).await?),
    })
}

/// What this process holds at most while many runs are parked and woken.
async fn sleepers(bench: &Bench, meters: &mut Meters) -> anyhow::Result<Measured> {
    bench.tell(&format!("w6, {SLEEPERS} runs are parked and woken"));
    let before = meters.begin().await?;
    let runs = start(bench, SLEEPER, SLEEPERS).await?;
    let mut highest = 0.0_f64;
    let watching = async {
        loop {
            highest = highest.max(cpu::memory_of_this_process().unwrap_or_default());
            tokio::time::sleep(LOOK_PERIOD).await;
        }
    };
    tokio::select! {
        over = ended(bench, &runs) => over?,
        () = watching => {}
    }
    Ok(Measured {
        workload: Workload::W6,
        part: "sleepers",
        what: format!("{SLEEPERS} runs are parked and woken, memory of this process"),
        figures: vec![figure("memory_mb", highest, "MB")],
        cost: Cost::of("runs", u64::try_from(SLEEPERS)?, &meters.since(&before).await?),
    })
}

async fn start(bench: &Bench, kind: &str, count: usize) -> anyhow::Result<Vec<RunId>> {
    let mut start = bench.ground.start_workflow(kind);
    start.queue = QUEUE.to_owned();
    let started = bench.ground.engine().start_runs(TENANT, &vec![start; count]).await;
    let started = started.map_err(|refused| refused.error)?;
    Ok(started.into_iter().map(|started| started.run).collect())
}

async fn ended(bench: &Bench, runs: &[RunId]) -> anyhow::Result<()> {
    let waiting = async {
        for run in runs {
            while !bench.ground.engine().run_head(*run, TENANT).await?.has_ended {
                bench.pass(LOOK_PERIOD).await?;
            }
        }
        anyhow::Ok(())
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    waited.context("the worker has done nothing")??;
    match bench.shutdown.is_cancelled() {
        true => Err(interrupted().into()),
        false => Ok(()),
    }
}

const fn figure(key: &'static str, value: f64, unit: &'static str) -> Figure {
    Figure {
        key,
        value,
        unit,
        floor: None,
    }
}
