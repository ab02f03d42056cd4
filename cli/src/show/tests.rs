use super::*;
use chrono::TimeZone;
use engine::query::{AttemptRow, RunDetail};
use serde_json::json;

/// The instant at which everything here begins.
pub(crate) fn start() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 14, 10, 0, 0).unwrap()
}

/// A run in that state.
pub(crate) fn run(state: &str) -> RunDetail {
    RunDetail {
        id: "019a2f3c-5d5e-7000-8f65-0a8c3e1b2d4f".parse().unwrap(),
        tenant: "default".to_owned(),
        requester: "me".to_owned(),
        labels: serde_json::from_value(json!({})).unwrap(),
        kind: "agent".to_owned(),
        agent: Some("refund-desk".to_owned()),
        agent_version: Some(3),
        queue: "default".to_owned(),
        priority: 100,
        state: state.to_owned(),
        waiting_for: None,
        wait_reason: None,
        due_at: None,
        deadline_at: None,
        fence: engine::Fence(1),
        crashes: 0,
        cancel_requested_at: None,
        cancel_requested_by: None,
        cancel_reason: None,
        paused_at: None,
        paused_by: None,
        pause_reason: None,
        created_at: start(),
        started_at: Some(start()),
        ended_at: None,
        input: "{}".to_owned(),
        result: None,
        error: None,
        parent_id: None,
        tree_id: "019a2f3c-5d5e-7000-8f65-0a8c3e1b2d4f".parse().unwrap(),
        on_parent_end: None,
        awaited_signals: Vec::new(),
        worker: (state == "running").then(|| "worker A".to_owned()),
        drivable: true,
    }
}

/// An attempt of a tool step that is out.
pub(crate) fn attempt(number: i32, state: &str) -> AttemptRow {
    AttemptRow {
        seq: 5,
        turn: Some(2),
        identity: None,
        kind: "tool".to_owned(),
        name: "refund_order".to_owned(),
        state: state.to_owned(),
        effect: "idempotent".to_owned(),
        key: "a key".to_owned(),
        maybe_applied: false,
        replaces_seq: None,
        due_at: None,
        created_at: start(),
        ended_at: None,
        attempt: number,
        worker: Some("worker A".to_owned()),
        started_at: Some(start()),
        attempt_ended_at: None,
        error: None,
        evidence: None,
        result: None,
        step_error: None,
        is_last: true,
    }
}

#[test]
fn durations_are_said_as_people_say_them() {
    let said = [
        (0, "0 ms"),
        (999, "999 ms"),
        (1_050, "1.05 s"),
        (99_999, "99.99 s"),
        (100_000, "1 min 40 s"),
        (7_260_000, "2 h 1 min"),
        (259_200_000, "3 days"),
        (259_199_999, "3 days"),
    ];
    for (millis, expected) in said {
        assert_eq!(duration(TimeDelta::milliseconds(millis)), expected);
    }
}

#[test]
fn a_short_text_is_cut_between_characters() {
    assert_eq!(short("näher  am\nRand", 5), "näher…");
    assert_eq!(short("näher", 5), "näher");
}

#[test]
fn an_error_without_a_message_is_its_code() {
    assert_eq!(error_text(&json!({"code": "http_503"})), "http_503");
    assert_eq!(
        error_text(&json!({"code": "http_503", "message": "no"})),
        "http_503: no"
    );
    assert_eq!(error_text(&json!("odd")), "\"odd\"");
}

#[test]
fn what_steers_a_terminal_is_shown_and_not_obeyed() {
    assert_eq!(
        in_line("me\r\nroot\u{1b}[2K\u{202e}"),
        "me\\r\\nroot\\u{1b}[2K\\u{202e}"
    );
    assert_eq!(plain("one\r\ntwo\tthree\rfour\u{9b}"), "one\ntwo\tthree\\rfour\\u{9b}");
    assert_eq!(short("a \u{7} b", 10), "a \\u{7} b");
    assert_eq!(in_line("näher — 日本"), "näher — 日本");
}
