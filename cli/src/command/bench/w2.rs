//! W2: from a start to the first step's first instruction, and to its record, on a system that does nothing else.

use super::crew::{Crew, CrewPlan};
use super::floor::ALONE_P50;
use super::measured::{Cost, Figure, Measured};
use super::meters::Meters;
use super::w1::silent;
use super::{Bench, interrupted};
use crate::args::Workload;
use anyhow::Context as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use worker::{Context, Program, Workflows};

const KIND: &str = "longhaul-bench-w2";
/// Between two runs the system comes to rest.
const PAUSE: Duration = Duration::from_millis(10);
/// Runs that do not count.
const FIRST: usize = 10;
/// A run that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn measure(bench: &Bench, meters: &mut Meters) -> anyhow::Result<Vec<Measured>> {
    bench.tell("w2, one run of two steps at a time");
    let (noting, mut noted) = mpsc::unbounded_channel();
    let plan = CrewPlan {
        queue: KIND,
        script: silent(),
        program: program(Arc::new(noting)),
        runs_max: 64,
    };
    let crew = Crew::start(&bench.ground, plan).await?;
    let outcome = times(bench, meters, &mut noted).await;
    crew.stop().await?;
    Ok(vec![outcome?])
}

async fn times(
    bench: &Bench,
    meters: &mut Meters,
    noted: &mut mpsc::UnboundedReceiver<Instant>,
) -> anyhow::Result<Measured> {
    let engine = bench.ground.engine();
    let start = bench.ground.start_workflow(KIND);
    let (mut firsts, mut records) = (Vec::new(), Vec::new());
    let mut before = meters.begin().await?;
    let mut until = None;
    for number in 0.. {
        if number == FIRST {
            before = meters.begin().await?;
            until = Some(Instant::now() + bench.window);
            firsts.clear();
            records.clear();
        }
        if until.is_some_and(|until| Instant::now() >= until) && !firsts.is_empty() {
            break;
        }
        if bench.shutdown.is_cancelled() {
            return Err(interrupted().into());
        }
        let began = Instant::now();
        engine.start_run(&start).await?;
        for times in [&mut firsts, &mut records] {
            let instant = tokio::time::timeout(PATIENCE, noted.recv()).await;
            let instant = instant.ok().flatten().context("the worker has done nothing")?;
            times.push(instant.saturating_duration_since(began));
        }
        tokio::time::sleep(PAUSE).await;
    }
    let spent = meters.since(&before).await?;
    firsts.sort_unstable();
    records.sort_unstable();
    let runs = u64::try_from(firsts.len())?;
    let millis = |key, times: &[Duration], percent: usize| Figure {
        key,
        value: times[(times.len() - 1) * percent / 100].as_secs_f64() * 1000.0,
        unit: "ms",
        floor: Some(ALONE_P50),
    };
    Ok(Measured {
        workload: Workload::W2,
        part: "idle",
        what: "a start to its first step, and to that step's record".to_owned(),
        figures: vec![
            millis("start_p50_ms", &firsts, 50),
            millis("start_p99_ms", &firsts, 99),
            millis("recorded_p50_ms", &records, 50),
            millis("recorded_p99_ms", &records, 99),
        ],
        cost: Cost::of("runs", runs, &spent),
    })
}

/// Notes when the first step begins, and when its result is committed: the second begins only then.
fn program(noting: Arc<mpsc::UnboundedSender<Instant>>) -> Program {
    let mut workflows = Workflows::new();
    workflows.register(KIND, move |ctx: Context, _: serde_json::Value| {
        let noting = Arc::clone(&noting);
        async move {
            for _ in 0..2 {
                let noting = Arc::clone(&noting);
                ctx.step("step", (), move |_, ()| {
                    let _ = noting.send(Instant::now());
                    async { Ok(()) }
                })
                .idempotent()
                .await?;
            }
            Ok(())
        }
    });
    Program {
        workflows,
        ..Program::default()
    }
}
