//! Calls whose outcome nobody knows: probes and people are asked, and what they say is done.

use super::{agent, asked, calling, function, request, results, told};
use engine::query::{ApprovalRow, ApprovalsWanted};
use engine::{Decide, EngineError, RunId};
use longhaul_tests::world::{PATIENCE, World};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use uuid::Uuid;
use worker::{FunctionError, Functions};

/// How a payment goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goes {
    Well,
    /// It is made, and its answer is lost.
    Unseen,
    /// It is not made, and nobody can tell.
    Nowhere,
}

/// A bank: what it was really asked, and what it tells those who look.
#[derive(Clone, Default)]
struct Bank {
    ways: Arc<Mutex<VecDeque<Goes>>>,
    /// The keys of all calls that came, and whether they were carried out.
    calls: Arc<Mutex<Vec<(String, bool)>>>,
    /// Whether it knows what it has done.
    is_dumb: Arc<Mutex<bool>>,
}

#[derive(Deserialize, JsonSchema)]
struct Payment {
    text: String,
}

#[derive(Deserialize, JsonSchema)]
struct Look {
    key: String,
    about: String,
}

impl Bank {
    fn new(ways: impl IntoIterator<Item = Goes>) -> Self {
        let bank = Self::default();
        bank.ways.lock().unwrap().extend(ways);
        bank
    }

    fn paid(&self) -> usize {
        self.calls.lock().unwrap().iter().filter(|(_, done)| *done).count()
    }

    fn keys(&self) -> Vec<String> {
        self.calls.lock().unwrap().iter().map(|(key, _)| key.clone()).collect()
    }

    fn functions(&self) -> Functions {
        let mut functions = Functions::new();
        for name in ["pay", "book"] {
            let bank = self.clone();
            functions.register(name, move |context, payment: Payment| {
                let bank = bank.clone();
                async move {
                    let goes = bank.ways.lock().unwrap().pop_front().unwrap_or(Goes::Well);
                    bank.calls
                        .lock()
                        .unwrap()
                        .push((context.key.clone(), goes != Goes::Nowhere));
                    match goes {
                        Goes::Well => Ok(format!("paid for {}", payment.text)),
                        Goes::Unseen | Goes::Nowhere => Err(FunctionError::transient("the line went dead")),
                    }
                }
            });
        }
        let bank = self.clone();
        functions.register("look", move |_, look: Look| {
            let bank = bank.clone();
            async move {
                assert_eq!(look.about, "about rent");
                if *bank.is_dumb.lock().unwrap() {
                    return Ok(json!("who knows"));
                }
                let known = bank
                    .calls
                    .lock()
                    .unwrap()
                    .iter()
                    .any(|(key, done)| *done && *key == look.key);
                Ok(json!({"id": known.then_some(7)}))
            }
        });
        functions
    }
}

const PROBE: &str = r#"
[tool.probe]
tool = "look"
input = { key = "{key}", about = "about {text}" }
after_seconds = 0
happened = { pointer = "/id" }
did_not_happen = { pointer = "/id", present = false }
"#;

/// A tool whose calls are over after a second, and which is tried once.
fn paying(name: &str, effect: &str) -> String {
    let tool = function(name, effect).replace("attempts_max = 2", "attempts_max = 1");
    tool.replace("retry =", "timeout_seconds = 1\nretry =")
}

fn once() -> String {
    agent(&paying("pay", "at_most_once"))
}

fn probing() -> String {
    agent(&format!(
        "{}{PROBE}{}",
        paying("pay", "at_most_once"),
        function("look", "read_only")
    ))
}

