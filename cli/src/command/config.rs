//! `longhaul config`: what is in force, and where it comes from. And the completions of shells.

use crate::args::{Cli, Global};
use crate::database;
use crate::failure::{Exit, Failure};
use crate::output::{self, style};
use crate::settings::{ALL, Database, Found, Origin, Setting, judge_variables, masked};
use crate::show::{table, trimmed};
use clap::CommandFactory;
use serde_json::{Value, json};

const VARIABLE_PREFIX: &str = "LONGHAUL_";
/// Variables that are no settings of the file.
const OTHER_VARIABLES: [&str; 2] = ["LONGHAUL_CONFIG", "LONGHAUL_PG_BIN"];

pub(crate) fn run(global: &Global, get: Option<&str>) -> anyhow::Result<Exit> {
    if let Some(key) = get {
        return Ok(print_one(global, key)?);
    }
    let command = Cli::command();
    judge_variables(&global.settings, &command)?;
    let rows: Vec<(&Setting, Found)> = ALL
        .iter()
        .map(|setting| (setting, in_force(global, setting, &command)))
        .collect();
    let strangers = unknown_variables();
    if global.json {
        let settings: Vec<Value> = rows.iter().map(|(setting, found)| as_json(setting, found)).collect();
        let file = global.settings.file.as_ref().map(|file| &file.path);
        let databases = global.settings.databases().iter();
        let databases: Vec<Value> = databases
            .map(|database| json!({"name": database.name, "url": shown_url(database), "line": database.line}))
            .collect();
        output::json(&json!({
            "file": file, "settings": settings, "databases": databases, "unknown_variables": strangers,
        }));
        return Ok(Exit::Ok);
    }
    let mut shown = table(&["setting", "value", "from", "variable"]);
    for (setting, found) in &rows {
        let value = shown_value(setting, found);
        let variable = setting.variables.first().copied().unwrap_or_default();
        shown.add_row(vec![setting.key, &value, &from(&found.origin), variable]);
    }
    for database in global.settings.databases() {
        let key = format!("databases.{}", database.name);
        let file = global.settings.file.as_ref().map(|file| file.path.clone());
        let origin = Origin::File(file.unwrap_or_default(), database.line);
        shown.add_row(vec![&key, &shown_url(database), &from(&origin), ""]);
    }
    output::line(trimmed(&shown));
    if global.settings.file.is_none() {
        output::note(style::dim(
            "no settings file: longhaul.toml in this folder would be read, or the one that --config names",
        ));
    }
    for stranger in strangers {
        let label = style::yellow("warning:");
        output::note(format!("{label} {stranger} is set, and no setting has that name"));
    }
    Ok(Exit::Ok)
}

fn print_one(global: &Global, key: &str) -> Result<Exit, Failure> {
    let Some(setting) = ALL.iter().find(|setting| setting.key == key) else {
        let known: Vec<&str> = ALL.iter().map(|setting| setting.key).collect();
        let failure = Failure::usage("unknown_setting", format!("there is no setting {key:?}"));
        return Err(failure.hint(format!("one of {}", known.join(", "))));
    };
    let found = in_force(global, setting, &Cli::command());
    if found.origin == Origin::Default && default(setting, &Cli::command()).is_none() {
        return Err(Failure::new(Exit::Failed, "not_set", format!("{key} is not set")));
    }
    output::line(found.value);
    Ok(Exit::Ok)
}

fn in_force(global: &Global, setting: &Setting, command: &clap::Command) -> Found {
    let typed = || match setting.key {
        "tenant" => Some((global.tenant.clone(), "--tenant")),
        "log_format" => Some((format!("{:?}", global.log).to_lowercase(), "--log")),
        _ => None,
    };
    let typed = typed().filter(|_| global.settings.is_typed(setting.key));
    if let Some((value, option)) = typed {
        return Found {
            value,
            origin: Origin::Option(option),
        };
    }
    let found = if setting.key == "database_url" {
        database::found(global)
    } else {
        global.settings.find(setting.key)
    };
    found.unwrap_or_else(|| Found {
        value: default(setting, command).unwrap_or_else(|| setting.otherwise.to_owned()),
        origin: Origin::Default,
    })
}

/// The default of the option.
fn default(setting: &Setting, command: &clap::Command) -> Option<String> {
    let argument = setting.arguments.first()?;
    let owner = argument
        .command
        .iter()
        .try_fold(command, |command, name| command.find_subcommand(name))?;
    let arg = owner.get_arguments().find(|arg| arg.get_id() == argument.id)?;
    let values = arg.get_default_values();
    (!values.is_empty()).then(|| values.join(std::ffi::OsStr::new(",")).to_string_lossy().into_owned())
}

/// Defaults are in the program for everybody to see.
fn shown_value(setting: &Setting, found: &Found) -> String {
    if found.origin == Origin::Default {
        found.value.clone()
    } else {
        masked(setting, &found.value)
    }
}

/// A database's address without its password.
fn shown_url(database: &Database) -> String {
    if database.url.starts_with("env:") {
        database.url.clone()
    } else {
        database::without_password(&database.url)
    }
}

fn from(origin: &Origin) -> String {
    match origin {
        Origin::Option(option) => (*option).to_owned(),
        Origin::Variable(variable) => (*variable).to_owned(),
        Origin::File(path, line) => format!("{}:{line}", path.display()),
        Origin::Dev(folder) => format!("longhaul dev, running on {}", folder.display()),
        Origin::Default => "default".to_owned(),
    }
}

fn as_json(setting: &Setting, found: &Found) -> Value {
    let (source, file, line) = match &found.origin {
        Origin::Option(_) => ("option", None, None),
        Origin::Variable(_) => ("variable", None, None),
        Origin::File(path, line) => ("file", Some(path), Some(line)),
        Origin::Dev(folder) => ("dev", Some(folder), None),
        Origin::Default => ("default", None, None),
    };
    let is_set = found.origin != Origin::Default || default(setting, &Cli::command()).is_some();
    let value = is_set.then(|| shown_value(setting, found));
    json!({
        "key": setting.key, "value": value, "source": source, "from": from(&found.origin), "file": file, "line": line,
        "variables": setting.variables,
    })
}

/// Variables that look like settings, and are none.
fn unknown_variables() -> Vec<String> {
    let is_known =
        |name: &str| OTHER_VARIABLES.contains(&name) || ALL.iter().any(|setting| setting.variables.contains(&name));
    let mut names: Vec<String> = std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with(VARIABLE_PREFIX) && !name.starts_with("LONGHAUL_TEST_") && !is_known(name))
        .collect();
    names.sort();
    names
}

/// The completions of a shell.
pub(crate) fn completions(shell: clap_complete::Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "longhaul", &mut script);
    output::raw(&script);
    Exit::Ok
}
