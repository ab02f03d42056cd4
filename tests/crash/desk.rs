//! A desk that makes refunds at a payments service with a ledger of its own, and what is asked when its workers died.

use engine::query::AttemptRow;
use engine::{Cancelled, RunId};
use longhaul_tests::process::{Start, WorkerProcess};
use longhaul_tests::world::{PATIENCE, World};
use rehearsal::payments::{Payments, PaymentsOptions, Record};
use rehearsal::{Answer, Rule, Script};
use serde_json::json;
use tempfile::TempDir;

/// What a refund is declared to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Declared {
    ReadOnly,
    /// The payments service honours the key.
    Idempotent,
    /// The payments service ignores keys: every arrival moves money.
    AtMostOnce,
}

impl Declared {
    pub(crate) const ALL: [Self; 3] = [Self::ReadOnly, Self::Idempotent, Self::AtMostOnce];

    const fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read_only",
            Self::Idempotent => "idempotent",
            Self::AtMostOnce => "at_most_once",
        }
    }
}

/// One refund, then an answer, where none of these rules holds.
pub(crate) fn one_refund_after(rules: Script) -> Script {
    rules
        .rule(Rule::on_turn(1).answers(refund("{{input.order}}")))
        .rule(Rule::on_turn(2).answers(Answer::text("Refunded {{input.order}}.")))
}

/// An answer that calls for a refund.
pub(crate) fn refund(order: &str) -> Answer {
    Answer::default().call("refund", refund_of(order))
}

/// The input of a refund.
pub(crate) fn refund_of(order: &str) -> serde_json::Value {
    json!({"order_id": order, "amount_cents": 4250, "reason": "broken"})
}

/// A world with an agent that refunds.
pub(crate) struct Desk {
    pub(crate) world: World,
    pub(crate) payments: Payments,
    pub(crate) declared: Declared,
    _folder: TempDir,
}

/// How a desk is set up.
pub(crate) struct Setting {
    pub(crate) declared: Declared,
    pub(crate) script: Script,
    /// The answers to so many refunds are held back, the first to arrive.
    pub(crate) held: u64,
    /// Attempts of a model call. A refund has one: only a crash may add another.
    pub(crate) model_attempts: u32,
    /// How long a refund may take.
    pub(crate) refund_seconds: u32,
}

impl Setting {
    /// One refund, answered at once; no call is tried twice unless its worker died.
    pub(crate) fn of(declared: Declared) -> Self {
        Self {
            declared,
            script: one_refund_after(Script::new()),
            held: 0,
            model_attempts: 1,
            refund_seconds: 30,
        }
    }

    /// The same, with the answer to the first refund held back.
    pub(crate) fn holding(declared: Declared) -> Self {
        Self {
            held: 1,
            ..Self::of(declared)
        }
    }

    pub(crate) async fn open(self) -> Desk {
        let mut world = World::new(self.script.clone()).await;
        let folder = tempfile::tempdir().expect("a folder");
        let payments = Payments::start(PaymentsOptions {
            honours_keys: self.declared != Declared::AtMostOnce,
            hold: true,
            delay_arrivals: Some(self.held),
            ..PaymentsOptions::new(folder.path().join("ledger.jsonl"))
        })
        .await
        .expect("the payments service starts");
        world.environment.insert("PAYMENTS_URL".to_owned(), payments.base_url());
        world.apply(&agent_file(&self)).await;
        Desk {
            world,
            payments,
            declared: self.declared,
            _folder: folder,
        }
    }
}

const INPUT: &str = r#"
        [tool.input]
        type = "object"
        required = ["order_id", "amount_cents", "reason"]

        [tool.input.properties]
        order_id = { type = "string" }
        amount_cents = { type = "integer" }
        reason = { type = "string" }
"#;

fn agent_file(setting: &Setting) -> String {
    let Setting {
        declared,
        model_attempts,
        refund_seconds,
        ..
    } = setting;
    format!(
        r#"
        name = "desk"
        system = "You make refunds."

        [model]
        name = "claude-sonnet-5-5"
        max_tokens = 512
        retry = {{ attempts_max = {model_attempts}, initial_ms = 10 }}

        [[tool]]
        name = "refund"
        description = "Pays money back to the customer of an order. Use it once for each order."
        kind = "http"
        effect = "{effect}"
        method = "POST"
        url = "{{env:PAYMENTS_URL}}/refunds"
        timeout_seconds = {refund_seconds}
        allow_hosts = ["127.0.0.1"]
        retry = {{ attempts_max = 1 }}
        {INPUT}

        [[tool]]
        name = "estimate"
        description = "Estimates what a refund would cost. Use it as often as it is needed."
        kind = "http"
        effect = "read_only"
        method = "POST"
        url = "{{env:PAYMENTS_URL}}/refunds"
        allow_hosts = ["127.0.0.1"]
        {INPUT}
        "#,
        effect = declared.as_str(),
    )
}

