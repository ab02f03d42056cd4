//! A run's head and end in words: where it stands, why, and what a person can do.

use super::{duration, error_text, in_line, instant, plain, short, table, trimmed, workflow};
use crate::output::{self, style};
use chrono::{DateTime, Utc};
use engine::query::{RunDetail, RunRow, Undrivable};
use serde_json::Value;

/// State, agent or workflow, times and whose it is.
pub(crate) fn head(run: &RunDetail, undrivable: Option<&Undrivable>) -> String {
    let mut lines = vec![format!("{} {}", style::bold("run"), run.id)];
    let mut line = |name: &str, text: String| lines.push(format!("  {name:<10} {text}"));
    // Already fit for a terminal, with a colour around it.
    line("state", coloured(&run.state, &state_with(run, undrivable)));
    let mut line = |name: &str, text: String| line(name, in_line(&text));
    match workflow(&run.kind) {
        Some(workflow) => line("workflow", workflow.to_owned()),
        None => line("agent", agent(run)),
    }
    line(
        "for",
        format!(
            "{}, tenant {}, queue {}, priority {}",
            run.requester, run.tenant, run.queue, run.priority
        ),
    );
    if let Some(parent) = run.parent_id {
        let then = match run.on_parent_end.as_deref() {
            Some("abandon") => "goes on when that ends",
            Some(_) | None => "ends with it",
        };
        line("parent", format!("{parent}, {then}"));
        if run.tree_id != parent {
            line("tree", run.tree_id.to_string());
        }
    }
    if !run.labels.0.is_empty() {
        let labels: Vec<String> = run
            .labels
            .0
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        line("labels", labels.join(" "));
    }
    line("created", instant(run.created_at));
    if let Some(started) = run.started_at {
        line("started", instant(started));
    }
    if let Some(ended) = run.ended_at {
        line(
            "ended",
            format!("{}, after {}", instant(ended), duration(ended - run.created_at)),
        );
    } else if let Some(deadline) = run.deadline_at {
        line("deadline", instant(deadline));
    }
    if run.crashes > 0 && run.ended_at.is_none() {
        let apart = if run.crashes >= engine::limits::CRASHES_SUSPECT && run.wait_reason.as_deref() != Some("crashes") {
            "; it is driven apart from other runs"
        } else {
            ""
        };
        let told = format!(
            "{} of {} since its last result{apart}",
            run.crashes,
            engine::limits::CRASHES_MAX
        );
        line("crashes", told);
    }
    lines.join("\n")
}

fn agent(run: &RunDetail) -> String {
    let version = run.agent_version.map(|version| format!(" version {version}"));
    format!(
        "{}{}",
        run.agent.as_deref().unwrap_or_default(),
        version.unwrap_or_default()
    )
}

