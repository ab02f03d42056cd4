//! Settings: what is in force, and where it comes from.
//!
//! An option typed wins over a variable, that over the settings file, that over the default. Options, their variables
//! and their defaults are clap's; the file's values become defaults of the options before anything is parsed. What has
//! no option is asked for here. Start at [`parse`].

mod databases;
mod file;
mod table;

pub(crate) use databases::Database;
pub(crate) use file::{File, judge_variables, masked};
pub(crate) use table::{ALL, Argument, Setting};

use crate::args::Cli;
use crate::failure::{Exit, Failure};
use crate::output;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use worker::SettingsOfTools;

/// What variables and the settings file say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    /// The file in force.
    pub(crate) file: Option<File>,
    /// Keys of the settings whose options were typed.
    typed: Vec<&'static str>,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Option(&'static str),
    Variable(&'static str),
    File(PathBuf, usize),
    /// `longhaul dev` runs in this folder.
    Dev(PathBuf),
    Default,
}

/// A value, and where it comes from.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) value: String,
    pub(crate) origin: Origin,
}

/// Why nothing is to be done: help was asked for, or what was typed or written makes no sense.
pub(crate) enum Unparsed {
    Clap(clap::Error),
    Failure(Failure),
}

/// What was typed, with the defaults of the settings file.
pub(crate) fn parse(typed: Vec<OsString>) -> Result<Cli, Unparsed> {
    let mut command = without_empty_variables(Cli::command());
    let file = match file::find(&typed).map(|path| path.map(|path| File::read(path, &command)).transpose()) {
        Ok(Ok(file)) => file,
        Ok(Err(failure)) | Err(failure) => {
            return Err(match command.try_get_matches_from_mut(&typed) {
                // Whoever asks for help gets it, whatever the file says.
                Err(told) if !told.use_stderr() => Unparsed::Clap(told),
                Ok(_) | Err(_) => Unparsed::Failure(failure),
            });
        }
    };
    for (setting, values) in file.iter().flat_map(File::values) {
        for argument in setting.arguments {
            let values = values.to_vec();
            command = with_argument(command, argument, Box::new(|arg| arg.default_values(values)));
        }
    }
    let matches = command.try_get_matches_from_mut(typed).map_err(Unparsed::Clap)?;
    let mut cli = Cli::from_arg_matches(&matches).map_err(|error| Unparsed::Clap(error.format(&mut command)))?;
    cli.global.settings = Settings {
        file,
        typed: typed_everywhere(&matches),
    };
    Ok(cli)
}

/// A variable that is set to nothing counts as not set: that is how compose files pass on what they do not have.
fn without_empty_variables(mut command: clap::Command) -> clap::Command {
    for setting in ALL {
        let is_empty = |variable: &&str| std::env::var_os(variable).is_some_and(|value| value.is_empty());
        if setting.variables.iter().any(is_empty) {
            for argument in setting.arguments {
                let reset = Box::new(|arg: clap::Arg| arg.env(clap::builder::Resettable::Reset));
                command = with_argument(command, argument, reset);
            }
        }
    }
    command
}

type Change<'a> = Box<dyn FnOnce(clap::Arg) -> clap::Arg + 'a>;

fn with_argument(command: clap::Command, argument: &Argument, change: Change<'_>) -> clap::Command {
    within(command, argument.command, argument.id, change)
}

fn within(command: clap::Command, path: &[&'static str], id: &'static str, change: Change<'_>) -> clap::Command {
    match path {
        [] => command.mut_arg(id, change),
        [first, rest @ ..] => command.mut_subcommand(first, |command| within(command, rest, id, change)),
    }
}

fn typed_everywhere(matches: &ArgMatches) -> Vec<&'static str> {
    let was_typed = |setting: &&Setting| {
        setting.arguments.iter().any(|argument| {
            argument.command.is_empty() && matches.value_source(argument.id) == Some(ValueSource::CommandLine)
        })
    };
    ALL.iter().filter(was_typed).map(|setting| setting.key).collect()
}

impl Settings {
    /// What a variable says, or else the file.
    pub(crate) fn find(&self, key: &str) -> Option<Found> {
        let setting = ALL.iter().find(|setting| setting.key == key)?;
        let named = setting.variables.iter().find_map(|variable| {
            let value = std::env::var(variable).ok().filter(|value| !value.is_empty())?;
            Some(Found {
                value,
                origin: Origin::Variable(variable),
            })
        });
        named.or_else(|| {
            let file = self.file.as_ref()?;
            let (values, line) = file.get(key)?;
            Some(Found {
                value: values.join(","),
                origin: Origin::File(file.path.clone(), line),
            })
        })
    }

    /// The value alone.
    pub(crate) fn value(&self, key: &str) -> Option<String> {
        self.find(key).map(|found| found.value)
    }

    /// Databases that tools may read.
    pub(crate) fn databases(&self) -> &[Database] {
        self.file.as_ref().map_or(&[], |file| file.databases.as_slice())
    }

    /// Their addresses by their names, as a worker takes them.
    pub(crate) fn database_urls(&self) -> BTreeMap<String, String> {
        let named = self.databases().iter();
        named
            .map(|database| (database.name.clone(), database.url.clone()))
            .collect()
    }

    /// As whom, and where, tools write into the engine's own database.
    pub(crate) fn of_tools(&self) -> SettingsOfTools {
        SettingsOfTools {
            role: self.value("sql_role"),
            search_path: self.value("sql_search_path"),
        }
    }

    /// Whether this setting's option was typed, where every command has it.
    pub(crate) fn is_typed(&self, key: &str) -> bool {
        self.typed.contains(&key)
    }
}

/// Tells why nothing is done, and how the command ends.
pub(crate) fn tell(unparsed: Unparsed, json: bool) -> Exit {
    match unparsed {
        Unparsed::Clap(told) if told.use_stderr() && json => {
            let rendered = told.render().to_string();
            let sentence = rendered.lines().next().unwrap_or_default();
            let sentence = sentence.strip_prefix("error: ").unwrap_or(sentence);
            crate::failure::tell(&Failure::usage("usage", sentence).hint("see --help").into(), json)
        }
        Unparsed::Clap(told) if told.use_stderr() => {
            output::note(with_code(&told).trim_end());
            Exit::Usage
        }
        Unparsed::Clap(told) => {
            output::clap(&told);
            Exit::Ok
        }
        Unparsed::Failure(failure) => crate::failure::tell(&failure.into(), json),
    }
}

/// Clap's words with the code that every error has. A help that was not asked for is no error.
fn with_code(told: &clap::Error) -> String {
    let rendered = told.render();
    let styled = rendered.ansi().to_string();
    if rendered.to_string().starts_with("error:") {
        styled.replacen("error:", "error[usage]:", 1)
    } else {
        styled
    }
}

#[cfg(test)]
mod tests;
