//! `longhaul agent apply|lint|list|show`.

use super::input::read_bytes;
use crate::args::Global;
use crate::database::open;
use crate::failure::{Exit, Failure};
use crate::output::{self, style};
use crate::show::{in_line, instant, table, trimmed};
use agent::definition::{Agent, Mistake, digest_text, read};
use engine::{ApplyAgent, payload};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// What `agent::definition` allows; more of a file is not read.
const FILE_BYTES_MAX: usize = 256 * 1024;

/// What the files say together.
#[derive(Debug, Default)]
struct Reading {
    agents: Vec<Agent>,
    warnings: Vec<(PathBuf, Mistake)>,
    mistakes: Vec<(PathBuf, Mistake)>,
}

pub(crate) async fn apply(global: &Global, files: &[PathBuf]) -> anyhow::Result<Exit> {
    let reading = read_all(files)?;
    warn(&reading.warnings);
    if !reading.mistakes.is_empty() {
        return Err(refused(&reading.mistakes, ("nothing was applied", global.json)).into());
    }
    let engine = open(global).await?;
    let mut results = Vec::new();
    for agent in &reading.agents {
        let applied = engine
            .apply_agent(ApplyAgent {
                tenant: &global.tenant,
                name: &agent.name,
                definition: &digest_text(agent),
                functions: &agent.functions(),
            })
            .await?;
        let outcome = match (applied.changed, applied.added) {
            (false, _) => "unchanged",
            (true, true) => "applied",
            (true, false) => "applied again",
        };
        if !global.json {
            output::line(format!("{} version {} {outcome}", agent.name, applied.version));
        }
        results.push(json!({
            "name": agent.name, "version": applied.version, "added": applied.added, "changed": applied.changed,
        }));
    }
    if global.json {
        output::json(&json!({"agents": results}));
    }
    Ok(Exit::Ok)
}

/// Mistakes and warnings, without a database.
pub(crate) fn lint(global: &Global, files: &[PathBuf]) -> anyhow::Result<Exit> {
    let reading = read_all(files)?;
    if !global.json {
        warn(&reading.warnings);
    }
    if !reading.mistakes.is_empty() {
        return Err(refused(&reading.mistakes, ("the files cannot be applied", global.json)).into());
    }
    if global.json {
        output::json(&json!({"warnings": details(&reading.warnings)}));
    } else if reading.warnings.is_empty() {
        output::line(match reading.agents.len() {
            1 => "1 agent, nothing to better".to_owned(),
            count => format!("{count} agents, nothing to better"),
        });
    }
    Ok(match reading.warnings.is_empty() {
        true => Exit::Ok,
        false => Exit::Failed,
    })
}

fn warn(warnings: &[(PathBuf, Mistake)]) {
    for (file, warning) in warnings {
        output::note(format!(
            "{} {}",
            style::yellow("warning:"),
            in_line(&told(file, warning))
        ));
    }
}

fn read_all(files: &[PathBuf]) -> Result<Reading, Failure> {
    let mut reading = Reading::default();
    let mut names: HashMap<String, &Path> = HashMap::new();
    for file in files {
        let content = read_bytes(file, FILE_BYTES_MAX).map_err(|error| {
            Failure::usage("unreadable_file", format!("could not read {}: {error}", file.display()))
        })?;
        let readout = match String::from_utf8(content.bytes) {
            _ if content.is_cut => Err(vec![too_large()]),
            Ok(text) => read(&text),
            Err(error) => Err(vec![not_utf8(error.as_bytes(), error.utf8_error().valid_up_to())]),
        };
        match readout {
            Ok(readout) => {
                if let Some(first) = names.insert(readout.agent.name.clone(), file) {
                    reading.mistakes.push((file.clone(), taken(&readout.agent.name, first)));
                }
                let warnings = readout.warnings.into_iter().map(|warning| (file.clone(), warning));
                reading.warnings.extend(warnings);
                reading.agents.push(readout.agent);
            }
            Err(mistakes) => {
                let mistakes = mistakes.into_iter().map(|mistake| (file.clone(), mistake));
                reading.mistakes.extend(mistakes);
            }
        }
    }
    Ok(reading)
}

