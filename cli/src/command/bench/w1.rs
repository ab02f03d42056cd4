//! W1 and W3: steps of workflows, many runs at once and one run alone.

use super::callers::count;
use super::crew::{Crew, CrewPlan, Feeder, idle};
use super::floor::{ALONE_P50, SINGLE};
use super::measured::{Cost, Figure, Measured};
use super::meters::Meters;
use super::{Bench, TENANT};
use crate::args::Workload;
use rehearsal::{Answer, Rule, Script};
use worker::{Context, Program, Workflows};

/// As many as a worker drives at once by default.
const RUNS_MAX: usize = 64;
/// Steps of a run of W1.
const STEPS: usize = 10;
/// Steps of the run of W3; longer than a window, so that one run is driven all the time.
const STEPS_ALONE: usize = 20_000;
/// A result of some size.
const LARGE: usize = 10 * 1024;

/// What one run does.
#[derive(Clone, Copy)]
struct Shape {
    steps: usize,
    repeatable: bool,
    result_bytes: usize,
}

/// One of the measurements.
struct Part {
    workload: Workload,
    name: &'static str,
    /// The workflow's name, and its queue's.
    kind: &'static str,
    what: String,
    shape: Shape,
    runs_max: usize,
}

pub(super) async fn measure(bench: &Bench, meters: &mut Meters) -> anyhow::Result<Vec<Measured>> {
    let part = |name, kind, what: &str, shape| Part {
        workload: Workload::W1,
        name,
        kind,
        what: format!("{what}, {STEPS} a run, {RUNS_MAX} runs at once"),
        shape,
        runs_max: RUNS_MAX,
    };
    let small = Shape {
        steps: STEPS,
        repeatable: true,
        result_bytes: 8,
    };
    let parts = [
        part("idempotent", "longhaul-bench-w1-idempotent", "idempotent steps", small),
        part(
            "once",
            "longhaul-bench-w1-once",
            "steps at most once",
            Shape {
                repeatable: false,
                ..small
            },
        ),
        part(
            "large",
            "longhaul-bench-w1-large",
            "idempotent steps with results of 10 KB",
            Shape {
                result_bytes: LARGE,
                ..small
            },
        ),
    ];
    let mut measured = Vec::new();
    for part in parts {
        let steps = drive(bench, meters, &part).await?;
        measured.push(steps.told(&part, |rate| match part.name {
            "once" => ("once_steps_per_second", rate),
            "large" => ("large_steps_per_second", rate),
            _ => ("steps_per_second", rate),
        }));
    }
    Ok(measured)
}

/// One run, one step after the other.
pub(super) async fn measure_alone(bench: &Bench, meters: &mut Meters) -> anyhow::Result<Vec<Measured>> {
    let part = Part {
        workload: Workload::W3,
        name: "alone",
        kind: "longhaul-bench-w3",
        what: "idempotent steps of one run, one after the other".to_owned(),
        shape: Shape {
            steps: STEPS_ALONE,
            repeatable: true,
            result_bytes: 8,
        },
        runs_max: 1,
    };
    let steps = drive(bench, meters, &part).await?;
    Ok(vec![Measured {
        figures: vec![Figure {
            key: "step_ms",
            value: 1000.0 / steps.rate,
            unit: "ms",
            floor: Some(ALONE_P50),
        }],
        ..steps.told(&part, |rate| ("steps_per_second", rate))
    }])
}

/// What was done in a window.
struct Steps {
    rate: f64,
    cost: Cost,
}

impl Steps {
    fn told(self, part: &Part, figure: impl Fn(f64) -> (&'static str, f64)) -> Measured {
        let (key, value) = figure(self.rate);
        Measured {
            workload: part.workload,
            part: part.name,
            what: part.what.clone(),
            figures: vec![Figure {
                key,
                value,
                unit: "steps/s",
                floor: Some(SINGLE),
            }],
            cost: self.cost,
        }
    }
}

async fn drive(bench: &Bench, meters: &mut Meters, part: &Part) -> anyhow::Result<Steps> {
    bench.tell(&format!("{}, {}", part.workload.name(), part.what));
    let plan = CrewPlan {
        queue: part.kind,
        script: silent(),
        program: program(part.kind, part.shape),
        runs_max: part.runs_max,
    };
    let crew = Crew::start(&bench.ground, plan).await?;
    let outcome = count_steps(bench, meters, part).await;
    // What the worker died of says more than that nothing came of it.
    crew.stop().await?;
    outcome
}

async fn count_steps(bench: &Bench, meters: &mut Meters, part: &Part) -> anyhow::Result<Steps> {
    let feeder = Feeder::start(bench, bench.ground.start_workflow(part.kind)).await?;
    let before = meters.begin().await?;
    let passed = bench.pass(bench.window).await;
    let spent = meters.since(&before).await?;
    feeder.stop().await?;
    passed?;
    let steps = u64::try_from(meters.done(TENANT, &spent).await?.steps)?;
    if steps == 0 {
        return Err(idle().into());
    }
    Ok(Steps {
        rate: count(steps) / spent.elapsed.as_secs_f64(),
        cost: Cost::of("steps", steps, &spent),
    })
}

/// A worker has a model, though nobody asks it.
pub(super) fn silent() -> Script {
    Script::new().rule(Rule::always().answers(Answer::text("Nobody asks.")))
}

fn program(kind: &str, shape: Shape) -> Program {
    let mut workflows = Workflows::new();
    workflows.register(kind, move |ctx: Context, _: serde_json::Value| async move {
        for _ in 0..shape.steps {
            let step = ctx.step(
                "step",
                (),
                move |_, ()| async move { Ok("x".repeat(shape.result_bytes)) },
            );
            if shape.repeatable {
                step.idempotent().await?;
            } else {
                step.await?;
            }
        }
        Ok(())
    });
    Program {
        workflows,
        ..Program::default()
    }
}
