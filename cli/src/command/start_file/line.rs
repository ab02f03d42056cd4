//! One line of a file of runs. Everything that is wrong with it is told at once, in words for people.

use crate::args::{Global, StartRun as Args};
use crate::show::short;
use agent::wire::messages::history_messages;
use chrono::{DateTime, Datelike, Utc};
use engine::limits::{CONTENT_BYTES_MAX, INPUT_BYTES_MAX, WORKFLOW_NAME, is_workflow_name};
use engine::{StartRun, payload};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;

/// What a line may say.
const FIELDS: [&str; 11] = [
    "agent",
    "workflow",
    "input",
    "key",
    "queue",
    "priority",
    "requester",
    "labels",
    "due_at",
    "deadline_at",
    "history",
];
/// The same as `key`, as HTTP calls it.
const KEY_ALIAS: &str = "idempotency_key";
/// Bytes of a name or a key.
const NAME_BYTES_MAX: usize = 255;
/// Bytes of all labels of a run.
const LABELS_BYTES_MAX: usize = 8 * 1024;
/// Longest quote of what was found.
const QUOTE_CHARS_MAX: usize = 40;

/// What a line says, as far as it could be read, and what is wrong with it.
pub(super) struct Understood {
    pub(super) start: StartRun,
    pub(super) mistakes: Vec<String>,
}

/// What a run is of.
enum Of {
    Agent(String),
    Workflow(String),
}

/// A run as the line and the options say. Whether a deadline has passed the database judges, whose clock it is.
pub(super) fn understand(line: &[u8], global: &Global, args: &Args) -> Understood {
    let mut fields = Fields::read(line);
    let of = fields.of(args);
    let input = fields.payload("input", INPUT_BYTES_MAX);
    let history = fields.payload("history", CONTENT_BYTES_MAX);
    if let Some(told) = history.as_deref().and_then(no_history) {
        fields.mistake(told);
    } else if history.is_some() && matches!(of, Some(Of::Workflow(_))) {
        fields.mistake("history: a workflow has none; what it needs stands in its input");
    }
    let key = fields.key();
    let labels = fields.labels(args);
    let (due_at, deadline_at) = (fields.time("due_at"), fields.time("deadline_at"));
    if let (Some(deadline), Some(due)) = (deadline_at, due_at)
        && deadline <= due
    {
        fields.mistake("deadline_at: not later than due_at, so that the run could only fail");
    }
    let input = input.unwrap_or_else(|| "{}".to_owned());
    let start = StartRun {
        queue: fields.name("queue").unwrap_or_else(|| args.queue.clone()),
        priority: fields.priority().unwrap_or(args.priority),
        due_at,
        deadline_at,
        requester: fields.name("requester").or_else(|| args.requester.clone()),
        tenant: global.tenant.clone(),
        labels,
        idempotency_key: key,
        history,
        ..match of {
            Some(Of::Workflow(workflow)) => StartRun::workflow(workflow, input),
            Some(Of::Agent(agent)) => StartRun::new(agent, input),
            None => StartRun::new("", input),
        }
    };
    Understood {
        start,
        mistakes: fields.mistakes,
    }
}

fn no_history(history: &str) -> Option<String> {
    match serde_json::from_str::<Vec<Box<RawValue>>>(history) {
        Ok(messages) => history_messages(&messages).err().map(|error| error.to_string()),
        Err(_) => Some("history: not an array of messages".to_owned()),
    }
}

/// The fields of a line that nobody has asked for yet, and what is wrong with those that somebody has.
struct Fields {
    fields: BTreeMap<String, Box<RawValue>>,
    mistakes: Vec<String>,
    is_read: bool,
}

impl Fields {
    fn read(line: &[u8]) -> Self {
        let told = |told: String| Self {
            fields: BTreeMap::new(),
            mistakes: vec![told],
            is_read: false,
        };
        let text = match std::str::from_utf8(line) {
            Ok(text) => text,
            Err(error) => {
                return told(format!(
                    "byte {} begins no character: not UTF-8 text",
                    error.valid_up_to() + 1
                ));
            }
        };
        let Pairs(pairs) = match serde_json::from_str(text) {
            Ok(pairs) => pairs,
            Err(error) => return told(no_object(&error)),
        };
        let mut fields = Self {
            fields: BTreeMap::new(),
            mistakes: Vec::new(),
            is_read: true,
        };
        for (name, value) in pairs {
            if !FIELDS.contains(&name.as_str()) && name != KEY_ALIAS {
                let name = short(&name, QUOTE_CHARS_MAX);
                fields.mistake(format!(
                    "{name}: there is no such field; there are {}",
                    FIELDS.join(", ")
                ));
            } else if fields.fields.insert(name.clone(), value).is_some() {
                fields.mistake(format!("{name}: given twice"));
            }
        }
        fields
    }

    fn mistake(&mut self, told: impl Into<String>) {
        self.mistakes.push(told.into());
    }

    fn is_told(&self, name: &str) -> bool {
        self.mistakes.iter().any(|told| told.starts_with(&format!("{name}: ")))
    }

