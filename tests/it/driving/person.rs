//! Turns after which only a person can say how to go on.

use super::{Bench, agent, agent_with, failure, function};
use longhaul_tests::world::World;
use rehearsal::{Answer, Rule, Script};
use serde_json::json;
use worker::Functions;

fn first(answer: Answer) -> Script {
    Script::new()
        .rule(Rule::always().times(1).answers(answer))
        .rule(Rule::always().answers(Answer::text("All is done.")))
}

#[tokio::test]
async fn an_unknown_stop_reason_parks_the_run_and_resuming_asks_again() {
    let world = World::new(first(Answer::text("strange").stopping_for("new_reason"))).await;
    world.apply(&agent("")).await;
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), Functions::new());

    let parked = world.settled(run).await;
    assert_eq!(
        (parked.waiting_for.as_deref(), parked.wait_reason.as_deref()),
        (Some("approval"), Some("unknown_stop_reason"))
    );
    let journal = world.engine.journal(run).await.unwrap();
    let kept = journal[0].result.as_ref().expect("the reply is kept");
    assert_eq!(kept["stop_reason"], "new_reason");
    assert_eq!(kept["content"][0]["text"], "strange");
    world.engine.resume_run(run, None, None).await.unwrap();

    let ended = world
        .until(run, "the run succeeds", |run| run.state == "succeeded")
        .await;

    assert!(ended.result.unwrap().contains("All is done."));
    assert_eq!(world.rehearsal.asked().len(), 2);
    let transcript = world.engine.transcript(run).await.unwrap();
    assert!(
        transcript
            .iter()
            .all(|message| message.text.as_deref() != Some("strange")),
        "a reply that was not gone on from is no part of the conversation"
    );
    worker.drain().await;
}

#[tokio::test]
async fn a_refusal_is_put_before_a_person_where_the_agent_says_so() {
    let world = World::new(first(Answer::text("no").stopping_for("refusal"))).await;
    world.apply(&agent_with("on_refusal = \"ask\"", "")).await;
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), Functions::new());

    let parked = world.settled(run).await;
    assert_eq!(
        (parked.state.as_str(), parked.wait_reason.as_deref()),
        ("waiting", Some("refusal"))
    );
    world.engine.resume_run(run, None, None).await.unwrap();

    world
        .until(run, "the run succeeds", |run| run.state == "succeeded")
        .await;
    worker.drain().await;
}

#[tokio::test]
async fn a_refusal_fails_the_run_otherwise() {
    let world = World::new(first(Answer::text("no").stopping_for("refusal"))).await;
    world.apply(&agent_with("on_refusal = \"fail\"", "")).await;
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), Functions::new());

    let failed = world.settled(run).await;

    assert_eq!(
        (failed.state.as_str(), failure(&failed).as_str()),
        ("failed", "refusal")
    );
    assert_eq!(world.rehearsal.asked().len(), 1, "the same prompt is not sent again");
    worker.drain().await;
}

#[tokio::test]
async fn calls_of_a_turn_that_was_cut_never_run() {
    for reason in ["max_tokens", "model_context_window_exceeded", "refusal"] {
        let cut = Answer::calling("note", json!({"text": "whole"}))
            .call("note", json!({"text": "cut in the middle"}))
            .stopping_for(reason);
        let world = World::new(first(cut)).await;
        world.apply(&agent(&function("note", "idempotent"))).await;
        let bench = Bench::new();
        let run = world.start("helper", &json!("hello")).await;
        let worker = world.worker(world.config("worker A"), bench.functions());

        assert_eq!(world.settled(run).await.state, "failed", "{reason}");

        assert!(bench.ledger().is_empty(), "{reason}");
        worker.drain().await;
    }
}
