//! Calls that failed for good and are answered in another way: by an earlier result, another call, less, or a person.

mod cache;

use super::{agent, calling, request, results, told};
use engine::query::{ApprovalRow, ApprovalsWanted};
use engine::{Decide, RunId};
use longhaul_tests::world::{PATIENCE, World};
use rehearsal::Script;
use rehearsal::payments::{Payments, PaymentsOptions};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use worker::{FunctionError, Functions};

/// A shop whose answers are laid out, and that knows what it was really asked.
#[derive(Clone, Default)]
struct Shop {
    /// How many calls of each tool fail before others go well.
    failing: Arc<Mutex<VecDeque<FunctionError>>>,
    asked: Arc<Mutex<Vec<(&'static str, Value)>>>,
}

#[derive(Deserialize, JsonSchema, serde::Serialize)]
struct Query {
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
}

impl Shop {
    fn down(times: usize) -> Self {
        let shop = Self::default();
        shop.fails(times);
        shop
    }

    /// `find` and `pay` fail so often from now on, and have done nothing.
    fn fails(&self, times: usize) {
        let error = || FunctionError::transient("the shop is closed").not_applied();
        self.failing.lock().unwrap().extend((0..times).map(|_| error()));
    }

    fn asked(&self) -> Vec<(&'static str, Value)> {
        self.asked.lock().unwrap().clone()
    }

    fn tools(&self) -> Vec<&'static str> {
        self.asked().into_iter().map(|(tool, _)| tool).collect()
    }

    fn functions(&self) -> Functions {
        let mut functions = Functions::new();
        for name in ["find", "pay", "find_old"] {
            let shop = self.clone();
            functions.register(name, move |_, query: Query| {
                let shop = shop.clone();
                async move {
                    shop.asked.lock().unwrap().push((name, json!(query)));
                    let error = match name {
                        "find_old" => None,
                        _ => shop.failing.lock().unwrap().pop_front(),
                    };
                    match error {
                        Some(error) => Err(error),
                        None => Ok(format!("{name} found {}", query.text)),
                    }
                }
            });
        }
        functions
    }
}

/// A tool of the shop that is tried once, with these lines.
fn tool(name: &str, effect: &str, lines: &str) -> String {
    format!(
        r#"
[[tool]]
name = "{name}"
description = "Use it in tests of the engine. Returns a few words about what it did."
kind = "function"
effect = "{effect}"
retry = {{ attempts_max = 1, initial_ms = 10, cap_ms = 20 }}
{lines}
"#
    )
}

fn find(lines: &str) -> String {
    agent(&format!(
        "{}{}",
        tool("find", "read_only", lines),
        tool("find_old", "read_only", "")
    ))
}

fn finding() -> Script {
    calling([("find", json!({"text": "books"}))])
}

/// The label and the text of a result.
fn labelled(result: &(String, bool)) -> (Value, String) {
    assert!(!result.1, "{result:?}");
    let (label, text) = result
        .0
        .split_once('\n')
        .unwrap_or_else(|| panic!("no label: {result:?}"));
    (serde_json::from_str(label).expect("a label is JSON"), text.to_owned())
}

/// What SQL says of the labelled steps of a run.
async fn shown(world: &World, run: RunId) -> Value {
    world
        .sql(
            "select coalesce(jsonb_agg(to_jsonb(labelled) order by seq), '[]')
             from longhaul_audit.fallback as labelled
             where run_id = $1",
            run,
        )
        .await
}

#[tokio::test]
async fn a_call_that_failed_is_answered_by_another_tool_and_says_so() {
    let world = World::new(finding()).await;
    world.apply(&find("fallback = [{ tool = \"find_old\" }]")).await;
    let shop = Shop::down(1);
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), shop.functions());

    assert_eq!(world.settled(run).await.state, "succeeded");

    assert_eq!(shop.tools(), ["find", "find_old"]);
    let (label, text) = labelled(&results(&request(&world, 1))[0]);
    assert_eq!(text, "find_old found books");
    assert_eq!(label["fallback"], "find_old");
    assert_eq!(label["because"], "function_failed: the shop is closed");
    let shown = shown(&world, run).await;
    assert_eq!(
        (&shown[0]["tool"], &shown[0]["replaces_seq"], &shown[0]["because"]),
        (&json!("find_old"), &json!(2), &label["because"])
    );
    let journal = world.engine.journal(run).await.unwrap();
    let states: Vec<_> = journal
        .iter()
        .map(|row| (row.state.as_str(), row.replaces_seq))
        .collect();
    assert_eq!(
        states,
        [
            ("succeeded", None),
            ("failed", None),
            ("succeeded", Some(2)),
            ("succeeded", None)
        ]
    );
    world.events(run).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_simpler_question_and_then_a_sample_stand_in_for_a_call_that_failed() {
    let world = World::new(finding()).await;
    let lines = "fallback = [{ input = { limit = 5 } }, { sampled = true, input = { limit = \"{rows}\" } }]";
    world.apply(&find(lines)).await;
    let shop = Shop::down(2);
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), shop.functions());

    assert_eq!(world.settled(run).await.state, "succeeded");

    let limits: Vec<Value> = shop
        .asked()
        .into_iter()
        .map(|(_, query)| query["limit"].clone())
        .collect();
    assert_eq!(limits, [json!(null), json!(5), json!(10_000)]);
    let (label, _) = labelled(&results(&request(&world, 1))[0]);
    assert_eq!(
        (&label["sampled"], &label["target_rows"]),
        (&json!(true), &json!(10_000))
    );
    assert!(label["note"].as_str().unwrap().contains("sample of about 10000 rows"));
    let shown = shown(&world, run).await;
    assert_eq!(
        (
            &shown[0]["simplified"],
            &shown[0]["state"],
            &shown[1]["sampled"],
            &shown[1]["state"]
        ),
        (&json!(true), &json!("failed"), &json!(true), &json!("succeeded"))
    );
    worker.drain().await;
}

