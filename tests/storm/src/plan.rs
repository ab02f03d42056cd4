//! The plan of a storm: a function of its seed and nothing else.
//!
//! A storm has a few shapes of runs; each run has one of them, a door it is started by, and perhaps somebody who
//! cancels or pauses it. What a run is to do in the world follows from its number alone, so that the judge need not
//! believe the product. Start at [`Plan::run`].

use crate::record::{Declared, Door, Front};
use std::time::Duration;

/// So many different runs.
const SHAPES: u64 = 40;
/// The last turn answers; those before it call tools.
const CALLING_TURNS: std::ops::RangeInclusive<usize> = 1..=4;
const CALLS: std::ops::RangeInclusive<usize> = 1..=4;

/// Everything that follows from a seed.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) shapes: Vec<Shape>,
}

/// What runs of one kind do.
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

/// A call that the model asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) front: Front,
    pub(crate) declared: Declared,
}

impl Call {
    /// The tool's name in the agent.
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
    /// An index of [`Plan::shapes`].
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
        Self { seed, shapes }
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
        RunPlan {
            number,
            shape,
            door,
            meddling,
        }
    }

    /// The run's input, a JSON text.
    pub(crate) fn input(&self, run: &RunPlan) -> String {
        let shape = &self.shapes[run.shape].name;
        format!(r#"{{"run":"{}","shape":"{shape}"}}"#, run.number)
    }

    /// The run's idempotency key.
    pub(crate) fn key(&self, run: u64) -> String {
        format!("storm-{}-{run}", self.seed)
    }

    /// Each effect that the run asks for, by its name, when nothing stops it early.
    pub(crate) fn effects(&self, run: &RunPlan) -> Vec<(String, Call)> {
        let turns = (1..).zip(&self.shapes[run.shape].turns);
        turns
            .flat_map(|(turn, calls)| {
                let named = move |(index, call): (usize, &Call)| (effect_name(run.number, turn, index), *call);
                calls.calls.iter().enumerate().map(named)
            })
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
    // Doubt about a call that may not be repeated ends a run's way early.
    let declared = match random.u32(..10) {
        0..3 => Declared::ReadOnly,
        3..8 => Declared::Idempotent,
        _ => Declared::AtMostOnce,
    };
    Call { front, declared }
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
