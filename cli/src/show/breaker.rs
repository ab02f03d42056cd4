//! What keeps calls from targets that fail.

use super::{in_line, instant, table, trimmed};
use crate::output::style;
use engine::query::{BreakerChange, BreakerRow};

const INDENT: &str = "  ";

/// A table of breakers.
pub(crate) fn list(rows: &[BreakerRow]) -> String {
    let mut breakers = table(&["breaker", "state", "failures", "since", "until"]);
    for row in rows {
        let cells = [
            row.scope.clone(),
            row.state.clone(),
            format!("{} of {}", row.failures, row.failures_max),
            instant(row.changed_at),
            row.retry_at.map(instant).unwrap_or_default(),
        ];
        breakers.add_row(cells.iter().map(|cell| in_line(cell)));
    }
    trimmed(&breakers)
}

/// One breaker, and how it came to be so.
pub(crate) fn whole(row: &BreakerRow, changes: &[BreakerChange]) -> String {
    let state = match (row.state.as_str(), row.retry_at, row.trial_run) {
        ("open", Some(until), _) => format!("open: no call goes out before {}", instant(until)),
        ("half_open", _, Some(run)) => format!("half open: a trial call of run {run} is out"),
        (state, _, _) => state.replace('_', " "),
    };
    let mut lines = vec![style::bold(in_line(&format!("{} is {state}", row.scope)))];
    let mut line = |name: &str, text: String| lines.push(format!("{INDENT}{name:<10} {}", in_line(&text)));
    line(
        "failures",
        format!("{} in a row; {} open it", row.failures, row.failures_max),
    );
    line("cooldown", format!("{} s", row.cooldown_seconds));
    if let Some(code) = &row.error_code {
        line("last error", code.clone());
    }
    if row.waiting > 0 {
        line("waiting", format!("{} calls, for the trial call", row.waiting));
    }
    if !changes.is_empty() {
        lines.push(format!("\n{}", style::bold("History")));
    }
    lines.extend(
        changes
            .iter()
            .map(|change| format!("{INDENT}{}", in_line(&changed(change)))),
    );
    lines.join("\n")
}

fn changed(change: &BreakerChange) -> String {
    let mut told = format!("{}  {:<9}  {}", instant(change.at), change.state, change.why);
    if let (Some(run), Some(step)) = (change.run, change.step) {
        told.push_str(&format!(", run {run} step {step}"));
    }
    if let Some(code) = &change.error_code {
        told.push_str(&format!(", {code}"));
    }
    if let Some(actor) = &change.actor {
        told.push_str(&format!(", by {actor}"));
    }
    if let Some(reason) = &change.reason {
        told.push_str(&format!(": {reason}"));
    }
    told
}