    /// A field that is there and not null.
    fn take(&mut self, name: &str) -> Option<Box<RawValue>> {
        self.fields.remove(name).filter(|value| value.get() != "null")
    }

    fn unfit(&mut self, name: &str, value: &RawValue, expected: &str) {
        let found = short(value.get(), QUOTE_CHARS_MAX);
        self.mistake(format!("{name}: found {found}, expected {expected}"));
    }

    fn name(&mut self, name: &str) -> Option<String> {
        let value = self.take(name)?;
        let Ok(text) = serde_json::from_str::<String>(value.get()) else {
            self.unfit(name, &value, "text");
            return None;
        };
        if !is_name(&text) {
            self.mistake(format!(
                "{name}: has {} bytes, expected 1 to {NAME_BYTES_MAX} and no NUL",
                text.len()
            ));
            return None;
        }
        Some(text)
    }

    /// The agent or the workflow of the line, or else of the options.
    fn of(&mut self, args: &Args) -> Option<Of> {
        let (agent, workflow) = (self.name("agent"), self.workflow());
        let is_told = self.is_told("agent") || self.is_told("workflow");
        match (agent, workflow) {
            (Some(_), Some(_)) => {
                self.mistake("workflow: the line names an agent too; a run is of one of them");
                None
            }
            (Some(agent), None) => Some(Of::Agent(agent)),
            (None, Some(workflow)) => Some(Of::Workflow(workflow)),
            (None, None) => {
                let agent = args.agent.clone().map(Of::Agent);
                let of = agent.or_else(|| args.workflow.clone().map(Of::Workflow));
                if of.is_none() && self.is_read && !is_told {
                    self.mistake("no agent and no workflow: name one here, or on the command line for all lines");
                }
                of
            }
        }
    }

    fn workflow(&mut self) -> Option<String> {
        let value = self.take("workflow")?;
        let name = serde_json::from_str::<String>(value.get()).ok();
        let name = name.filter(|name| is_workflow_name(name));
        if name.is_none() {
            self.unfit("workflow", &value, WORKFLOW_NAME);
        }
        name
    }

    fn key(&mut self) -> Option<String> {
        let (key, alias) = (self.name("key"), self.name(KEY_ALIAS));
        if key.is_some() && alias.is_some() {
            self.mistake(format!("{KEY_ALIAS}: the same as key; give one of them"));
        }
        key.or(alias)
    }

    fn payload(&mut self, name: &str, bytes_max: usize) -> Option<String> {
        let value = self.take(name)?;
        if let Err(error) = payload::check(name, value.get(), bytes_max) {
            self.mistake(error.to_string());
            return None;
        }
        Some(value.get().to_owned())
    }

    fn priority(&mut self) -> Option<i32> {
        let value = self.take("priority")?;
        let priority = value
            .get()
            .parse()
            .ok()
            .filter(|priority| (0..=1000).contains(priority));
        if priority.is_none() {
            self.unfit("priority", &value, "a whole number from 0 (first) to 1000 (last)");
        }
        priority
    }

    fn time(&mut self, name: &str) -> Option<DateTime<Utc>> {
        let value = self.take(name)?;
        let text = serde_json::from_str::<String>(value.get()).ok();
        let time = text.and_then(|text| text.parse::<DateTime<Utc>>().ok());
        match time {
            Some(time) if (2000..=9999).contains(&time.year()) => Some(time),
            Some(_) => {
                self.unfit(name, &value, "a time between the years 2000 and 9999");
                None
            }
            None => {
                self.unfit(name, &value, "a time with its zone, such as \"2030-01-31T09:00:00Z\"");
                None
            }
        }
    }

    /// Those of the options, and over them those of the line.
    fn labels(&mut self, args: &Args) -> BTreeMap<String, String> {
        let mut labels: BTreeMap<String, String> = args.labels.iter().cloned().collect();
        if let Some(value) = self.take("labels") {
            match serde_json::from_str::<BTreeMap<String, String>>(value.get()) {
                Ok(own) => labels.extend(own),
                Err(_) => self.unfit("labels", &value, "an object of texts, such as {\"shop\": \"eu\"}"),
            }
        }
        // As the database writes them, with a blank behind each colon and comma.
        let bytes = serde_json::to_string(&labels).map_or(0, |text| text.len()) + 2 * labels.len();
        if bytes > LABELS_BYTES_MAX {
            self.mistake(format!("labels: more than {LABELS_BYTES_MAX} bytes"));
        }
        if labels
            .iter()
            .any(|(name, value)| name.contains('\0') || value.contains('\0'))
        {
            self.mistake("labels: hold the character NUL");
        }
        labels
    }
}

/// Whether it can be a name or a key.
pub(super) fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.contains('\0')
}

/// Why a line holds no JSON object.
fn no_object(error: &serde_json::Error) -> String {
    match error.classify() {
        Category::Eof => "the line ends in the middle of its JSON: each run is one line".to_owned(),
        Category::Data => "not a JSON object, such as {\"input\": {}}".to_owned(),
        Category::Syntax | Category::Io => format!("column {}: this is not JSON", error.column()),
    }
}

/// An object as it is written: a field given twice is there twice.
struct Pairs(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(Reader)
    }
}
