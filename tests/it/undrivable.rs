//! Why nobody drives a run: what its live workers lack.

use engine::query::Undrivable;
use longhaul_tests::world::World;
use rehearsal::Script;
use serde_json::json;
use worker::Functions;

const AGENT: &str = r#"
    name = "converter"
    system = "You convert money."

    [model]
    name = "claude-sonnet-5-5"
    max_tokens = 512

    [[tool]]
    name = "convert_currency"
    description = "Converts an amount from one currency to another. Use it for every conversion."
    kind = "function"
    input = { type = "object", additionalProperties = false }
"#;

#[tokio::test]
async fn a_run_says_what_its_live_workers_lack() {
    let script = Script::from_toml("[[rule]]\nanswer.text = \"done\"").expect("the script is right");
    let world = World::new(script).await;
    world.apply(AGENT).await;
    let run = world.start("converter", &json!({})).await;
    let told = async || world.engine.undrivable(run).await.expect("the run is there");

    let nobody = told().await;
    assert_eq!((nobody.workers_alive, nobody.workers_of_queue), (0, 0));

    let mut elsewhere = world.config("elsewhere");
    elsewhere.queues = vec!["emails".to_owned()];
    let elsewhere = world.worker(elsewhere, Functions::new());
    world.lease_extended().await;
    let wrong_queue = told().await;
    assert_eq!((wrong_queue.workers_alive, wrong_queue.workers_of_queue), (1, 0));
    elsewhere.drain().await;

    let unable = world.worker(world.config("unable"), Functions::new());
    world.lease_extended().await;
    let expected = Undrivable {
        workers_alive: 1,
        workers_of_queue: 1,
        kind_known: true,
        functions_missing: vec!["convert_currency".to_owned()],
        functions: vec!["convert_currency".to_owned()],
    };
    assert_eq!(told().await, expected);
    unable.drain().await;
}