fn too_large() -> Mistake {
    Mistake {
        line: 1,
        key: String::new(),
        found: format!("more than {FILE_BYTES_MAX} bytes"),
        expected: "no more than that".to_owned(),
    }
}

fn not_utf8(bytes: &[u8], at: usize) -> Mistake {
    Mistake {
        line: 1 + bytes.iter().take(at).filter(|byte| **byte == b'\n').count(),
        key: String::new(),
        found: format!(
            "byte 0x{:02x}, which begins no character",
            bytes.get(at).copied().unwrap_or_default()
        ),
        expected: "UTF-8 text".to_owned(),
    }
}

fn taken(name: &str, first: &Path) -> Mistake {
    Mistake {
        line: 1,
        key: "name".to_owned(),
        found: format!("{name:?}, which is the agent of {} too", first.display()),
        expected: "a name of its own".to_owned(),
    }
}

/// `file:line: key: found …, expected …`, as editors and CI understand it.
fn told(file: &Path, mistake: &Mistake) -> String {
    let Mistake {
        line,
        key,
        found,
        expected,
    } = mistake;
    let key = if key.is_empty() {
        String::new()
    } else {
        format!("{key}: ")
    };
    format!("{}:{line}: {key}found {found}, expected {expected}", file.display())
}

fn refused(mistakes: &[(PathBuf, Mistake)], (so, json): (&str, bool)) -> Failure {
    if !json {
        for (file, mistake) in mistakes {
            output::note(in_line(&told(file, mistake)));
        }
    }
    let message = match mistakes.len() {
        1 => format!("1 mistake, {so}"),
        count => format!("{count} mistakes, {so}"),
    };
    Failure::usage("invalid_agent_file", message).details("mistakes", details(mistakes))
}

fn details(mistakes: &[(PathBuf, Mistake)]) -> Value {
    let detail = |(file, mistake): &(PathBuf, Mistake)| {
        json!({
            "file": file, "line": mistake.line, "key": mistake.key, "found": mistake.found,
            "expected": mistake.expected,
        })
    };
    mistakes.iter().map(detail).collect()
}

pub(crate) async fn list(global: &Global) -> anyhow::Result<Exit> {
    let engine = open(global).await?;
    let agents = engine.agent_list(&global.tenant, None).await?;
    if global.json {
        let rows: Vec<Value> = agents
            .iter()
            .map(|agent| {
                json!({
                    "name": agent.name, "version": agent.version, "digest": payload::hex(&agent.digest),
                    "applied_at": agent.applied_at,
                })
            })
            .collect();
        output::json(&json!({"agents": rows}));
        return Ok(Exit::Ok);
    }
    if agents.is_empty() {
        output::note("no agents yet; apply one: longhaul agent apply FILE");
        return Ok(Exit::Ok);
    }
    let mut rows = table(&["agent", "version", "applied", "model", "tools"]);
    for agent in agents {
        let definition: Value = serde_json::from_str(&agent.definition)?;
        let tools: Vec<&str> = definition["tools"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|tool| tool["name"].as_str())
            .collect();
        rows.add_row(vec![
            agent.name.clone(),
            agent.version.to_string(),
            instant(agent.applied_at),
            definition["model"]["name"].as_str().unwrap_or_default().to_owned(),
            tools.join(", "),
        ]);
    }
    output::line(trimmed(&rows));
    Ok(Exit::Ok)
}

pub(crate) async fn show(global: &Global, name: &str) -> anyhow::Result<Exit> {
    let engine = open(global).await?;
    let found = engine.agent_list(&global.tenant, Some(name)).await?.into_iter().next();
    let agent = found.ok_or_else(|| {
        let message = format!("agent {name:?} does not exist in tenant {:?}", global.tenant);
        Failure::new(Exit::Refused, "no_such_agent", message).hint("see longhaul agent list")
    })?;
    let definition: Value = serde_json::from_str(&agent.definition)?;
    let digest = payload::hex(&agent.digest);
    if global.json {
        output::json(&json!({
            "name": agent.name, "version": agent.version, "digest": digest, "applied_at": agent.applied_at,
            "definition": definition,
        }));
    } else {
        output::note(style::dim(format!(
            "{} version {}, applied {}, sha256 {digest}",
            agent.name,
            agent.version,
            instant(agent.applied_at)
        )));
        output::json(&definition);
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests;
