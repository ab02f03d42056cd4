//! Events, one line each, for those who follow a run.

use super::{clock, duration, in_line};
use crate::output::style;
use chrono::{DateTime, Utc};
use engine::query::{AttemptRow, EventRow};
use serde_json::Value;

/// `12:03:04.123  step.started     5 tool refund_order, attempt 2 (interrupted)  worker B`.
pub(crate) fn line(event: &EventRow, journal: &[AttemptRow]) -> String {
    let step = event.step_seq.and_then(|seq| journal.iter().find(|row| row.seq == seq));
    let mut words = Vec::new();
    if let Some(step) = step {
        words.push(format!("{} {} {}", step.seq, step.kind, super::journal::named(step)));
    }
    words.extend(facts(event, step));
    let worker = event.worker.as_deref().map(|worker| style::dim(in_line(worker)));
    let mut parts = vec![style::dim(clock(event.at)), format!("{:<20}", in_line(&event.kind))];
    parts.extend((!words.is_empty()).then(|| in_line(&words.join(", "))));
    parts.extend(worker);
    parts.join("  ")
}

fn facts(event: &EventRow, step: Option<&AttemptRow>) -> Vec<String> {
    let Some(data) = &event.data else {
        return Vec::new();
    };
    let field = |name: &str| {
        data.0.get(name).and_then(|value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        })
    };
    let mut words = Vec::new();
    if event.kind == "run.started" {
        let name = field("agent").or_else(|| field("kind")).unwrap_or_default();
        let version = field("version").map(|version| format!(" version {version}"));
        words.push(name + &version.unwrap_or_default());
    }
    let attempt = field("attempt").filter(|attempt| attempt != "0" && attempt != "1");
    words.extend(attempt.map(|attempt| format!("attempt {attempt}")));
    words.extend(field("why"));
    words.extend(field("stop_reason"));
    words.extend(field("for").map(|what| format!("for {what}")));
    words.extend(field("verb"));
    words.extend(field("code"));
    words.extend(field("reason").filter(|reason| field("for").as_ref() != Some(reason)));
    words.extend(field("message"));
    words.extend(field("sender").map(|sender| format!("from {sender}")));
    words.extend((data.0.get("timed_out") == Some(&Value::Bool(true))).then(|| "nothing came in time".to_owned()));
    if let Some(due) = field("due_at").and_then(|due| due.parse::<DateTime<Utc>>().ok()) {
        let what = match step.map(|step| step.kind.as_str()) {
            Some("timer") => "due in",
            Some("signal") => "at most",
            Some(_) | None => "again in",
        };
        words.push(format!("{what} {}", duration(due - event.at)));
    }
    // What woke it: a signal by its name, a child by its id, a decision by whose it is.
    let what = field("name")
        .or_else(|| field("run_id"))
        .or_else(|| field("actor").map(|actor| format!("of {actor}")))
        .filter(|_| event.kind == "run.woken");
    let what = what.map(|what| format!(" {what}")).unwrap_or_default();
    words.extend(field("by").map(|who| format!("by {who}{what}")));
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::tests::{attempt, start};
    use chrono::TimeDelta;
    use engine::query::Shown;
    use serde_json::json;

    #[test]
    fn an_event_of_a_workflow_names_it_and_its_step_by_identity() {
        let event = |kind: &str, step_seq: Option<i32>, data: Value| EventRow {
            seq: 1,
            at: start(),
            kind: kind.to_owned(),
            step_seq,
            worker: None,
            data: Some(Shown(data)),
        };
        let started = event(
            "run.started",
            None,
            json!({"kind": "settle", "agent": null, "version": null}),
        );
        assert!(
            line(&started, &[]).ends_with("run.started           settle"),
            "{}",
            line(&started, &[])
        );
        let timer = AttemptRow {
            identity: Some("invoice#1[0]/sleep#2".to_owned()),
            kind: "timer".to_owned(),
            ..attempt(0, "waiting")
        };
        let asleep = event("step.started", Some(5), json!({"due_at": start() + TimeDelta::days(7)}));
        let told = line(&asleep, &[timer]);
        assert!(told.ends_with("5 timer invoice#1[0]/sleep#2, due in 7 days"), "{told}");
    }

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        let event = EventRow {
            seq: 1,
            at: start(),
            kind: "run.cancelled".to_owned(),
            step_seq: None,
            worker: Some("worker\rA".to_owned()),
            data: Some(Shown(json!({"by": "me\nroot", "reason": "\u{1b}[2J"}))),
        };
        let told = line(&event, &[]);
        assert!(told.contains("by me\\nroot"), "{told:?}");
        assert!(told.contains("worker\\rA"), "{told:?}");
        assert!(!told.contains("\u{1b}[2J") && !told.contains('\n'), "{told:?}");
    }
}
