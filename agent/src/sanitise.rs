//! What is changed in a tool's input before it is checked, and in its output before it is stored or shown.
//!
//! Declared, never code: the same rules give the same text on every worker. Patterns are matched in time that grows with
//! the text and nothing else. Start at [`Sanitiser`].

use crate::definition::Agent;
use crate::error::StepError;
use crate::journal::ToolOutcome;
use crate::tool::check::{INPUT_BYTES_MAX, invalid_input};
use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;

#[cfg(test)]
mod tests;

/// Most memory that a compiled pattern takes; counted repetitions grow with their count.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;
/// What stands in the place of a value that is not shown.
pub const REDACTED: &str = "[redacted]";
/// Stands in a place for every item of an array, or every field of an object.
const EACH: &str = "*";

/// A tool's rules.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sanitise {
    /// For what the model asks, before it is checked against the schema.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub input: Vec<Rule>,
    /// For what the tool answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<Rule>,
}

impl Sanitise {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.input.is_empty() && self.output.is_empty()
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Where, by JSON pointer, in which `*` stands for every item or field; absent: in every text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// What.
    pub change: Change,
}

/// What a rule changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// White space at both ends of a text goes.
    Trim,
    /// What matches is replaced.
    Replace {
        /// A regular expression of Rust's `regex`: no look-around, no references back.
        pattern: String,
        /// What stands there instead; `$1` takes a group, `$$` is the sign itself.
        with: String,
    },
    /// The value is replaced by [`REDACTED`], whatever it is.
    Redact,
    /// The value goes, with its name.
    Remove,
    /// A longer text is cut after so many characters.
    MaxChars(u32),
}

/// A tool's rules, made ready.
#[derive(Debug, Clone, Default)]
pub struct Sanitiser {
    input: Vec<Ready>,
    output: Vec<Ready>,
}

#[derive(Debug, Clone)]
struct Ready {
    at: Option<Vec<String>>,
    change: ReadyChange,
}

#[derive(Debug, Clone)]
enum ReadyChange {
    Trim,
    Replace(Regex, String),
    Redact,
    Remove,
    MaxChars(usize),
}

/// Those of an agent's tools that have any, by name.
///
/// # Errors
/// What is wrong with a pattern.
pub fn sanitisers(agent: &Agent) -> Result<HashMap<String, Sanitiser>, String> {
    let tools = agent.tools.iter().filter(|tool| !tool.sanitise.is_empty());
    tools
        .map(|tool| Ok((tool.name.clone(), Sanitiser::of(&tool.sanitise)?)))
        .collect()
}

/// A pattern, made ready.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build();
    built.map_err(|error| {
        if matches!(error, regex::Error::CompiledTooBig(_)) {
            return "a pattern that grows too large".to_owned();
        }
        let told = error.to_string();
        told.lines().last().unwrap_or("a broken pattern").trim().to_owned()
    })
}

impl Sanitiser {
    /// Of these rules.
    ///
    /// # Errors
    /// What is wrong with a pattern.
    pub fn of(rules: &Sanitise) -> Result<Self, String> {
        let ready = |rules: &[Rule]| rules.iter().map(Ready::of).collect::<Result<Vec<_>, String>>();
        Ok(Self {
            input: ready(&rules.input)?,
            output: ready(&rules.output)?,
        })
    }

    /// Changes what the model asks.
    ///
    /// # Errors
    /// Where replacements made it too large.
    pub fn input(&self, input: &mut Value) -> Result<(), StepError> {
        if self.input.is_empty() {
            return Ok(());
        }
        for rule in &self.input {
            rule.apply(input);
        }
        let bytes = input.to_string().len();
        if bytes > INPUT_BYTES_MAX {
            return Err(invalid_input(format!(
                "after the tool's rules the input has {bytes} bytes, and at most {INPUT_BYTES_MAX} are allowed"
            )));
        }
        Ok(())
    }

    /// Changes what the tool answered. Where a rule names a place, and the answer is not the JSON that places are found
    /// in, nothing is shown: what is to be left out could not be found.
    #[must_use]
    pub fn output(&self, mut outcome: ToolOutcome) -> ToolOutcome {
        if self.output.is_empty() {
            return outcome;
        }
        if self.output.iter().any(|rule| rule.at.is_some()) {
            let Ok(mut told) = serde_json::from_str::<Value>(&outcome.content) else {
                outcome.notes.push(
                    "not shown: it is no JSON, in which the tool's rules could find what to leave out".to_owned(),
                );
                outcome.content = format!(
                    "[not shown: an answer of {} bytes that is no JSON]",
                    outcome.content.len()
                );
                return outcome;
            };
            let before = told.clone();
            for rule in self.output.iter().filter(|rule| rule.at.is_some()) {
                rule.apply(&mut told);
            }
            if told != before {
                outcome.content = told.to_string();
            }
        }
        for rule in self.output.iter().filter(|rule| rule.at.is_none()) {
            outcome.content = rule.text(outcome.content);
        }
        outcome
    }

