//! What measurements come to.

use super::callers::count;
use super::meters::Spent;
use crate::args::Workload;
use engine::bench_floor::Counted;

/// One measurement of a workload.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) workload: Workload,
    /// Which of the workload's measurements: a word of its keys.
    pub(super) part: &'static str,
    /// What was done, for people.
    pub(super) what: String,
    pub(super) figures: Vec<Figure>,
    pub(super) cost: Cost,
}

/// A figure with its key, such as `single_per_second`.
#[derive(Debug)]
pub(super) struct Figure {
    pub(super) key: &'static str,
    pub(super) value: f64,
    pub(super) unit: &'static str,
    /// The key of the floor that it is held against.
    pub(super) floor: Option<&'static str>,
}

/// What 1,000 units of work cost.
#[derive(Debug, Default)]
pub(super) struct Cost {
    /// What is counted: steps, or runs.
    pub(super) of: &'static str,
    pub(super) postgres_cpu_seconds: Option<f64>,
    /// This process: clients, worker and all, but not the model that it plays.
    pub(super) worker_cpu_seconds: Option<f64>,
    pub(super) wal_bytes: f64,
    pub(super) table_bytes: f64,
    pub(super) statements: f64,
}

impl Cost {
    /// What was spent, divided by what was done.
    pub(super) fn of(unit: &'static str, units: u64, spent: &Spent) -> Self {
        let thousands = count(units.max(1)) / 1000.0;
        let per = |total: i64| count(u64::try_from(total).unwrap_or_default()) / thousands;
        Self {
            of: unit,
            postgres_cpu_seconds: spent.postgres_cpu.map(|seconds| seconds / thousands),
            worker_cpu_seconds: spent.worker_cpu.map(|seconds| seconds / thousands),
            wal_bytes: per(spent.wal_bytes),
            table_bytes: per(spent.table_bytes),
            statements: per(spent.statements),
        }
    }

    /// All of it, with the words that end the keys.
    pub(super) const fn fields(&self) -> [(&'static str, Option<f64>); 5] {
        [
            ("postgres_cpu_seconds_per_1000", self.postgres_cpu_seconds),
            ("worker_cpu_seconds_per_1000", self.worker_cpu_seconds),
            ("wal_bytes_per_1000", Some(self.wal_bytes)),
            ("table_bytes_per_1000", Some(self.table_bytes)),
            ("statements_per_1000", Some(self.statements)),
        ]
    }
}

/// All of it, with what one has to know to read it.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) parts: Vec<Measured>,
    pub(super) seconds: u64,
    pub(super) history: u64,
    pub(super) hold_xmin: bool,
    pub(super) is_private: bool,
    pub(super) postgres: String,
    pub(super) counted: Counted,
}

impl Report {
    /// A figure's share of the floor, where that was measured too.
    pub(super) fn ratio(&self, figure: &Figure) -> Option<f64> {
        let wanted = figure.floor?;
        let figures = self.parts.iter().filter(|part| part.workload == Workload::Floor);
        let floor = figures
            .flat_map(|part| &part.figures)
            .find(|figure| figure.key == wanted)?;
        (floor.value > 0.0).then(|| figure.value / floor.value)
    }
}

impl Workload {
    /// As keys begin.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::W1 => "w1",
            Self::W2 => "w2",
            Self::W3 => "w3",
            Self::W4 => "w4",
            Self::W5 => "w5",
            Self::W6 => "w6",
        }
    }
}
