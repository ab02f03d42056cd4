use super::*;
use crate::show::tests::{attempt, run};

fn arrival(number: u64, applied: bool) -> Record {
    Record {
        arrival: number,
        at: "2026-11-14T10:00:00Z".to_owned(),
        key: Some("a key".to_owned()),
        order_id: "ORD-1007".to_owned(),
        amount_cents: 4250,
        reason: "broken".to_owned(),
        body_sha256: "00".to_owned(),
        worker: None,
        attempt: None,
        applied,
        refund_id: Some("RF-000001".to_owned()),
    }
}

fn as_it_should_be() -> Evidence {
    let mut second = attempt(2, "succeeded");
    second.worker = Some("worker B".to_owned());
    Evidence {
        run: run("succeeded"),
        journal: vec![attempt(1, "succeeded"), second],
        transcript: vec![MessageRow {
            position: 1,
            role: "tool".to_owned(),
            tool: Some("refund_order".to_owned()),
            is_error: false,
            text: Some("{\"refund_id\":\"RF-000001\"}".to_owned()),
            content: None,
            step_seq: Some(5),
        }],
        ledger: vec![arrival(1, true), arrival(2, false)],
    }
}

fn failed_checks(evidence: &Evidence) -> Vec<String> {
    judge(evidence).broken().into_iter().map(str::to_owned).collect()
}

#[test]
fn a_demo_as_it_should_be_holds() {
    assert!(judge(&as_it_should_be()).held());
}

#[test]
fn a_second_payment_is_seen() {
    let mut evidence = as_it_should_be();
    evidence.ledger[1].applied = true;
    assert_eq!(failed_checks(&evidence), ["it was paid once"]);
}

#[test]
fn another_key_is_seen() {
    let mut evidence = as_it_should_be();
    evidence.ledger[1].key = Some("another".to_owned());
    assert_eq!(failed_checks(&evidence), ["the refund arrived twice, under one key"]);
}

#[test]
fn one_worker_alone_is_seen() {
    let mut evidence = as_it_should_be();
    evidence.journal.pop();
    assert_eq!(failed_checks(&evidence), ["two workers drove it"]);
}

#[test]
fn a_run_that_did_nothing_fails_every_check() {
    let evidence = Evidence {
        run: run("failed"),
        journal: Vec::new(),
        transcript: Vec::new(),
        ledger: Vec::new(),
    };
    assert_eq!(failed_checks(&evidence).len(), 5);
}
