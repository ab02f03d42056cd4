//! The judge's score: each planted fault has a storm of its own, on a seed not chosen for it, and its seed one without.
//!
//! A fault is caught when a law says so, and a storm of the same seed in which nothing is planted holds. Start at
//! [`score`].

use crate::record;
use anyhow::{Context, bail};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// What a storm says of where it writes to.
const WRITTEN_TO: &str = "storm: all is written to ";

/// It tells that a storm did too little, and nothing of faults.
const PROVES_NOTHING: &str = "windows";

/// No fault has this name, so a worker tells those that there are.
const NO_FAULT: &str = "?";

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Which faults; all by default
    names: Vec<String>,
    /// How long the faults of each storm last
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// One for all of them, and one storm without a fault; by default each has its own, and its own storm without
    #[arg(long)]
    seed: Option<u64>,
    #[arg(long, default_value_t = 4)]
    workers: u16,
    /// The `longhaul` command, with planted faults compiled in
    #[arg(long)]
    program: PathBuf,
}

/// What became of a fault.
struct Scored {
    name: String,
    seed: u64,
    caught: Option<Caught>,
    clean: bool,
}

/// How it was caught.
struct Caught {
    /// By this law first.
    law: String,
    /// Since the storm's beginning, where the law tells when it was broken.
    after_seconds: Option<f64>,
    /// How many findings each law has.
    laws: BTreeMap<String, usize>,
}

/// What the judge wrote down.
#[derive(Deserialize)]
struct Verdict {
    held: bool,
    counts: Counts,
    findings: BTreeMap<String, Vec<Found>>,
}

#[derive(Deserialize)]
struct Counts {
    began: record::Micros,
}

#[derive(Deserialize)]
struct Found {
    at: Option<record::Micros>,
}

