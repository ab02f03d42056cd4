//! Running programs: cargo above all.

use std::{
    env,
    path::Path,
    process::{Command, ExitStatus},
};

use anyhow::Context;

/// Cargo, as it was called by whoever called us, in the workspace's root.
///
/// `cargo run` tells us about our own package in variables that some build scripts watch: passed on, they would have
/// those packages built anew at each change between `cargo xtask …` and `cargo …`.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root);
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_about_our_package) {
            cargo.env_remove(name);
        }
    }
    cargo
}

fn is_about_our_package(variable: &str) -> bool {
    [
        "CARGO_PKG_",
        "CARGO_MANIFEST_",
        "CARGO_BIN_",
        "CARGO_CRATE_NAME",
        "CARGO_PRIMARY_PACKAGE",
        "OUT_DIR",
    ]
    .iter()
    .any(|prefix| variable.starts_with(prefix))
}

/// Runs it with our input and output.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<ExitStatus> {
    command
        .status()
        .with_context(|| format!("could not run {}", command.get_program().display()))
}

/// Runs it quietly and returns what it wrote; an error carries what it complained about.
pub(crate) fn read(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("could not run {program}"))?;
    if !output.status.success() {
        anyhow::bail!(
            "{program} ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("{program} wrote something that is not text"))
}
