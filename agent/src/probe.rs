//! A probe: another tool's call that says whether a call happened, and the rules that read its answer.

use crate::error::StepError;
use crate::journal::{Step, StepBody, StepState};
use crate::tool::template;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

#[cfg(test)]
mod tests;

/// The field of a probe's input that stands for the call's idempotency key.
pub const KEY: &str = "key";

/// How a tool's calls of unknown outcome are looked up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// The tool that is asked; its effect is `read_only`.
    pub tool: String,
    /// What it is asked, an object. Texts may hold `{key}`, the call's idempotency key, and `{field}`, a field of the
    /// call's input; a text that is nothing but a place takes its value as it is.
    pub input: Map<String, Value>,
    /// How long after the call's own time limit it is asked: a target that is slow may still be at work.
    pub after_seconds: u32,
    /// The answer says that the call happened.
    pub happened: Rule,
    /// The answer says that it did not. Anything else is for a person.
    pub did_not_happen: Rule,
}

/// What an answer must be like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The probe failed with this code, such as `http_404`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The probe answered with JSON that has something there, by JSON pointer (RFC 6901).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// What stands there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<Value>,
    /// Whether anything but null stands there. True where neither this nor `equals` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub present: Option<bool>,
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    /// With the probe's answer.
    Happened(String),
    DidNotHappen,
    Unclear,
}

impl Probe {
    /// Reads the answer of a probe that has ended. One that both rules claim is unclear.
    pub(crate) fn read(&self, probe: &Step) -> Finding {
        match (self.happened.holds(probe), self.did_not_happen.holds(probe)) {
            (Some(content), None) => Finding::Happened(content),
            (None, Some(_)) => Finding::DidNotHappen,
            (None, None) | (Some(_), Some(_)) => Finding::Unclear,
        }
    }

    /// What the probe's tool is asked about a call with this key and input.
    ///
    /// # Errors
    /// The name of a field that the call's input does not have.
    pub fn input(&self, key: &str, input: &Map<String, Value>) -> Result<Value, String> {
        let take = |name: &str| match name {
            KEY => Some(Value::String(key.to_owned())),
            _ => input.get(name).cloned(),
        };
        let fill = |(name, value): (&String, &Value)| Ok((name.clone(), template::fill(value, &take)?));
        self.input.iter().map(fill).collect::<Result<_, _>>().map(Value::Object)
    }

    /// The fields of the call's input that the probe's input takes.
    ///
    /// # Errors
    /// What is wrong with a template.
    pub fn fields(&self) -> Result<Vec<String>, String> {
        let mut fields = template::fields_of(&self.input)?;
        fields.retain(|field| field != KEY);
        Ok(fields)
    }
}

impl Rule {
    /// The answer's text, where the rule holds.
    fn holds(&self, probe: &Step) -> Option<String> {
        let StepBody::Probe { outcome, .. } = &probe.body else {
            return None;
        };
        if let Some(code) = &self.error {
            let failed = probe.state == StepState::Failed;
            let error: &StepError = probe.error.as_ref().filter(|error| failed && error.code == *code)?;
            return Some(error.message.clone());
        }
        if probe.state != StepState::Succeeded {
            return None;
        }
        let content = &outcome.as_ref()?.content;
        let answer: Value = serde_json::from_str(content).ok()?;
        let found = answer.pointer(self.pointer.as_deref().unwrap_or_default());
        let holds = match &self.equals {
            Some(wanted) => found == Some(wanted),
            None => found.is_some_and(|found| !found.is_null()) == self.present.unwrap_or(true),
        };
        holds.then(|| content.clone())
    }
}
