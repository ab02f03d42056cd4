//! The journal: one row per attempt, so that a worker's death is seen as an attempt that was cut.

use super::{clock, duration, error_text, in_line, instant, short, table, trimmed, workflow};
use engine::query::{AttemptRow, RunDetail};
use serde_json::Value;

/// Longer messages are told in full by `--json`.
const MESSAGE_CHARS_MAX: usize = 300;

/// A table of every attempt, of a workflow without turns; below it what the errors in it say.
pub(crate) fn of(run: &RunDetail, rows: &[AttemptRow]) -> String {
    let has_errors = rows.iter().any(|row| error(row).is_some());
    let has_turns = workflow(&run.kind).is_none();
    let mut headings = vec![
        "step", "turn", "kind", "name", "state", "effect", "attempt", "worker", "started", "took",
    ];
    if !has_turns {
        headings.remove(1);
    }
    if has_errors {
        headings.push("error");
    }
    let mut journal = table(&headings);
    for row in rows {
        let mut cells = vec![
            row.seq.to_string(),
            row.turn.map_or_else(|| "-".to_owned(), |turn| turn.to_string()),
            row.kind.clone(),
            named(row),
            state(run, row),
            row.effect.clone(),
            match row.attempt {
                0 => "-".to_owned(),
                attempt => attempt.to_string(),
            },
            row.worker.clone().unwrap_or_default(),
            row.started_at.map(clock).unwrap_or_default(),
            match (row.started_at, row.attempt_ended_at) {
                (Some(started), Some(ended)) => duration(ended - started),
                (None, _) | (_, None) => String::new(),
            },
        ];
        if !has_turns {
            cells.remove(1);
        }
        if has_errors {
            cells.push(error(row).map(code).unwrap_or_default());
        }
        journal.add_row(cells.iter().map(|cell| in_line(cell)));
    }
    let mut lines = vec![trimmed(&journal)];
    for row in rows {
        if let Some(error) = error(row) {
            let told = short(&error_text(error), MESSAGE_CHARS_MAX);
            lines.push(format!("  step {}, attempt {}: {told}", row.seq, row.attempt));
        }
    }
    lines.join("\n")
}

/// What people call its step: a probe by the tool that is asked, a workflow's by its place.
pub(super) fn named(row: &AttemptRow) -> String {
    let identity = row.identity.as_ref().filter(|_| row.kind != "probe");
    identity.unwrap_or(&row.name).clone()
}

/// The state of an attempt: the step's own for the last one; of an earlier one, whether it came to an end.
pub(crate) fn state(run: &RunDetail, row: &AttemptRow) -> String {
    let was_out = row.attempt > 0 && row.attempt_ended_at.is_none();
    let holder_is_gone = run.state != "running";
    match (row.is_last, row.state.as_str()) {
        (true, "running") if was_out && holder_is_gone => "cut".to_owned(),
        (true, "waiting") => match row.due_at {
            Some(due) if due.date_naive() == row.created_at.date_naive() => format!("waiting until {}", clock(due)),
            Some(due) => format!("waiting until {}", instant(due)),
            None => "waiting".to_owned(),
        },
        (true, state) => state.to_owned(),
        (false, _) if was_out => "cut".to_owned(),
        (false, _) if row.error.is_some() => "failed".to_owned(),
        (false, _) => "given back".to_owned(),
    }
}

fn error(row: &AttemptRow) -> Option<&Value> {
    let recorded = row.error.as_ref().or(row.step_error.as_ref().filter(|_| row.is_last));
    recorded.map(|error| &error.0)
}

fn code(error: &Value) -> String {
    error.get("code").and_then(Value::as_str).unwrap_or("error").to_owned()
}

#[cfg(test)]
mod tests;
