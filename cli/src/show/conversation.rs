//! The conversation, as the model was shown it.

use super::{in_line, plain};
use crate::output::style;
use engine::query::MessageRow;

/// A page of text; more of one message is only shown as JSON.
pub(crate) const LINES_MAX: usize = 40;
/// The same for a message without lines.
const CHARS_MAX: usize = 4_000;
const INDENT: &str = "    ";

/// One paragraph per message, each at most that many lines.
pub(crate) fn of(messages: &[MessageRow], lines_max: usize) -> String {
    let mut lines = Vec::new();
    for message in messages {
        let who = match (&message.tool, message.is_error) {
            (Some(tool), true) => format!("{} {tool}, an error", message.role),
            (Some(tool), false) => format!("{} {tool}", message.role),
            (None, _) => message.role.clone(),
        };
        lines.push(format!("  {}", style::bold(in_line(&who))));
        lines.extend(body(&plain(message.text.as_deref().unwrap_or_default()), lines_max));
    }
    lines.join("\n")
}

/// A payload on its own, at most that many lines.
pub(crate) fn payload(text: &str, lines_max: usize) -> String {
    body(&plain(text), lines_max).join("\n")
}

fn body(text: &str, lines_max: usize) -> Vec<String> {
    let cut = text.char_indices().nth(CHARS_MAX).map_or(text.len(), |(end, _)| end);
    let lines: Vec<&str> = text[..cut].lines().filter(|line| !line.trim().is_empty()).collect();
    let shown = &lines[..lines.len().min(lines_max)];
    let is_whole = cut == text.len() && shown.len() == lines.len();
    let mut told: Vec<String> = shown.iter().map(|line| format!("{INDENT}{line}")).collect();
    if !is_whole {
        told.push(format!("{INDENT}{}", style::dim("…")));
    }
    told
}

#[cfg(test)]
mod tests;