#[tokio::test]
async fn where_every_way_fails_the_model_is_told_of_the_last_and_why_it_was_tried() {
    let world = World::new(finding()).await;
    world.apply(&find("fallback = [{ input = { limit = 5 } }]")).await;
    let shop = Shop::down(2);
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), shop.functions());

    assert_eq!(world.settled(run).await.state, "succeeded");

    let result = &results(&request(&world, 1))[0];
    assert_eq!(told(result), "function_failed");
    let told: Value = serde_json::from_str(&result.0).unwrap();
    assert_eq!((&told["simplified"], &told["fallback"]), (&json!(true), &json!("find")));
    assert_eq!(told["because"], "function_failed: the shop is closed");
    worker.drain().await;
}

#[tokio::test]
async fn a_call_that_may_have_happened_is_never_answered_by_a_fallback() {
    let world = World::new(calling([("pay", json!({"text": "rent"}))])).await;
    let tools = format!(
        "{}{}",
        tool("pay", "at_most_once", "fallback = [{ tool = \"find\" }]"),
        tool("find", "read_only", "")
    );
    world.apply(&agent(&tools)).await;
    let shop = Shop::default();
    let lost = FunctionError::transient("the line went dead");
    shop.failing.lock().unwrap().push_back(lost);
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), shop.functions());

    let parked = world.settled(run).await;

    assert_eq!(parked.wait_reason.as_deref(), Some("unknown_outcome"));
    assert_eq!(shop.tools(), ["pay"]);
    worker.drain().await;
}

#[tokio::test]
async fn a_tool_that_fails_its_run_does_so_once_its_fallbacks_have_failed_too() {
    let world = World::new(finding()).await;
    world
        .apply(&find("on_error = \"fail_run\"\nfallback = [{ input = { limit = 5 } }]"))
        .await;
    let shop = Shop::down(2);
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), shop.functions());

    let failed = world.settled(run).await;
    assert_eq!((failed.state.as_str(), shop.tools().len()), ("failed", 2));
    world.engine.resume_run(run, None, None).await.unwrap();
    world
        .until(run, "the run succeeds", |run| run.state == "succeeded")
        .await;

    assert_eq!(shop.tools().len(), 3, "resumed, the call itself is made again");
    worker.drain().await;
}

