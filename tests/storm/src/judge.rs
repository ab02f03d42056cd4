//! Reads what was written down, and judges.
//!
//! Offline, and without a line of the product: what was asked for, what was done in the world, what was done to the
//! victims, and a dump of the database are held against each other. Start at [`judge`]; what is joined is in
//! [`history`], the laws are in [`law`], and [`account`] is for people.

mod account;
mod history;
mod law;
mod records;
mod row;
mod span;
#[cfg(test)]
mod tests;

use crate::record::name;
use account::Verdict;
use anyhow::Context;
use history::History;
use law::{Finding, LAWS};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Holds `ledger.jsonl`, `driver.jsonl`, `nemesis.jsonl` and `dump/`
    #[arg(long)]
    pub(crate) folder: PathBuf,
    #[arg(long)]
    pub(crate) seed: u64,
    /// What the conductor saw go wrong, beside the laws
    #[arg(long)]
    pub(crate) beside: Vec<String>,
}

/// Prints the account and leaves `verdict.json` in the folder. Whether the storm held is the exit code, and the last
/// line.
pub(crate) fn judge(options: &Options) -> anyhow::Result<ExitCode> {
    let seed = options.seed;
    let history = match History::read(&options.folder, seed) {
        Ok(history) => history,
        Err(error) => {
            println!("the storm cannot be judged: {error:#}\n");
            println!("{}", account::last_line(seed, Verdict::Broken));
            return Ok(ExitCode::FAILURE);
        }
    };
    let findings = findings(&history);
    let told = account::Account::of(&history);
    let held = findings.is_empty() && options.beside.is_empty();
    let mut verdict = told.verdict(&findings);
    verdict["held"] = held.into();
    verdict["beside"] = options.beside.clone().into();
    let verdict = serde_json::to_string_pretty(&verdict)?;
    let path = options.folder.join("verdict.json");
    std::fs::write(&path, verdict + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    print!("{}", told.text(&findings));
    for wrong in &options.beside {
        println!("beside the laws: {wrong}\n");
    }
    let verdict = if held {
        Verdict::of(&history, &findings)
    } else {
        Verdict::Broken
    };
    println!("{}", account::last_line(seed, verdict));
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is broken, by law.
type Findings = Vec<(&'static law::Law, Vec<Finding>)>;

fn findings(history: &History) -> Findings {
    let broken = LAWS.iter().map(|law| {
        let findings = (law.broken)(history).into_iter();
        (law, findings.map(|finding| dated(history, finding)).collect::<Vec<_>>())
    });
    broken.filter(|(_, findings)| !findings.is_empty()).collect()
}

/// What tells of a run and of no instant was there by the run's last event.
fn dated(history: &History, finding: Finding) -> Finding {
    let run = finding.run.and_then(|id| history.runs.get(&id));
    let last = run.and_then(|run| run.events.last()).map(|event| event.at);
    Finding {
        at: finding.at.or(last),
        ..finding
    }
}
