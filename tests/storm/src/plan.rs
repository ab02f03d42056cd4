//! The plan of a storm: a function of its seed and nothing else.
//!
//! A storm has a few shapes of runs, of an agent and of a workflow; each run has one of them, a door it is started by,
//! and perhaps somebody who cancels or pauses it. What a run is to do in the world follows from its number alone, so that the judge need not
//! believe the product. Start at [`Plan::run`].

use crate::record::{Declared, Door, Front};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::HashMap;
use std::time::Duration;

/// So many different runs of the agent, and as many of the workflow.
const SHAPES: u64 = 40;
/// The last turn answers; those before it call tools.
const CALLING_TURNS: std::ops::RangeInclusive<usize> = 1..=4;
const CALLS: std::ops::RangeInclusive<usize> = 1..=4;
/// One run in so many is of the workflow.
const WORKFLOWS_EVERY: u32 = 3;

/// What the model says on the last turn of every run.
pub(crate) const ANSWER: &str = "All is done.";

/// Everything that follows from a seed.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) shapes: Vec<Shape>,
    pub(crate) workflows: Vec<WorkflowShape>,
}

/// What decides in a run what comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// A model, which follows the script.
    #[serde(rename = "agent")]
    Agent,
    /// The workflow `storm` of the program under test, which follows its input.
    #[serde(rename = "storm")]
    Workflow,
}

/// What runs of the workflow do; it stands in their input as it is here.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct WorkflowShape {
    pub(crate) turns: Vec<WorkflowTurn>,
}

/// Calls that are made at the same time, and a sleep after them.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct WorkflowTurn {
    pub(crate) calls: Vec<Call>,
    /// None, one that its worker waits for, or one that parks the run.
    pub(crate) nap_ms: u64,
}

/// What runs of the agent do.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// Stands in the run's input, where the model finds it.
    pub(crate) name: String,
    /// Turns that call tools. One more answers.
    pub(crate) turns: Vec<Turn>,
    /// What befalls the model on the turn that answers.
    pub(crate) last_trouble: Trouble,
}

/// A turn that calls tools.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    pub(crate) calls: Vec<Call>,
    pub(crate) trouble: Trouble,
}

/// A call that the model or the workflow asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Call {
    pub(crate) front: Front,
    pub(crate) declared: Declared,
}

impl Call {
    /// The tool's name in the agent, and the step's in the workflow.
    pub(crate) fn tool(self) -> String {
        format!("{}_{}", self.front.as_str(), self.declared.as_str())
    }
}

/// What befalls a model call the first times it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    None,
    /// The stream breaks after so many events.
    Cut {
        after: usize,
    },
    /// HTTP 529, so many times.
    Overloaded {
        times: u32,
    },
    /// HTTP 429 with `retry-after`.
    Limited {
        retry_after_seconds: u64,
    },
    /// An `error` event within the stream.
    ErrorEvent {
        after: usize,
    },
    /// The first byte takes its time.
    Slow {
        delay: Duration,
    },
}

/// One run.
#[derive(Debug, Clone)]
pub(crate) struct RunPlan {
    pub(crate) number: u64,
    pub(crate) kind: Kind,
    /// An index of [`Plan::shapes`], or of [`Plan::workflows`].
    pub(crate) shape: usize,
    pub(crate) door: Door,
    pub(crate) meddling: Meddling,
}

/// What somebody does to a run that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meddling {
    None,
    Cancel {
        after: Duration,
    },
    Pause {
        after: Duration,
        /// Then it is resumed.
        length: Duration,
    },
}

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let shapes = (0..SHAPES).map(|number| shape(seed, number)).collect();
        let workflows = (0..SHAPES).map(|number| workflow(seed, number)).collect();
        Self {
            seed,
            shapes,
            workflows,
        }
    }

    /// The run of this number, from 0.
    pub(crate) fn run(&self, number: u64) -> RunPlan {
        let mut random = random(self.seed, "run", number);
        let shape = random.usize(..self.shapes.len());
        let door = match random.u32(..20) {
            0..11 => Door::Http,
            11..18 => Door::Sql,
            _ => Door::CommandLine,
        };
        let meddling = match random.u32(..100) {
            0..4 => Meddling::Cancel {
                after: Duration::from_millis(random.u64(0..4000)),
            },
            4..7 => Meddling::Pause {
                after: Duration::from_millis(random.u64(0..3000)),
                length: Duration::from_millis(random.u64(200..3000)),
            },
            _ => Meddling::None,
        };
        // A number stream of its own: what the runs of the agent do is older than workflows.
        let kind = match self::random(self.seed, "kind", number).u32(..WORKFLOWS_EVERY) {
            0 => Kind::Workflow,
            _ => Kind::Agent,
        };
        RunPlan {
            number,
            kind,
            shape,
            door,
            meddling,
        }
    }

    /// The run's input, a JSON text.
    pub(crate) fn input(&self, run: &RunPlan) -> String {
        let number = run.number.to_string();
        let input = match run.kind {
            Kind::Agent => json!({"run": number, "shape": self.shapes[run.shape].name}),
            Kind::Workflow => json!({"run": number, "turns": self.workflows[run.shape].turns}),
        };
        input.to_string()
    }

    /// The run's idempotency key.
    pub(crate) fn key(&self, run: u64) -> String {
        format!("storm-{}-{run}", self.seed)
    }

    /// Each effect that the run asks for, by its name, when nothing stops it early.
    pub(crate) fn effects(&self, run: &RunPlan) -> Vec<(String, Call)> {
        let named = |(turn, index, call)| (effect_name(run.number, turn, index), call);
        self.calls(run).into_iter().map(named).collect()
    }

    /// Where each effect of a workflow's run stands in its journal, by the effect's name: its step's identity.
    pub(crate) fn identities(&self, run: &RunPlan) -> HashMap<String, String> {
        let identity = |(turn, index, call): (usize, usize, Call)| {
            let identity = format!("turn#{turn}[{index}]/{}#1", call.tool());
            (effect_name(run.number, turn, index), identity)
        };
        let calls = if run.kind == Kind::Workflow {
            self.calls(run)
        } else {
            Vec::new()
        };
        calls.into_iter().map(identity).collect()
    }

    /// Each call with its turn from 1 and its place in the turn from 0.
    fn calls(&self, run: &RunPlan) -> Vec<(usize, usize, Call)> {
        let turns: Vec<&Vec<Call>> = match run.kind {
            Kind::Agent => self.shapes[run.shape].turns.iter().map(|turn| &turn.calls).collect(),
            Kind::Workflow => self.workflows[run.shape].turns.iter().map(|turn| &turn.calls).collect(),
        };
        (1..)
            .zip(turns)
            .flat_map(|(turn, calls)| calls.iter().enumerate().map(move |(index, call)| (turn, index, *call)))
            .collect()
    }
}

