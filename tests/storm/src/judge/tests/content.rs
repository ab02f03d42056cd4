//! What is recorded as a result is what the world answered.

use super::broken;
use super::good::{Good, result};
use crate::judge::row::StepKind;
use crate::plan::Kind;
use crate::record::Declared;

#[test]
fn a_result_with_another_receipt_is_found() {
    for (kind, run) in [(StepKind::Tool, Kind::Agent), (StepKind::Task, Kind::Workflow)] {
        let mut good = Good::new();
        let (number, seq) = good.call(kind, Declared::Idempotent);
        let effect = good.step(number, seq).asks_for().unwrap();
        let other = good.call(kind, Declared::ReadOnly);
        let (own, others) = (good.arrival_of(number, seq), good.arrival_of(other.0, other.1));
        for (effect, receipt, expected) in [
            (effect.as_str(), own, vec![]),
            (effect.as_str(), others, vec!["content"]),
            ("r1-t9-c9", own, vec!["content"]),
        ] {
            let mut good = good.clone();
            good.step(number, seq).result = Some(result(effect, run, receipt));
            assert_eq!(broken(good), expected);
        }
    }
}

#[test]
fn a_result_without_a_receipt_is_found() {
    for result in [None, Some(r#"{"content":"done"}"#), Some("null"), Some("{")] {
        let mut good = Good::new();
        let (number, seq) = good.tool(Declared::ReadOnly);
        good.step(number, seq).result = result.map(ToOwned::to_owned);
        assert_eq!(broken(good), ["content"], "{result:?}");
    }
}

#[test]
fn what_follows_the_receipt_on_other_lines_is_no_matter() {
    let mut good = Good::new();
    let (number, seq) = good.tool(Declared::ReadOnly);
    let (effect, arrival) = (good.step(number, seq).asks_for().unwrap(), good.arrival_of(number, seq));
    let told = format!("{{\"effect\":\"{effect}\",\"receipt\":{arrival}}}\n\u{fffd}");
    good.step(number, seq).result = Some(serde_json::json!({ "content": told }).to_string());
    assert_eq!(broken(good), [""; 0]);
}

#[test]
fn another_answer_of_a_run_is_found() {
    for kind in [StepKind::Tool, StepKind::Task] {
        for result in [None, Some(r#"{"answer":"All is lost."}"#), Some("0")] {
            let mut good = Good::new();
            let (number, _) = good.call(kind, Declared::ReadOnly);
            good.run(number).result = result.map(ToOwned::to_owned);
            assert_eq!(broken(good), ["content"], "{result:?}");
        }
    }
}
