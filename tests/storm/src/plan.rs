//! The plan of a storm: a function of its seed and nothing else.
//!
//! A storm has a few shapes of runs, of an agent and of a workflow; each run has one of them, a door it is started by,
//! and perhaps somebody who cancels or pauses it. What a run is to do in the world follows from its number alone, so that the judge need not
//! believe the product. Start at [`Plan::run`].

use crate::record::{Declared, Door, Front};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;

/// So many different runs of the agent, and as many of the workflow.
const SHAPES: u64 = 40;
/// The last turn answers; those before it call tools.
const CALLING_TURNS: std::ops::RangeInclusive<usize> = 1..=4;
const CALLS: std::ops::RangeInclusive<usize> = 1..=4;
/// One shape of the agent asks for so many calls at once …
const MANY_CALLS: usize = 200;
/// … of which the agent's limit lets so many be made; the others are answered all the same.
pub(crate) const CALLS_MAX: usize = 64;
/// One run in so many is of the workflow.
const WORKFLOWS_EVERY: u32 = 3;
/// The numbers of children begin here: nobody asks for so many runs.
const CHILDREN_FROM: u64 = 1 << 40;
/// One child for each turn of its parent at most.
const CHILDREN_MAX: u64 = 10;

/// The name of all signals.
pub(crate) const SIGNAL: &str = "go";

/// What the model says on the last turn of every run.
pub(crate) const ANSWER: &str = "All is done.";

/// Everything that follows from a seed.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) shapes: Vec<Shape>,
    pub(crate) workflows: Vec<WorkflowShape>,
    /// Of runs that workflows start, which are short.
    pub(crate) child_shapes: Vec<Shape>,
    pub(crate) child_workflows: Vec<WorkflowShape>,
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
    /// What the turn ends with.
    pub(crate) then: Option<Then>,
}

/// What a workflow does beside calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Then {
    /// For a signal.
    Wait {
        /// It goes on without one after so long.
        millis: Option<u64>,
    },
    /// A run below its own, and its end.
    Child,
    /// A row in a table of the application's, in a transaction.
    Sell,
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
    /// The run that starts it, where that is nobody from outside.
    pub(crate) parent: Option<u64>,
    pub(crate) kind: Kind,
    /// An index of [`Plan::shapes`], of [`Plan::workflows`], or of those of children.
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
            child_shapes: (0..SHAPES).map(|number| child_shape(seed, number)).collect(),
            child_workflows: (0..SHAPES).map(|number| child_workflow(seed, number)).collect(),
        }
    }

    /// The run of this number, from 0; or the child.
    pub(crate) fn run(&self, number: u64) -> RunPlan {
        if let Some(parent) = parent_of(number) {
            return self.child(parent, number);
        }
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
            parent: None,
            kind,
            shape,
            door,
            meddling,
        }
    }

    fn child(&self, parent: u64, number: u64) -> RunPlan {
        let mut random = random(self.seed, "child", number);
        RunPlan {
            number,
            parent: Some(parent),
            kind: if random.bool() { Kind::Agent } else { Kind::Workflow },
            shape: random.usize(..self.child_shapes.len()),
            door: Door::Sql,
            meddling: Meddling::None,
        }
    }

    /// What a run of the agent does.
    pub(crate) fn shape(&self, run: &RunPlan) -> &Shape {
        match run.parent {
            Some(_) => &self.child_shapes[run.shape],
            None => &self.shapes[run.shape],
        }
    }

    /// What a run of the workflow does.
    pub(crate) fn workflow(&self, run: &RunPlan) -> &WorkflowShape {
        match run.parent {
            Some(_) => &self.child_workflows[run.shape],
            None => &self.workflows[run.shape],
        }
    }

    /// What the run does beside calls, by its turns from 1.
    pub(crate) fn beside(&self, run: &RunPlan) -> Vec<(u64, Then)> {
        let turns = match run.kind {
            Kind::Workflow => self.workflow(run).turns.as_slice(),
            Kind::Agent => &[],
        };
        let then = (1..).zip(turns);
        then.filter_map(|(number, turn)| Some((number, turn.then?))).collect()
    }

    /// The numbers of the children that the run starts, when nothing stops it early.
    pub(crate) fn children(&self, run: &RunPlan) -> Vec<u64> {
        let beside = self.beside(run).into_iter();
        let children = beside.filter(|(_, then)| *then == Then::Child);
        children.map(|(turn, _)| child_number(run.number, turn)).collect()
    }

    /// How many signals the run is sent, one after the other: one for each wait, and in some runs one that nobody takes.
    pub(crate) fn signals(&self, run: &RunPlan) -> u64 {
        let is_wait = |(_, then): &(u64, Then)| matches!(then, Then::Wait { .. });
        let waits = self.beside(run).iter().filter(|beside| is_wait(beside)).count() as u64;
        let more = u64::from(self::random(self.seed, "signals", run.number).u32(..4) == 0);
        if waits == 0 { 0 } else { waits + more }
    }

    /// The id of a signal, by the run and its place among the run's from 0.
    pub(crate) fn signal_id(&self, run: u64, place: u64) -> String {
        format!("storm-{}-{run}-{place}", self.seed)
    }

    /// The pause before each signal of a run.
    pub(crate) fn signal_pause(&self, run: u64, place: u64) -> Duration {
        Duration::from_millis(random(self.seed, "signal", run * CHILDREN_MAX + place).u64(0..1500))
    }

    /// The run's input, a JSON text.
    pub(crate) fn input(&self, run: &RunPlan) -> String {
        self.input_of(run).to_string()
    }

    fn input_of(&self, run: &RunPlan) -> Value {
        let number = run.number.to_string();
        match run.kind {
            Kind::Agent => json!({"run": number, "shape": self.shape(run).name}),
            Kind::Workflow => {
                let children = self.children(run).into_iter().map(|child| self.run(child));
                let children = children.map(|child| json!({"kind": child.kind, "input": self.input_of(&child)}));
                json!({
                    "run": number,
                    "turns": self.workflow(run).turns,
                    "children": children.collect::<Vec<_>>(),
                })
            }
        }
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
            Kind::Agent => self.shape(run).turns.iter().map(|turn| &turn.calls).collect(),
            Kind::Workflow => self.workflow(run).turns.iter().map(|turn| &turn.calls).collect(),
        };
        (1..)
            .zip(turns)
            .flat_map(|(turn, calls)| {
                let made = calls.iter().enumerate().take(CALLS_MAX);
                made.map(move |(index, call)| (turn, index, *call))
            })
            .collect()
    }

    /// How many calls of the run are asked for and, for there being too many of them, not made.
    pub(crate) fn unmade(&self, run: &RunPlan) -> usize {
        let turns = match run.kind {
            Kind::Agent => self.shape(run).turns.as_slice(),
            Kind::Workflow => &[],
        };
        turns
            .iter()
            .map(|turn| turn.calls.len().saturating_sub(CALLS_MAX))
            .sum()
    }
}

