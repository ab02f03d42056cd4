use super::{Finding, Probe, Rule};
use crate::fixture::{error, probe_step};
use crate::journal::StepState;
use serde_json::{Value, json};

fn rule(pointer: &str, equals: Option<Value>) -> Rule {
    Rule {
        error: None,
        pointer: Some(pointer.to_owned()),
        equals,
        present: None,
    }
}

fn probe() -> Probe {
    Probe {
        tool: "look".to_owned(),
        input: json!({"key": "{key}", "order": "{order}", "query": "order {order} of {who}", "all": true})
            .as_object()
            .unwrap()
            .clone(),
        after_seconds: 30,
        happened: rule("/refund/id", None),
        did_not_happen: Rule {
            present: Some(false),
            ..rule("/refund", None)
        },
    }
}

fn found(content: &str) -> Finding {
    probe().read(&probe_step(3, (2, 1), StepState::Succeeded, content))
}

#[test]
fn a_rule_reads_what_stands_at_its_pointer() {
    let happened = r#"{"refund": {"id": 7}}"#;
    assert_eq!(found(happened), Finding::Happened(happened.to_owned()));
    assert_eq!(found(r#"{"refund": null}"#), Finding::DidNotHappen);
    assert_eq!(found(r#"{"refund": {"id": null}}"#), Finding::Unclear);
    assert_eq!(found("{}"), Finding::DidNotHappen);
    assert_eq!(found("no JSON"), Finding::Unclear);
}

#[test]
fn an_answer_that_both_rules_claim_is_unclear() {
    let mut probe = probe();
    probe.did_not_happen = rule("/refund/id", Some(json!(7)));
    let step = probe_step(3, (2, 1), StepState::Succeeded, r#"{"refund": {"id": 7}}"#);
    assert_eq!(probe.read(&step), Finding::Unclear);
}

#[test]
fn a_rule_about_an_error_holds_for_that_code_alone() {
    let mut probe = probe();
    probe.did_not_happen = Rule {
        error: Some("http_404".to_owned()),
        pointer: None,
        equals: None,
        present: None,
    };
    let failed = |code: &str| probe_step(3, (2, 1), StepState::Failed, "").failed_with(error(code));
    assert_eq!(probe.read(&failed("http_404")), Finding::DidNotHappen);
    assert_eq!(probe.read(&failed("http_500")), Finding::Unclear);
}

#[test]
fn a_probe_asks_with_the_calls_key_and_input() {
    let input = json!({"order": 7, "who": "ann", "secret": "no"});
    assert_eq!(
        probe().input("run-2", input.as_object().unwrap()),
        Ok(json!({"key": "run-2", "order": 7, "query": "order 7 of ann", "all": true}))
    );
    assert_eq!(
        probe().input("run-2", json!({"order": 7}).as_object().unwrap()),
        Err("who".to_owned())
    );
    assert_eq!(
        probe().fields(),
        Ok(["order", "order", "who"].map(str::to_owned).to_vec())
    );
}
