//! What becomes of the calls that a model asks for.

use super::{Bench, agent, answering, calling, failure, function, request, results, told};
use engine::StartRun;
use longhaul_tests::world::World;
use rehearsal::Script;
use serde_json::json;
use std::collections::BTreeSet;
use worker::Functions;

#[tokio::test]
async fn an_invalid_input_goes_back_to_the_model_and_the_run_goes_on() {
    let world = World::new(calling([
        ("note", json!({"txet": "misspelt"})),
        ("note", json!({"text": 7})),
        ("note", json!({"text": "right"})),
    ]))
    .await;
    world.apply(&agent(&function("note", "at_most_once"))).await;
    let bench = Bench::new();
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), bench.functions());

    assert_eq!(world.settled(run).await.state, "succeeded");

    assert_eq!(bench.words(), ["right"]);
    let results = results(&request(&world, 1));
    assert_eq!(
        (told(&results[0]).as_str(), told(&results[1]).as_str()),
        ("invalid_input", "invalid_input")
    );
    assert!(results[0].0.contains("text"), "it says what is wrong: {}", results[0].0);
    assert_eq!(results[2], ("noted right".to_owned(), false));
    let journal = world.engine.journal(run).await.unwrap();
    let attempts: Vec<_> = journal.iter().map(|row| (row.state.as_str(), row.attempt)).collect();
    assert_eq!(
        attempts,
        [
            ("succeeded", 1),
            ("failed", 0),
            ("failed", 0),
            ("succeeded", 1),
            ("succeeded", 1)
        ]
    );
    worker.drain().await;
}

#[tokio::test]
async fn a_call_with_the_id_of_an_earlier_one_is_not_made() {
    let script = r#"
[[rule]]
when.turn = 1
answer.calls = [{ id = "toolu_1", name = "note", input = { text = "first" } }]

[[rule]]
answer.calls = [{ id = "toolu_1", name = "note", input = { text = "second" } }]
"#;
    let world = World::new(Script::from_toml(script).unwrap()).await;
    world.apply(&agent(&function("note", "at_most_once"))).await;
    let bench = Bench::new();
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), bench.functions());

    let ended = world.settled(run).await;

    assert_eq!(failure(&ended), "malformed_reply");
    assert_eq!(bench.words(), ["first"]);
    worker.drain().await;
}

#[tokio::test]
async fn a_tool_that_does_not_exist_is_told_to_the_model() {
    let world = World::new(calling([("forget", json!({}))])).await;
    world.apply(&agent(&function("note", "idempotent"))).await;
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), Bench::new().functions());

    assert_eq!(world.settled(run).await.state, "succeeded");

    let results = results(&request(&world, 1));
    assert_eq!(told(&results[0]), "tool_not_found");
    assert!(
        results[0].0.contains("note"),
        "it names those that there are: {}",
        results[0].0
    );
    worker.drain().await;
}

#[tokio::test]
async fn the_calls_of_a_turn_are_out_at_the_same_time_and_answered_in_their_order() {
    let world = World::new(calling(
        ["ann", "bob", "cid"].map(|name| ("meet", json!({"name": name}))),
    ))
    .await;
    let folder = tempfile::tempdir().unwrap();
    // Each waits until all three have come, so one after the other they would wait for ever.
    let tool = format!(
        r#"
[[tool]]
name = "meet"
description = "Use it in tests of the engine. Comes to a place and waits there for two others."
kind = "command"
effect = "read_only"
argv = ["sh", "-c", 'touch "$1"; until [ -e ann ] && [ -e bob ] && [ -e cid ]; do sleep 0.02; done; echo "met $1"', "sh", "{{name}}"]
working_dir = {:?}
timeout_seconds = 20
[tool.input]
type = "object"
required = ["name"]
[tool.input.properties.name]
type = "string"
description = "Who comes"
"#,
        folder.path().to_str().unwrap()
    );
    world.apply(&agent(&tool)).await;
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), Functions::new());

    assert_eq!(world.settled(run).await.state, "succeeded");

    let results: Vec<String> = results(&request(&world, 1))
        .into_iter()
        .map(|(content, _)| content)
        .collect();
    assert_eq!(results, ["met ann\n", "met bob\n", "met cid\n"]);
    let messages = request(&world, 1)["messages"].as_array().unwrap().len();
    assert_eq!(messages, 3, "all results stand in one message");
    worker.drain().await;
}