impl Desk {
    /// Starts a run for this order.
    pub(crate) async fn start(&self, order: &str) -> RunId {
        self.world.start("desk", &json!({ "order": order })).await
    }

    pub(crate) fn worker(&self, name: &str) -> WorkerProcess {
        WorkerProcess::start(&self.world, &Start::named(name))
    }

    /// A worker that kills itself at this point.
    pub(crate) fn doomed(&self, point: &str) -> WorkerProcess {
        WorkerProcess::start(&self.world, &Start::named("doomed").dying_at(point))
    }

    /// A worker that has a refund out when this returns, and whose lease ends soon.
    pub(crate) async fn worker_with_a_refund_out(&self, name: &str) -> WorkerProcess {
        let worker = WorkerProcess::start(
            &self.world,
            &Start {
                lease_seconds: "1",
                ..Start::named(name)
            },
        );
        self.arrivals(1).await;
        worker
    }

    /// Waits for so many refunds to arrive.
    pub(crate) async fn arrivals(&self, count: usize) {
        within("refunds arrive", self.payments.wait_for_arrivals(count)).await;
    }

    /// What arrived for this order, in order.
    pub(crate) fn ledger(&self, order: &str) -> Vec<Record> {
        let mut records = self.payments.ledger();
        records.retain(|record| record.order_id == order);
        records
    }

    /// The refund's attempts as the journal tells them; the step's state is in each.
    pub(crate) async fn refunds(&self, run: RunId) -> Vec<AttemptRow> {
        let mut rows = self.world.engine.journal(run).await.expect("the journal is read");
        rows.retain(|row| row.name == "refund");
        rows
    }

    /// The run has its answer, and the ledger shows so many arrivals of which exactly one moved money.
    pub(crate) async fn is_refunded(&self, run: RunId, order: &str, arrivals: usize) {
        let ended = self.world.settled(run).await;
        let ledger = self.ledger(order);
        let what = format!("{:?}: {ledger:#?} {ended:#?}", self.declared);
        assert_eq!(ended.state, "succeeded", "{what}");
        assert_eq!(ledger.len(), arrivals, "arrivals, {what}");
        // A service that was promised repeats at will is not asked to tell them apart.
        if self.declared != Declared::ReadOnly {
            let applied = ledger.iter().filter(|record| record.applied).count();
            assert_eq!(applied, 1, "applied, {what}");
        }
        assert_one_key(&ledger);
        assert!(ended.result.expect("a result").contains(order));
        self.is_whole(run).await;
    }

    /// The refund was lost from sight and nobody sends it again: the run waits for a person, is not resumed, and can
    /// only be cancelled. The ledger shows so many arrivals, none or one, from beginning to end.
    pub(crate) async fn is_left_unknown(&self, run: RunId, order: &str, arrivals: usize) {
        let parked = self.world.settled(run).await;
        let what = format!("{:?}: {parked:#?}", self.declared);
        assert_eq!(parked.state, "waiting", "{what}");
        assert_eq!(parked.waiting_for.as_deref(), Some("approval"), "{what}");
        assert_eq!(parked.wait_reason.as_deref(), Some("unknown_outcome"), "{what}");
        assert!(self.refund_is_unknown(run).await, "{what}");
        self.is_whole(run).await;

        let engine = &self.world.engine;
        let refused = engine
            .resume_run(run, None, None)
            .await
            .expect_err("a resume is refused");
        assert_eq!(refused.code(), "unknown_outcome");
        let cancelled = engine.cancel_run(run, None, None).await.expect("the run is cancelled");
        assert_eq!(cancelled, Cancelled::Now);
        let ended = self.world.settled(run).await;
        assert_eq!(ended.state, "cancelled", "{what}");
        assert!(self.refund_is_unknown(run).await, "a cancel ends no doubt; {what}");
        self.is_whole(run).await;
        assert_eq!(self.ledger(order).len(), arrivals, "arrivals, {what}");
    }

    async fn refund_is_unknown(&self, run: RunId) -> bool {
        let refunds = self.refunds(run).await;
        // One attempt at most was ever made.
        refunds.len() == 1 && refunds.iter().all(|row| row.state == "unknown" && row.attempt == 1)
    }

    /// Events are dense, and nothing is left running.
    pub(crate) async fn is_whole(&self, run: RunId) {
        self.world.events(run).await;
        let journal = self.world.engine.journal(run).await.expect("the journal is read");
        assert!(journal.iter().all(|row| row.state != "running"), "{journal:#?}");
    }
}

/// All arrivals came under one key and with the same bytes.
pub(crate) fn assert_one_key(ledger: &[Record]) {
    for record in ledger {
        assert!(record.key.is_some(), "{ledger:#?}");
        assert_eq!(record.key, ledger[0].key, "{ledger:#?}");
        assert_eq!(record.body_sha256, ledger[0].body_sha256, "{ledger:#?}");
    }
}

/// Waits, but not for ever.
pub(crate) async fn within<T>(what: &str, waiting: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(answer) => answer,
        Err(_) => panic!("{what}: not within {PATIENCE:?}"),
    }
}
