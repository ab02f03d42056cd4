//! What people are asked, and what they may answer.

use super::{in_line, instant, plain, short, table, trimmed, workflow};
use crate::output::{self, style};
use chrono::{DateTime, Utc};
use engine::query::{ApprovalDetail, ApprovalRow};
use uuid::Uuid;

/// So that a row fits a hundred columns.
const ABOUT_CHARS_MAX: usize = 20;
const WHY_CHARS_MAX: usize = 19;
const INDENT: &str = "  ";

/// A table of approvals. Of those that are open, why somebody is asked; of others, what became of them.
pub(crate) fn list(rows: &[ApprovalRow], are_open: bool) -> String {
    let mut approvals = table(&["approval", "opened", "about", if are_open { "why" } else { "state" }]);
    for row in rows {
        let of = row.agent.as_deref().unwrap_or(&row.kind);
        let cells = [
            row.id.to_string(),
            row.opened_at.format("%Y-%m-%dT%H:%MZ").to_string(),
            short(row.tool.as_deref().unwrap_or(of), ABOUT_CHARS_MAX),
            if are_open {
                short(&row.reason, WHY_CHARS_MAX)
            } else {
                short(
                    &became(&row.state, row.verb.as_deref(), row.actor.as_deref()),
                    WHY_CHARS_MAX,
                )
            },
        ];
        approvals.add_row(cells.iter().map(|cell| in_line(cell)));
    }
    trimmed(&approvals)
}

/// What became of it: a decision, or nothing yet.
fn became(state: &str, verb: Option<&str>, actor: Option<&str>) -> String {
    match (verb, actor) {
        (Some(verb), Some(actor)) => format!("{verb} by {actor}"),
        (_, _) => state.to_owned(),
    }
}

/// What is asked about one run, with what to type.
pub(crate) fn of_run(rows: &[ApprovalRow]) -> String {
    let mut lines = Vec::new();
    for row in rows {
        lines.push(format!("{INDENT}{}", in_line(&row.summary)));
        lines.push(format!(
            "{INDENT}{INDENT}{} inbox show {}    all that there is to judge by",
            output::program(),
            row.id
        ));
        lines.extend(
            commands(row.id, &row.verbs, row.settles_at)
                .iter()
                .map(|line| format!("{INDENT}{line}")),
        );
    }
    lines.join("\n")
}

/// A command for each verb.
fn commands(id: Uuid, verbs: &[String], settles_at: Option<DateTime<Utc>>) -> Vec<String> {
    let program = output::program();
    let told = verbs.iter().map(|verb| {
        let (more, what) = match verb.as_str() {
            "happened" => (" --result JSON", "it happened, and this is what it answered".to_owned()),
            "did_not_happen" => {
                let from = settles_at.map(|at| format!("; from {} on", instant(at)));
                ("", format!("it did not, and is made{}", from.unwrap_or_default()))
            }
            "probe_again" => ("", "its probe is asked once more".to_owned()),
            "give_up" => (" --words WHY", "nobody knows: it has failed".to_owned()),
            "approve" => ("", "go on, with fresh retries".to_owned()),
            "reject" => (" --words WHY", "it has failed, with your words".to_owned()),
            _ => ("", String::new()),
        };
        let verb = in_line(&verb.replace('_', "-"));
        format!("{INDENT}{program} inbox {verb} {id}{more}    {what}")
            .trim_end()
            .to_owned()
    });
    told.collect()
}

/// Everything about one approval: nothing of it is cut, and none of it steers the terminal.
pub(crate) fn whole(of: &ApprovalDetail) -> String {
    let mut lines = vec![style::bold(in_line(&of.summary))];
    lines.push(String::new());
    if of.state == "open" {
        lines.push(style::bold("What you can decide, once"));
        lines.extend(commands(of.approval_id, &of.verbs, of.settles_at));
    } else {
        let became = became(&of.state, of.verb.as_deref(), of.actor.as_deref());
        let at = of.decided_at.map(|at| format!(" at {}", instant(at)));
        lines.push(style::bold(in_line(&format!("{became}{}", at.unwrap_or_default()))));
        lines.extend(of.words.iter().map(|words| text(words)));
        if let Some(result) = &of.result {
            lines.push(text(&indented(result.get())));
        }
    }
    lines.push(String::new());
    lines.extend(facts(of));
    for (heading, payload) in [
        ("Request", &of.request),
        ("Error", &of.error),
        ("Evidence", &of.evidence),
    ] {
        if let Some(payload) = payload {
            lines.push(format!("\n{}", style::bold(heading)));
            lines.push(text(&indented(payload.get())));
        }
    }
    for (heading, payloads) in [("Probes", &of.probes), ("Late results", &of.late_results)] {
        if !payloads.is_empty() {
            lines.push(format!("\n{}", style::bold(heading)));
            lines.extend(payloads.iter().map(|payload| text(&indented(payload.get()))));
        }
    }
    lines.join("\n")
}

fn facts(of: &ApprovalDetail) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = |name: &str, text: String| lines.push(format!("{INDENT}{name:<10} {}", in_line(&text)));
    line("approval", of.approval_id.to_string());
    line("why", of.reason.clone());
    if of.priority != "normal" {
        line("priority", of.priority.clone());
    }
    line("run", format!("{}, {}, for {}", of.run_id, of.run_state, of.requester));
    match workflow(&of.kind) {
        Some(workflow) => line("workflow", workflow.to_owned()),
        None => line("agent", of.agent.clone().unwrap_or_default()),
    }
    if let (Some(step), Some(name)) = (of.step_seq, &of.name) {
        let effect = of.effect.as_deref().unwrap_or_default();
        line(
            "step",
            format!("{step} {name}, {effect}, attempt {}", of.attempt.unwrap_or_default()),
        );
    }
    if let Some(key) = &of.key {
        line("key", key.clone());
    }
    line("opened", instant(of.opened_at));
    lines
}

/// Somebody's own text, indented.
fn text(told: &str) -> String {
    let shown = plain(told);
    let lines: Vec<String> = shown.lines().map(|line| format!("{INDENT}{line}")).collect();
    lines.join("\n")
}

/// JSON over several lines, every value as it is written: read and written again, a long number would be another one.
pub(crate) fn indented(json: &str) -> String {
    let mut told = String::with_capacity(json.len() * 2);
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    let mut signs = json.chars().filter(|sign| !matches!(sign, '\n' | '\r')).peekable();
    while let Some(sign) = signs.next() {
        if in_string {
            told.push(sign);
            in_string = is_escaped || sign != '"';
            is_escaped = !is_escaped && sign == '\\';
            continue;
        }
        match sign {
            ' ' | '\t' => {}
            '{' | '[' => {
                told.push(sign);
                while signs.next_if(|next| matches!(next, ' ' | '\t')).is_some() {}
                if let Some(end) = signs.next_if(|next| matches!(next, '}' | ']')) {
                    told.push(end);
                } else {
                    depth += 1;
                    break_line(&mut told, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                break_line(&mut told, depth);
                told.push(sign);
            }
            ',' => {
                told.push(sign);
                break_line(&mut told, depth);
            }
            ':' => told.push_str(": "),
            _ => {
                in_string = sign == '"';
                told.push(sign);
            }
        }
    }
    told
}

fn break_line(told: &mut String, depth: usize) {
    told.push('\n');
    told.extend(std::iter::repeat_n(INDENT, depth));
}

#[cfg(test)]
mod tests;
