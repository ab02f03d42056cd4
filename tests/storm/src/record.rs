//! What the parts of a storm write down, each in a file of its own: one line of JSON a record, appended and synced.
//!
//! The judge reads these files and a dump of the database, and nothing else. All times are of this machine's wall
//! clock, which the database shares.

use anyhow::Context;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since 1970.
pub(crate) type Micros = i64;

/// This instant.
#[expect(
    clippy::disallowed_methods,
    reason = "what happened to a real product is told by a real clock"
)]
pub(crate) fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros::try_from(since.as_micros()).unwrap_or(Micros::MAX)
}

/// A name as it is written down.
pub(crate) fn name(named: &impl Serialize) -> String {
    let name = serde_json::to_value(named).ok();
    name.and_then(|name| name.as_str().map(ToOwned::to_owned))
        .unwrap_or_default()
}

/// A file that records are appended to.
pub(crate) struct Log(Mutex<File>);

impl Log {
    /// Begins the file, or goes on with it.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::options().create(true).append(true).open(path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self(Mutex::new(file)))
    }

    /// Appends all of them; they are on the disk when this returns.
    pub(crate) fn write<R: Serialize>(&self, records: &[R]) -> anyhow::Result<()> {
        let mut lines = Vec::new();
        for record in records {
            serde_json::to_writer(&mut lines, record)?;
            lines.push(b'\n');
        }
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&lines)?;
        Ok(file.sync_data()?)
    }
}

/// All records of a file. A last line that was cut off in the middle of its writing was never counted by anybody.
pub(crate) fn read<R: DeserializeOwned>(path: &Path) -> anyhow::Result<Vec<R>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let parse = |(number, line): (usize, &str)| {
        serde_json::from_str(line).with_context(|| format!("{}:{}: {line}", path.display(), number + 1))
    };
    whole.lines().enumerate().map(parse).collect()
}

/// How a call reaches the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Front {
    Http,
    Command,
    Function,
}

impl Front {
    pub(crate) const ALL: [Self; 3] = [Self::Http, Self::Command, Self::Function];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Command => "command",
            Self::Function => "function",
        }
    }
}

/// What the tool is declared to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Declared {
    ReadOnly,
    Idempotent,
    AtMostOnce,
}

impl Declared {
    pub(crate) const ALL: [Self; 3] = [Self::ReadOnly, Self::Idempotent, Self::AtMostOnce];

    /// How often a call may be tried. What changes nothing is given up early, so that this comes true in a storm.
    pub(crate) const fn attempts_max(self) -> i32 {
        match self {
            Self::ReadOnly => 6,
            Self::Idempotent | Self::AtMostOnce => 20,
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read_only",
            Self::Idempotent => "idempotent",
            Self::AtMostOnce => "at_most_once",
        }
    }
}

/// What the ledger saw and did (`ledger.jsonl`).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub(crate) enum LedgerRecord {
    /// A call is here, whole. Written before anything comes of it.
    Arrival {
        /// When its last byte had come.
        at: Micros,
        /// 1.. in the order of writing.
        arrival: u64,
        front: Front,
        declared: Declared,
        /// Which effect of which run is asked for: [`crate::plan::effect_name`].
        effect: String,
        /// The idempotency key.
        key: Option<String>,
        body_sha256: String,
        /// The name of the worker, from its header.
        worker: Option<String>,
        /// The number of the attempt, from its header.
        attempt: Option<u32>,
        /// The id of the run, from its header.
        run: Option<String>,
        /// What the ledger means to do with it.
        conduct: String,
    },
    /// The effect took place: money is gone. Never written for a key that an `idempotent` call brought before.
    Applied { at: Micros, arrival: u64 },
    /// An answer, or what was done in its place.
    Reply {
        at: Micros,
        arrival: u64,
        /// Such as `200`, `503`, `reset`, `nothing`.
        what: String,
        /// Whether all of a good answer was handed to the network and the caller was still there.
        delivered: bool,
    },
    /// Somebody asked what became of a key.
    Looked {
        at: Micros,
        key: String,
        /// The arrival that made it take place; nothing: it had not by then.
        found: Option<u64>,
    },
}

/// How a run is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Door {
    Http,
    CommandLine,
    Sql,
}

/// What the driver asked for, and what it was told (`driver.jsonl`).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DriverRecord {
    pub(crate) at: Micros,
    pub(crate) asked: Asked,
    /// The number of the run in the plan.
    pub(crate) run: u64,
    pub(crate) door: Door,
    /// The place of a signal among those of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signal: Option<u64>,
    /// What was decided about which approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) decision: Option<Decision>,
    /// What the application's own row is called that is written in the same transaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) receipt: Option<String>,
    pub(crate) outcome: Outcome,
}

