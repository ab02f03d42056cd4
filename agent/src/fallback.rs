//! How a call that failed for good is answered in another way, and how its result says so.
//!
//! Pure, and part of [`next_action`](crate::next_action()). A fallback is a new step that takes the place of the failed
//! one; which one it is follows from the steps before it, so nothing but the journal is asked. `docs/fallbacks.md`.

use crate::definition::{Agent, Tool};
use crate::error::{ErrorClass, GIVEN_UP, REJECTED, StepError, TRANSACTION_LEFT};
use crate::journal::{Asked, Decision, Journal, Standing, Step, StepBody, StepState, ToolOutcome, Verb};
use crate::next_action::{Again, Move, RESULT_LOST, effect};
use crate::order::{self, HELD_BACK};
use crate::time_limit::TURN_TIMEOUT;
use crate::tool::{ToolCall, template};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

#[cfg(test)]
mod tests;

/// The place in a sample's input that stands for the number of rows.
pub const ROWS: &str = "rows";

/// How long a tool's results may be told again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CachePolicy {
    /// So old a result may be and still stand for a call that is then not made.
    pub ttl_seconds: u32,
    /// So old a result may be and stand for a call that failed for good; 0: none does.
    #[serde(default)]
    pub stale_on_error_seconds: u32,
    /// Whether results are told again only to runs of the same requester, not to all of the tenant.
    #[serde(default)]
    pub per_requester: bool,
}

impl CachePolicy {
    /// How long a result can be of use.
    pub const fn longest_seconds(&self) -> u32 {
        if self.stale_on_error_seconds > self.ttl_seconds {
            self.stale_on_error_seconds
        } else {
            self.ttl_seconds
        }
    }
}

/// How a call that failed for good is answered, as the agent's author declares it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fallback {
    /// By another call.
    Call(Substitute),
    /// By the same call, once a person says so.
    Person(Escalation),
}

/// A call in the place of another one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Substitute {
    /// The tool that is called.
    pub tool: String,
    /// What it is asked. Of the same tool, fields laid over the call's own; of another one, the whole input; empty: what
    /// the call was asked. Texts may hold `{field}`, a field of the call's input, and in a sample `{rows}`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub input: Map<String, Value>,
    /// It asks for less than the call did.
    #[serde(default)]
    pub simplified: bool,
    /// It asks for a sample of about so many rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_rows: Option<u32>,
    /// What the model is told about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A question to people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Escalation {
    /// How soon somebody should look.
    pub priority: Priority,
    /// What people are told about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// How soon somebody should look at what is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// When there is time.
    Low,
    /// In its turn.
    Normal,
    /// Before others.
    High,
}

/// One way of answering a call that failed for good.
#[derive(Debug, Clone, PartialEq)]
pub enum Way {
    /// By an earlier result of the tool, however old within its policy.
    Stale,
    /// By another call.
    Call(Substitute),
    /// By a person.
    Person(Escalation),
}

impl Substitute {
    /// What its tool is asked in the place of a call with that input, which was checked.
    ///
    /// # Errors
    /// The name of a field that the call's input does not have.
    pub fn input(&self, called: &str, input: &Map<String, Value>) -> Result<Value, String> {
        if self.input.is_empty() {
            return Ok(Value::Object(input.clone()));
        }
        let take = |name: &str| match (name, self.sample_rows) {
            (ROWS, Some(rows)) => Some(json!(rows)),
            _ => input.get(name).cloned(),
        };
        let mut asked = if self.tool == called { input.clone() } else { Map::new() };
        for (name, value) in &self.input {
            asked.insert(name.clone(), template::fill(value, &take)?);
        }
        Ok(Value::Object(asked))
    }

    /// The fields of the call's input that its input takes.
    ///
    /// # Errors
    /// What is wrong with a template.
    pub fn fields(&self) -> Result<Vec<String>, String> {
        let mut fields = template::fields_of(&self.input)?;
        fields.retain(|field| self.sample_rows.is_none() || field != ROWS);
        Ok(fields)
    }
}

impl Tool {
    /// The ways of answering its calls that failed for good, in the order tried.
    fn ways(&self) -> Vec<Way> {
        let stale = self.cache.as_ref().filter(|cache| cache.stale_on_error_seconds > 0);
        let declared = self.fallback.iter().map(|fallback| match fallback {
            Fallback::Call(substitute) => Way::Call(substitute.clone()),
            Fallback::Person(escalation) => Way::Person(escalation.clone()),
        });
        stale.map(|_| Way::Stale).into_iter().chain(declared).collect()
    }
}

