//! Mistakes and warnings, each with its place in the file.

use super::{Mistake, Readout};
use crate::definition::Agent;
use crate::definition::limits::MISTAKES_MAX;
use std::fmt;
use toml::de::{DeTable, DeValue};

/// Longest quote of what was found.
const QUOTE_CHARS_MAX: usize = 60;

/// What stands for "not there".
const NOTHING: &str = "nothing";

/// Where in the file something is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path(Vec<Segment>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Key(String),
    Index(usize),
}

impl Path {
    pub(super) const fn root() -> Self {
        Self(Vec::new())
    }

    pub(super) fn key(&self, name: &str) -> Self {
        self.with(Segment::Key(name.to_owned()))
    }

    pub(super) fn index(&self, index: usize) -> Self {
        self.with(Segment::Index(index))
    }

    /// The place that a JSON pointer names, seen from here.
    pub(super) fn pointer(&self, pointer: &str) -> Self {
        let segments = pointer
            .split('/')
            .skip(1)
            .map(|segment| segment.replace("~1", "/").replace("~0", "~"));
        segments.fold(self.clone(), |path, segment| match segment.parse() {
            Ok(index) => path.index(index),
            Err(_) => path.key(&segment),
        })
    }

    pub(super) fn ends_with_nul(&self) -> bool {
        matches!(self.0.last(), Some(Segment::Key(name)) if name.contains('\0'))
    }

    fn with(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(name) => {
                    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == '$';
                    f.write_str(if at > 0 { "." } else { "" })?;
                    if !name.is_empty() && name.chars().all(is_bare) {
                        f.write_str(name)?;
                    } else {
                        f.write_str(&quote(name))?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Everything found in one file.
#[derive(Debug)]
pub(super) struct Report<'t> {
    text: &'t str,
    table: &'t DeTable<'t>,
    mistakes: Vec<Mistake>,
    /// Mistakes beyond [`MISTAKES_MAX`].
    untold: usize,
    warnings: Vec<Mistake>,
    /// Lines whose syntax is broken: what was recovered from them is not judged.
    broken_lines: Vec<usize>,
}

impl<'t> Report<'t> {
    pub(super) const fn new(text: &'t str, table: &'t DeTable<'t>) -> Self {
        Self {
            text,
            table,
            mistakes: Vec::new(),
            untold: 0,
            warnings: Vec::new(),
            broken_lines: Vec::new(),
        }
    }

    /// Text that is not TOML.
    pub(super) fn syntax(&mut self, error: &toml::de::Error) {
        let line = self.line_at(error.span().map_or(0, |span| span.start));
        let (found, expected) = error
            .message()
            .split_once(", expected ")
            .unwrap_or((error.message(), "valid TOML"));
        self.broken_lines.push(line);
        self.push(Mistake {
            line,
            key: String::new(),
            found: found.to_owned(),
            expected: expected.to_owned(),
        });
    }

    /// Something that has to change before the file can be applied.
    pub(super) fn mistake(&mut self, path: &Path, found: impl Into<String>, expected: impl Into<String>) {
        let (found, expected) = (found.into(), expected.into());
        // What is missing may stand in a line that could not be read.
        if !self.broken_lines.is_empty() && found == NOTHING {
            return;
        }
        let line = self.line_of(path);
        if !self.broken_lines.contains(&line) {
            self.push(Mistake {
                line,
                key: path.to_string(),
                found,
                expected,
            });
        }
    }

    /// A key that has to be there and is not.
    pub(super) fn missing(&mut self, path: &Path, expected: impl Into<String>) {
        self.mistake(path, NOTHING, expected);
    }

    /// Something that could be better.
    pub(super) fn warning(&mut self, path: &Path, found: impl Into<String>, expected: impl Into<String>) {
        if self.warnings.len() < MISTAKES_MAX {
            let line = self.line_of(path);
            self.warnings.push(Mistake {
                line,
                key: path.to_string(),
                found: found.into(),
                expected: expected.into(),
            });
        }
    }

    /// Whether there were no mistakes up to here.
    pub(super) const fn is_clean(&self) -> bool {
        self.mistakes.is_empty()
    }

    /// The agent, if nothing stands against it.
    pub(super) fn finish(mut self, agent: Option<Agent>) -> Result<Readout, Vec<Mistake>> {
        self.warnings.sort_by_key(|warning| warning.line);
        match agent {
            Some(agent) if self.is_clean() => Ok(Readout {
                agent,
                warnings: self.warnings,
            }),
            Some(_) | None => {
                self.mistakes.sort_by_key(|mistake| mistake.line);
                if self.untold > 0 {
                    let line = self.mistakes.last().map_or(1, |mistake| mistake.line);
                    let found = format!("{} more mistakes", self.untold);
                    let expected = "these to be mended first".to_owned();
                    self.mistakes.push(Mistake {
                        line,
                        key: String::new(),
                        found,
                        expected,
                    });
                }
                Err(self.mistakes)
            }
        }
    }

    fn push(&mut self, mistake: Mistake) {
        if self.mistakes.len() >= MISTAKES_MAX {
            self.untold += 1;
        } else if !self.mistakes.contains(&mistake) {
            self.mistakes.push(mistake);
        }
    }

    /// The line of the last part of the path that is in the file.
    fn line_of(&self, path: &Path) -> usize {
        let mut at = 0;
        let mut table = Some(self.table);
        let mut value: Option<&DeValue<'_>> = None;
        for segment in &path.0 {
            let below = match segment {
                Segment::Key(name) => table
                    .and_then(|table| table.get_key_value(name.as_str()))
                    .map(|(key, value)| (key.span().start, value)),
                Segment::Index(index) => value
                    .and_then(DeValue::as_array)
                    .and_then(|items| items.get(*index))
                    .map(|item| (item.span().start, item)),
            };
            let Some((start, found)) = below else { break };
            at = start;
            table = found.get_ref().as_table();
            value = Some(found.get_ref());
        }
        self.line_at(at)
    }

    fn line_at(&self, at: usize) -> usize {
        let before = self.text.as_bytes().get(..at).unwrap_or(self.text.as_bytes());
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }
}

/// What stands in the file, short enough for a line.
pub(super) fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quote(text),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) => "a date or time".to_owned(),
        DeValue::Array(_) => "an array".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// Text in quotes, cut where it is long.
pub(super) fn quote(text: &str) -> String {
    let mut shown: String = text.chars().take(QUOTE_CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}
