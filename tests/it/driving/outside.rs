//! Tools whose other end misbehaves: each call is bounded, its outcome is told as it is, and the run goes on.

use super::{agent, calling, request, results, told};
use longhaul_tests::world::World;
use serde_json::json;
use std::net::TcpListener;
use worker::Functions;

/// A tool of kind http at that place.
fn http(url: &str, effect: &str) -> String {
    format!(
        r#"
[[tool]]
name = "pay"
description = "Use it in tests of the engine. Speaks to a service that may do anything."
kind = "http"
effect = "{effect}"
method = "POST"
url = "{url}"
retry = {{ attempts_max = 2, initial_ms = 10, cap_ms = 20 }}
input = {{ type = "object" }}
"#
    )
}

#[tokio::test]
async fn a_tool_that_may_not_reach_its_host_is_told_to_the_model_and_the_run_goes_on() {
    let inside = TcpListener::bind("127.0.0.1:0").unwrap();
    inside.set_nonblocking(true).unwrap();
    let url = format!("http://{}/", inside.local_addr().unwrap());
    let world = World::new(calling([("pay", json!({}))])).await;
    world.apply(&agent(&http(&url, "at_most_once"))).await;
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), Functions::new());

    assert_eq!(world.settled(run).await.state, "succeeded");

    let result = &results(&request(&world, 1))[0];
    assert_eq!(told(result), "address_refused");
    assert!(result.1, "as an error");
    assert!(inside.accept().is_err(), "nobody came");
    let journal = world.engine.journal(run).await.unwrap();
    assert_eq!((journal[1].state.as_str(), journal[1].attempt), ("failed", 1));
    worker.drain().await;
}