/// The number of the child that a run starts in this turn.
pub(crate) const fn child_number(parent: u64, turn: u64) -> u64 {
    CHILDREN_FROM + parent * CHILDREN_MAX + turn
}

/// The number of the run that starts this one.
pub(crate) const fn parent_of(number: u64) -> Option<u64> {
    match number.checked_sub(CHILDREN_FROM) {
        Some(child) => Some(child / CHILDREN_MAX),
        None => None,
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
    let mut turns: Vec<Turn> = (0..turns).map(|_| turn(&mut random)).collect();
    if number == SHAPES - 1 {
        turns.truncate(1);
        turns[0].calls = (0..MANY_CALLS).map(many).collect();
    }
    Shape {
        name: format!("shape-{number:02}"),
        turns,
        last_trouble: trouble(&mut random),
    }
}

/// One of very many calls: none that leaves a doubt.
fn many(index: usize) -> Call {
    Call {
        front: Front::Http,
        declared: if index.is_multiple_of(2) {
            Declared::Idempotent
        } else {
            Declared::ReadOnly
        },
    }
}

fn workflow(seed: u64, number: u64) -> WorkflowShape {
    let mut random = random(seed, "workflow", number);
    let turns = random.usize(CALLING_TURNS);
    let mut turns: Vec<WorkflowTurn> = (0..turns).map(|_| workflow_turn(&mut random)).collect();
    // A number stream of its own: calls and naps are older.
    let mut random = self::random(seed, "then", number);
    for turn in &mut turns {
        turn.then = then(&mut random);
    }
    WorkflowShape { turns }
}

fn then(random: &mut fastrand::Rng) -> Option<Then> {
    match random.u32(..8) {
        0 => Some(Then::Wait { millis: None }),
        1 => Some(Then::Wait {
            // Before a signal, after it, and about when it comes; more than two seconds park the run either way.
            millis: Some(random.u64(200..3500)),
        }),
        2 => Some(Then::Child),
        3 | 4 => Some(Then::Sell),
        _ => None,
    }
}

/// A turn with a call or two, none of which may leave a doubt that only a person ends.
fn child_shape(seed: u64, number: u64) -> Shape {
    let mut random = random(seed, "child shape", number);
    let mut turn = turn(&mut random);
    soften(&mut turn.calls);
    Shape {
        name: format!("child-{number:02}"),
        turns: vec![turn],
        last_trouble: trouble(&mut random),
    }
}

fn child_workflow(seed: u64, number: u64) -> WorkflowShape {
    let mut random = random(seed, "child workflow", number);
    let mut turn = workflow_turn(&mut random);
    soften(&mut turn.calls);
    WorkflowShape { turns: vec![turn] }
}

fn soften(calls: &mut Vec<Call>) {
    calls.truncate(2);
    for call in calls {
        if call.declared == Declared::AtMostOnce {
            call.declared = Declared::Idempotent;
        }
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
        then: None,
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