/// Names the effect of a call: its run, its turn from 1 and its place in the turn from 0.
pub(crate) fn effect_name(run: u64, turn: usize, index: usize) -> String {
    format!("r{run}-t{turn}-c{index}")
}

/// Numbers that depend on nothing but what is given here.
pub(crate) fn random(seed: u64, stream: &str, number: u64) -> fastrand::Rng {
    let mut folded = seed ^ 0x9e37_79b9_7f4a_7c15;
    for byte in stream.bytes().chain(number.to_le_bytes()) {
        folded = (folded ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    fastrand::Rng::with_seed(folded)
}

fn shape(seed: u64, number: u64) -> Shape {
    let mut random = random(seed, "shape", number);
    let turns = random.usize(CALLING_TURNS);
    Shape {
        name: format!("shape-{number:02}"),
        turns: (0..turns).map(|_| turn(&mut random)).collect(),
        last_trouble: trouble(&mut random),
    }
}

fn workflow(seed: u64, number: u64) -> WorkflowShape {
    let mut random = random(seed, "workflow", number);
    let turns = random.usize(CALLING_TURNS);
    WorkflowShape {
        turns: (0..turns).map(|_| workflow_turn(&mut random)).collect(),
    }
}

fn workflow_turn(random: &mut fastrand::Rng) -> WorkflowTurn {
    let calls = random.usize(CALLS);
    let call = |random: &mut fastrand::Rng| Call {
        // A step of a workflow starts no program.
        front: if random.u32(..3) == 0 {
            Front::Function
        } else {
            Front::Http
        },
        declared: declared(random),
    };
    WorkflowTurn {
        calls: (0..calls).map(|_| call(random)).collect(),
        nap_ms: match random.u32(..8) {
            0 | 1 => 300,
            // More than two seconds park the run.
            2 => 2500,
            _ => 0,
        },
    }
}

fn turn(random: &mut fastrand::Rng) -> Turn {
    let calls = random.usize(CALLS);
    Turn {
        calls: (0..calls).map(|_| call(random)).collect(),
        trouble: trouble(random),
    }
}

fn call(random: &mut fastrand::Rng) -> Call {
    // A command costs a process; there are fewer of them.
    let front = match random.u32(..10) {
        0..6 => Front::Http,
        6..8 => Front::Function,
        _ => Front::Command,
    };
    let declared = declared(random);
    Call { front, declared }
}

/// Doubt about a call that may not be repeated ends a run's way early.
fn declared(random: &mut fastrand::Rng) -> Declared {
    match random.u32(..10) {
        0..3 => Declared::ReadOnly,
        3..8 => Declared::Idempotent,
        _ => Declared::AtMostOnce,
    }
}

fn trouble(random: &mut fastrand::Rng) -> Trouble {
    match random.u32(..20) {
        0 => Trouble::Cut {
            after: random.usize(1..4),
        },
        1 => Trouble::Overloaded {
            times: random.u32(1..3),
        },
        // More than two seconds park the run.
        2 => Trouble::Limited {
            retry_after_seconds: random.u64(1..=3),
        },
        3 => Trouble::ErrorEvent {
            after: random.usize(1..3),
        },
        4 | 5 => Trouble::Slow {
            delay: Duration::from_millis(random.u64(100..800)),
        },
        _ => Trouble::None,
    }
}

#[cfg(test)]
mod tests;