/// The one approval that is open.
async fn open(world: &World, run: RunId) -> ApprovalRow {
    let wanted = ApprovalsWanted {
        tenant: "default".to_owned(),
        state: Some("open".to_owned()),
        run: Some(run),
        before: None,
        rows: 5,
    };
    let waiting = async {
        loop {
            if let [only] = world.engine.approvals(&wanted).await.unwrap().as_slice() {
                return only.clone();
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("somebody is asked")
}

async fn decide(world: &World, approval: &ApprovalRow, verb: &str) {
    let decide = Decide {
        approval: approval.id,
        verb: verb.to_owned(),
        words: Some("as the shop says".to_owned()),
        result: None,
        actor: Some("ann".to_owned()),
    };
    world.engine.decide_approval(&decide).await.expect("it is decided");
}

/// A run whose payment failed for certain and waits for a person; only the worker's name differs.
async fn escalated(shop: &Shop) -> (World, RunId, ApprovalRow) {
    let world = World::new(calling([("pay", json!({"text": "rent"}))])).await;
    let lines = "fallback = [{ person = { priority = \"high\", note = \"The landlord waits.\" } }]";
    world.apply(&agent(&tool("pay", "at_most_once", lines))).await;
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), shop.functions());
    let parked = world.settled(run).await;
    assert_eq!(parked.waiting_for.as_deref(), Some("approval"), "{parked:#?}");
    let approval = open(&world, run).await;
    worker.drain().await;
    (world, run, approval)
}

#[tokio::test]
async fn a_person_who_approves_has_the_call_made_once_more_and_the_model_learns_who_to_ask() {
    let shop = Shop::down(1);
    let (world, run, approval) = escalated(&shop).await;
    assert_eq!(
        (approval.reason.as_str(), &approval.verbs),
        ("retries_exhausted", &vec!["approve".to_owned(), "reject".to_owned()])
    );
    assert!(approval.summary.contains("The landlord waits."), "{}", approval.summary);
    assert_eq!(approval.priority, "high");
    assert_eq!(shop.tools(), ["pay"], "nothing is called before somebody says so");

    let worker = world.worker(world.config("worker B"), shop.functions());
    decide(&world, &approval, "approve").await;
    assert_eq!(world.settled(run).await.state, "succeeded");

    assert_eq!(shop.tools(), ["pay", "pay"]);
    let (label, text) = labelled(&results(&request(&world, 1))[0]);
    assert_eq!(text, "pay found rent");
    assert_eq!(
        (&label["escalated"], &label["approval"]),
        (&json!(true), &json!(approval.id.to_string()))
    );
    let shown = shown(&world, run).await;
    assert_eq!(
        (&shown[0]["escalated"], &shown[0]["approval_id"]),
        (&json!(true), &json!(approval.id.to_string()))
    );
    let keys = world
        .sql(
            "select jsonb_agg(distinct key) from longhaul.step where run_id = $1 and kind = 'tool'",
            run,
        )
        .await;
    assert_eq!(
        keys.as_array().unwrap().len(),
        2,
        "what certainly failed is made under a key of its own"
    );
    worker.drain().await;
}

#[tokio::test]
async fn a_person_who_rejects_has_the_call_fail_with_their_words() {
    let shop = Shop::down(1);
    let (world, run, approval) = escalated(&shop).await;

    let worker = world.worker(world.config("worker B"), shop.functions());
    decide(&world, &approval, "reject").await;
    assert_eq!(world.settled(run).await.state, "succeeded");

    assert_eq!(shop.tools(), ["pay"]);
    let result = &results(&request(&world, 1))[0];
    assert_eq!(told(result), "rejected");
    let told: Value = serde_json::from_str(&result.0).unwrap();
    assert!(told["message"].as_str().unwrap().contains("as the shop says"));
    assert_eq!(
        (&told["escalated"], &told["approval"]),
        (&json!(true), &json!(approval.id.to_string()))
    );
    worker.drain().await;
}

#[tokio::test]
async fn a_run_that_waits_for_a_person_may_be_cancelled_and_nothing_more_is_asked() {
    let shop = Shop::down(1);
    let (world, run, approval) = escalated(&shop).await;

    world.engine.cancel_run(run, None, None).await.unwrap();

    let row = world
        .sql("select jsonb_agg(state) from longhaul.approval where run_id = $1", run)
        .await;
    assert_eq!(row, json!(["withdrawn"]), "{approval:?}");
    assert_eq!(world.engine.run_detail(run).await.unwrap().state, "cancelled");
}

#[tokio::test]
async fn a_turn_of_which_most_calls_failed_ends_with_a_summary_for_the_model() {
    let calls = ["a", "b", "c"].map(|text| ("find", json!({"text": text})));
    let world = World::new(calling(calls)).await;
    world.apply(&find("")).await;
    let shop = Shop::down(2);
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), shop.functions());

    assert_eq!(world.settled(run).await.state, "succeeded");

    let last = request(&world, 1)["messages"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone();
    let blocks = last["content"].as_array().unwrap();
    assert_eq!(blocks.len(), 4, "{blocks:#?}");
    assert!(
        blocks[3]["text"]
            .as_str()
            .unwrap()
            .starts_with("2 of the 3 calls of this turn failed")
    );
    worker.drain().await;
}

#[tokio::test]
async fn a_service_that_cannot_be_reached_is_stood_in_for_by_one_that_can() {
    let folder = tempfile::tempdir().unwrap();
    let payments = Payments::start(PaymentsOptions::new(folder.path().join("ledger")))
        .await
        .unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let lookup = |name: &str, base: &str, lines: &str| {
        format!(
            r#"
[[tool]]
name = "{name}"
description = "Use it in tests of the engine. Shows the ledger of payments; it changes nothing."
kind = "http"
effect = "read_only"
method = "GET"
url = "{base}/ledger"
allow_hosts = ["127.0.0.1"]
retry = {{ attempts_max = 2, initial_ms = 10, cap_ms = 20 }}
input = {{ type = "object", additionalProperties = false }}
{lines}
"#
        )
    };
    let tools = lookup(
        "ledger",
        &format!("http://{nobody}"),
        "fallback = [{ tool = \"copy\" }]",
    ) + &lookup("copy", &payments.base_url(), "");
    let world = World::new(calling([("ledger", json!({}))])).await;
    world.apply(&agent(&tools)).await;
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), Functions::new());

    assert_eq!(world.settled(run).await.state, "succeeded");

    let (label, _) = labelled(&results(&request(&world, 1))[0]);
    assert_eq!(label["fallback"], "copy");
    assert!(
        label["because"].as_str().unwrap().starts_with("connection_refused: "),
        "{label}"
    );
    worker.drain().await;
}