/// The step whose failure another one answers for. One that was made anew because somebody resumed the run, or that was
/// cancelled before, answers for none.
fn before<'a>(journal: &'a Journal, step: &Step) -> Option<&'a Step> {
    let replaced = step.replaces?;
    let before = journal.steps.iter().find(|before| before.seq == replaced)?;
    has_plainly_failed(before).then_some(before)
}

fn has_plainly_failed(step: &Step) -> bool {
    let is_fatal = step.error.as_ref().is_some_and(|error| error.fatal);
    step.state == StepState::Failed && !is_fatal
}

/// The steps that a call was answered by in turn: the call itself, then its fallbacks up to this step.
fn chain<'a>(journal: &'a Journal, step: &'a Step) -> Vec<&'a Step> {
    let mut chain = vec![step];
    while let Some(earlier) = chain.last().and_then(|last| before(journal, last)) {
        chain.push(earlier);
    }
    chain.reverse();
    chain
}

/// The tool that the model called, whichever one a step is of.
pub fn called_tool<'a>(agent: &'a Agent, journal: &Journal, step: &Step) -> Option<&'a Tool> {
    match &chain(journal, step).first()?.body {
        StepBody::Tool { name, .. } => agent.tool(name),
        StepBody::Model { .. } | StepBody::Probe { .. } => None,
    }
}

/// The way in which a step answers its call. None: it is the call itself.
pub fn way(agent: &Agent, journal: &Journal, step: &Step) -> Option<Way> {
    let place = chain(journal, step).len().checked_sub(2)?;
    called_tool(agent, journal, step)?.ways().into_iter().nth(place)
}

/// The way in which a call is answered next whose step has failed as this one has.
pub fn next(agent: &Agent, journal: &Journal, step: &Step) -> Option<Way> {
    let chain = chain(journal, step);
    let error = step.error.as_ref().filter(|_| step.state == StepState::Failed)?;
    // What may have happened is for its probe and for people, whoever has given it up since.
    let is_certain = !(step.maybe_applied && effect(step).leaves_doubt()) && error.code != TRANSACTION_LEFT;
    let is_last_word = [GIVEN_UP, REJECTED, RESULT_LOST, HELD_BACK, TURN_TIMEOUT].contains(&error.code.as_str());
    // What the model can ask better, it is told. A fallback was not worded by the model.
    let is_the_models = chain.len() == 1 && matches!(error.class, ErrorClass::UserError | ErrorClass::InvalidInput);
    if error.fatal || is_last_word || is_the_models || !is_certain {
        return None;
    }
    called_tool(agent, journal, step)?
        .ways()
        .into_iter()
        .nth(chain.len() - 1)
}

/// Whether a call waits for a person to say that it is made once more.
pub fn is_escalated(agent: &Agent, journal: &Journal, step: &Step) -> bool {
    order::is_held(step) && matches!(way(agent, journal, step), Some(Way::Person(_)))
}

/// The move that a recorded call needs: its own, if it waits for nothing any more, or one in its place.
pub(crate) fn go_on(agent: &Agent, journal: &Journal, (step, call, fails): (&Step, &ToolCall, bool)) -> Option<Move> {
    let StepBody::Tool { index, .. } = &step.body else {
        return None;
    };
    if is_escalated(agent, journal, step) {
        return escalated(journal, step);
    }
    if order::is_held(step) {
        let seq = step.seq;
        // It has been asked for, and is called when there is room.
        if !fails && journal.gate_of(seq).is_some() {
            return None;
        }
        return Some(match fails {
            true => Move::GiveUp {
                seq,
                unknown: None,
                error: order::held_back(),
            },
            false => Move::TryAgain { seq, why: Again::Due },
        });
    }
    Some(Move::FallBack {
        turn: step.turn,
        index: *index,
        call: call.clone(),
        replaces: step.seq,
        way: next(agent, journal, step)?,
    })
}

