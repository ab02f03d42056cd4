use super::*;
use crate::show::tests::{run, start};

fn parked(reason: &str) -> RunDetail {
    RunDetail {
        waiting_for: Some("approval".to_owned()),
        wait_reason: Some(reason.to_owned()),
        ..run("waiting")
    }
}

#[test]
fn a_run_with_an_unknown_outcome_leads_to_the_inbox_and_is_not_offered_to_be_resumed() {
    let told = next(&parked("unknown_outcome")).join("\n");
    assert!(told.contains(" inbox list --run 019a2f3c-"), "{told}");
    assert!(told.contains("longhaul run cancel 019a2f3c-"), "{told}");
    assert!(!told.contains("longhaul run resume"), "{told}");
}

#[test]
fn a_run_that_waits_for_a_person_for_another_reason_is_offered_to_be_resumed() {
    let told = next(&parked("retries_exhausted")).join("\n");
    assert!(told.contains(" inbox list --run 019a2f3c-"), "{told}");
    assert!(told.contains("longhaul run resume 019a2f3c-"), "{told}");
    assert!(told.contains("longhaul run cancel 019a2f3c-"), "{told}");
}

#[test]
fn a_failed_run_is_offered_to_be_resumed_and_others_need_nothing() {
    assert!(next(&run("failed")).join("\n").contains("longhaul run resume"));
    assert!(next(&run("succeeded")).is_empty());
    assert!(next(&run("running")).is_empty());
}

#[test]
fn states_are_said_with_their_reason() {
    assert_eq!(state(&run("running")), "running on worker A");
    assert_eq!(state(&run("queued")), "queued for a worker");
    assert_eq!(
        state(&parked("refusal")),
        "waiting for a person: the model refused (refusal)"
    );
    let timer = RunDetail {
        waiting_for: Some("timer".to_owned()),
        wait_reason: Some("retry".to_owned()),
        due_at: Some(start()),
        ..run("waiting")
    };
    assert_eq!(
        state(&timer),
        "waiting until 2026-11-14T10:00:00Z, then a step is tried again"
    );
}

#[test]
fn a_cancelled_run_says_by_whom_and_why() {
    let cancelled = RunDetail {
        cancel_requested_by: Some("me".to_owned()),
        cancel_reason: Some("asked twice".to_owned()),
        ..run("cancelled")
    };
    assert_eq!(state(&cancelled), "cancelled by me: asked twice");
}

