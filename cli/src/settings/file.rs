//! The settings file: TOML in which each key is a setting, and the tables are of databases. Every mistake is told at once, with its line.

use super::Origin;
use super::databases::{self, Database};
use super::table::{ALL, Setting, Shown, known};
use crate::failure::Failure;
use crate::output;
use clap::error::ErrorKind;
use serde_json::{Value, json};
use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// Looked for where nothing else is named.
const NAME: &str = "longhaul.toml";
const VARIABLE: &str = "LONGHAUL_CONFIG";
/// More is not a settings file.
const BYTES_MAX: usize = 256 * 1024;
/// How alike a word must be to be what was meant.
const ALIKE_MIN: f64 = 0.75;

/// A settings file that was read.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    values: Vec<(&'static str, Vec<String>, usize)>,
    pub(crate) databases: Vec<Database>,
}

/// Something in it that is not as it should be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) line: usize,
    pub(super) key: String,
    pub(super) found: String,
    pub(super) expected: String,
}

/// Which file: the one typed, the variable's, or `longhaul.toml` here.
pub(super) fn find(typed: &[OsString]) -> Result<Option<PathBuf>, Failure> {
    let named = option(typed).or_else(|| std::env::var_os(VARIABLE).filter(|name| !name.is_empty()));
    if let Some(named) = named {
        return Ok(Some(PathBuf::from(named)));
    }
    let here = PathBuf::from(NAME);
    Ok(here.is_file().then_some(here))
}

/// What follows `--config`; clap has not looked yet.
fn option(typed: &[OsString]) -> Option<OsString> {
    let mut words = typed.iter().skip(1).take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        if word == "--config" {
            return words.next().cloned();
        }
        if let Some(value) = word.to_str().and_then(|word| word.strip_prefix("--config=")) {
            return Some(value.into());
        }
    }
    None
}

impl File {
    /// Reads it. Values are judged by the options that they stand for.
    pub(super) fn read(path: PathBuf, command: &clap::Command) -> Result<Self, Failure> {
        let unreadable = |why: String| {
            Failure::usage("unreadable_file", format!("could not read {}: {why}", path.display()))
                .hint("--config and LONGHAUL_CONFIG name the settings file")
        };
        let size = std::fs::metadata(&path)
            .map_err(|error| unreadable(error.to_string()))?
            .len();
        if size > BYTES_MAX as u64 {
            return Err(unreadable(format!("it has {size} bytes, {BYTES_MAX} are the limit")));
        }
        let text = std::fs::read_to_string(&path).map_err(|error| unreadable(error.to_string()))?;
        match understand(&text, command) {
            Ok((values, databases)) => Ok(Self {
                path,
                values,
                databases,
            }),
            Err(mistakes) => Err(refused(&path, &mistakes)),
        }
    }

    /// What it sets.
    pub(super) fn values(&self) -> impl Iterator<Item = (&'static Setting, &[String])> {
        self.values
            .iter()
            .filter_map(|(key, values, _)| Some((known(key)?, values.as_slice())))
    }

    /// A setting's values, and their line.
    pub(super) fn get(&self, key: &str) -> Option<(&[String], usize)> {
        let (_, values, line) = self.values.iter().find(|(name, ..)| *name == key)?;
        Some((values, *line))
    }
}

