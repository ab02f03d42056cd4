//! The recorded facts of a run, in the shape that decisions are made from.

use crate::effect::Effect;
use crate::error::StepError;
use crate::fallback::Label;
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
    /// What people were asked, in the order asked.
    pub asked: Vec<Asked>,
    /// Waiting steps that may not go out until they are called. Not recorded: whoever takes the run up asks anew.
    pub held_back: Vec<HeldBack>,
}

/// A step that may not go out until it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldBack {
    /// Which one.
    pub seq: u32,
    /// What keeps it.
    pub by: Gate,
}

/// What keeps a step from going out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// All slots of its tool are taken.
    Slot,
    /// A trial call to its target is out.
    Trial,
    /// This worker has as many calls out as it may. No other one can call it.
    Worker,
}

impl Gate {
    /// As shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Slot => "slot",
            Self::Trial => "breaker",
            Self::Worker => "worker",
        }
    }
}

/// What people were asked about a step, or about the run as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Of the approval.
    pub id: String,
    /// The step and its attempt; absent: the run as a whole.
    pub about: Option<(u32, u32)>,
    /// Somebody resumed the run since then.
    pub resumed_over: bool,
    /// What has come of it.
    pub standing: Standing,
}

/// What has come of a question to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing yet.
    Open,
    /// This.
    Decided(Decision),
    /// Nobody is asked any more.
    Closed,
}

/// What a person decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What to do.
    pub verb: Verb,
    /// Who decided.
    pub actor: String,
    /// In whose words.
    pub words: Option<String>,
    /// The result of a call that happened.
    pub told: Option<ToolOutcome>,
}

/// What a person may decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// The call was carried out.
    Happened,
    /// It was not: it may be made.
    DidNotHappen,
    /// Its probe is to be asked once more.
    ProbeAgain,
    /// Nobody will find out: it has failed.
    GiveUp,
    /// Go on, with fresh retries.
    Approve,
    /// Do not go on.
    Reject,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 6] = [
        Self::Happened,
        Self::DidNotHappen,
        Self::ProbeAgain,
        Self::GiveUp,
        Self::Approve,
        Self::Reject,
    ];

    /// As stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Happened => "happened",
            Self::DidNotHappen => "did_not_happen",
            Self::ProbeAgain => "probe_again",
            Self::GiveUp => "give_up",
            Self::Approve => "approve",
            Self::Reject => "reject",
        }
    }

    /// The verb stored under that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == name)
    }
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
    /// When its last attempt began.
    pub attempt_started_at: DateTime<Utc>,
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

    /// What keeps a step from going out, where something does.
    pub fn gate_of(&self, seq: u32) -> Option<Gate> {
        let held = self.held_back.iter().find(|held| held.seq == seq);
        held.map(|held| held.by)
    }

    /// What people were last asked about a step as it stands.
    pub fn asked_about(&self, step: &Step) -> Option<&Asked> {
        let about = Some((step.seq, step.attempt));
        self.asked.iter().rev().find(|asked| asked.about == about)
    }

    /// How often people wanted a step, as it stands, to be probed again.
    pub(crate) fn probes_wanted(&self, step: &Step) -> usize {
        let about = Some((step.seq, step.attempt));
        let again =
            |asked: &&Asked| matches!(&asked.standing, Standing::Decided(told) if told.verb == Verb::ProbeAgain);
        self.asked
            .iter()
            .filter(|asked| asked.about == about)
            .filter(again)
            .count()
    }

    /// The probes of a step as it stands, in the order made.
    pub fn probes_of(&self, step: &Step) -> Vec<&Step> {
        let is_of = |probe: &&Step| matches!(probe.body, StepBody::Probe { of, attempt, .. } if (of, attempt) == (step.seq, step.attempt));
        self.steps.iter().filter(is_of).collect()
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
    /// A tool call that asks whether another call happened. The model does not see it.
    Probe {
        /// The step of that call.
        of: u32,
        /// Its attempt.
        attempt: u32,
        /// The tool's name.
        name: String,
        /// What it answered.
        outcome: Option<ToolOutcome>,
    },
}

/// What the model is told about a tool call.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, Deserialize)]
pub struct ToolOutcome {
    /// Text, within [`crate::tool::OUTPUT_BYTES_MAX`] and the line of its label.
    pub content: String,
    /// Whether it tells of a failure.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_error: bool,
    /// What was changed on the way in, such as a cut or a replaced character.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// How it came about, where that is not by the plain call. Its text is in `content`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Box<Label>>,
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
