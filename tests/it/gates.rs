//! What keeps calls back before they are sent: breakers, slots and rates, over all runs and workers.

mod breaker;
mod doors;
mod slots;

use engine::query::{BreakerRow, RunDetail};
use engine::{RunId, StartRun};
use longhaul_tests::world::{PATIENCE, WorkerHandle, World};
use rehearsal::{Answer, Rule, Script};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use worker::{FunctionError, Functions};

/// The breaker of the tool `act` of the agent in [`agent`].
const ACT: &str = "tool:helper.act";

/// An agent with one tool, `act`, which is tried once; `keys` are of the tool.
fn agent(keys: &str) -> String {
    format!(
        r#"
name = "helper"

[model]
name = "claude-test"
max_tokens = 256
retry = {{ attempts_max = 2, initial_ms = 10, cap_ms = 20 }}

[[tool]]
name = "act"
description = "Use it in tests of the engine. Returns a few words about what it did."
kind = "function"
effect = "read_only"
retry = {{ attempts_max = 1 }}
input = {{ type = "object", required = ["text"], properties = {{ text = {{ type = "string" }} }} }}
{keys}
"#
    )
}

/// One call with the run's own words, then an answer.
fn acting() -> Script {
    Script::new()
        .rule(Rule::on_turn(1).answers(Answer::default().call("act", json!({"text": "{{input.text}}"}))))
        .rule(Rule::always().answers(Answer::text("All is done.")))
}

/// What the functions of all workers call: it stands outside of them, and judges what really happened.
#[derive(Clone)]
struct Target {
    seen: Arc<Mutex<Seen>>,
    entered: watch::Sender<usize>,
    mood: watch::Sender<Mood>,
}

#[derive(Debug, Default)]
struct Seen {
    words: Vec<String>,
    out: usize,
    out_max: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Works,
    Fails,
    /// Neither, until it changes its mood.
    Hangs,
}

#[derive(Deserialize, JsonSchema)]
struct Words {
    text: String,
}

/// A call that is out, until it is dropped.
struct Out(Target);

impl Drop for Out {
    fn drop(&mut self) {
        self.0.seen.lock().expect("nobody panics here").out -= 1;
    }
}

impl Target {
    fn new(mood: Mood) -> Self {
        Self {
            seen: Arc::default(),
            entered: watch::Sender::new(0),
            mood: watch::Sender::new(mood),
        }
    }

    fn functions(&self) -> Functions {
        let mut functions = Functions::new();
        let target = self.clone();
        functions.register("act", move |_, words: Words| {
            let target = target.clone();
            async move { target.act(words.text).await }
        });
        functions
    }

    async fn act(self, text: String) -> Result<String, FunctionError> {
        {
            let mut seen = self.seen.lock().expect("nobody panics here");
            seen.words.push(text.clone());
            seen.out += 1;
            seen.out_max = seen.out_max.max(seen.out);
        }
        let _out = Out(self.clone());
        self.entered.send_modify(|entered| *entered += 1);
        let mut mood = self.mood.subscribe();
        let mood = *mood
            .wait_for(|mood| *mood != Mood::Hangs)
            .await
            .expect("the sender lives");
        tokio::task::yield_now().await;
        match mood {
            Mood::Works => Ok(format!("did {text}")),
            Mood::Fails | Mood::Hangs => Err(FunctionError::transient("the target is down")),
        }
    }

    fn is(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    fn calls(&self) -> usize {
        self.seen.lock().expect("nobody panics here").words.len()
    }

    fn words(&self) -> Vec<String> {
        self.seen.lock().expect("nobody panics here").words.clone()
    }

    fn out_max(&self) -> usize {
        self.seen.lock().expect("nobody panics here").out_max
    }

    async fn arrived(&self, calls: usize) {
        let mut entered = self.entered.subscribe();
        let waiting = entered.wait_for(|entered| *entered >= calls);
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .unwrap_or_else(|_| panic!("not {calls} calls arrived: {:?}", self.words()))
            .expect("the sender lives");
    }
}

fn worker(world: &World, name: &str, target: &Target) -> WorkerHandle {
    world.worker(world.config(name), target.functions())
}

async fn start(world: &World, text: &str) -> RunId {
    let start = StartRun::new("helper", json!({"text": text}).to_string());
    world.engine.start_run(&start).await.expect("the run starts").run
}

/// So many runs, one after the other, each to its end.
async fn one_by_one(world: &World, runs: usize) {
    for number in 0..runs {
        let run = start(world, &format!("early {number}")).await;
        assert_eq!(world.settled(run).await.state, "succeeded");
    }
}

/// What the model was told of the run's only call: the error, or the text.
async fn told(world: &World, run: RunId) -> Value {
    let journal = world.engine.journal(run).await.expect("the journal is read");
    let call = journal.iter().find(|row| row.kind == "tool").expect("a call");
    let result = call.result.as_deref().cloned().unwrap_or_default();
    let content = result["content"].as_str().unwrap_or_default();
    serde_json::from_str(content).unwrap_or_else(|_| json!(content))
}

async fn breaker(world: &World, name: &str) -> Option<BreakerRow> {
    world
        .engine
        .breakers("default", Some(name))
        .await
        .expect("it is read")
        .pop()
}

/// The breaker once it is so.
async fn breaker_is(world: &World, name: &str, state: &str) -> BreakerRow {
    let waiting = async {
        loop {
            match breaker(world, name).await {
                Some(row) if row.state == state => return row,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(row) => row,
        Err(_) => panic!("not {state}: {:?}", breaker(world, name).await),
    }
}

/// Waits until an open breaker may be tried, by the database's clock.
async fn cooled_down(world: &World, name: &'static str) {
    let pool = world.database.pool().await;
    let waiting = async {
        loop {
            let is: Option<bool> =
                sqlx::query_scalar("select breaker.retry_at <= now() from longhaul.breaker where breaker.scope = $1")
                    .bind(name)
                    .fetch_one(&pool)
                    .await
                    .expect("it is read");
            if is == Some(true) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it cools down");
}

/// Why each change of the breaker was made, oldest first.
async fn history(world: &World, name: &str) -> Vec<String> {
    let mut changes = world
        .engine
        .breaker_changes("default", name, 50)
        .await
        .expect("it is read");
    changes.reverse();
    changes.into_iter().map(|change| change.why).collect()
}

/// The run once it waits for a slot, or for the end of a trial call.
async fn held_back(world: &World, run: RunId) -> RunDetail {
    world
        .until(run, "the run waits at a gate", |run| {
            run.waiting_for.as_deref() == Some("limit")
        })
        .await
}