type Values = Vec<(&'static str, Vec<String>, usize)>;

fn understand(text: &str, command: &clap::Command) -> Result<(Values, Vec<Database>), Vec<Mistake>> {
    let line_of = |at: usize| 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut mistakes: Vec<Mistake> = errors
        .iter()
        .map(|error| Mistake {
            line: line_of(error.span().map_or(0, |span| span.start)),
            key: String::new(),
            found: error.message().lines().next().unwrap_or_default().to_owned(),
            expected: "TOML".to_owned(),
        })
        .collect();
    let mut values = Values::new();
    let mut databases = Vec::new();
    for (key, value) in table.get_ref() {
        let line = line_of(key.span().start);
        if key.get_ref() == "databases" {
            match databases::understand(value.get_ref(), line, line_of) {
                Ok(found) => databases = found,
                Err(found) => mistakes.extend(found),
            }
            continue;
        }
        let judged = match known(key.get_ref()) {
            Some(setting) => texts(value.get_ref())
                .and_then(|texts| judge(setting, texts, command))
                .map(|texts| values.push((setting.key, texts, line)))
                .map_err(|(found, expected)| (setting.key.to_owned(), found, expected)),
            None => Err((
                key.get_ref().to_string(),
                "an unknown key".to_owned(),
                meant(key.get_ref()),
            )),
        };
        mistakes.extend(judged.err().map(|(key, found, expected)| Mistake {
            line,
            key,
            found,
            expected,
        }));
    }
    mistakes.sort_by_key(|mistake| mistake.line);
    if mistakes.is_empty() {
        Ok((values, databases))
    } else {
        Err(mistakes)
    }
}

/// What was probably meant.
fn meant(key: &str) -> String {
    let alike = |setting: &&Setting| strsim::jaro_winkler(setting.key, key);
    let nearest = ALL.iter().max_by(|one, other| alike(one).total_cmp(&alike(other)));
    match nearest.filter(|setting| alike(setting) >= ALIKE_MIN) {
        Some(setting) => format!("{} (did you mean that?)", setting.key),
        None => "a setting, as longhaul config lists them".to_owned(),
    }
}

/// What was found, and what was expected.
type Unfit = (String, String);

fn texts(value: &DeValue<'_>) -> Result<Vec<String>, Unfit> {
    match value {
        DeValue::String(text) => Ok(vec![text.to_string()]),
        DeValue::Integer(number) => Ok(vec![number.as_str().replace('_', "")]),
        DeValue::Float(number) => Ok(vec![number.as_str().replace('_', "")]),
        DeValue::Boolean(flag) => Ok(vec![flag.to_string()]),
        DeValue::Array(items) => {
            let texts: Result<Vec<_>, _> = items.iter().map(|item| texts(item.get_ref())).collect();
            Ok(texts?.concat())
        }
        DeValue::Datetime(_) => Err(("a date".to_owned(), "text, a number or a list".to_owned())),
        DeValue::Table(_) => Err(("a table".to_owned(), "text, a number or a list".to_owned())),
    }
}

/// Whether the options would take what the variables say, each of them.
pub(crate) fn judge_variables(settings: &super::Settings, command: &clap::Command) -> Result<(), Failure> {
    let judged = ALL.iter().filter_map(|setting| {
        let found = settings.find(setting.key)?;
        let Origin::Variable(variable) = found.origin else {
            return None;
        };
        let (found, expected) = judge(setting, vec![found.value], command).err()?;
        Some((variable, found, expected))
    });
    let mistakes: Vec<_> = judged.collect();
    let told: Vec<String> = mistakes
        .iter()
        .map(|(variable, found, expected)| format!("{variable}: found {found}, expected {expected}"))
        .collect();
    let details = mistakes
        .iter()
        .map(|(variable, found, expected)| json!({"variable": variable, "found": found, "expected": expected}));
    if mistakes.is_empty() {
        Ok(())
    } else {
        Err(all_told(&told, details.collect()))
    }
}

/// Whether its option would take it.
fn judge(setting: &Setting, texts: Vec<String>, command: &clap::Command) -> Result<Vec<String>, Unfit> {
    let found = match (setting.shown, texts.as_slice()) {
        (_, []) => "an empty list".to_owned(),
        (Shown::Whole, texts) => format!("{:?}", texts.join(", ")),
        (Shown::WithoutPassword | Shown::Nothing, _) => "something else".to_owned(),
    };
    let Some(argument) = setting.arguments.first() else {
        return if texts.len() == 1 {
            Ok(texts)
        } else {
            Err((found, "one text".to_owned()))
        };
    };
    let owner = argument
        .command
        .iter()
        .try_fold(command, |command, name| command.find_subcommand(name));
    let Some(arg) = owner.and_then(|owner| owner.get_arguments().find(|arg| arg.get_id() == argument.id)) else {
        return Ok(texts);
    };
    if texts.is_empty() || (texts.len() > 1 && !matches!(arg.get_action(), clap::ArgAction::Append)) {
        return Err((found, "one value".to_owned()));
    }
    // The option alone, under a name of its own: nothing else of the command is asked for.
    let alone = clap::Arg::new("value")
        .long("value")
        .value_parser(arg.get_value_parser().clone())
        .action(clap::ArgAction::Append);
    let options = texts.iter().map(|text| format!("--value={text}"));
    match clap::Command::new("settings")
        .no_binary_name(true)
        .arg(alone)
        .try_get_matches_from(options)
    {
        Ok(_) => Ok(texts),
        Err(error) => Err((found, expected(&error))),
    }
}

fn expected(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::InvalidValue
        && let Some(clap::error::ContextValue::Strings(values)) = error.get(clap::error::ContextKind::ValidValue)
    {
        return format!("one of {}", values.join(", "));
    }
    let told = error.source().map(ToString::to_string).unwrap_or_default();
    match told.strip_prefix("expected ") {
        Some(expected) => expected.to_owned(),
        None if told.is_empty() => "a value that the option takes".to_owned(),
        None => format!("a value that the option takes ({told})"),
    }
}

fn refused(path: &Path, mistakes: &[Mistake]) -> Failure {
    let told: Vec<String> = mistakes.iter().map(|mistake| told(path, mistake)).collect();
    let details = mistakes.iter().map(|mistake| {
        json!({
            "file": path, "line": mistake.line, "key": mistake.key, "found": mistake.found,
            "expected": mistake.expected,
        })
    });
    all_told(&told, details.collect())
}

fn all_told(told: &[String], details: Value) -> Failure {
    let message = match told {
        [one] => one.clone(),
        several => format!(
            "{} mistakes in the settings:\n  {}",
            several.len(),
            several.join("\n  ")
        ),
    };
    Failure::usage("invalid_config", message).details("mistakes", details)
}

/// `file:line: key: found …, expected …`, as editors understand it.
fn told(path: &Path, mistake: &Mistake) -> String {
    let key = if mistake.key.is_empty() {
        String::new()
    } else {
        format!("{}: ", mistake.key)
    };
    format!(
        "{}:{}: {key}found {}, expected {}",
        path.display(),
        mistake.line,
        mistake.found,
        mistake.expected
    )
}

/// A value that may be shown.
pub(crate) fn masked(setting: &Setting, value: &str) -> String {
    match setting.shown {
        Shown::Whole => value.to_owned(),
        Shown::WithoutPassword => crate::database::without_password(value),
        Shown::Nothing => output::MASK.to_owned(),
    }
}
