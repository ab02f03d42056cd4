//! `cargo xtask check`: is the tree in order?

use std::process::ExitCode;

use crate::{
    command::{cargo, run},
    rules, workspace,
};

/// Runs every part, so that one run shows everything that is wrong.
pub(crate) fn check() -> anyhow::Result<ExitCode> {
    let root = workspace::root()?;
    let mut failed = Vec::new();

    println!("== format");
    if !run(cargo(&root).args(["fmt", "--all", "--check"]))?.success() {
        println!("   what to do: cargo fmt --all");
        failed.push("format");
    }

    println!("== rules of the house");
    let findings = rules::check(&root)?;
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        failed.push("rules");
    }

    println!("== clippy");
    let mut clippy = cargo(&root);
    clippy.args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ]);
    if !run(&mut clippy)?.success() {
        failed.push("clippy");
    }

    if failed.is_empty() {
        println!("check: all in order");
        return Ok(ExitCode::SUCCESS);
    }
    println!("check: not in order: {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}