/// The move of a call that waits for a person; None: it waits on.
fn escalated(journal: &Journal, step: &Step) -> Option<Move> {
    let seq = step.seq;
    match journal.asked_about(step) {
        Some(Asked {
            standing: Standing::Open,
            ..
        }) => None,
        Some(Asked {
            standing: Standing::Decided(Decision { verb, actor, words, .. }),
            ..
        }) => Some(match verb {
            // It has been asked for, and is called when there is room.
            Verb::Approve if journal.gate_of(seq).is_some() => return None,
            Verb::Approve => Move::TryAgain {
                seq,
                why: Again::Resumed,
            },
            Verb::Happened | Verb::DidNotHappen | Verb::ProbeAgain | Verb::GiveUp | Verb::Reject => Move::GiveUp {
                seq,
                unknown: None,
                error: StepError::call_rejected(actor, words.as_deref()),
            },
        }),
        Some(Asked {
            standing: Standing::Closed,
            ..
        })
        | None => Some(Move::Ask { seq }),
    }
}

/// Where a result comes from that may be told again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// From the call itself.
    Live,
    /// From an earlier one, within its time.
    Cache,
    /// From an earlier one, beyond its time.
    StaleCache,
}

/// What a result says about how it came about. The model sees it, and so does SQL.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Of tools with a cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// How old an earlier result is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u64>,
    /// The tool that answered in the place of the one that was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// It was asked for less.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub simplified: bool,
    /// It was asked for a sample.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sampled: bool,
    /// Of about so many rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_rows: Option<u32>,
    /// A person was asked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub escalated: bool,
    /// The question's id in the inbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<String>,
    /// How the call itself failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// What is to be kept in mind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// What the agent's author says about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What the result of a step that was made says about itself. None: it is the plain result of a plain call.
pub fn label(agent: &Agent, journal: &Journal, step: &Step) -> Option<Label> {
    let StepBody::Tool { name, .. } = &step.body else {
        return None;
    };
    let has_cache = agent.tool(name).is_some_and(|tool| tool.cache.is_some());
    let live = Label {
        source: has_cache.then_some(Source::Live),
        because: before(journal, step).and_then(|failed| because(journal, failed)),
        ..Label::default()
    };
    match way(agent, journal, step) {
        None => has_cache.then_some(live),
        Some(Way::Stale) => Some(Label { source: None, ..live }),
        Some(Way::Call(substitute)) => Some(Label {
            fallback: Some(substitute.tool.clone()),
            simplified: substitute.simplified,
            sampled: substitute.sample_rows.is_some(),
            target_rows: substitute.sample_rows,
            note: substitute.note.clone().or_else(|| told_of(&substitute)),
            ..live
        }),
        Some(Way::Person(_)) => Some(Label {
            escalated: true,
            approval: asked_person(journal, step),
            ..live
        }),
    }
}

/// How the call itself failed, for whose last step something is to stand in.
pub fn because(journal: &Journal, last: &Step) -> Option<String> {
    if !has_plainly_failed(last) {
        return None;
    }
    let error = chain(journal, last).first()?.error.as_ref()?;
    Some(format!("{}: {}", error.code, error.message))
}

fn told_of(substitute: &Substitute) -> Option<String> {
    match (substitute.sample_rows, substitute.simplified) {
        (Some(rows), _) => Some(format!(
            "a sample of about {rows} rows: counts and sums in it are not those of the whole"
        )),
        (None, true) => Some("it was asked for less than the call did, so the answer is less complete".to_owned()),
        (None, false) => None,
    }
}

fn asked_person(journal: &Journal, step: &Step) -> Option<String> {
    let asked = journal.asked.iter().find(|asked| asked.about == Some((step.seq, 0)))?;
    (!asked.id.is_empty()).then(|| asked.id.clone())
}

impl Label {
    /// Of an earlier result that is told again.
    pub fn cached(self, (source, age_seconds): (Source, u64)) -> Self {
        Self {
            source: Some(source),
            age_seconds: Some(age_seconds),
            warning: (source == Source::StaleCache)
                .then(|| format!("this result is {age_seconds} s old, and may no longer hold: the call itself failed")),
            ..self
        }
    }

    /// The outcome with this label: before the text of a result, in a line of its own; among the fields of an error.
    #[must_use]
    pub fn tell(mut self, mut outcome: ToolOutcome) -> ToolOutcome {
        // A failure comes from nowhere.
        self.source = self.source.filter(|_| !outcome.is_error);
        if self == Self::default() {
            return outcome;
        }
        let label = json!(self);
        let told = serde_json::from_str::<Value>(&outcome.content).ok();
        outcome.content = match (outcome.is_error, told, &label) {
            (true, Some(Value::Object(mut told)), Value::Object(label)) => {
                told.extend(label.clone());
                Value::Object(told).to_string()
            }
            _ => format!("{label}\n{}", outcome.content),
        };
        outcome.label = Some(Box::new(self));
        outcome
    }
}
