//! The recorded facts of a run, in the shape that decisions are made from.

use crate::effect::Effect;
use crate::error::StepError;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Everything that is recorded of a run and that a decision may rest on.
#[derive(Debug, Clone)]
pub struct Journal {
    /// Messages of an earlier conversation, each `{role, content}`, as they came.
    pub history: Vec<Box<RawValue>>,
    /// The run's input.
    pub input: Box<RawValue>,
    /// When the run's time is over.
    pub deadline: Option<DateTime<Utc>>,
    /// In the order of their numbers.
    pub steps: Vec<Step>,
}

/// One recorded step.
#[derive(Debug, Clone)]
pub struct Step {
    /// 1.. per run.
    pub seq: u32,
    /// The turn it belongs to, from 1.
    pub turn: u32,
    /// Where it stands.
    pub state: StepState,
    /// Attempts begun.
    pub attempt: u32,
    /// The last attempt allowed.
    pub attempts_max: u32,
    /// Whether any attempt may have been applied without our knowing.
    pub maybe_applied: bool,
    /// Since when its budget of time counts: its first attempt, or the last resume of its run.
    pub budget_from: DateTime<Utc>,
    /// When a waiting step may be tried again.
    pub due_at: Option<DateTime<Utc>>,
    /// What went wrong last.
    pub error: Option<StepError>,
    /// Somebody resumed the run after this step's last attempt: what stopped here may go on.
    pub resumed_over: bool,
    /// The step that this one takes the place of.
    pub replaces: Option<u32>,
    /// What it is.
    pub body: StepBody,
}

impl Journal {
    /// The number of the next step.
    pub fn next_seq(&self) -> u32 {
        self.steps.last().map_or(1, |step| step.seq + 1)
    }

    /// The newest model call.
    pub fn last_model(&self) -> Option<&Step> {
        self.steps
            .iter()
            .rev()
            .find(|step| matches!(step.body, StepBody::Model { .. }))
    }

    /// The newest step for one call of a turn: one that was replaced gives way to its replacement.
    pub fn call_step(&self, turn: u32, call_index: u32) -> Option<&Step> {
        self.steps
            .iter()
            .rev()
            .find(|step| step.turn == turn && matches!(step.body, StepBody::Tool { index, .. } if index == call_index))
    }

    /// Whether no step from that one on was taken out of the journal by hand.
    pub fn is_dense_from(&self, seq: u32) -> bool {
        let steps = self.steps.iter().filter(|step| step.seq >= seq);
        steps.zip(seq..).all(|(step, seq)| step.seq == seq)
    }
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepState {
    /// For its next attempt.
    Waiting,
    /// An attempt is out, made by the asking worker under its present claim.
    Running,
    /// An attempt went out and its worker is gone.
    Interrupted,
    /// Ended well.
    Succeeded,
    /// Ended badly, for certain.
    Failed,
    /// Ended with its run.
    Cancelled,
    /// Nobody can vouch for its outcome.
    Unknown,
}

impl StepState {
    /// Whether nothing will change it any more.
    pub const fn has_ended(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
            Self::Waiting | Self::Running | Self::Interrupted | Self::Unknown => false,
        }
    }
}

/// What a step is.
#[derive(Debug, Clone)]
pub enum StepBody {
    /// A model call.
    Model {
        /// The answer, once there is one; also kept when the answer made the step fail.
        reply: Option<ModelReply>,
    },
    /// A tool call.
    Tool {
        /// The place among the calls of its turn, from 0: together with the turn, which call this is.
        index: u32,
        /// The provider's id of the call.
        call_id: String,
        /// The tool's name as the model wrote it.
        name: String,
        /// How it may be repeated.
        effect: Effect,
        /// What the model is told.
        outcome: Option<ToolOutcome>,
    },
}

/// What the model is told about a tool call.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, Deserialize)]
pub struct ToolOutcome {
    /// Text, within [`crate::tool::OUTPUT_BYTES_MAX`].
    pub content: String,
    /// Whether it tells of a failure.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_error: bool,
    /// What was changed on the way in, such as a cut or a replaced character.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A complete answer of a model, in the Messages API's own shape: what is stored is this message's text as it was
/// assembled, and `content` goes back byte for byte.
#[derive(Debug, Clone, Deserialize)]
pub struct ModelReply {
    /// The provider's id of the message.
    #[serde(default)]
    pub id: Option<String>,
    /// The model that answered.
    #[serde(default)]
    pub model: Option<String>,
    /// The content blocks, as they came.
    pub content: Box<RawValue>,
    /// Why the model stopped.
    #[serde(default)]
    pub stop_reason: Option<String>,
    /// The provider's account of tokens, as it came.
    #[serde(default)]
    pub usage: Option<Box<RawValue>>,
    /// More about a refusal, as it came.
    #[serde(default)]
    pub stop_details: Option<Box<RawValue>>,
}
