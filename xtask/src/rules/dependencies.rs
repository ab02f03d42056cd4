//! Who may depend on whom.

use std::path::Path;

use super::Finding;
use crate::workspace::{Metadata, Package, SourceFile};

const ENGINE: &str = "longhaul-engine";
const AGENT: &str = "longhaul-agent";
const WORKER: &str = "longhaul-worker";
const API: &str = "longhaul-api";
const CLI: &str = "longhaul";
const LAUNCHER: &str = "longhaul-launcher";
const REHEARSAL: &str = "longhaul-rehearsal";
const TESTS: &str = "longhaul-tests";
const STORM: &str = "longhaul-storm";
const XTASK: &str = "xtask";

/// Each package, and the packages of the workspace that it may see. Dependencies for tests count like all others.
const MAY_SEE: [(&str, &[&str]); 10] = [
    (ENGINE, &[]),
    (AGENT, &[]),
    (WORKER, &[ENGINE, AGENT]),
    (API, &[ENGINE, AGENT]),
    (CLI, &[ENGINE, AGENT, WORKER, API, LAUNCHER, REHEARSAL]),
    (LAUNCHER, &[]),
    (REHEARSAL, &[]),
    (TESTS, &[ENGINE, AGENT, WORKER, API, CLI, LAUNCHER, REHEARSAL]),
    // What judges the product shares no code with it.
    (STORM, &[LAUNCHER, REHEARSAL]),
    (XTASK, &[LAUNCHER]),
];

/// Libraries that belong to some packages only.
const HOMES: [(&str, &[&str]); 5] = [
    ("sqlx", &[ENGINE, TESTS, STORM]),
    ("axum", &[API, REHEARSAL, TESTS]),
    ("reqwest", &[WORKER, CLI, TESTS, STORM]),
    ("backoff", &[ENGINE]),
    ("testcontainers", &[TESTS]),
];

/// Where a library may stand as an optional dependency, besides its homes.
const OPTIONAL_HOMES: [(&str, &str); 1] = [("reqwest", API)];

/// Libraries that some packages must do without.
const BARRED: [(&str, &str, &str); 1] = [(AGENT, "tokio", "agent decides and never waits: no async there")];

/// The one file that may name the backoff library (and its tests).
const BACKOFF_HOME: &str = "engine/src/retry";

const HOUSE: &str = "ARCHITECTURE.md says who may depend on whom";

/// Every forbidden edge between packages, and every library outside of its home.
pub(crate) fn check_edges(metadata: &Metadata) -> Vec<Finding> {
    metadata.packages.iter().flat_map(check_package).collect()
}

fn check_package(package: &Package) -> Vec<Finding> {
    let Some((_, visible)) = MAY_SEE.iter().find(|(name, _)| *name == package.name) else {
        return vec![Finding {
            what: "no rule says what this package may depend on".to_owned(),
            place: package.name.clone(),
            remedy: "add it to MAY_SEE in xtask/src/rules/dependencies.rs".to_owned(),
        }];
    };
    let mut findings = Vec::new();
    let mut forbid = |what: String, remedy: String| {
        findings.push(Finding {
            what,
            place: format!("{}/Cargo.toml", folder(&package.name)),
            remedy,
        });
    };
    for dependency in &package.dependencies {
        let name = dependency.name.as_str();
        if MAY_SEE.iter().any(|(member, _)| *member == name) && !visible.contains(&name) {
            forbid(
                format!("{} must not depend on {name}", package.name),
                format!("move the code to a package that sees both, or pass the value in; {HOUSE}"),
            );
        }
        for (library, homes) in HOMES {
            let belongs = name == library || name.strip_prefix(library).is_some_and(|rest| rest.starts_with('-'));
            let optional = dependency.optional && OPTIONAL_HOMES.contains(&(library, package.name.as_str()));
            if belongs && !homes.contains(&package.name.as_str()) && !optional {
                forbid(
                    format!("{} must not depend on {name}", package.name),
                    format!("go through one of: {}; {HOUSE}", homes.join(", ")),
                );
            }
        }
        for (barred_from, library, reason) in BARRED {
            if package.name == barred_from && name == library {
                forbid(
                    format!("{} must not depend on {name}", package.name),
                    format!("{reason}; {HOUSE}"),
                );
            }
        }
    }
    findings
}

fn folder(package: &str) -> &str {
    match package {
        CLI => "cli",
        STORM => "tests/storm",
        other => other.strip_prefix("longhaul-").unwrap_or(other),
    }
}

/// The backoff library is unmaintained: one file uses it, so that one file can replace it.
pub(crate) fn check_backoff(files: &[SourceFile]) -> Vec<Finding> {
    let judged = |file: &&SourceFile| {
        let home = file.path.starts_with(BACKOFF_HOME) || file.path == Path::new(BACKOFF_HOME).with_extension("rs");
        file.has_extension("rs") && !home && !file.path.starts_with("xtask")
    };
    let mut findings = Vec::new();
    for file in files.iter().filter(judged) {
        for (number, line) in (1..).zip(file.text.lines()) {
            if names_backoff(line) {
                findings.push(Finding {
                    what: "the backoff library is used outside of its one file".to_owned(),
                    place: format!("{}:{number}", file.path.display()),
                    remedy: format!("ask {BACKOFF_HOME}.rs for the delay"),
                });
            }
        }
    }
    findings
}

/// `use backoff…` or a path that begins with `backoff::`, but not a module or function of ours with that name.
fn names_backoff(line: &str) -> bool {
    let code = line.trim_start();
    if code.starts_with("//") {
        return false;
    }
    let imported = ["use backoff::", "use backoff;", "use ::backoff", "extern crate backoff"];
    let begins_a_path = code.match_indices("backoff::").any(|(at, _)| {
        let before = code.get(..at).and_then(|text| text.chars().next_back());
        !before.is_some_and(|char| char.is_alphanumeric() || matches!(char, '_' | ':'))
    });
    begins_a_path || imported.iter().any(|import| code.contains(import))
}

#[cfg(test)]
mod tests;
