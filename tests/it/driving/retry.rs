//! Models that fail for a while.

use super::{agent, failure};
use engine::query::AttemptRow;
use longhaul_tests::world::World;
use rehearsal::{Answer, ErrorAnswer, Rule, Script};
use serde_json::json;
use std::time::Duration;
use worker::Functions;

/// A model whose first answer is this, and whose later ones are sound.
fn first(answer: Answer) -> Script {
    Script::new()
        .rule(Rule::always().times(1).answers(answer))
        .rule(Rule::always().answers(Answer::text("All is done.")))
}

/// A run whose first attempt fails and whose second succeeds; its attempts.
async fn tried_twice(answer: Answer) -> Vec<AttemptRow> {
    let world = World::new(first(answer)).await;
    world.apply(&agent("")).await;
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), Functions::new());

    let ended = world.settled(run).await;

    assert_eq!(ended.state, "succeeded", "{ended:#?}");
    assert_eq!(world.rehearsal.asked().len(), 2);
    world.events(run).await;
    worker.drain().await;
    let bodies: Vec<String> = world.rehearsal.asked().into_iter().map(|asked| asked.body).collect();
    assert_eq!(bodies[0], bodies[1], "every attempt sends the same bytes");
    let journal = world.engine.journal(run).await.unwrap();
    assert_eq!(journal.iter().map(|row| row.attempt).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(journal[0].key, journal[1].key);
    journal
}

#[tokio::test]
async fn an_overloaded_model_is_asked_again() {
    let journal = tried_twice(Answer::error(529)).await;

    assert_eq!(journal[0].error.as_ref().unwrap()["class"], "overloaded");
    let evidence = journal[0].evidence.as_ref().unwrap().to_string();
    assert!(
        evidence.contains("req_rehearsal"),
        "the provider's id of the request: {evidence}"
    );
}

#[tokio::test]
async fn a_stream_that_was_cut_is_asked_for_again_and_leaves_its_evidence() {
    let journal =
        tried_twice(Answer::text("half of a long answer, and the rest of it").cut_before("message_delta")).await;

    assert_eq!(journal[0].error.as_ref().unwrap()["code"], "stream_cut");
    assert!(journal[0].evidence.is_some() && journal[0].attempt_ended_at.is_some());
    assert!(journal[1].error.is_none());
}

#[tokio::test]
async fn a_stream_that_ends_in_an_error_is_asked_for_again() {
    let journal = tried_twice(Answer::text("half of a long answer").error_event(3, "overloaded_error")).await;

    assert_eq!(journal[0].error.as_ref().unwrap()["class"], "overloaded");
}

#[tokio::test]
async fn a_long_wait_parks_the_run_frees_its_place_and_outlives_its_worker() {
    let limited = Answer::failing(ErrorAnswer {
        status: 429,
        retry_after_seconds: Some(3),
        ..ErrorAnswer::default()
    });
    let script = Script::new()
        .rule(Rule::always().text_contains("patience").times(1).answers(limited))
        .rule(Rule::always().answers(Answer::text("All is done.")));
    let world = World::new(script).await;
    world.apply(&agent("")).await;
    let run = world.start("helper", &json!("patience")).await;
    let mut config = world.config("worker A");
    config.runs_max = 1;
    let worker = world.worker(config, Functions::new());

    let parked = world
        .until(run, "the run is parked", |run| run.state == "waiting")
        .await;
    assert_eq!(
        (
            parked.waiting_for.as_deref(),
            parked.wait_reason.as_deref(),
            parked.worker
        ),
        (Some("timer"), Some("retry"), None)
    );
    // The only place of the worker is free.
    let other = world.start("helper", &json!("at once")).await;
    assert_eq!(world.settled(other).await.state, "succeeded");
    assert_eq!(world.engine.run_detail(run).await.unwrap().state, "waiting");
    worker.drain().await;
    let worker = world.worker(world.config("worker B"), Functions::new());

    assert_eq!(world.settled(run).await.state, "succeeded");

    let journal = world.engine.journal(run).await.unwrap();
    let workers: Vec<_> = journal.iter().map(|row| row.worker.as_deref().unwrap()).collect();
    assert_eq!(workers, ["worker A", "worker B"]);
    let waited = journal[1].started_at.unwrap() - journal[0].attempt_ended_at.unwrap();
    assert!(waited > chrono::TimeDelta::milliseconds(2_900), "{waited}");
    assert_eq!(
        world.events(run).await[2..8],
        [
            "step.started",
            "step.retry_scheduled",
            "run.parked",
            "run.woken",
            "run.claimed",
            "step.started"
        ]
    );
    worker.drain().await;
}

#[tokio::test]
async fn a_model_that_stays_away_fails_the_run_which_can_be_resumed() {
    let script = Script::new()
        .rule(Rule::always().times(3).answers(Answer::error(500)))
        .rule(Rule::always().answers(Answer::text("All is done.")));
    let world = World::new(script).await;
    world.apply(&agent("")).await;
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), Functions::new());

    let failed = world.settled(run).await;
    assert_eq!(
        (failed.state.as_str(), failure(&failed).as_str()),
        ("failed", "http_500")
    );
    assert_eq!(world.rehearsal.asked().len(), 3, "its own attempts_max");
    world.engine.resume_run(run, None, None).await.unwrap();
    let ended = world
        .until(run, "the run succeeds", |run| run.state == "succeeded")
        .await;

    assert!(ended.result.unwrap().contains("All is done."));
    let journal = world.engine.journal(run).await.unwrap();
    assert_eq!(journal.last().unwrap().replaces_seq, Some(1), "a new step in its place");
    world.events(run).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_refused_request_is_not_repeated() {
    let world = World::new(first(Answer::error(400))).await;
    world.apply(&agent("")).await;
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), Functions::new());

    assert_eq!(world.settled(run).await.state, "failed");

    assert_eq!(world.rehearsal.asked().len(), 1);
    worker.drain().await;
}

#[tokio::test]
async fn a_model_that_falls_silent_is_cut_by_its_idle_limit() {
    let slow = Answer::text("word ".repeat(60)).between_events(Duration::from_secs(20));
    let world = World::new(first(slow)).await;
    let file = agent("").replace("max_tokens = 256", "max_tokens = 256\nidle_timeout_seconds = 1");
    world.apply(&file).await;
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), Functions::new());

    assert_eq!(world.settled(run).await.state, "succeeded");

    let journal = world.engine.journal(run).await.unwrap();
    assert_eq!(journal[0].error.as_ref().unwrap()["code"], "model_idle_timeout");
    worker.drain().await;
}
