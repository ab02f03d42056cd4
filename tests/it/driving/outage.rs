//! A target that is out: what that costs it, by its own ledger, is one budget over all layers.

use super::{agent, answering, calling, failure, function, request, results, told, until};
use engine::RunId;
use engine::query::AttemptRow;
use futures_util::future::join_all;
use longhaul_tests::world::World;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use worker::{Config, FunctionError, Functions};

/// How a target fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Nobody listens.
    Refusing,
    /// 503, each time.
    Unavailable,
    /// 503, and "come back in an hour".
    Later,
    /// It takes the request and says nothing.
    Hanging,
    /// It takes the request and breaks off.
    Cutting,
}

impl Way {
    /// What three attempts may cost. On a busy machine one may be over before anything has arrived.
    fn arrivals(self) -> RangeInclusive<usize> {
        match self {
            Self::Refusing => 0..=0,
            Self::Unavailable | Self::Later | Self::Hanging | Self::Cutting => 1..=3,
        }
    }
}

const WAYS: [Way; 4] = [Way::Refusing, Way::Unavailable, Way::Hanging, Way::Cutting];

/// A target that counts what arrives.
#[derive(Clone)]
struct Upstream {
    address: SocketAddr,
    arrivals: Arc<AtomicUsize>,
    way: Arc<Mutex<Way>>,
}

