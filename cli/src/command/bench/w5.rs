//! W5: turns of agents, with a model in this process that answers at once.

use super::callers::count;
use super::crew::{Crew, CrewPlan, Feeder, idle};
use super::floor::SINGLE;
use super::measured::{Cost, Figure, Measured};
use super::meters::Meters;
use super::{Bench, TENANT};
use crate::args::Workload;
use rehearsal::{Answer, Rule, Script};
use serde_json::{Map, Value, json};
use worker::Functions;

/// A worker's usual.
const RUNS_MAX: usize = 64;
/// Turns of a run with tools: each but the last calls one.
const TURNS: usize = 10;
/// What it calls; it gives back what it was given.
const TOOL: &str = "echo";

const WITH_TOOLS: &str = r#"
name = "bench-tools"
system = "You count to ten."
[model]
name = "claude-sonnet-5-5"
max_tokens = 64
[[tool]]
name = "echo"
description = "Gives back what it is given."
kind = "function"
effect = "idempotent"
input = { type = "object" }
"#;
const WITHOUT: &str = r#"
name = "bench-answer"
system = "You answer at once."
[model]
name = "claude-sonnet-5-5"
max_tokens = 64
"#;

/// One of the measurements.
struct Part {
    name: &'static str,
    /// Of its own: what the other left in its queue is not driven beside it.
    queue: &'static str,
    agent: &'static str,
    what: String,
    /// Keys of turns and of steps; where a turn is one step, one figure says both.
    turns_key: &'static str,
    steps_key: Option<&'static str>,
}

pub(super) async fn measure(bench: &Bench, meters: &mut Meters) -> anyhow::Result<Vec<Measured>> {
    bench.ground.apply(TENANT, WITH_TOOLS).await?;
    bench.ground.apply(TENANT, WITHOUT).await?;
    let parts = [
        Part {
            name: "tools",
            queue: "longhaul-bench-w5-tools",
            agent: "bench-tools",
            what: format!("runs of {TURNS} turns with a function call each, {RUNS_MAX} at once"),
            turns_key: "turns_per_second",
            steps_key: Some("steps_per_second"),
        },
        Part {
            name: "answer",
            queue: "longhaul-bench-w5-answer",
            agent: "bench-answer",
            what: format!("runs of one turn without a tool, {RUNS_MAX} at once"),
            turns_key: "answers_per_second",
            steps_key: None,
        },
    ];
    let mut measured = Vec::new();
    for part in parts {
        let plan = CrewPlan {
            queue: part.queue,
            script: script(),
            program: functions().into(),
            runs_max: RUNS_MAX,
        };
        bench.tell(&format!("w5, {}", part.what));
        let crew = Crew::start(&bench.ground, plan).await?;
        let outcome = measure_one(bench, meters, &part).await;
        let stopped = crew.stop().await;
        // What the worker died of says more than that nothing came of it.
        stopped?;
        measured.push(outcome?);
    }
    Ok(measured)
}

async fn measure_one(bench: &Bench, meters: &mut Meters, part: &Part) -> anyhow::Result<Measured> {
    let feeder = Feeder::start(bench, bench.ground.start(part.agent, part.queue)).await?;
    let before = meters.begin().await?;
    let passed = bench.pass(bench.window).await;
    let spent = meters.since(&before).await?;
    feeder.stop().await?;
    passed?;
    let done = meters.done(TENANT, &spent).await?;
    let (turns, steps) = (u64::try_from(done.turns)?, u64::try_from(done.steps)?);
    if steps == 0 {
        return Err(idle().into());
    }
    let rate = |units: u64| count(units) / spent.elapsed.as_secs_f64();
    let figure = |key, units, unit| Figure {
        key,
        value: rate(units),
        unit,
        floor: Some(SINGLE),
    };
    Ok(Measured {
        workload: Workload::W5,
        part: part.name,
        what: part.what.clone(),
        figures: std::iter::once(figure(part.turns_key, turns, "turns/s"))
            .chain(part.steps_key.map(|key| figure(key, steps, "steps/s")))
            .collect(),
        cost: Cost::of("steps", steps, &spent),
    })
}

/// One agent counts with the tool, the other answers.
fn script() -> Script {
    let counts = "You count to ten";
    Script::new()
        .rule(
            Rule::on_turn(TURNS)
                .system_contains(counts)
                .answers(Answer::text("Ten.")),
        )
        .rule(
            Rule::always()
                .system_contains(counts)
                .answers(Answer::calling(TOOL, json!({"number": 1}))),
        )
        .rule(Rule::always().answers(Answer::text("At once.")))
}

fn functions() -> Functions {
    let mut functions = Functions::new();
    functions.register(TOOL, |_, given: Map<String, Value>| async move { Ok(given) });
    functions
}