async fn world(definition: &str, tools: &[&'static str]) -> (World, RunId) {
    let calls: Vec<(&'static str, Value)> = tools.iter().map(|tool| (*tool, json!({"text": "rent"}))).collect();
    let world = World::new(calling(calls)).await;
    world.apply(definition).await;
    let run = world.start("helper", &json!("pay the rent")).await;
    (world, run)
}

async fn inbox(world: &World, run: RunId) -> Vec<ApprovalRow> {
    let wanted = ApprovalsWanted {
        tenant: "default".to_owned(),
        state: None,
        run: Some(run),
        before: None,
        rows: 50,
    };
    world.engine.approvals(&wanted).await.expect("the inbox is read")
}

/// The one approval that is open.
async fn open(world: &World, run: RunId) -> ApprovalRow {
    let waiting = async {
        loop {
            let open: Vec<_> = inbox(world, run)
                .await
                .into_iter()
                .filter(|row| row.state == "open")
                .collect();
            if let [only] = open.as_slice() {
                return only.clone();
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("somebody is asked")
}

fn decision(approval: Uuid, verb: &str) -> Decide {
    Decide {
        approval,
        verb: verb.to_owned(),
        words: Some("the bank says so".to_owned()),
        result: None,
        actor: Some("ann".to_owned()),
    }
}

async fn decide(world: &World, approval: &ApprovalRow, verb: &str) -> Result<String, EngineError> {
    let deciding = async {
        loop {
            let decided = world.engine.decide_approval(&decision(approval.id, verb)).await;
            // What did not happen is believed once the call can no longer be on its way.
            if decided.as_ref().is_err_and(|error| error.code() == "too_early") {
                tokio::task::yield_now().await;
                continue;
            }
            return decided;
        }
    };
    tokio::time::timeout(PATIENCE, deciding)
        .await
        .expect("the call is over some time")
}

async fn succeeded(world: &World, run: RunId) {
    world
        .until(run, "the run succeeds", |run| run.state == "succeeded")
        .await;
}

#[tokio::test]
async fn a_person_says_that_a_call_happened_and_the_model_is_told_its_result() {
    let (world, run) = world(&once(), &["pay"]).await;
    let bank = Bank::new([Goes::Unseen]);
    let worker = world.worker(world.config("worker A"), bank.functions());

    let parked = world.settled(run).await;
    assert_eq!(
        (parked.waiting_for.as_deref(), parked.wait_reason.as_deref()),
        (Some("approval"), Some("unknown_outcome"))
    );
    let approval = open(&world, run).await;
    assert_eq!(
        (approval.reason.as_str(), approval.step_seq, approval.tool.as_deref()),
        ("unknown_outcome", Some(2), Some("pay"))
    );
    assert_eq!(approval.verbs, ["happened", "did_not_happen", "give_up"]);
    assert!(approval.summary.contains("the line went dead"), "{}", approval.summary);
    let mut happened = decision(approval.id, "happened");
    happened.result = Some(r#"{"receipt": 7}"#.to_owned());
    let state = world.engine.decide_approval(&happened).await.expect("it is decided");
    assert_eq!(state, "queued");
    succeeded(&world, run).await;

    assert_eq!((bank.paid(), bank.keys().len()), (1, 1), "nothing was sent again");
    assert_eq!(results(&request(&world, 1)), [(r#"{"receipt": 7}"#.to_owned(), false)]);
    let told = world
        .sql(
            "select to_jsonb(approval) from longhaul_audit.approval where run_id = $1",
            run,
        )
        .await;
    assert_eq!(
        (&told["state"], &told["verb"], &told["actor"], &told["words"]),
        (
            &json!("decided"),
            &json!("happened"),
            &json!("ann"),
            &json!("the bank says so")
        )
    );
    worker.drain().await;
}

#[tokio::test]
async fn a_person_says_that_a_call_did_not_happen_and_it_is_made_under_its_key() {
    let (world, run) = world(&once(), &["pay"]).await;
    let bank = Bank::new([Goes::Nowhere, Goes::Well]);
    let worker = world.worker(world.config("worker A"), bank.functions());
    let approval = open(&world, run).await;

    assert_eq!(
        decide(&world, &approval, "did_not_happen")
            .await
            .expect("it is decided"),
        "queued"
    );
    succeeded(&world, run).await;

    let keys = bank.keys();
    assert_eq!((bank.paid(), keys.len()), (1, 2));
    assert_eq!(keys[0], keys[1]);
    assert_eq!(results(&request(&world, 1)), [("paid for rent".to_owned(), false)]);
    worker.drain().await;
}

#[tokio::test]
async fn nobody_can_say_that_a_call_did_not_happen_while_it_may_be_on_its_way() {
    let definition = once().replace("timeout_seconds = 1\n", "timeout_seconds = 600\n");
    let (world, run) = world(&definition, &["pay"]).await;
    let bank = Bank::new([Goes::Nowhere]);
    let worker = world.worker(world.config("worker A"), bank.functions());
    let approval = open(&world, run).await;

    let refused = world
        .engine
        .decide_approval(&decision(approval.id, "did_not_happen"))
        .await;

    assert_eq!(refused.expect_err("too early").code(), "too_early");
    assert_eq!(open(&world, run).await.id, approval.id, "it may still be decided");
    worker.drain().await;
}

#[tokio::test]
async fn a_call_that_is_given_up_is_told_to_the_model_as_such() {
    let (world, run) = world(&once(), &["pay"]).await;
    let bank = Bank::new([Goes::Unseen]);
    let worker = world.worker(world.config("worker A"), bank.functions());
    let approval = open(&world, run).await;

    decide(&world, &approval, "give_up").await.expect("it is decided");
    succeeded(&world, run).await;

    let results = results(&request(&world, 1));
    assert_eq!(told(&results[0]), "given_up");
    assert!(results[0].0.contains("the bank says so"), "{results:?}");
    assert_eq!(bank.keys().len(), 1);
    worker.drain().await;
}

#[tokio::test]
async fn a_second_doubt_about_a_call_is_asked_about_anew() {
    let (world, run) = world(&once(), &["pay"]).await;
    let bank = Bank::new([Goes::Nowhere, Goes::Unseen]);
    let worker = world.worker(world.config("worker A"), bank.functions());
    let first = open(&world, run).await;
    decide(&world, &first, "did_not_happen").await.expect("it is decided");
    asked(&world, 1).await;

    let second = async {
        loop {
            let approval = open(&world, run).await;
            if approval.id != first.id {
                return approval;
            }
        }
    };
    let second = tokio::time::timeout(PATIENCE, second)
        .await
        .expect("somebody is asked again");
    decide(&world, &second, "happened").await.expect("it is decided");
    succeeded(&world, run).await;

    assert_eq!((bank.paid(), bank.keys().len()), (1, 2));
    worker.drain().await;
}

#[tokio::test]
async fn a_sibling_that_waits_for_a_person_holds_nobody_up_and_each_is_decided_for_itself() {
    let (world, run) = world(&once(), &["pay", "pay", "pay"]).await;
    let bank = Bank::new([Goes::Unseen, Goes::Well, Goes::Unseen]);
    let worker = world.worker(world.config("worker A"), bank.functions());
    world.settled(run).await;
    let doubts = inbox(&world, run).await;
    assert_eq!(doubts.len(), 2, "{doubts:?}");

    decide(&world, &doubts[0], "happened").await.expect("it is decided");
    let again = world
        .until(run, "the run waits again", |run| {
            run.state == "waiting" && run.fence.0 > 1
        })
        .await;
    assert_eq!(again.wait_reason.as_deref(), Some("unknown_outcome"));
    assert_eq!(
        world.rehearsal.asked().len(),
        1,
        "the turn goes on when the last answer is in"
    );
    decide(&world, &doubts[1], "give_up").await.expect("it is decided");
    succeeded(&world, run).await;

    assert_eq!(bank.keys().len(), 3);
    assert_eq!(results(&request(&world, 1)).len(), 3);
    worker.drain().await;
}

#[tokio::test]
async fn an_idempotent_call_whose_retries_are_spent_goes_on_under_its_key_once_somebody_approves() {
    let (world, run) = world(&agent(&paying("book", "idempotent")), &["book"]).await;
    let bank = Bank::new([Goes::Unseen, Goes::Well]);
    let worker = world.worker(world.config("worker A"), bank.functions());
    let approval = open(&world, run).await;
    assert_eq!(approval.reason, "retries_exhausted");
    assert_eq!(
        approval.verbs,
        ["happened", "did_not_happen", "approve", "reject", "give_up"]
    );

    decide(&world, &approval, "approve").await.expect("it is decided");
    succeeded(&world, run).await;

    let keys = bank.keys();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
    worker.drain().await;
}

#[tokio::test]
async fn an_approved_call_whose_record_is_gone_ends_and_sends_nothing() {
    let (world, run) = world(&agent(&paying("book", "idempotent")), &["book"]).await;
    let bank = Bank::new([Goes::Unseen]);
    let worker = world.worker(world.config("worker A"), bank.functions());
    let approval = open(&world, run).await;
    let gone = "update longhaul.step set request = null where run_id = $1 and kind = 'tool' returning to_jsonb(seq)";
    world.sql(gone, run).await;

    decide(&world, &approval, "approve").await.expect("it is decided");
    succeeded(&world, run).await;

    assert_eq!(bank.keys().len(), 1);
    assert_eq!(told(&results(&request(&world, 1))[0]), "request_lost");
    worker.drain().await;
}

#[tokio::test]
async fn a_probe_finds_what_happened_and_nobody_is_asked() {
    for (goes, calls) in [(Goes::Unseen, 1), (Goes::Nowhere, 2)] {
        let (world, run) = world(&probing(), &["pay"]).await;
        let bank = Bank::new([goes]);
        let worker = world.worker(world.config("worker A"), bank.functions());

        succeeded(&world, run).await;

        assert_eq!((bank.paid(), bank.keys().len()), (1, calls), "{goes:?}");
        assert_eq!(inbox(&world, run).await.len(), 0);
        let told = &results(&request(&world, 1))[0];
        let found = if calls == 1 { r#"{"id":7}"# } else { "paid for rent" };
        assert_eq!(told, &(found.to_owned(), false), "{goes:?}");
        worker.drain().await;
    }
}

#[tokio::test]
async fn a_probe_waits_until_a_slow_target_is_done() {
    let definition = probing().replace("after_seconds = 0", "after_seconds = 1");
    let (world, run) = world(&definition, &["pay"]).await;
    let bank = Bank::new([Goes::Unseen]);
    let worker = world.worker(world.config("worker A"), bank.functions());

    succeeded(&world, run).await;

    let waited = "select to_jsonb(extract(epoch from probe.attempt_started_at - call.attempt_started_at)::float8)
                  from longhaul.step as probe join longhaul.step as call on call.run_id = probe.run_id
                  where probe.run_id = $1 and probe.kind = 'probe' and call.kind = 'tool'";
    let waited = world.sql(waited, run).await.as_f64().expect("it was probed");
    assert!(waited >= 2.0, "the call's own second and one more: {waited}");
    worker.drain().await;
}

#[tokio::test]
async fn a_probe_that_cannot_say_leaves_it_to_a_person_who_may_have_it_asked_again() {
    let (world, run) = world(&probing(), &["pay"]).await;
    let bank = Bank::new([Goes::Unseen]);
    *bank.is_dumb.lock().unwrap() = true;
    let worker = world.worker(world.config("worker A"), bank.functions());
    let approval = open(&world, run).await;
    assert_eq!(approval.verbs, ["happened", "did_not_happen", "probe_again", "give_up"]);
    let shown = world
        .engine
        .approval(approval.id)
        .await
        .expect("it is read")
        .expect("it is there");
    let probe: Value = serde_json::from_str(shown.probes.first().expect("it was asked").get()).expect("JSON");
    assert_eq!(probe["result"]["content"], "who knows", "{probe}");

    *bank.is_dumb.lock().unwrap() = false;
    decide(&world, &approval, "probe_again").await.expect("it is decided");
    succeeded(&world, run).await;

    assert_eq!((bank.paid(), bank.keys().len()), (1, 1));
    worker.drain().await;
}

#[tokio::test]
async fn a_decision_binds_once_and_only_what_may_be_decided() {
    let (world, run) = world(&once(), &["pay"]).await;
    let bank = Bank::new([Goes::Unseen]);
    let worker = world.worker(world.config("worker A"), bank.functions());
    let approval = open(&world, run).await;
    let refused = async |decision: Decide| {
        let refused = world.engine.decide_approval(&decision).await;
        refused.expect_err("it is refused").code().to_owned()
    };

    assert_eq!(refused(decision(Uuid::new_v4(), "happened")).await, "no_such_approval");
    assert_eq!(refused(decision(approval.id, "approve")).await, "verb_not_allowed");
    assert_eq!(refused(decision(approval.id, "nonsense")).await, "invalid_decision");
    let mut wordy = decision(approval.id, "give_up");
    wordy.words = Some("x".repeat(4097));
    assert_eq!(refused(wordy).await, "invalid_decision");
    let mut odd = decision(approval.id, "give_up");
    odd.result = Some("1".to_owned());
    assert_eq!(refused(odd).await, "invalid_decision");
    let mut broken = decision(approval.id, "happened");
    broken.result = Some("{".to_owned());
    assert_eq!(refused(broken).await, "invalid_result");
    decide(&world, &approval, "happened").await.expect("it is decided");
    assert_eq!(refused(decision(approval.id, "give_up")).await, "already_decided");
    succeeded(&world, run).await;
    worker.drain().await;
}

#[tokio::test]
async fn what_became_of_the_calls_of_a_cancelled_run_is_still_asked_and_nothing_is_sent() {
    for (verb, state) in [
        ("happened", "succeeded"),
        ("did_not_happen", "cancelled"),
        ("give_up", "failed"),
    ] {
        let (world, run) = world(&once(), &["pay"]).await;
        let bank = Bank::new([Goes::Unseen]);
        let worker = world.worker(world.config("worker A"), bank.functions());
        let before = open(&world, run).await;
        world
            .engine
            .cancel_run(run, None, Some("ann"))
            .await
            .expect("it is cancelled");

        let closed = world.engine.decide_approval(&decision(before.id, verb)).await;
        assert_eq!(closed.expect_err("withdrawn").code(), "approval_closed");
        let after = open(&world, run).await;
        assert_eq!(after.verbs, ["happened", "did_not_happen", "give_up"]);
        assert_eq!(decide(&world, &after, verb).await.expect("it is decided"), "cancelled");

        let step = world
            .sql(
                "select to_jsonb(step) from longhaul_audit.step where run_id = $1 and seq = 2",
                run,
            )
            .await;
        assert_eq!(step["state"], state);
        let events = world.events(run).await;
        assert_eq!(
            events.last().map(String::as_str),
            Some(format!("step.{state}").as_str())
        );
        assert_eq!(bank.keys().len(), 1);
        worker.drain().await;
    }
}

#[tokio::test]
async fn a_run_that_waits_for_a_person_as_a_whole_is_approved_or_rejected() {
    use rehearsal::{Answer, Rule, Script};
    for verb in ["approve", "reject"] {
        let script = Script::new()
            .rule(
                Rule::always()
                    .times(1)
                    .answers(Answer::text("strange").stopping_for("new_reason")),
            )
            .rule(Rule::always().answers(Answer::text("All is done.")));
        let world = World::new(script).await;
        world.apply(&agent("")).await;
        let run = world.start("helper", &json!("hello")).await;
        let worker = world.worker(world.config("worker A"), Functions::new());
        let approval = open(&world, run).await;
        assert_eq!(
            (approval.reason.as_str(), approval.step_seq, approval.verbs.as_slice()),
            (
                "unknown_stop_reason",
                None,
                ["approve".to_owned(), "reject".to_owned()].as_slice()
            )
        );

        decide(&world, &approval, verb).await.expect("it is decided");

        let ended = world.until(run, "the run ends", |run| run.ended_at.is_some()).await;
        match verb {
            "approve" => assert_eq!(ended.state, "succeeded"),
            _ => {
                let error: Value = serde_json::from_str(&ended.error.expect("an error")).expect("JSON");
                assert_eq!((ended.state.as_str(), &error["code"]), ("failed", &json!("rejected")));
                assert!(error["message"].as_str().unwrap().contains("the bank says so"));
                world.engine.resume_run(run, None, None).await.expect("it is resumed");
                succeeded(&world, run).await;
            }
        }
        worker.drain().await;
    }
}

#[tokio::test]
async fn what_a_decision_was_taken_by_stays_to_be_seen() {
    let (world, run) = world(&once(), &["pay"]).await;
    let bank = Bank::new([Goes::Unseen]);
    let worker = world.worker(world.config("worker A"), bank.functions());
    let approval = open(&world, run).await;
    let evidence = "select coalesce(evidence, '{}') from longhaul_audit.step where run_id = $1 and seq = 2";
    let before = world.sql(evidence, run).await;

    decide(&world, &approval, "happened").await.expect("it is decided");
    succeeded(&world, run).await;

    assert_ne!(before, json!({}));
    assert_eq!(world.sql(evidence, run).await, before);
    worker.drain().await;
}
