//! A script file to rules, or to a mistake that names its line.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::{Rule, Script};

/// Why a script cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// The file cannot be read.
    #[error("could not read the script {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Not TOML, or not the format of a script: unknown keys, wrong types.
    #[error("line {line} of the script: {message}")]
    Syntax {
        /// Line, counted from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
    /// A rule that cannot be meant.
    #[error("{place}: {mistake}")]
    Mistake {
        /// The rule, and its line if the script was read from a file.
        place: String,
        /// What is wrong with it.
        mistake: String,
    },
    /// No rule at all.
    #[error("the script has no rule; it needs at least one [[rule]]")]
    Empty,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScriptFile {
    #[serde(default, rename = "rule")]
    rules: Vec<Spanned<Rule>>,
}

impl Script {
    /// Reads and checks a script file.
    pub fn read(path: &Path) -> Result<Self, ScriptError> {
        let text = std::fs::read_to_string(path).map_err(|source| ScriptError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        Self::from_toml(&text)
    }

    /// Parses and checks a script.
    pub fn from_toml(text: &str) -> Result<Self, ScriptError> {
        let file: ScriptFile = toml::from_str(text).map_err(|error| ScriptError::Syntax {
            line: line_of(text, error.span().map_or(0, |span| span.start)),
            message: error.message().to_owned(),
        })?;
        let rules = file
            .rules
            .into_iter()
            .map(|rule| {
                let line = line_of(text, rule.span().start);
                Rule {
                    line: Some(line),
                    ..rule.into_inner()
                }
            })
            .collect();
        let script = Self { rules };
        script.check()?;
        Ok(script)
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    before.filter(|&&byte| byte == b'\n').count() + 1
}
