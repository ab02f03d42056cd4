use super::*;
use crate::show::tests::{attempt, run, start};
use chrono::TimeDelta;
use serde_json::json;

fn ended(mut row: AttemptRow) -> AttemptRow {
    row.attempt_ended_at = Some(start() + TimeDelta::milliseconds(1_500));
    row
}

fn earlier(mut row: AttemptRow) -> AttemptRow {
    row.is_last = false;
    row
}

#[test]
fn an_attempt_whose_worker_died_is_shown_as_cut() {
    assert_eq!(state(&run("running"), &earlier(attempt(1, "succeeded"))), "cut");
}

#[test]
fn an_attempt_that_is_out_is_running_only_while_somebody_holds_the_run() {
    assert_eq!(state(&run("running"), &attempt(1, "running")), "running");
    assert_eq!(state(&run("queued"), &attempt(1, "running")), "cut");
}

#[test]
fn the_last_attempt_has_the_state_of_its_step() {
    assert_eq!(state(&run("waiting"), &attempt(1, "unknown")), "unknown");
    assert_eq!(state(&run("succeeded"), &ended(attempt(2, "succeeded"))), "succeeded");
}

#[test]
fn an_earlier_attempt_that_ended_failed_or_was_given_back() {
    let mut failed = ended(earlier(attempt(1, "succeeded")));
    assert_eq!(state(&run("succeeded"), &failed), "given back");
    failed.error = Some(json!({"code": "http_503"}).into());
    assert_eq!(state(&run("succeeded"), &failed), "failed");
}

#[test]
fn a_step_that_waits_says_until_when() {
    let mut row = ended(attempt(1, "waiting"));
    row.due_at = Some(start());
    assert_eq!(state(&run("running"), &row), "waiting until 10:00:00.000");
    row.due_at = Some(start() + TimeDelta::days(7));
    assert_eq!(state(&run("running"), &row), "waiting until 2026-11-21T10:00:00Z");
}

#[test]
fn a_crash_is_told_by_two_rows_of_one_step() {
    let mut second = ended(attempt(2, "succeeded"));
    second.worker = Some("worker B".to_owned());
    let text = of(&run("succeeded"), &[earlier(attempt(1, "succeeded")), second]);
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        lines[1][4..10],
        ["cut", "idempotent", "1", "worker", "A", "10:00:00.000"]
    );
    assert_eq!(
        lines[2][4..10],
        ["succeeded", "idempotent", "2", "worker", "B", "10:00:00.000"]
    );
    assert!(text.ends_with("1.50 s"), "{text}");
    assert!(!text.contains("ERROR"), "{text}");
}

#[test]
fn errors_have_their_code_in_the_table_and_their_sentence_below() {
    let mut failed = ended(attempt(1, "failed"));
    failed.error = Some(json!({"code": "http_503", "message": "the target is away"}).into());
    let text = of(&run("failed"), &[failed]);
    assert!(text.lines().nth(1).unwrap().ends_with("http_503"), "{text}");
    assert!(
        text.ends_with("  step 5, attempt 1: http_503: the target is away"),
        "{text}"
    );
}

#[test]
fn steps_of_a_workflow_stand_under_their_identity_and_have_no_turn() {
    let row = AttemptRow {
        turn: None,
        identity: Some("invoice#1[0]/charge#1".to_owned()),
        kind: "task".to_owned(),
        ..attempt(1, "succeeded")
    };
    let of_a_workflow = RunDetail {
        kind: "settle".to_owned(),
        ..run("succeeded")
    };
    let text = of(&of_a_workflow, &[row]);
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..3], ["STEP", "KIND", "NAME"]);
    assert_eq!(lines[1][..3], ["5", "task", "invoice#1[0]/charge#1"]);
}

#[test]
fn a_probe_is_named_by_the_tool_that_is_asked() {
    let probe = AttemptRow {
        kind: "probe".to_owned(),
        name: "find_refund".to_owned(),
        identity: Some("5.1#1".to_owned()),
        ..attempt(1, "succeeded")
    };
    let told = of(&run("succeeded"), &[probe]);
    assert!(told.contains("find_refund") && !told.contains("5.1#1"), "{told}");
}
