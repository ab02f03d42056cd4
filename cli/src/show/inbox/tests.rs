use super::*;
use crate::show::tests::start;
use serde_json::{Value, json};

const ID: &str = "0f7a3c2e-6d9b-4c1f-8a5e-7d6c3b2a1908";

fn row(state: &str) -> ApprovalRow {
    ApprovalRow {
        id: ID.parse().unwrap(),
        run: "019a2f3c-5d5e-7000-8f65-0a8c3e1b2d4f".parse().unwrap(),
        agent: Some("refund-desk".to_owned()),
        kind: "agent".to_owned(),
        run_state: "waiting".to_owned(),
        step_seq: Some(5),
        tool: Some("refund_order_to_the_customers_card".to_owned()),
        reason: "unknown_stop_reason".to_owned(),
        state: state.to_owned(),
        priority: "normal".to_owned(),
        summary: "Step 5 may have happened. Did it?".to_owned(),
        verbs: ["happened", "did_not_happen"].map(str::to_owned).to_vec(),
        opened_at: start(),
        settles_at: Some(start()),
        decided_at: None,
        verb: None,
        actor: None,
        words: None,
    }
}

fn whole_of(change: impl FnOnce(&mut Value)) -> String {
    let mut told = json!({
        "approval_id": ID, "run_id": "019a2f3c-5d5e-7000-8f65-0a8c3e1b2d4f", "run_state": "waiting", "requester": "me",
        "kind": "agent", "agent": "refund-desk", "step_seq": 5, "attempt": 1, "name": "refund_order",
        "effect": "at_most_once", "key": "a key", "reason": "unknown_outcome", "state": "open",
        "priority": "high", "summary": "Step 5 may have happened. Did it?", "verbs": ["happened", "did_not_happen", "give_up"],
        "opened_at": start(), "settles_at": start(), "tenant": "default", "probes": [], "late_results": [],
    });
    change(&mut told);
    anstream::adapter::strip_str(&whole(&serde_json::from_str(&told.to_string()).unwrap())).to_string()
}

#[test]
fn the_inbox_fits_a_hundred_columns_with_whole_ids() {
    let decided = ApprovalRow {
        verb: Some("did_not_happen".to_owned()),
        actor: Some("somebody.with.a.name@example.com".to_owned()),
        ..row("decided")
    };
    for told in [list(&[row("open")], true), list(&[decided, row("withdrawn")], false)] {
        assert!(told.lines().all(|line| line.chars().count() <= 100), "{told}");
        assert!(told.contains(ID), "{told}");
    }
}

#[test]
fn the_question_comes_first_then_what_may_be_decided_then_all_that_there_is() {
    let long = "x".repeat(100_000);
    let told = whole_of(|told| {
        told["request"] = json!({"amount": 1, "note": long});
        told["evidence"] = json!({"sent": true});
        told["late_results"] = json!([{"attempt": 1}]);
    });
    let places: Vec<usize> = [
        "Did it?",
        &format!(" inbox happened {ID} --result JSON "),
        &format!(" inbox did-not-happen {ID} "),
        &format!(" inbox give-up {ID} "),
        "  priority   high\n",
        "  run        019a2f3c-5d5e-7000-8f65-0a8c3e1b2d4f, waiting, for me\n",
        "\nRequest\n",
        &long,
        "\nEvidence\n",
        "\nLate results\n",
    ]
    .iter()
    .map(|part| told.find(part).unwrap_or_else(|| panic!("no {part} in {told}")))
    .collect();
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn a_decided_one_says_by_whom_and_in_which_words_and_offers_nothing() {
    let told = whole_of(|told| {
        told["state"] = json!("decided");
        told["verb"] = json!("happened");
        told["actor"] = json!("ann");
        told["words"] = json!("the bank\nsays so");
        told["decided_at"] = json!(start());
        told["result"] = json!({"refund": 7});
    });
    let expected = "happened by ann at 2026-11-14T10:00:00Z\n  the bank\n  says so\n  {\n    \"refund\": 7\n  }\n";
    assert!(told.contains(expected), "{told}");
    assert!(!told.contains(" inbox "), "{told}");
}

#[test]
fn what_steers_a_terminal_is_shown_and_not_obeyed() {
    let told = whole_of(|told| {
        told["summary"] = json!("Did it\u{1b}[2J?");
        told["request"] = json!({"to": "\u{202e}ann", "from": "\u{9b}bob"});
        told["words"] = json!("\u{1b}]0;x\u{7}");
    });
    assert!(told.contains("\\u{202e}ann") && told.contains("\\u{9b}bob"), "{told:?}");
    assert!(told.contains("Did it\\u{1b}[2J?"), "{told:?}");
}

#[test]
fn json_is_laid_out_and_every_value_stays_as_it_was_written() {
    let told = indented(r#"{"a": 12345678901234567890.10, "b": [], "c": [1, {"d": "x,{\"}:"}], "e": { }}"#);
    let expected = "{\n  \"a\": 12345678901234567890.10,\n  \"b\": [],\n  \"c\": [\n    1,\n    {\n      \"d\": \"x,{\\\"}:\"\n    }\n  ],\n  \"e\": {}\n}";
    assert_eq!(told, expected);
}