#[tokio::test]
async fn two_identical_calls_that_may_not_be_repeated_are_two_calls_with_two_keys() {
    let pay = || ("note", json!({"text": "pay 5 to ann"}));
    let world = World::new(calling([pay(), pay()])).await;
    world.apply(&agent(&function("note", "at_most_once"))).await;
    let bench = Bench::new();
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), bench.functions());

    assert_eq!(world.settled(run).await.state, "succeeded");

    let keys: BTreeSet<String> = bench.ledger().into_iter().map(|entry| entry.key).collect();
    assert_eq!((bench.ledger().len(), keys.len()), (2, 2));
    let journal = world.engine.journal(run).await.unwrap();
    let recorded: BTreeSet<String> = journal
        .iter()
        .filter(|row| row.kind == "tool")
        .map(|row| row.key.clone())
        .collect();
    assert_eq!(recorded, keys, "the key that is recorded is the one that was sent");
    assert!(
        !world.rehearsal.asked()[1].body.contains(keys.first().unwrap()),
        "no key passes through the model"
    );
    worker.drain().await;
}

#[tokio::test]
async fn a_function_is_offered_with_the_schema_of_its_type() {
    let world = World::new(calling([("wait", json!({"text": "a while"}))])).await;
    world.apply(&agent(&function("wait", "idempotent"))).await;
    let bench = Bench::new();
    bench.open();
    let run = world.start("helper", &json!("hello")).await;
    let without = world.worker(world.config("without functions"), Functions::new());
    world.lease_extended().await;
    assert_eq!(
        world.engine.run_detail(run).await.unwrap().state,
        "queued",
        "it waits for one that can"
    );
    let worker = world.worker(world.config("worker A"), bench.functions());

    assert_eq!(world.settled(run).await.state, "succeeded");

    let offered = &request(&world, 0)["tools"][0];
    assert_eq!(offered["name"], "wait");
    assert_eq!(offered["input_schema"]["type"], "object");
    assert_eq!(offered["input_schema"]["required"], json!(["text"]));
    assert_eq!(
        offered["input_schema"]["properties"]["text"]["description"],
        "Any words."
    );
    assert_eq!(
        results(&request(&world, 1)),
        [(r#"{"waited":"a while"}"#.to_owned(), false)]
    );
    worker.drain().await;
    without.drain().await;
}

#[tokio::test]
async fn a_function_that_panics_ends_its_call_and_not_the_worker() {
    let world = World::new(calling([("burst", json!({"text": "bang"}))])).await;
    world.apply(&agent(&function("burst", "read_only"))).await;
    let once = agent(&function("burst", "at_most_once")).replace("name = \"helper\"", "name = \"once\"");
    world.apply(&once).await;
    let bench = Bench::new();
    let (told_run, once_run) = (
        world.start("helper", &json!("first")).await,
        world.start("once", &json!("second")).await,
    );
    let worker = world.worker(world.config("worker A"), bench.functions());

    assert_eq!(world.settled(told_run).await.state, "succeeded", "the model is told");
    let parked = world.settled(once_run).await;
    assert_eq!(
        (parked.state.as_str(), parked.wait_reason.as_deref()),
        ("waiting", Some("unknown_outcome")),
        "it may have acted before it broke"
    );
    assert_eq!(bench.ledger().len(), 2, "and neither was repeated");
    let after = world.start("helper", &json!("third")).await;
    assert_eq!(world.settled(after).await.state, "succeeded");
    worker.drain().await;
}

#[tokio::test]
async fn an_earlier_conversation_with_a_call_that_was_never_answered_is_repaired() {
    let world = World::new(answering()).await;
    world.apply(&agent(&function("note", "idempotent"))).await;
    let call = |id: &str| json!({"type": "tool_use", "id": id, "name": "note", "input": {"text": "x"}});
    let result = |id: &str| json!({"type": "tool_result", "tool_use_id": id, "content": "fine"});
    let mut start = StartRun::new("helper", "\"and now?\"");
    start.history = Some(
        json!([
            {"role": "user", "content": "please"},
            {"role": "assistant", "content": [call("toolu_a"), call("toolu_b")]},
            {"role": "user", "content": [result("toolu_b")]},
            {"role": "assistant", "content": [{"type": "text", "text": "more"}, call("toolu_c")]},
        ])
        .to_string(),
    );
    let run = world.engine.start_run(&start).await.unwrap().run;
    let worker = world.worker(world.config("worker A"), Bench::new().functions());

    let ended = world.settled(run).await;
    assert_eq!(ended.state, "succeeded", "{}", failure(&ended));

    let messages = request(&world, 0)["messages"].as_array().unwrap().clone();
    let ids = |message: &serde_json::Value| -> Vec<String> {
        let blocks = message["content"].as_array().unwrap().iter();
        blocks
            .filter_map(|block| block["tool_use_id"].as_str().map(str::to_owned))
            .collect()
    };
    assert_eq!(ids(&messages[2]), ["toolu_a", "toolu_b"]);
    assert_eq!(messages[2]["content"][0]["is_error"], true);
    assert!(
        messages[2]["content"][0]["content"]
            .as_str()
            .unwrap()
            .contains("result_lost")
    );
    assert_eq!(messages[2]["content"][1]["content"], "fine");
    assert_eq!(ids(&messages[4]), ["toolu_c"]);
    assert_eq!(messages[4]["content"][1]["text"], "and now?");
    worker.drain().await;
}