/// A person's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Decision {
    pub(crate) approval: String,
    pub(crate) verb: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Asked {
    Start,
    Cancel,
    Pause,
    Resume,
    Signal,
    Decide,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// Done, for this run id. From now on it must be in every later state.
    Acknowledged(String),
    /// Nobody knows: the connection broke, the server was away. Asked again under the same key until it is known.
    Indeterminate(String),
    /// Refused for good, with this code.
    Refused(String),
    /// Done, for this run id, in a transaction that was then rolled back: it never was.
    RolledBack(String),
}

/// What the model was shown in one request (`model.jsonl`).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Shown {
    /// The number of the run in the plan.
    pub(crate) run: u64,
    pub(crate) exchanges: Vec<Exchange>,
}

/// The calls of a turn, and what the model was told of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Exchange {
    pub(crate) asked: Vec<Told>,
    pub(crate) told: Vec<Told>,
}

/// A call, or its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// The provider's, which the two have in common.
    pub(crate) id: String,
    /// What the call asks for, or what its receipt is of. A result without a receipt has none.
    pub(crate) effect: Option<String>,
}

/// What the storm was run on (`machine.json`).
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// 1 where the storm had it to itself, and more where others wanted it too: the bounds of laws of time are so many
    /// times as long.
    pub(crate) slowness: f64,
}

/// What the nemesis did (`nemesis.jsonl`).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NemesisRecord {
    pub(crate) at: Micros,
    pub(crate) deed: Deed,
    /// The name of the worker it was done to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) worker: Option<String>,
    /// In which crash window, where it was aimed at one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) window: Option<Window>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Deed {
    WorkerStarted,
    /// SIGKILL; written once the process is gone.
    WorkerKilled,
    /// SIGSTOP, for longer than a lease.
    WorkerStopped,
    /// SIGCONT.
    WorkerContinued,
    /// A worker that ended without being told to, or did not end well when it was. Always a finding.
    WorkerEnded,
    /// SIGTERM, and it ended by itself, in time and well; `detail` says after how long.
    WorkerDrained,
    /// SIGKILL to the server and all its processes; written before the signal is sent.
    PostgresKilled,
    /// It answers again.
    PostgresReady,
    /// SIGKILL; written once the process is gone.
    ApiKilled,
    ApiReady,
    /// All connections of a worker to the database were reset.
    DatabaseCut,
    /// The connection that a commit's answer was on was reset in place of the answer; the worker lives.
    AnswerLost,
    /// All connections of a worker to the tools were reset.
    ToolsCut,
    /// Notifications are kept from a worker from now on.
    NotificationsOff,
    /// They are let through again; `detail` says how many were lost.
    NotificationsOn,
    /// It was aimed at a window that did not come in time.
    Missed,
    /// No more faults; one worker from now on. `detail` says whether it was kept or is fresh.
    Quiet,
}

/// Where exactly a worker is hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Window {
    /// The claim is on its way and never reaches the database.
    ClaimUncommitted,
    /// The claim is committed; the worker never learns of it.
    ClaimUnread,
    /// The intent is committed; the call never reaches its target.
    IntentUnsent,
    /// The call has reached its target, which acts only after the worker is gone.
    SentUnapplied,
    /// The target has acted; the worker never reads its answer.
    AppliedUnanswered,
    /// The answer was read; its record never reaches the database.
    ReplyUnrecorded,
    /// A record is committed; the worker dies before it learns of it.
    RecordUnanswered,
    /// A record is committed, and its answer is lost with the connection; the worker lives.
    RecordAnswerLost,
    /// The run's parking is committed; the worker dies before it learns of it.
    ParkUnanswered,
    /// The run's end is committed; the worker dies before it learns of it.
    FinishUnanswered,
    /// The lease is extended; the worker dies before it learns of it.
    ExtendUnanswered,
    /// Runs of a dead worker are being taken back; the transaction never ends.
    ReclaimUncommitted,
}

impl Window {
    pub(crate) const ALL: [Self; 12] = [
        Self::ClaimUncommitted,
        Self::ClaimUnread,
        Self::IntentUnsent,
        Self::SentUnapplied,
        Self::AppliedUnanswered,
        Self::ReplyUnrecorded,
        Self::RecordUnanswered,
        Self::RecordAnswerLost,
        Self::ParkUnanswered,
        Self::FinishUnanswered,
        Self::ExtendUnanswered,
        Self::ReclaimUncommitted,
    ];
}
