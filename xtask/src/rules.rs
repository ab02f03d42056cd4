//! The house's own rules, each a function from what it looks at to what it found.
//!
//! A boundary that no machine checks is a wish. Each rule has tests that show it failing.

mod checklist;
mod dependencies;
mod sources;

use std::{fmt, path::Path};

use crate::workspace::{metadata, source_files};

/// Something that is not in order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) what: String,
    pub(crate) place: String,
    pub(crate) remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}: {}", self.place, self.what)?;
        write!(formatter, "   what to do: {}", self.remedy)
    }
}

/// All rules on the real workspace.
pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let metadata = metadata(root)?;
    let files = source_files(root)?;
    let mut findings = dependencies::check_edges(&metadata);
    findings.extend(dependencies::check_backoff(&files));
    findings.extend(sources::check_length(&files));
    findings.extend(sources::check_machine_traces(&files));
    findings.extend(checklist::check(&files));
    Ok(findings)
}
