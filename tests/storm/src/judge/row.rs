//! Rows of the database, as they were dumped.
//!
//! A state or an event that is not known here stops the judge: somebody must decide what the laws say of it.

use crate::plan::Kind;
use crate::record::{Asked, Declared, Micros};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// When the dump was made, by the database's clock.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Taken {
    pub(super) at: Micros,
}

/// One registration. A process that lost its lease registers anew: the same name, another id.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Worker {
    pub(super) id: Uuid,
    pub(super) name: String,
    /// When it is over, or was.
    pub(super) lease_expires_at: Micros,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RunState {
    Queued,
    Running,
    Waiting,
    Succeeded,
    Failed,
    Cancelled,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Run {
    pub(super) id: Uuid,
    pub(super) kind: Kind,
    /// From its input; a text there.
    pub(super) number: Option<String>,
    pub(super) state: RunState,
    pub(super) waiting_for: Option<String>,
    pub(super) wait_reason: Option<String>,
    pub(super) event_seq: i32,
    pub(super) error: Option<serde_json::Value>,
    /// A JSON text, or as much of it as was dumped.
    pub(super) result: Option<String>,
    pub(super) paused_at: Option<Micros>,
    pub(super) cancel_requested_at: Option<Micros>,
    pub(super) ended_at: Option<Micros>,
    /// The run that started it.
    pub(super) parent_id: Option<Uuid>,
    /// What becomes of it then: `cancel` or `abandon`.
    pub(super) on_parent_end: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StepState {
    Waiting,
    Running,
    Succeeded,
    Failed,
    Cancelled,
    Unknown,
}

impl StepState {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StepKind {
    Model,
    Tool,
    /// A call that tells what became of another one.
    Probe,
    /// A workflow's.
    Task,
    /// A workflow's sleep.
    Timer,
    /// A workflow's wait for one.
    Signal,
    /// Of a child.
    Start,
    /// A wait for a child's end.
    Join,
    /// A workflow's, whose writes are committed with its result.
    Transaction,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Step {
    pub(super) run_id: Uuid,
    pub(super) seq: i32,
    pub(super) kind: StepKind,
    pub(super) name: String,
    pub(super) state: StepState,
    pub(super) effect: Declared,
    pub(super) key: String,
    pub(super) attempt: i32,
    pub(super) attempts_max: i32,
    pub(super) replaces_seq: Option<i32>,
    pub(super) worker_id: Uuid,
    pub(super) fence: i64,
    /// What a tool or a task is asked with: a JSON text.
    pub(super) input: Option<String>,
    /// What came of a tool or a task: a JSON text, or as much of it as was dumped.
    pub(super) result: Option<String>,
    pub(super) attempt_started_at: Option<Micros>,
    /// When the transaction began that recorded its end.
    pub(super) ended_at: Option<Micros>,
}

/// What a wait took.
#[derive(Debug, Deserialize)]
pub(super) struct Took {
    pub(super) wake: i64,
    pub(super) id: String,
    pub(super) payload: serde_json::Value,
}

impl Step {
    /// Whether it asks for something in the world.
    pub(super) const fn is_call(&self) -> bool {
        matches!(self.kind, StepKind::Tool | StepKind::Task) && !self.is_unmade()
    }

    /// Whether it was answered without being made.
    pub(super) const fn is_unmade(&self) -> bool {
        matches!(self.kind, StepKind::Tool) && self.attempt == 0
    }

    /// Whether its first attempt leaves a trace only when it is over: a workflow's step that may be repeated.
    pub(super) fn begins_unrecorded(&self) -> bool {
        match self.kind {
            StepKind::Task => self.effect != Declared::AtMostOnce,
            StepKind::Start | StepKind::Transaction => true,
            StepKind::Model
            | StepKind::Tool
            | StepKind::Probe
            | StepKind::Timer
            | StepKind::Signal
            | StepKind::Join => false,
        }
    }

    /// Whether nothing leaves the process with it, and it needs no leave.
    pub(super) const fn is_wait(&self) -> bool {
        matches!(self.kind, StepKind::Signal | StepKind::Join)
    }

    /// The signal that a wait took; nothing where its time was over.
    pub(super) fn took(&self) -> Option<Took> {
        serde_json::from_str(self.result.as_deref()?).ok()
    }

    /// The child that it started, or waits for.
    pub(super) fn child(&self) -> Option<Uuid> {
        #[derive(Deserialize)]
        struct Child {
            run_id: Uuid,
        }
        let told = match self.kind {
            StepKind::Start => &self.result,
            StepKind::Join => &self.input,
            StepKind::Model
            | StepKind::Tool
            | StepKind::Probe
            | StepKind::Task
            | StepKind::Timer
            | StepKind::Signal
            | StepKind::Transaction => return None,
        };
        let child: Child = serde_json::from_str(told.as_deref()?).ok()?;
        Some(child.run_id)
    }

    /// The effect that a call asks for.
    pub(super) fn asks_for(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Input {
            effect: String,
        }
        let input: Input = serde_json::from_str(self.input.as_deref()?).ok()?;
        Some(input.effect)
    }
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Attempt {
    pub(super) run_id: Uuid,
    pub(super) step_seq: i32,
    pub(super) attempt: i32,
    pub(super) worker_id: Uuid,
    pub(super) fence: i64,
    /// When the transaction began that recorded the intent.
    pub(super) started_at: Micros,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum EventKind {
    #[serde(rename = "run.started")]
    Started,
    #[serde(rename = "run.claimed")]
    Claimed,
    #[serde(rename = "run.parked")]
    Parked,
    #[serde(rename = "run.woken")]
    Woken,
    #[serde(rename = "run.released")]
    Released,
    #[serde(rename = "run.paused")]
    Paused,
    #[serde(rename = "run.resumed")]
    Resumed,
    #[serde(rename = "run.reclaimed")]
    Reclaimed,
    #[serde(rename = "run.succeeded")]
    Succeeded,
    #[serde(rename = "run.failed")]
    Failed,
    #[serde(rename = "run.cancelled")]
    Cancelled,
    #[serde(rename = "step.started")]
    StepStarted,
    #[serde(rename = "step.succeeded")]
    StepSucceeded,
    #[serde(rename = "step.failed")]
    StepFailed,
    #[serde(rename = "step.retry_scheduled")]
    StepRetryScheduled,
    #[serde(rename = "step.given_back")]
    StepGivenBack,
    #[serde(rename = "step.held_back", alias = "step.held")]
    StepHeldBack,
    #[serde(rename = "step.unknown")]
    StepUnknown,
    #[serde(rename = "step.cancelled")]
    StepCancelled,
    #[serde(rename = "approval.opened")]
    ApprovalOpened,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Event {
    pub(super) run_id: Uuid,
    pub(super) seq: i32,
    pub(super) kind: EventKind,
    pub(super) step_seq: Option<i32>,
    pub(super) worker_id: Option<Uuid>,
    pub(super) fence: i64,
    pub(super) at: Micros,
    pub(super) attempt: Option<i32>,
    pub(super) crashes: Option<i32>,
    pub(super) quarantined: Option<bool>,
    pub(super) why: Option<String>,
    pub(super) came_from: Option<String>,
    /// What a parked run waits for.
    pub(super) parked_for: Option<String>,
    pub(super) until: Option<Micros>,
    /// What woke a run; nothing: its time had come.
    pub(super) by: Option<String>,
    /// What a person decided.
    pub(super) verb: Option<String>,
    /// When a step is over, or is to be tried again.
    pub(super) due_at: Option<Micros>,
}

impl Event {
    /// Whether the run's holder gives it up with this, or loses it.
    pub(super) const fn gives_up(&self) -> bool {
        match self.kind {
            EventKind::Parked
            | EventKind::Released
            | EventKind::Paused
            | EventKind::Reclaimed
            | EventKind::Succeeded
            | EventKind::Failed
            | EventKind::Cancelled => true,
            EventKind::Started
            | EventKind::Claimed
            | EventKind::Woken
            | EventKind::Resumed
            | EventKind::StepStarted
            | EventKind::StepSucceeded
            | EventKind::StepFailed
            | EventKind::StepRetryScheduled
            | EventKind::StepGivenBack
            | EventKind::StepHeldBack
            | EventKind::StepUnknown
            | EventKind::StepCancelled
            | EventKind::ApprovalOpened => false,
        }
    }

    /// The state that a step has from then on for ever.
    pub(super) const fn ends_step(&self) -> Option<StepState> {
        match self.kind {
            EventKind::StepSucceeded => Some(StepState::Succeeded),
            EventKind::StepFailed => Some(StepState::Failed),
            EventKind::StepCancelled => Some(StepState::Cancelled),
            EventKind::Started
            | EventKind::Claimed
            | EventKind::Parked
            | EventKind::Woken
            | EventKind::Released
            | EventKind::Paused
            | EventKind::Resumed
            | EventKind::Reclaimed
            | EventKind::Succeeded
            | EventKind::Failed
            | EventKind::Cancelled
            | EventKind::StepStarted
            | EventKind::StepRetryScheduled
            | EventKind::StepGivenBack
            | EventKind::StepHeldBack
            | EventKind::StepUnknown
            | EventKind::ApprovalOpened => None,
        }
    }

    /// Whether it records what came of an attempt, which proves that the run does not kill its workers.
    pub(super) fn is_result(&self) -> bool {
        self.step_seq.is_some() && self.kind != EventKind::StepStarted && self.attempt.is_some_and(|number| number > 0)
    }

    /// Whether the run lost its driver with this.
    pub(super) fn is_crash(&self) -> bool {
        self.kind == EventKind::Reclaimed || self.is_broken_driver()
    }

    /// Whether a driver broke, though its worker lived.
    pub(super) fn is_broken_driver(&self) -> bool {
        self.kind == EventKind::Released && self.why.as_deref() == Some("driver_broke")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RequestKind {
    Pause,
    Resume,
    Cancel,
}

/// What somebody asked of a run.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Request {
    pub(super) run_id: Uuid,
    pub(super) wake: i64,
    pub(super) kind: RequestKind,
    pub(super) at: Micros,
}

/// What somebody told a run.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Signal {
    pub(super) run_id: Uuid,
    pub(super) name: String,
    /// Orders the signals of a run.
    pub(super) wake: i64,
    pub(super) id: String,
    /// A JSON text.
    pub(super) payload: String,
}

/// A row that a transaction of a workflow wrote.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Sale {
    /// The number of the run in the plan.
    pub(super) run: String,
    pub(super) item: String,
}

/// What people were asked, and what they decided.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Approval {
    pub(super) run_id: Uuid,
    pub(super) id: Uuid,
    /// Nothing: it is about the run.
    pub(super) step_seq: Option<i32>,
    pub(super) attempt: Option<i32>,
    pub(super) state: String,
    pub(super) verb: Option<String>,
    /// Until then the call may still be on its way.
    pub(super) settles_at: Option<Micros>,
    pub(super) decided_at: Option<Micros>,
}

/// A row that an application wrote beside what it asked for.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Receipt {
    pub(super) id: String,
    pub(super) asked: Asked,
    pub(super) run: String,
    /// The signal's id, or the approval's.
    pub(super) of: Option<String>,
}