#[test]
fn an_answer_is_shown_as_text_and_an_error_with_what_to_do() {
    let answered = RunDetail {
        result: Some(r#"{"answer":"one\ntwo"}"#.to_owned()),
        ..run("succeeded")
    };
    assert!(end(&answered).unwrap().ends_with("  one\n  two"));
    let failed = RunDetail {
        error: Some(r#"{"code":"missing_secret","message":"NAME is not set","suggestion":"set NAME"}"#.to_owned()),
        ..run("failed")
    };
    let told = end(&failed).unwrap();
    assert!(
        told.contains("  missing_secret: NAME is not set\n  set NAME\n"),
        "{told}"
    );
    let failed = RunDetail {
        error: Some(r#"{"code":"step_failed","message":"closed","step":"shop#1[0]/pay#1"}"#.to_owned()),
        ..run("failed")
    };
    let told = end(&failed).unwrap();
    assert!(
        told.contains("  step_failed: closed\n  at step shop#1[0]/pay#1\n"),
        "{told}"
    );
}

#[test]
fn a_run_that_no_live_worker_can_drive_says_so() {
    let stranded = RunDetail {
        drivable: false,
        ..run("queued")
    };
    assert!(state(&stranded).contains("no live worker takes queue default"));
    assert!(next(&stranded).join("\n").contains("longhaul worker "));
}

#[test]
fn why_no_live_worker_can_drive_it_is_said_in_words() {
    let stranded = RunDetail {
        drivable: false,
        queue: "emails".to_owned(),
        ..run("queued")
    };
    let lacking = |of_queue: i64, missing: &[&str]| Undrivable {
        workers_alive: 2,
        workers_of_queue: of_queue,
        kind_known: true,
        functions_missing: missing.iter().map(|name| (*name).to_owned()).collect(),
        functions: vec!["convert_currency".to_owned(), "send".to_owned()],
    };
    let none = Undrivable {
        workers_alive: 0,
        ..lacking(0, &[])
    };
    let said = [
        (none, "queued: no worker is alive"),
        (
            lacking(0, &["send"]),
            "queued: no live worker takes from queue \"emails\"",
        ),
        (
            lacking(1, &["convert_currency"]),
            "queued: it needs function convert_currency, which no live worker of queue \"emails\" has",
        ),
        (
            lacking(2, &[]),
            "queued: no live worker of queue \"emails\" has all of convert_currency, send at once",
        ),
    ];
    for (why, expected) in said {
        assert_eq!(state_with(&stranded, Some(&why)), expected);
    }
    assert!(next(&stranded).join("\n").contains("longhaul worker --queue emails"));
}

#[test]
fn a_paused_run_says_by_whom_and_is_offered_to_be_resumed() {
    let paused = RunDetail {
        paused_at: Some(start()),
        paused_by: Some("me".to_owned()),
        pause_reason: Some("bank holiday".to_owned()),
        ..run("queued")
    };
    assert_eq!(state(&paused), "paused at 2026-11-14T10:00:00Z by me: bank holiday");
    assert!(next(&paused).join("\n").contains("longhaul run resume"));
}

#[test]
fn whoever_steers_a_run_writes_within_a_line() {
    let cancelled = RunDetail {
        requester: "me\u{1b}]0;root\u{7}".to_owned(),
        cancel_requested_by: Some("me\rroot\nnobody".to_owned()),
        labels: serde_json::from_value(serde_json::json!({"a": "b\nc"})).unwrap(),
        result: Some(r#"{"answer":"paid\rnot paid"}"#.to_owned()),
        ..run("cancelled")
    };
    assert_eq!(state(&cancelled), "cancelled by me\\rroot\\nnobody");
    let head = head(&cancelled, None);
    assert!(
        head.contains("a=b\\nc") && head.contains("me\\u{1b}]0;root\\u{7}"),
        "{head:?}"
    );
    assert!(end(&cancelled).unwrap().ends_with("  paid\\rnot paid"));
}

#[test]
fn a_run_of_a_workflow_is_told_in_its_own_words() {
    let settle = |state: &str| RunDetail {
        kind: "settle".to_owned(),
        agent: None,
        agent_version: None,
        ..run(state)
    };
    assert!(head(&settle("running"), None).contains("\n  workflow   settle\n"));
    let ended = RunDetail {
        result: Some(r#"{"answer":1}"#.to_owned()),
        ..settle("succeeded")
    };
    assert!(end(&ended).unwrap().ends_with("\n  {\"answer\":1}"));
    let stranded = RunDetail {
        drivable: false,
        ..settle("queued")
    };
    let lacking = Undrivable {
        workers_alive: 1,
        workers_of_queue: 1,
        kind_known: false,
        functions_missing: Vec::new(),
        functions: Vec::new(),
    };
    assert_eq!(
        state_with(&stranded, Some(&lacking)),
        "queued: no live worker of queue \"default\" has workflow settle"
    );
    assert!(next(&stranded).join("\n").contains("a program that registers settle"));
}

#[test]
fn a_workflow_that_waits_says_for_what_and_until_when() {
    let waits = |waiting_for: &str| RunDetail {
        kind: "settle".to_owned(),
        waiting_for: Some(waiting_for.to_owned()),
        wait_reason: Some(waiting_for.to_owned()),
        due_at: Some(start()),
        ..run("waiting")
    };
    let until = "until 2026-11-14T10:00:00Z";
    assert_eq!(
        state(&waits("timer")),
        format!("waiting {until} for a timer or a step's next try")
    );
    assert_eq!(state(&waits("child")), format!("waiting for a child to end {until}"));
    let signalled = RunDetail {
        awaited_signals: vec!["paid".to_owned(), "given up".to_owned()],
        ..waits("signal")
    };
    assert_eq!(
        state(&signalled),
        format!("waiting for the signal paid or given up {until}")
    );
    assert!(
        next(&signalled)
            .join("\n")
            .contains(" run signal 019a2f3c-5d5e-7000-8f65-0a8c3e1b2d4f paid PAYLOAD ")
    );
}
