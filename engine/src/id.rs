//! Ids and fences have types, so that none is taken for another.

use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, sqlx::Type)]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

uuid_id! {
    /// A run. UUID version 7 whose twelve bits after the version hold the number of its cell; made in the database by
    /// `longhaul.new_run_id`.
    RunId
}

uuid_id! {
    /// One start of a worker process.
    WorkerId
}

uuid_id! {
    /// One immutable edition of an agent.
    AgentVersionId
}

impl RunId {
    /// The cell that holds this run.
    pub const fn cell(self) -> u16 {
        let bytes = self.0.as_bytes();
        u16::from_be_bytes([bytes[6] & 0x0f, bytes[7]])
    }
}

impl WorkerId {
    /// A new one, for one process start.
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl Default for WorkerId {
    fn default() -> Self {
        Self::new()
    }
}

/// The number that shuts out an old holder. It only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct Fence(pub i64);

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The right to write for a run, for as long as the fence is the run's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Which run.
    pub run: RunId,
    /// Under which fence.
    pub fence: Fence,
    /// By which worker.
    pub worker: WorkerId,
}

impl Claim {
    /// Whether nobody held the run before: its journal is empty, since only holders write steps.
    pub const fn is_first(&self) -> bool {
        self.fence.0 == 1
    }
}