    /// Changes what an error says: as it is text, only by the rules that name no place.
    #[must_use]
    pub fn error(&self, mut error: StepError) -> StepError {
        error.message = self.told(error.message);
        error.suggestion = error.suggestion.map(|suggestion| self.told(suggestion));
        error
    }

    /// Changes every text of what is kept for people.
    pub fn evidence(&self, evidence: &mut Value) {
        for rule in self.output.iter().filter(|rule| rule.is_replacement()) {
            each_text(evidence, &|text| *text = rule.text(std::mem::take(text)));
        }
    }

    fn told(&self, text: String) -> String {
        let rules = self.output.iter().filter(|rule| rule.is_replacement());
        rules.fold(text, |text, rule| rule.text(text))
    }
}

impl Ready {
    fn of(rule: &Rule) -> Result<Self, String> {
        let at = rule.at.as_deref().map(|at| {
            let segments = at.split('/').skip(1);
            segments
                .map(|segment| segment.replace("~1", "/").replace("~0", "~"))
                .collect()
        });
        let change = match &rule.change {
            Change::Trim => ReadyChange::Trim,
            Change::Replace { pattern, with } => ReadyChange::Replace(compile(pattern)?, with.clone()),
            Change::Redact => ReadyChange::Redact,
            Change::Remove => ReadyChange::Remove,
            Change::MaxChars(chars) => ReadyChange::MaxChars(usize::try_from(*chars).unwrap_or(usize::MAX)),
        };
        Ok(Self { at, change })
    }

    const fn is_replacement(&self) -> bool {
        self.at.is_none() && matches!(self.change, ReadyChange::Replace(..))
    }

    fn apply(&self, value: &mut Value) {
        match &self.at {
            None => each_text(value, &|text| *text = self.text(std::mem::take(text))),
            Some(at) => self.apply_at(value, at),
        }
    }

    fn apply_at(&self, value: &mut Value, at: &[String]) {
        let Some((first, rest)) = at.split_first() else {
            return self.change_value(value);
        };
        let removes = rest.is_empty() && matches!(self.change, ReadyChange::Remove);
        match value {
            Value::Object(fields) if removes && first == EACH => fields.clear(),
            Value::Object(fields) if removes => {
                fields.remove(first);
            }
            Value::Array(items) if removes && first == EACH => items.clear(),
            Value::Array(items) if removes => {
                if let Some(index) = first.parse::<usize>().ok().filter(|index| *index < items.len()) {
                    items.remove(index);
                }
            }
            Value::Object(fields) => {
                for (name, field) in fields.iter_mut() {
                    if first == EACH || name == first {
                        self.apply_at(field, rest);
                    }
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    if first == EACH || *first == index.to_string() {
                        self.apply_at(item, rest);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// The value at a rule's place.
    fn change_value(&self, value: &mut Value) {
        match &self.change {
            ReadyChange::Redact => *value = Value::from(REDACTED),
            ReadyChange::Remove => *value = Value::Null,
            ReadyChange::Trim | ReadyChange::Replace(..) | ReadyChange::MaxChars(_) => {
                each_text(value, &|text| *text = self.text(std::mem::take(text)));
            }
        }
    }

    fn text(&self, text: String) -> String {
        match &self.change {
            ReadyChange::Trim if text.trim().len() == text.len() => text,
            ReadyChange::Trim => text.trim().to_owned(),
            ReadyChange::Replace(pattern, with) => pattern.replace_all(&text, with.as_str()).into_owned(),
            ReadyChange::MaxChars(chars) => match text.char_indices().nth(*chars) {
                Some((end, _)) => format!("{}…", &text[..end]),
                None => text,
            },
            ReadyChange::Redact | ReadyChange::Remove => text,
        }
    }
}

/// Every text below a value; names of fields are left alone.
fn each_text(value: &mut Value, change: &dyn Fn(&mut String)) {
    match value {
        Value::String(text) => change(text),
        Value::Array(items) => items.iter_mut().for_each(|item| each_text(item, change)),
        Value::Object(fields) => fields.values_mut().for_each(|field| each_text(field, change)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
