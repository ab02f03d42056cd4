//! `docs/checklist.md` promises a test for each of its rows: the tests it names must exist. So must those of every table
//! in `docs` whose last column is headed `test`.
//!
//! A row is `| id | where | test | note |`. The test column names tests in backticks, with or without their modules; a
//! name with a slash or a dot is a file. A row without a test says in its note why.

use std::{collections::HashSet, path::Path};

use super::Finding;
use crate::workspace::SourceFile;

const CHECKLIST: &str = "docs/checklist.md";

/// Rows that name a test which does not exist, or name none and give no reason.
pub(crate) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let Some(page) = files.iter().find(|file| file.path == Path::new(CHECKLIST)) else {
        return vec![Finding {
            what: "the checklist is missing".to_owned(),
            place: CHECKLIST.to_owned(),
            remedy: "write one row for each requirement: | id | where | test | note |".to_owned(),
        }];
    };
    let tests: HashSet<&str> = files
        .iter()
        .filter(|file| file.has_extension("rs"))
        .flat_map(test_names)
        .collect();
    let is_there = |name: &str| {
        if name.contains('/') || name.contains('.') {
            files.iter().any(|file| file.path == Path::new(name))
        } else {
            tests.contains(name.rsplit("::").next().unwrap_or(name))
        }
    };
    let mut findings = tables_of_tests(files, is_there);
    for (number, row) in rows(&page.text) {
        let mut complain = |what: String, remedy: &str| {
            let place = format!("{CHECKLIST}:{number}");
            findings.push(Finding {
                what,
                place,
                remedy: remedy.to_owned(),
            });
        };
        let [id, _place, test, note] = row.as_slice() else {
            complain(
                format!("a row has {} columns", row.len()),
                "four columns: | id | where | test | note |",
            );
            continue;
        };
        let names = quoted(test);
        for name in names.iter().filter(|name| !is_there(name)) {
            complain(
                format!("row {id} names {name}, which is no test of this workspace"),
                "write it, or name the one that shows the row",
            );
        }
        if names.is_empty() && note.is_empty() {
            complain(
                format!("row {id} names no test"),
                "name a test in backticks, or say in the note why there is none",
            );
        }
    }
    findings
}

/// Rows of other pages that name a test which does not exist, or none at all.
fn tables_of_tests(files: &[SourceFile], is_there: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for page in files.iter().filter(|file| is_page(&file.path)) {
        let mut names_tests = false;
        for (number, line) in (1..).zip(page.text.lines()) {
            let row = cells(line);
            let Some(last) = row.last() else {
                names_tests = false;
                continue;
            };
            let names = quoted(last);
            let missing: Vec<_> = names.iter().filter(|name| !is_there(name)).collect();
            if names_tests && !last.starts_with('-') && (names.is_empty() || !missing.is_empty()) {
                findings.push(Finding {
                    what: if names.is_empty() {
                        "a row names no test".to_owned()
                    } else {
                        format!("a row names {missing:?}, which is no test of this workspace")
                    },
                    place: format!("{}:{number}", page.path.display()),
                    remedy: "name the tests that show the row, in backticks".to_owned(),
                });
            }
            names_tests |= last == "test";
        }
    }
    findings
}

fn is_page(path: &Path) -> bool {
    path.starts_with("docs") && path != Path::new(CHECKLIST) && path.extension().is_some_and(|found| found == "md")
}

fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The rows of all tables with their line numbers, without the heads and the lines under them.
fn rows(page: &str) -> Vec<(usize, Vec<String>)> {
    let lines: Vec<(usize, Vec<String>)> = (1..)
        .zip(page.lines())
        .map(|(number, line)| (number, cells(line)))
        .collect();
    let is_rule =
        |row: &[String]| !row.is_empty() && row.iter().all(|cell| cell.starts_with('-') || cell.starts_with(":-"));
    let mut found = Vec::new();
    for (index, (number, row)) in lines.iter().enumerate() {
        let is_head = lines.get(index + 1).is_some_and(|(_, next)| is_rule(next));
        if !row.is_empty() && !is_rule(row) && !is_head {
            found.push((*number, row.clone()));
        }
    }
    found
}

/// The cells of a table's line; none for any other line. A bar inside a cell is written `\|`.
fn cells(line: &str) -> Vec<String> {
    let Some(inner) = line.trim().strip_prefix('|') else {
        return Vec::new();
    };
    let inner = inner.strip_suffix('|').unwrap_or(inner).replace("\\|", "\u{0}");
    inner
        .split('|')
        .map(|cell| cell.replace('\u{0}', "|").trim().to_owned())
        .collect()
}

/// Names of functions with an attribute that makes them a test.
fn test_names(file: &SourceFile) -> Vec<&str> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in file.text.lines().map(str::trim_start) {
        if line.starts_with("#[") {
            is_test |= line.contains("test") && !line.starts_with("#[cfg");
        } else if let Some((_, rest)) = line.split_once("fn ") {
            if is_test {
                names.push(
                    rest.split(|char: char| !char.is_alphanumeric() && char != '_')
                        .next()
                        .unwrap_or_default(),
                );
            }
            is_test = false;
        } else if !line.starts_with("//") && !line.ends_with(']') {
            is_test = false;
        }
    }
    names
}

#[cfg(test)]
mod tests;
