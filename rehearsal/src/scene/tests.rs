use serde_json::{Value, json};

use super::*;
use crate::script::Answer;

fn chosen(scene: &mut Scene, body: &Value) -> Option<usize> {
    scene.choose(body).map(|(index, _)| index)
}

fn one_rule(rule: Rule) -> Scene {
    Scene::new(Script::new().rule(rule.answers(Answer::text("x"))))
}

fn holds_for(rule: Rule, body: &Value) -> bool {
    one_rule(rule).choose(body).is_some()
}

fn after_two_results() -> Value {
    json!({
        "system": [{"type": "text", "text": "You are a refund desk."}],
        "tool_choice": {"type": "none"},
        "messages": [
            {"role": "user", "content": "run 42"},
            {"role": "assistant", "content": [
                {"type": "tool_use", "id": "a", "name": "look_up", "input": {"order": "ORD-7"}},
                {"type": "tool_use", "id": "b", "name": "read", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": "4250 cents"},
                {"type": "tool_result", "tool_use_id": "b", "content": [{"type": "text", "text": "the policy"}]},
                {"type": "text", "text": "decide"},
            ]},
        ],
    })
}

#[test]
fn each_condition_looks_at_its_own_part_of_the_request() {
    let body = after_two_results();
    let holding = [
        Rule::on_turn(2),
        Rule::always().text_contains("decide"),
        Rule::always().last_tool("look_up"),
        Rule::always().last_tool("read"),
        Rule::always().tool_result_contains("policy"),
        Rule::always().system_contains("refund desk"),
        Rule::always().conversation_contains("ORD-7"),
        Rule::always().conversation_contains("run 42"),
        Rule::always().conversation_contains("4250"),
        Rule::always().tools_off(),
    ];
    for rule in holding {
        assert!(holds_for(rule.clone(), &body), "{:?}", rule.when);
    }
    let failing = [
        Rule::on_turn(1),
        Rule::always().text_contains("policy"),
        Rule::always().text_contains("run 42"),
        Rule::always().last_tool("refund"),
        Rule::always().tool_result_contains("decide"),
        Rule::always().system_contains("run 42"),
        Rule::always().conversation_contains("refund desk"),
        Rule::when(When {
            tools_off: Some(false),
            ..When::default()
        }),
        Rule::on_turn(2).last_tool("refund"),
    ];
    for rule in failing {
        assert!(!holds_for(rule.clone(), &body), "{:?}", rule.when);
    }
}

#[test]
fn a_tool_is_last_only_while_its_result_is_in_the_last_message() {
    let mut body = after_two_results();
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(json!({"role": "assistant", "content": "Done."}));
    messages.push(json!({"role": "user", "content": "thanks"}));
    assert!(!holds_for(Rule::always().last_tool("look_up"), &body));
}

#[test]
fn the_first_rule_that_holds_answers() {
    let mut scene = Scene::new(
        Script::new()
            .rule(Rule::on_turn(1).answers(Answer::text("one")))
            .rule(Rule::on_turn(2).answers(Answer::text("two")))
            .rule(Rule::always().answers(Answer::text("any"))),
    );
    assert_eq!(chosen(&mut scene, &after_two_results()), Some(1));
}

#[test]
fn times_are_counted_for_each_conversation() {
    let mut scene = Scene::new(
        Script::new()
            .rule(Rule::always().times(2).answers(Answer::error(529)))
            .rule(Rule::always().answers(Answer::text("x"))),
    );
    let ask = |text: &str| json!({"messages": [{"role": "user", "content": text}]});
    let order: Vec<_> = ["a", "a", "b", "a", "b", "b"]
        .map(|text| chosen(&mut scene, &ask(text)))
        .into();
    assert_eq!(order, [Some(0), Some(0), Some(0), Some(1), Some(0), Some(1)]);
}

#[test]
fn what_no_rule_answers_says_where_the_conversation_stands() {
    let body = after_two_results();
    assert_eq!(chosen(&mut one_rule(Rule::on_turn(9)), &body), None);
    let message = no_rule_message(&body);
    assert!(
        message.contains("turn 2 (last tools: [look_up, read], last user text: \"decide\")"),
        "{message}"
    );
}