/// The result or the error, and what to do.
pub(crate) fn end(run: &RunDetail) -> Option<String> {
    let mut lines = Vec::new();
    if let Some(result) = &run.result {
        let value: Value = serde_json::from_str(result).unwrap_or(Value::Null);
        let answer = value.get("answer").and_then(Value::as_str);
        let (heading, told) = match workflow(&run.kind) {
            Some(_) => ("Result", result.as_str()),
            None => ("Answer", answer.unwrap_or(result)),
        };
        lines.push(style::bold(heading));
        let told = plain(told);
        lines.extend(told.lines().map(|line| format!("  {line}")));
    }
    if let Some(error) = run
        .error
        .as_ref()
        .and_then(|error| serde_json::from_str::<Value>(error).ok())
    {
        lines.push(style::bold("Error"));
        lines.push(format!("  {}", in_line(&error_text(&error))));
        if let Some(step) = error.get("step").and_then(Value::as_str) {
            lines.push(format!("  at step {}", in_line(step)));
        }
        if let Some(suggestion) = error.get("suggestion").and_then(Value::as_str) {
            lines.push(format!("  {}", in_line(suggestion)));
        }
    }
    lines.extend(next(run));
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// The command that helps, where a person is needed.
pub(crate) fn next(run: &RunDetail) -> Vec<String> {
    let id = run.id;
    let resume = format!("  {} run resume {id}", output::program());
    let cancel = format!("  {} run cancel {id}", output::program());
    if run.state == "failed" {
        return vec![
            style::bold("Once the cause is mended"),
            format!("{resume}    what was done is not done again"),
        ];
    }
    if run.paused_at.is_some() && run.ended_at.is_none() {
        return vec![style::bold("What you can do"), format!("{resume}    lifts the pause")];
    }
    if run.state == "queued" && !run.drivable {
        let queue = match run.queue.as_str() {
            "default" => String::new(),
            queue => format!(" --queue {}", in_line(queue)),
        };
        return vec![
            style::bold("What you can do"),
            match workflow(&run.kind) {
                Some(workflow) => format!("  a worker{queue} of a program that registers {workflow} takes it up"),
                None => format!("  longhaul worker{queue}    takes it up, if it has the functions"),
            },
        ];
    }
    if let Some(name) = run.awaited_signals.first() {
        let name = output::quoted(&in_line(name));
        return vec![
            style::bold("What you can do"),
            format!(
                "  {} run signal {id} {name} PAYLOAD    tells it what it waits for",
                output::program()
            ),
        ];
    }
    if run.waiting_for.as_deref() != Some("approval") {
        return Vec::new();
    }
    let inbox = format!("  {} inbox list --run {id}    shows what is asked", output::program());
    if run.wait_reason.as_deref() == Some("unknown_outcome") {
        return vec![
            style::bold("What you can do"),
            "  Find out whether the call with the state unknown happened: its target knows, Longhaul does not."
                .to_owned(),
            "  Until you say what became of it, it is not sent again, and the run cannot be resumed over it."
                .to_owned(),
            inbox,
            format!("{cancel}    ends the run; what became of the call is still asked"),
        ];
    }
    vec![
        style::bold("What you can do"),
        inbox,
        format!("{resume}    lets it go on"),
        format!("{cancel}    ends it"),
    ]
}

/// The state with its reason.
pub(crate) fn state(run: &RunDetail) -> String {
    state_with(run, None)
}

/// The same, where it is known why no worker drives it.
pub(crate) fn state_with(run: &RunDetail, undrivable: Option<&Undrivable>) -> String {
    in_line(&state_in_words(run, undrivable))
}

fn state_in_words(run: &RunDetail, undrivable: Option<&Undrivable>) -> String {
    let paused = run.paused_at.map(|at| paused(run, at));
    let told = match run.state.as_str() {
        // A pause is all that it waits for.
        "queued" if run.paused_at.is_some() => return paused.unwrap_or_default(),
        "queued" if !run.drivable => format!("queued: {}", nobody(run, undrivable)),
        "queued" => match run.due_at.filter(|due| *due > run.created_at) {
            Some(due) => format!("queued for a worker, due at {}", instant(due)),
            None => "queued for a worker".to_owned(),
        },
        "running" => {
            let worker = run.worker.as_deref().unwrap_or("a worker");
            let cancel = run.cancel_requested_at.map(|_| format!(", cancel asked{}", by(run)));
            format!("running on {worker}{}", cancel.unwrap_or_default())
        }
        "waiting" => waiting(run),
        "cancelled" => format!("cancelled{}", by(run)),
        ended => ended.to_owned(),
    };
    match paused.filter(|_| run.ended_at.is_none()) {
        Some(paused) => format!("{told}, {paused}"),
        None => told,
    }
}

/// Why no live worker drives it.
fn nobody(run: &RunDetail, undrivable: Option<&Undrivable>) -> String {
    let queue = &run.queue;
    let Some(why) = undrivable else {
        if let Some(workflow) = workflow(&run.kind) {
            return format!("no live worker takes queue {queue} and has workflow {workflow}");
        }
        return format!("no live worker takes queue {queue} with the functions that the agent needs");
    };
    match why {
        Undrivable { workers_alive: 0, .. } => "no worker is alive".to_owned(),
        Undrivable {
            workers_of_queue: 0, ..
        } => format!("no live worker takes from queue {queue:?}"),
        Undrivable { kind_known: false, .. } => match workflow(&run.kind) {
            Some(workflow) => format!("no live worker of queue {queue:?} has workflow {workflow}"),
            None => format!("no live worker of queue {queue:?} drives agents"),
        },
        Undrivable { functions_missing, .. } => match functions_missing.as_slice() {
            [] => format!(
                "no live worker of queue {queue:?} has all of {} at once",
                why.functions.join(", ")
            ),
            [one] => format!("it needs function {one}, which no live worker of queue {queue:?} has"),
            several => format!(
                "it needs functions {}, which no live worker of queue {queue:?} has",
                several.join(", ")
            ),
        },
    }
}

fn paused(run: &RunDetail, at: DateTime<Utc>) -> String {
    let who = run.paused_by.as_deref().map(|who| format!(" by {who}"));
    let why = run.pause_reason.as_deref().map(|why| format!(": {}", short(why, 200)));
    format!(
        "paused at {}{}{}",
        instant(at),
        who.unwrap_or_default(),
        why.unwrap_or_default()
    )
}

/// Who wanted the run's end, and why.
fn by(run: &RunDetail) -> String {
    let who = run.cancel_requested_by.as_deref().map(|who| format!(" by {who}"));
    let why = run.cancel_reason.as_deref().map(|why| format!(": {}", short(why, 200)));
    format!("{}{}", who.unwrap_or_default(), why.unwrap_or_default())
}

fn waiting(run: &RunDetail) -> String {
    let until = run
        .due_at
        .map(|due| format!(" until {}", instant(due)))
        .unwrap_or_default();
    let reason = run.wait_reason.as_deref().unwrap_or_default();
    match run.waiting_for.as_deref().unwrap_or_default() {
        "approval" => format!("waiting for a person{until}: {}", why(reason)),
        "timer" if reason == "retry" => format!("waiting{until}, then a step is tried again"),
        "signal" if !run.awaited_signals.is_empty() => {
            format!("waiting for the signal {}{until}", run.awaited_signals.join(" or "))
        }
        "child" if reason == "child" => format!("waiting for a child to end{until}"),
        "timer" if reason == "timer" => format!("waiting{until} for a timer or a step's next try"),
        waiting_for => format!("waiting for a {waiting_for}{until}: {}", why(reason)),
    }
}

fn why(reason: &str) -> String {
    let words = match reason {
        "unknown_outcome" => "nobody can vouch for the outcome of a call that must not be made twice",
        "retries_exhausted" => "a call was tried as often as allowed, and a person must say how it goes on",
        "unknown_stop_reason" => "the model stopped for a reason that this release does not know",
        "refusal" => "the model refused",
        "spend_cap" => "the provider's spend cap is reached",
        "crashes" => "quarantined, since its workers died again and again",
        _ => return reason.to_owned(),
    };
    format!("{words} ({reason})")
}

/// A state's words in its colour.
pub(crate) fn coloured(state: &str, words: &str) -> String {
    match state {
        "succeeded" => style::green(words),
        "failed" | "cancelled" => style::red(words),
        "waiting" => style::yellow(words),
        _ => style::bold(words),
    }
}

/// A table of runs.
pub(crate) fn list(runs: &[RunRow]) -> String {
    let mut rows = table(&[
        "run",
        "state",
        "agent or workflow",
        "created",
        "took",
        "worker",
        "requester",
    ]);
    for run in runs {
        let waiting = match (&run.waiting_for, &run.wait_reason) {
            (Some(waiting_for), Some(reason)) if reason != waiting_for => format!(" for {waiting_for}: {reason}"),
            (Some(waiting_for), _) => format!(" for {waiting_for}"),
            (None, _) => String::new(),
        };
        let is_paused = run.paused_at.is_some() && run.ended_at.is_none();
        let version = run
            .agent_version
            .map(|version| format!(" v{version}"))
            .unwrap_or_default();
        rows.add_row(
            [
                run.id.to_string(),
                format!("{}{waiting}{}", run.state, if is_paused { ", paused" } else { "" }),
                format!("{}{version}", run.agent.as_deref().unwrap_or(&run.kind)),
                instant(run.created_at),
                run.ended_at
                    .map(|ended| duration(ended - run.created_at))
                    .unwrap_or_default(),
                run.worker.clone().unwrap_or_default(),
                short(&run.requester, 40),
            ]
            .iter()
            .map(|cell| in_line(cell)),
        );
    }
    trimmed(&rows)
}

#[cfg(test)]
mod tests;
