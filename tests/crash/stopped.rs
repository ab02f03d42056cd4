//! A worker stopped beyond its lease (SIGSTOP) and let go on (SIGCONT): it comes too late for what it held, and works
//! on under a new identity.

use crate::desk::{Declared, Desk, Setting, refund, refund_of, within};
use engine::RunId;
use futures_util::future::join_all;
use longhaul_tests::process::{Start, WorkerProcess};
use nix::sys::signal::Signal;
use rehearsal::{Rule, Script};
use serde_json::{Value, json};

const ORDER: &str = "ORD-1001";
const LATER_ORDER: &str = "ORD-1002";

/// Everything that is recorded of a run.
async fn record(desk: &Desk, run: RunId) -> Value {
    let engine = &desk.world.engine;
    json!({
        "run": engine.run_detail(run).await.expect("the run is read"),
        "journal": engine.journal(run).await.expect("the journal is read"),
        "events": engine.events(run, 0, 1000).await.expect("events are read"),
    })
}

/// The only worker left takes a new run from its start to its end.
async fn works_on(desk: &Desk, worker: &WorkerProcess) {
    worker.logged("beginning anew under another identity").await;
    let later = desk.start(LATER_ORDER).await;
    desk.is_refunded(later, LATER_ORDER, 1).await;
    let identities = worker.log().matches("is ready").count();
    assert_eq!(identities, 2, "{}", worker.log());
}

#[tokio::test]
async fn a_worker_stopped_with_a_refund_out_finds_it_made_by_another() {
    join_all([Declared::ReadOnly, Declared::Idempotent].map(|declared| async move {
        let desk = Setting::holding(declared).open().await;
        let run = desk.start(ORDER).await;
        let stopped = desk.worker_with_a_refund_out("stopped").await;
        stopped.halt().await;
        let mut other = desk.worker("other");
        desk.is_refunded(run, ORDER, 2).await;
        let before = record(&desk, run).await;
        other.drain().await;

        desk.payments.release();
        stopped.signal(Signal::SIGCONT);

        works_on(&desk, &stopped).await;
        assert_eq!(record(&desk, run).await, before);
        assert_eq!(desk.ledger(ORDER).len(), 2);
    }))
    .await;
}

#[tokio::test]
async fn a_late_result_of_an_at_most_once_refund_is_refused() {
    let desk = Setting::holding(Declared::AtMostOnce).open().await;
    let run = desk.start(ORDER).await;
    let stopped = desk.worker_with_a_refund_out("stopped").await;
    stopped.halt().await;
    let mut other = desk.worker("other");
    desk.world.settled(run).await;
    let before = record(&desk, run).await;
    other.drain().await;

    desk.payments.release();
    stopped.signal(Signal::SIGCONT);

    stopped.logged("is lost, its work is dropped").await;
    works_on(&desk, &stopped).await;
    assert_eq!(record(&desk, run).await, before);
    let late = "select jsonb_build_object('late', (select jsonb_agg(late) from longhaul_audit.late_result as late
        where late.run_id = run.run_id), 'asked', (select jsonb_agg(asked.late_results) from longhaul_audit.approval as asked
        where asked.run_id = run.run_id)) from longhaul_audit.run where run.run_id = $1";
    let late = desk.world.sql(late, run).await;
    let result = &late["late"][0];
    assert_eq!(
        (&result["step_seq"], &result["worker"]),
        (&json!(2), &json!("stopped")),
        "{late}"
    );
    assert_eq!(result["outcome"]["state"], "succeeded", "{late}");
    assert_eq!(
        late["asked"][0][0]["outcome"], result["outcome"],
        "evidence for whoever decides"
    );
    desk.is_left_unknown(run, ORDER, 1).await;
}

#[tokio::test]
async fn a_late_result_is_refused_while_another_worker_drives_the_run() {
    let both = refund(ORDER).call("estimate", refund_of(LATER_ORDER));
    let setting = Setting {
        script: Script::new().rule(Rule::on_turn(1).answers(both)),
        held: 3,
        ..Setting::of(Declared::AtMostOnce)
    };
    let desk = setting.open().await;
    let run = desk.start(ORDER).await;
    let stopped = desk.worker_with_a_refund_out("stopped").await;
    desk.arrivals(2).await;
    stopped.halt().await;
    desk.payments.release();
    let _other = desk.worker("other");
    // The other one has found the refund unknown, asks about it, and makes the estimate again.
    desk.arrivals(3).await;
    within("somebody is asked", async {
        while !desk.world.events(run).await.contains(&"approval.opened".to_owned()) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let before = record(&desk, run).await;
    assert_eq!(before["run"]["state"], "running");

    stopped.signal(Signal::SIGCONT);

    stopped.logged("is lost, its work is dropped").await;
    assert_eq!(record(&desk, run).await, before);
    desk.payments.release();
    desk.is_left_unknown(run, ORDER, 1).await;
}

#[tokio::test]
async fn a_worker_stopped_between_intent_and_refund_sends_nothing_when_it_comes_back() {
    join_all(Declared::ALL.map(|declared| async move {
        let desk = Setting::of(declared).open().await;
        let run = desk.start(ORDER).await;
        let start = Start {
            stop_point: Some("intent.committed:2"),
            lease_seconds: "1",
            ..Start::named("stopped")
        };
        let stopped = WorkerProcess::start(&desk.world, &start);
        stopped.stopped().await;
        let mut other = desk.worker("other");
        let ended = desk.world.settled(run).await;
        let arrivals = desk.ledger(ORDER).len();
        assert_eq!(arrivals, usize::from(declared != Declared::AtMostOnce), "{ended:#?}");
        let before = record(&desk, run).await;
        other.drain().await;

        stopped.signal(Signal::SIGCONT);

        works_on(&desk, &stopped).await;
        assert_eq!(record(&desk, run).await, before);
        match declared {
            Declared::ReadOnly | Declared::Idempotent => desk.is_refunded(run, ORDER, arrivals).await,
            Declared::AtMostOnce => desk.is_left_unknown(run, ORDER, arrivals).await,
        }
    }))
    .await;
}
