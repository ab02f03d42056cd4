//! Workers in this process, driving agents whose models and tools behave in every way.

mod cancel;
mod database;
mod doubt;
mod fallbacks;
mod limits;
mod mending;
mod notification;
mod order;
mod outage;
mod outside;
mod person;
mod retry;
mod sanitise;
mod sql;
mod time;
mod tools;
mod unheard;
mod worker_life;

use longhaul_tests::world::{PATIENCE, World};
use rehearsal::{Answer, Rule, Script};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::runtime::Handle;
use tokio::sync::watch;
use worker::{FunctionContext, Functions};

/// The agent of these tests, with whatever tables a test adds. Retries come quickly.
pub(crate) fn agent(tables: &str) -> String {
    agent_with("", tables)
}

/// The same with keys of its own at the top.
pub(crate) fn agent_with(keys: &str, tables: &str) -> String {
    format!(
        r#"
name = "helper"
{keys}
[model]
name = "claude-test"
max_tokens = 256
retry = {{ attempts_max = 3, initial_ms = 10, cap_ms = 50 }}
{tables}
"#
    )
}

/// A tool that is a function of [`Bench`].
pub(crate) fn function(name: &str, effect: &str) -> String {
    format!(
        r#"
[[tool]]
name = "{name}"
description = "Use it in tests of the engine. Returns a few words about what it did."
kind = "function"
effect = "{effect}"
retry = {{ attempts_max = 2, initial_ms = 10, cap_ms = 20 }}
"#
    )
}

/// One turn with these calls, then an answer.
pub(crate) fn calling(calls: impl IntoIterator<Item = (&'static str, Value)>) -> Script {
    let turn = calls
        .into_iter()
        .fold(Answer::default(), |answer, (name, input)| answer.call(name, input));
    Script::new()
        .rule(Rule::on_turn(1).answers(turn))
        .rule(Rule::always().answers(Answer::text("All is done.")))
}

/// A model that answers at once.
pub(crate) fn answering() -> Script {
    Script::new().rule(Rule::always().answers(Answer::text("All is done.")))
}

/// What the functions of a worker have in their hands, kept outside the worker: the judge of what really happened.
#[derive(Clone)]
pub(crate) struct Bench {
    ledger: Arc<Mutex<Vec<Entry>>>,
    entered: watch::Sender<usize>,
    open: watch::Sender<bool>,
}

/// One call that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) text: String,
    pub(crate) key: String,
    pub(crate) attempt: u32,
}

/// What the functions take.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Words {
    /// Any words.
    pub(crate) text: String,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self {
            ledger: Arc::default(),
            entered: watch::Sender::new(0),
            open: watch::Sender::new(false),
        }
    }

    /// `note` writes down and answers, `wait` writes down and answers when the gate is open, `burst` panics.
    pub(crate) fn functions(&self) -> Functions {
        let mut functions = Functions::new();
        let bench = self.clone();
        functions.register("note", move |context, words: Words| {
            let bench = bench.clone();
            async move {
                bench.write(&context, &words.text);
                Ok(format!("noted {}", words.text))
            }
        });
        let bench = self.clone();
        functions.register("wait", move |context, words: Words| {
            let bench = bench.clone();
            async move {
                bench.write(&context, &words.text);
                let _ = bench.open.subscribe().wait_for(|open| *open).await;
                Ok(json!({"waited": words.text}))
            }
        });
        let bench = self.clone();
        functions.register("burst", move |context, words: Words| {
            let bench = bench.clone();
            async move {
                bench.write(&context, &words.text);
                assert!(words.text.is_empty(), "a function of a test bursts, as it should");
                Ok(())
            }
        });
        functions
    }

    /// `wait` writes down and lets go of its thread when the gate is open, without an answer: only then can it be cut.
    /// Needs a runtime of several threads.
    pub(crate) fn functions_that_are_cut_late(&self) -> Functions {
        let mut functions = Functions::new();
        let bench = self.clone();
        functions.register("wait", move |context, words: Words| {
            let bench = bench.clone();
            async move {
                bench.write(&context, &words.text);
                let mut open = bench.open.subscribe();
                tokio::task::block_in_place(|| {
                    let _ = Handle::current().block_on(open.wait_for(|open| *open));
                });
                std::future::pending::<()>().await;
                Ok(())
            }
        });
        functions
    }

    fn write(&self, context: &FunctionContext, text: &str) {
        let entry = Entry {
            text: text.to_owned(),
            key: context.key.clone(),
            attempt: context.attempt,
        };
        self.ledger.lock().expect("nobody panics here").push(entry);
        self.entered.send_modify(|entered| *entered += 1);
    }

    pub(crate) fn ledger(&self) -> Vec<Entry> {
        self.ledger.lock().expect("nobody panics here").clone()
    }

    /// The words that arrived, in order.
    pub(crate) fn words(&self) -> Vec<String> {
        self.ledger().into_iter().map(|entry| entry.text).collect()
    }

    /// Waits until so many calls have arrived.
    pub(crate) async fn arrived(&self, calls: usize) {
        let mut entered = self.entered.subscribe();
        let waiting = entered.wait_for(|entered| *entered >= calls);
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .unwrap_or_else(|_| panic!("not {calls} calls arrived within {PATIENCE:?}: {:?}", self.ledger()))
            .expect("the sender lives");
    }

    /// Lets every call go that waits, now and later.
    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }
}

/// Waits until the model was asked so often.
pub(crate) async fn asked(world: &World, times: u64) {
    tokio::time::timeout(PATIENCE, world.rehearsal.wait_for_asked(times))
        .await
        .unwrap_or_else(|_| panic!("the model was not asked {times} times within {PATIENCE:?}"));
}

/// The body of a request to the model, by its place.
pub(crate) fn request(world: &World, place: usize) -> Value {
    let asked = world.rehearsal.asked();
    let body = &asked
        .get(place)
        .unwrap_or_else(|| panic!("asked only {} times", asked.len()))
        .body;
    serde_json::from_str(body).expect("a request is JSON")
}

/// The tool results of the last message of a request: content and whether it tells of a failure.
pub(crate) fn results(request: &Value) -> Vec<(String, bool)> {
    let last = request["messages"].as_array().and_then(|messages| messages.last());
    let blocks = last.and_then(|message| message["content"].as_array()).cloned();
    blocks
        .unwrap_or_default()
        .iter()
        .filter(|block| block["type"] == "tool_result")
        .map(|block| {
            let content = block["content"].as_str().unwrap_or_default().to_owned();
            (content, block["is_error"] == true)
        })
        .collect()
}

/// The error that a tool result tells of.
pub(crate) fn told(result: &(String, bool)) -> String {
    assert!(result.1, "no error: {result:?}");
    let told: Value = serde_json::from_str(&result.0).expect("an error result is JSON");
    told["code"].as_str().unwrap_or_default().to_owned()
}

/// The code of a run's error.
pub(crate) fn failure(run: &engine::query::RunDetail) -> String {
    let error: Value = serde_json::from_str(run.error.as_deref().unwrap_or("null")).expect("an error is JSON");
    error["code"].as_str().unwrap_or_default().to_owned()
}

/// Waits until it is so.
pub(crate) async fn until(condition: impl AsyncFn() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("what is waited for comes about");
}