impl Upstream {
    async fn out(way: Way) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Self {
            address: listener.local_addr().unwrap(),
            arrivals: Arc::default(),
            way: Arc::new(Mutex::new(way)),
        };
        if way == Way::Refusing {
            return upstream;
        }
        let serving = upstream.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        upstream
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains("\r\n\r\n") {
            if stream.read_buf(&mut seen).await.unwrap_or(0) == 0 {
                return;
            }
        }
        self.arrivals.fetch_add(1, Ordering::Relaxed);
        let way = *self.way.lock().unwrap();
        match way {
            Way::Refusing | Way::Cutting => {}
            Way::Unavailable | Way::Later => {
                let pause = if way == Way::Later { "retry-after: 3600\r\n" } else { "" };
                let reply = format!("HTTP/1.1 503 Service Unavailable\r\n{pause}content-length: 4\r\n\r\nbusy");
                let _ = stream.write_all(reply.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
            // Until the caller goes away.
            Way::Hanging => {
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn arrivals(&self) -> usize {
        self.arrivals.load(Ordering::Relaxed)
    }

    /// Asks as a function's own client would, once.
    async fn ask(&self) -> Result<String, FunctionError> {
        let broken = |error: std::io::Error| FunctionError::transient(format!("upstream: {error}"));
        let mut stream = TcpStream::connect(self.address).await.map_err(broken)?;
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.map_err(broken)?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.map_err(broken)?;
        Err(FunctionError::transient(format!(
            "upstream said {:?}",
            reply.lines().next()
        )))
    }
}

#[derive(Deserialize, JsonSchema)]
struct Nothing {}

/// What the worker's program has.
fn functions(upstream: &Upstream) -> Functions {
    let mut functions = Functions::new();
    let upstream = upstream.clone();
    functions.register("fetch", move |_, _: Nothing| {
        let upstream = upstream.clone();
        async move { upstream.ask().await }
    });
    functions
}

const RETRY: &str = "{ attempts_max = 3, initial_ms = 10, cap_ms = 20 }";

fn http_tool(upstream: &Upstream, retry: &str, timeout_seconds: u32) -> String {
    format!(
        r#"
[[tool]]
name = "fetch"
description = "Use it in tests of the engine. Never use it for anything else."
kind = "http"
effect = "read_only"
method = "GET"
url = "{}/"
allow_hosts = ["127.0.0.1"]
timeout_seconds = {timeout_seconds}
retry = {retry}
input = {{ type = "object" }}
"#,
        upstream.url()
    )
}

fn function_tool() -> String {
    let short = format!("timeout_seconds = 2\nretry = {RETRY}");
    function("fetch", "read_only").replace("retry = { attempts_max = 2, initial_ms = 10, cap_ms = 20 }", &short)
}

/// What is recorded of the tool's attempts.
async fn attempts(world: &World, run: RunId) -> Vec<AttemptRow> {
    let journal = world.engine.journal(run).await.unwrap();
    journal.into_iter().filter(|row| row.name == "fetch").collect()
}

/// The settings of a worker that keeps its lease on a busy machine: one that loses it counts as dead.
fn patient(world: &World, name: &str) -> Config {
    let mut config = world.config(name);
    config.lease = Duration::from_secs(60);
    config
}

async fn costs(upstream: &Upstream, tool: &str) -> (World, RunId) {
    let world = World::new(calling([("fetch", json!({}))])).await;
    world.apply(&agent(tool)).await;
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(patient(&world, "worker A"), functions(upstream));
    assert_eq!(
        world.settled(run).await.state,
        "succeeded",
        "the model is told, and answers"
    );
    worker.drain().await;
    (world, run)
}

#[tokio::test]
async fn an_outage_costs_a_target_of_a_tool_no_more_than_one_budget() {
    let cases = WAYS.into_iter().flat_map(|way| [(way, false), (way, true)]);
    join_all(cases.map(|(way, is_function)| async move {
        let upstream = Upstream::out(way).await;
        let tool = if is_function {
            function_tool()
        } else {
            http_tool(&upstream, RETRY, 2)
        };

        let (world, run) = costs(&upstream, &tool).await;

        let arrivals = upstream.arrivals();
        assert!(
            way.arrivals().contains(&arrivals),
            "{arrivals}, {way:?}, a function: {is_function}"
        );
        assert_eq!(
            attempts(&world, run).await.len(),
            3,
            "{way:?}, a function: {is_function}"
        );
        let result = &results(&request(&world, 1))[0];
        assert!(result.1 && !told(result).is_empty(), "{result:?}");
    }))
    .await;
}

#[tokio::test]
async fn an_outage_costs_a_models_endpoint_no_more_than_one_budget() {
    join_all(WAYS.map(|way| async move {
        let upstream = Upstream::out(way).await;
        let world = World::new(answering()).await;
        let file = agent("").replace("max_tokens = 256", "max_tokens = 256\ntimeout_seconds = 2");
        world.apply(&file).await;
        let run = world.start("helper", &json!("hello")).await;
        let mut config = patient(&world, "worker A");
        config.endpoint.base_url = upstream.url();
        let worker = world.worker(config, Functions::new());

        let ended = world.settled(run).await;

        assert_eq!(ended.state, "failed", "{way:?}");
        let arrivals = upstream.arrivals();
        assert!(
            way.arrivals().contains(&arrivals),
            "{arrivals}, {way:?}: {}",
            failure(&ended)
        );
        assert_eq!(world.engine.journal(run).await.unwrap().len(), 3, "{way:?}");
        worker.drain().await;
    }))
    .await;
}

#[tokio::test]
async fn no_attempt_begins_after_the_horizon_however_many_are_left() {
    let upstream = Upstream::out(Way::Unavailable).await;
    let retry = "{ attempts_max = 100, initial_ms = 100, cap_ms = 100, horizon_seconds = 2 }";

    let (world, run) = costs(&upstream, &http_tool(&upstream, retry, 30)).await;

    let attempts = attempts(&world, run).await;
    assert_eq!(upstream.arrivals(), attempts.len());
    let began: Vec<_> = attempts.iter().filter_map(|row| row.started_at).collect();
    let took = *began.last().unwrap() - began[0];
    assert!(took <= chrono::TimeDelta::milliseconds(2_500), "{took}");
    assert!(attempts.len() < 100, "{}", attempts.len());
}

#[tokio::test]
async fn a_target_that_asks_for_more_time_than_there_is_is_asked_once() {
    let upstream = Upstream::out(Way::Later).await;

    let (world, run) = costs(&upstream, &http_tool(&upstream, RETRY, 30)).await;

    assert_eq!(upstream.arrivals(), 1);
    assert_eq!(attempts(&world, run).await.len(), 1);
}

#[tokio::test]
async fn workers_that_die_in_an_outage_add_one_arrival_each_and_no_budget() {
    let upstream = Upstream::out(Way::Hanging).await;
    let world = World::new(calling([("fetch", json!({}))])).await;
    world.apply(&agent(&http_tool(&upstream, RETRY, 30))).await;
    let run = world.start("helper", &json!("hello")).await;
    for crash in 1..=2 {
        let worker = world.worker(world.config("one that dies"), functions(&upstream));
        until(async || upstream.arrivals() >= crash).await;
        worker.vanish();
    }
    *upstream.way.lock().unwrap() = Way::Unavailable;
    let worker = world.worker(patient(&world, "one that lives"), functions(&upstream));

    assert_eq!(world.settled(run).await.state, "succeeded");

    let attempts = attempts(&world, run).await;
    let answered = attempts.iter().filter(|row| row.attempt_ended_at.is_some()).count();
    assert_eq!(answered, 3, "the budget, once: {attempts:#?}");
    assert!(attempts.len() >= 2 + 3, "{attempts:#?}");
    assert_eq!(upstream.arrivals(), attempts.len(), "one for each crash besides");
    world.events(run).await;
    worker.drain().await;
}
