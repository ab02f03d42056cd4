//! What every file must keep to: a length that can be read, and no trace of one machine.

use super::Finding;
use crate::workspace::SourceFile;

/// Where a file asks to be split.
const LINES_MAX: usize = 600;

/// The first lines, in which a longer file may say why.
const REASON_LINES: usize = 5;

/// Folders of one machine; spelled apart so that this file does not trip over itself.
const MACHINE_FOLDERS: [&str; 2] = [concat!("/", "root", "/"), concat!("/", "work", "/")];

const LOCK_SOURCE: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";

/// Source files over the limit which do not say why.
pub(crate) fn check_length(files: &[SourceFile]) -> Vec<Finding> {
    let judged = files
        .iter()
        .filter(|file| file.has_extension("rs") || file.has_extension("sql"));
    judged.filter_map(too_long).collect()
}

fn too_long(file: &SourceFile) -> Option<Finding> {
    let lines = file.text.lines().count();
    let excused = file.text.lines().take(REASON_LINES).any(|line| {
        let reason = line
            .strip_prefix("// long: ")
            .or_else(|| line.strip_prefix("-- long: "));
        reason.is_some_and(|reason| !reason.trim().is_empty())
    });
    (lines > LINES_MAX && !excused).then(|| Finding {
        what: format!("{lines} lines; {LINES_MAX} is where a file asks to be split"),
        place: file.path.display().to_string(),
        remedy: format!("split it, or say why not in its first {REASON_LINES} lines: \"// long: reason\""),
    })
}

/// Absolute paths of one machine, and packages that come from somewhere else than the public registry.
pub(crate) fn check_machine_traces(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        let is_lock = file.path.file_name().is_some_and(|name| name == "Cargo.lock");
        for (number, line) in (1..).zip(file.text.lines()) {
            let place = || format!("{}:{number}", file.path.display());
            if let Some(folder) = MACHINE_FOLDERS.iter().find(|folder| has_path(line, folder)) {
                findings.push(Finding {
                    what: format!("{folder} is a folder of one machine"),
                    place: place(),
                    remedy: "write a relative path, or take it from the environment".to_owned(),
                });
            }
            if is_lock && line.starts_with("source = ") && line != LOCK_SOURCE {
                findings.push(Finding {
                    what: format!("a package from another place: {line}"),
                    place: place(),
                    remedy: "take the package from crates.io, and lock it without a local mirror".to_owned(),
                });
            }
        }
    }
    findings
}

/// Whether the line holds an absolute path below `folder`: not the middle of a longer path or address.
fn has_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        !before.is_some_and(|char| char.is_alphanumeric() || matches!(char, '.' | '_' | '-' | '}' | '*' | '~'))
    })
}

#[cfg(test)]
mod tests;