pub(crate) async fn score(options: Options) -> anyhow::Result<ExitCode> {
    let names = match options.names.as_slice() {
        [] => faults(&options.program).await?,
        names => names.to_vec(),
    };
    let mut clean: HashMap<u64, bool> = HashMap::new();
    let mut scored = Vec::new();
    for (number, name) in (1..).zip(&names) {
        let seed = options.seed.unwrap_or_else(|| u64::from(fastrand::u32(..)));
        println!("score: {number} of {}, {name}, seed {seed}", names.len());
        let caught = caught(storm(&options, seed, Some(name)).await?.as_ref());
        let clean = match clean.get(&seed) {
            Some(clean) => *clean,
            None => {
                let held = storm(&options, seed, None).await?.is_some_and(|verdict| verdict.held);
                clean.insert(seed, held);
                held
            }
        };
        scored.push(Scored {
            name: name.clone(),
            seed,
            caught,
            clean,
        });
        println!("{}", row(scored.last().context("it was just scored")?));
    }
    let good = scored.iter().filter(|scored| scored.clean && scored.caught.is_some());
    let good = good.count();
    println!("\n{}", table(&scored));
    println!(
        "score: {good} of {} caught, each by a seed that holds without it",
        scored.len()
    );
    Ok(if good == scored.len() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The planted faults that a program knows, in its own words.
async fn faults(program: &Path) -> anyhow::Result<Vec<String>> {
    let told = Command::new(program)
        .args(["worker", "--name", "storm-score"])
        .env("LONGHAUL_DATABASE_URL", "postgres://storm@127.0.0.1:1/none")
        .env("LONGHAUL_MODEL_KEY", "test-key-not-secret")
        .env("LONGHAUL_LOG", "info")
        .env("LONGHAUL_BREAK", NO_FAULT)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let told = tokio::time::timeout(std::time::Duration::from_secs(10), told).await;
    let told = told.context("the program is built without planted faults")??;
    named(&String::from_utf8_lossy(&told.stderr)).context("the program tells of no planted faults")
}

fn named(log: &str) -> Option<Vec<String>> {
    let (_, names) = log.split_once("is no planted fault; there are ")?;
    let names = names.lines().next()?.split(", ");
    Some(names.map(|name| name.trim().to_owned()).collect())
}

/// A storm, and what the judge says of it; nothing where it came to no verdict.
async fn storm(options: &Options, seed: u64, planted: Option<&str>) -> anyhow::Result<Option<Verdict>> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("conduct")
        .arg("--program")
        .arg(&options.program)
        .args(["--seed", &seed.to_string(), "--seconds", &options.seconds.to_string()])
        .args(["--workers", &options.workers.to_string()])
        .args(planted.iter().flat_map(|name| ["--break", *name]))
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut conductor = command.spawn().context("the storm does not start")?;
    let told = conductor.stdout.take().context("a conductor has an output")?;
    let mut lines = BufReader::new(told).lines();
    let (mut folder, mut last) = (None, String::new());
    while let Some(line) = lines.next_line().await? {
        folder = folder.or_else(|| line.strip_prefix(WRITTEN_TO).map(PathBuf::from));
        last = line;
    }
    conductor.wait().await?;
    println!("  {}: {last}", planted.unwrap_or("without"));
    let Some(folder) = folder else { bail!("{last}") };
    let Ok(text) = std::fs::read_to_string(folder.join("verdict.json")) else {
        return Ok(None);
    };
    // Of many storms only the words are kept.
    let _ = std::fs::remove_dir_all(folder.join("postgres"));
    Ok(Some(serde_json::from_str(&text)?))
}

fn caught(verdict: Option<&Verdict>) -> Option<Caught> {
    let verdict = verdict?;
    let findings = verdict.findings.iter().filter(|(law, _)| *law != PROVES_NOTHING);
    let first = |found: &Vec<Found>| found.iter().filter_map(|found| found.at).min();
    let earliest = findings
        .clone()
        .min_by_key(|(_, found)| first(found).unwrap_or(record::Micros::MAX));
    let (law, found) = earliest?;
    Some(Caught {
        law: law.clone(),
        #[expect(clippy::cast_precision_loss, reason = "seconds, for people")]
        after_seconds: first(found).map(|at| (at - verdict.counts.began) as f64 / 1e6),
        laws: findings.map(|(law, found)| (law.clone(), found.len())).collect(),
    })
}

fn row(scored: &Scored) -> String {
    let mut row = format!("| `{}` | {} | ", scored.name, scored.seed);
    match &scored.caught {
        None => row.push_str("**not caught** | | "),
        Some(caught) => {
            let after = caught
                .after_seconds
                .map_or_else(|| "?".to_owned(), |after| format!("{after:.1} s"));
            let others = caught.laws.iter().filter(|(law, _)| **law != caught.law);
            let others: Vec<String> = others.map(|(law, count)| format!("`{law}` {count}")).collect();
            let count = caught.laws.get(&caught.law).copied().unwrap_or_default();
            let _ = write!(
                row,
                "`{}` {count}, after {after} | {} | ",
                caught.law,
                others.join(", ")
            );
        }
    }
    row.push_str(if scored.clean { "clean |" } else { "**broken** |" });
    row
}

fn table(scored: &[Scored]) -> String {
    let mut table =
        "| planted fault | seed | caught first by | and by | without it |\n|---|---|---|---|---|\n".to_owned();
    for scored in scored {
        table.push_str(&row(scored));
        table.push('\n');
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(findings: &[(&str, &[Option<record::Micros>])]) -> Verdict {
        let found = |at: &Option<record::Micros>| Found { at: *at };
        let findings = findings.iter();
        let findings = findings.map(|(law, ats)| ((*law).to_owned(), ats.iter().map(found).collect()));
        Verdict {
            held: false,
            counts: Counts { began: 1_000_000 },
            findings: findings.collect(),
        }
    }

    #[test]
    fn a_fault_is_caught_by_the_law_that_was_broken_first() {
        let verdict = verdict(&[
            ("ended", &[None]),
            ("key", &[Some(4_000_000)]),
            ("fence", &[Some(9_000_000), Some(2_500_000)]),
        ]);

        let caught = caught(Some(&verdict)).unwrap();

        assert_eq!((caught.law.as_str(), caught.after_seconds), ("fence", Some(1.5)));
        assert_eq!(caught.laws["fence"], 2);
    }

    #[test]
    fn a_storm_that_did_too_little_catches_nothing() {
        assert!(caught(Some(&verdict(&[("windows", &[None])]))).is_none());
        assert!(caught(Some(&verdict(&[]))).is_none());
        assert!(caught(None).is_none());
    }

    #[test]
    fn a_program_is_asked_for_its_faults() {
        let log = "INFO x\nERROR LONGHAUL_BREAK=? is no planted fault; there are one, two-three\nmore";
        assert_eq!(named(log).unwrap(), ["one", "two-three"]);
        assert!(named("INFO ready").is_none());
    }
}
