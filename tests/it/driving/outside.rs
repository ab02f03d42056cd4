//! Tools whose other end misbehaves: each call is bounded, its outcome is told as it is, and the run goes on.

use super::{Bench, agent, calling, function, request, results, told};
use longhaul_tests::world::World;
use serde_json::json;
use std::net::TcpListener;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
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

/// A service whose every path answers in a way of its own, until the test is over.
async fn horrors() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = vec![0; 16 * 1024];
                let count = stream.read(&mut request).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..count]).into_owned();
                let (head, again) = match request.split(['/', '?', ' ']).nth(2).unwrap_or_default() {
                    "headers" => ("HTTP/1.1 200 OK\r\n", "x-more: and more and more\r\n"),
                    "huge" => (
                        "HTTP/1.1 200 OK\r\ncontent-length: 104857600\r\n\r\n",
                        "and more and more",
                    ),
                    "drip" => ("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nx", ""),
                    "cut" => {
                        let _ = stream
                            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nx")
                            .await;
                        return;
                    }
                    "binary" => ("HTTP/1.1 200 OK\r\n\r\n", "\0\u{1}\0\u{2}\0\u{3}\0\u{4}"),
                    _ => (
                        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 4\r\n\r\n{\"a\"",
                        "",
                    ),
                };
                let _ = stream.write_all(head.as_bytes()).await;
                if again.is_empty() {
                    // Silent from here on, until the worker goes away.
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                    return;
                }
                while stream.write_all(again.as_bytes()).await.is_ok() {}
            });
        }
    });
    url
}

/// Two tools like that of [`http`], with the path in the input. `slow` waits for a short time only, and `pay` for as long
/// as a busy machine may need.
fn horror(url: &str, effect: &str) -> String {
    let input = r#"
[tool.input]
type = "object"
required = ["path"]
[tool.input.properties.path]
type = "string"
description = "Which horror"
"#;
    let pay = http(&format!("{url}/{{path}}"), effect)
        .replace("input = { type = \"object\" }", "allow_hosts = [\"127.0.0.1\"]")
        .replace("method = \"POST\"", "method = \"GET\"")
        + input;
    let slow = pay.replace("name = \"pay\"", "name = \"slow\"\ntimeout_seconds = 3");
    pay + &slow
}

#[tokio::test]
async fn whatever_a_target_answers_the_model_is_told_and_the_run_goes_on() {
    let url = horrors().await;
    let calls = [
        ("pay", "headers"),
        ("pay", "huge"),
        ("slow", "drip"),
        ("pay", "cut"),
        ("pay", "binary"),
        ("pay", "json"),
    ];
    let world = World::new(calling(calls.map(|(tool, path)| (tool, json!({ "path": path }))))).await;
    world.apply(&agent(&horror(&url, "read_only"))).await;
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), Functions::new());

    assert_eq!(world.settled(run).await.state, "succeeded");

    let results = results(&request(&world, 1));
    assert_eq!(told(&results[0]), "connection_lost");
    assert!(results[1].0.ends_with(" of 104857600 bytes shown]"), "cut");
    assert_eq!(told(&results[2]), "tool_timeout");
    assert_eq!(told(&results[3]), "reply_cut");
    assert!(results[4].0.starts_with("[not shown: more than "), "{}", results[4].0);
    assert_eq!(results[5], ("{\"a\"".to_owned(), false), "as it came");
    worker.drain().await;
}

#[tokio::test]
async fn an_answer_that_nobody_can_read_leaves_a_call_that_may_not_be_repeated_unknown() {
    let url = horrors().await;
    for (tool, path) in [("pay", "headers"), ("slow", "drip"), ("pay", "cut")] {
        let world = World::new(calling([(tool, json!({ "path": path }))])).await;
        world.apply(&agent(&horror(&url, "at_most_once"))).await;
        let run = world.start("helper", &json!("hello")).await;
        let worker = world.worker(world.config("worker A"), Functions::new());

        let parked = world.settled(run).await;

        assert_eq!(parked.wait_reason.as_deref(), Some("unknown_outcome"), "{path}");
        let journal = world.engine.journal(run).await.unwrap();
        assert_eq!(
            (journal[1].state.as_str(), journal[1].attempt),
            ("unknown", 1),
            "{path}"
        );
        worker.drain().await;
    }
}

#[tokio::test]
async fn whatever_a_command_does_the_model_is_told_and_the_run_goes_on() {
    let tools: String = [
        ("talk", "yes", "limits = { output_mib = 1 }"),
        (
            "fork",
            "while :; do sleep 1000 & done",
            "limits = { processes_max = 8 }",
        ),
        (
            "fill",
            "n=0; while :; do head -c 100000 /dev/zero > f$n; n=$((n+1)); done",
            "limits = { scratch_mib = 1 }",
        ),
        (
            "stay",
            "trap '' TERM; while :; do sleep 0.05; done",
            "timeout_seconds = 1",
        ),
        ("tell", "echo $SERVICE_TOKEN", "env = [\"SERVICE_TOKEN\"]"),
    ]
    .into_iter()
    .map(|(name, script, keys)| {
        format!(
            r#"
[[tool]]
name = "{name}"
description = "Use it in tests of the engine. A program that does not behave."
kind = "command"
effect = "read_only"
argv = ["sh", "-c", "{script}"]
retry = {{ attempts_max = 1 }}
input = {{ type = "object" }}
{keys}
"#
        )
    })
    .collect();
    let names = ["talk", "fork", "fill", "stay", "tell"];
    let mut world = World::new(calling(names.map(|name| (name, json!({}))))).await;
    world.environment.insert("SERVICE_TOKEN".into(), "s3cret-token".into());
    world.apply(&agent(&tools)).await;
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), Functions::new());

    assert_eq!(world.settled(run).await.state, "succeeded");

    let results = results(&request(&world, 1));
    let codes = ["command_output", "command_processes", "command_scratch", "tool_timeout"];
    for (result, code) in results.iter().zip(codes) {
        assert_eq!(told(result), code);
    }
    assert_eq!(results[4], ("{env:SERVICE_TOKEN}\n".to_owned(), false));
    let journal = format!("{:?}", world.engine.journal(run).await.unwrap());
    assert!(!journal.contains("s3cret"), "a secret is stored");
    worker.drain().await;
}

#[tokio::test]
async fn of_two_hundred_calls_in_a_turn_eight_are_made_and_all_are_answered() {
    let texts: Vec<String> = (0..200).map(|number| format!("call {number}")).collect();
    let world = World::new(calling(texts.iter().map(|text| ("note", json!({ "text": text }))))).await;
    world.apply(&agent(&function("note", "at_most_once"))).await;
    let bench = Bench::new();
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), bench.functions());

    assert_eq!(world.settled(run).await.state, "succeeded");

    let mut words = bench.words();
    words.sort();
    assert_eq!(words, texts[..8]);
    let results = results(&request(&world, 1));
    assert_eq!(results.len(), 200);
    assert!(results[8..].iter().all(|result| told(result) == "tool_call_limit"));
    worker.drain().await;
}
