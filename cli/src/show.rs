//! What people are shown: text from rows, without a database and without printing.

pub(crate) mod breaker;
pub(crate) mod conversation;
pub(crate) mod events;
pub(crate) mod inbox;
pub(crate) mod journal;
pub(crate) mod run;
pub(crate) mod signals;
pub(crate) mod sql;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use comfy_table::presets;
use comfy_table::{ContentArrangement, Table};
use serde_json::Value;

/// The workflow that a run of this kind is of.
pub(crate) fn workflow(kind: &str) -> Option<&str> {
    Some(kind).filter(|kind| *kind != "agent")
}

/// A table without lines and as wide as its content: a row stays a row for whoever greps or copies it.
pub(crate) fn table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(
            headings
                .iter()
                .map(|heading| heading.to_uppercase())
                .collect::<Vec<_>>(),
        );
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// A table's text without the blanks at the ends of its lines.
pub(crate) fn trimmed(table: &Table) -> String {
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// An instant to the second, UTC.
pub(crate) fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The time of day to the millisecond, UTC.
pub(crate) fn clock(at: DateTime<Utc>) -> String {
    at.format("%H:%M:%S%.3f").to_string()
}

/// A duration as people say it.
pub(crate) fn duration(time: TimeDelta) -> String {
    let (seconds, millis) = (time.num_seconds(), time.num_milliseconds());
    match seconds {
        ..1 => format!("{millis} ms"),
        1..100 => format!("{}.{:02} s", seconds, (millis % 1000) / 10),
        100..6000 => format!("{} min {} s", seconds / 60, seconds % 60),
        6000..172_800 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} days", (seconds + 43_200) / 86_400),
    }
}

/// Text of somebody's own over several lines. Whatever else would steer a terminal, or turn the order of letters round,
/// is shown and not obeyed.
pub(crate) fn plain(text: &str) -> String {
    // What ends a line on Windows is no attempt to write over it.
    escaped(&text.replace("\r\n", "\n"), |sign| matches!(sign, '\n' | '\t'))
}

/// The same within one line.
pub(crate) fn in_line(text: &str) -> String {
    escaped(text, |_| false)
}

fn escaped(text: &str, is_fine: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for sign in text.chars() {
        let turns_order =
            matches!(sign, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let breaks_line = matches!(sign, '\u{2028}' | '\u{2029}');
        if (sign.is_control() && !is_fine(sign)) || turns_order || breaks_line {
            shown.extend(sign.escape_default());
        } else {
            shown.push(sign);
        }
    }
    shown
}

/// At most that many characters of a text's one line.
pub(crate) fn short(text: &str, chars_max: usize) -> String {
    let one_line = in_line(&text.split_whitespace().collect::<Vec<_>>().join(" "));
    match one_line.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &one_line[..end]),
        None => one_line,
    }
}

/// An error as recorded on a step or a run: code and message.
pub(crate) fn error_text(error: &Value) -> String {
    let field = |name: &str| error.get(name).and_then(Value::as_str);
    match (field("code"), field("message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        (None, _) => error.to_string(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
