//! A storm: builds what takes part in it and starts its conductor.

use std::{env, fs, path::Path, path::PathBuf, process::Command, process::ExitCode};

use anyhow::{Context, bail};

use crate::command::{cargo, run};
use crate::workspace;

/// Seeds that are always tried: one a line, and behind it a word why.
const SEEDS: &str = "tests/storm/seeds";

/// `--fixed` in place of a seed: all that the file names, one after the other.
const FIXED: &str = "--fixed";

pub(crate) fn storm(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let root = workspace::root()?;
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let mut build = cargo(&root);
    build.args([
        "build",
        "--package",
        "longhaul-storm",
        "--package",
        "longhaul-tests",
        "--bins",
    ]);
    if arguments
        .iter()
        .any(|argument| argument.split('=').next() == Some("--break"))
    {
        build.args(["--features", "longhaul-tests/planted-faults"]);
    }
    if !run(&mut build)?.success() {
        bail!("the build failed");
    }
    let rest: Vec<&String> = arguments.iter().filter(|argument| *argument != FIXED).collect();
    if rest.len() == arguments.len() {
        return conduct(&target, &rest, None);
    }
    // One that fails does not hide the next.
    let mut worst = ExitCode::SUCCESS;
    for seed in seeds(&root)? {
        let code = conduct(&target, &rest, Some(&seed))?;
        if code != ExitCode::SUCCESS {
            worst = code;
        }
    }
    Ok(worst)
}

fn conduct(target: &Path, arguments: &[&String], seed: Option<&str>) -> anyhow::Result<ExitCode> {
    let programs = target.join("debug");
    let mut conductor = Command::new(programs.join("longhaul-storm"));
    conductor
        .args(["conduct", "--program"])
        .arg(programs.join("longhaul-under-test"))
        .args(arguments);
    if let Some(seed) = seed {
        conductor.args(["--seed", seed]);
    }
    let status = run(&mut conductor)?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

fn seeds(root: &Path) -> anyhow::Result<Vec<String>> {
    let path = root.join(SEEDS);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let words = text.lines().filter_map(|line| line.split_whitespace().next());
    Ok(words.filter(|word| !word.starts_with('#')).map(str::to_owned).collect())
}
