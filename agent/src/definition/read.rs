//! From an agent's TOML file to an [`Agent`], every mistake told at once.
//!
//! Unknown keys, wrong types, numbers out of bounds, templates that name no field and schemas that do not compile are
//! mistakes; what merely makes an agent worse is a warning. Nothing is read but the text given. Start at [`read`]; the
//! file's shape is in `docs/agent-file.md`.

mod action;
mod fallback;
mod form;
mod gate;
mod lint;
mod probe;
mod report;
mod root;
mod sanitise;
mod schema;
mod sql;
mod strict;
mod subschema;
mod tool;

use super::Agent;
use super::limits::FILE_BYTES_MAX;
use report::{Path, Report};
use std::fmt;
use toml::de::{DeTable, DeValue};

/// A definition that can be applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Readout {
    /// What the file says, defaults filled in.
    pub agent: Agent,
    /// What could be better, in the order of the file.
    pub warnings: Vec<Mistake>,
}

/// One thing in the file that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// From 1: where the key stands or, when it is missing, where its table begins.
    pub line: usize,
    /// Dotted path such as `tool[2].effect`, tools counted from 0; empty for the file as a whole.
    pub key: String,
    /// What stands there.
    pub found: String,
    /// What should.
    pub expected: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "found {}, expected {}", self.found, self.expected)
    }
}

/// Reads an agent's file. Every mistake comes back, in the order of the file.
pub fn read(text: &str) -> Result<Readout, Vec<Mistake>> {
    if text.len() > FILE_BYTES_MAX {
        let found = format!("a file of {} bytes", text.len());
        let expected = format!("at most {FILE_BYTES_MAX} bytes");
        return Err(vec![Mistake {
            line: 1,
            key: String::new(),
            found,
            expected,
        }]);
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    let table = table.into_inner();
    let mut report = Report::new(text, &table);
    for error in &errors {
        report.syntax(error);
    }
    for (key, value) in &table {
        refuse_nul(&mut report, &Path::root().key(key.get_ref()), value.get_ref());
    }
    let agent = root::read_agent(&mut report, &table);
    report.finish(agent)
}

/// Postgres stores no U+0000, programs end their arguments there, and no prompt needs it.
fn refuse_nul(report: &mut Report<'_>, path: &Path, value: &DeValue<'_>) {
    if path.ends_with_nul() {
        report.mistake(path, "a key with the character U+0000", "a key without it");
    }
    match value {
        DeValue::String(text) if text.contains('\0') => {
            report.mistake(path, "the character U+0000", "text without it");
        }
        DeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                refuse_nul(report, &path.index(index), item.get_ref());
            }
        }
        DeValue::Table(table) => {
            for (key, value) in table {
                refuse_nul(report, &path.key(key.get_ref()), value.get_ref());
            }
        }
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}

#[cfg(test)]
mod tests;
