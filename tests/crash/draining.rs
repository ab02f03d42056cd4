//! SIGTERM: no new claim, work in hand finished or given back, no attempt spent; and kill -9 in the midst of it.

use crate::desk::{Declared, Desk, Setting};
use engine::RunId;
use futures_util::future::join_all;
use longhaul_tests::process::{Start, WorkerProcess};
use nix::sys::signal::Signal;

const ORDER: &str = "ORD-1001";
const LATER_ORDER: &str = "ORD-1002";

/// A desk whose worker has a refund out and was asked to stop.
async fn draining(declared: Declared, start: Start<'_>) -> (Desk, RunId, WorkerProcess) {
    let desk = Setting::holding(declared).open().await;
    let run = desk.start(ORDER).await;
    let worker = WorkerProcess::start(&desk.world, &start);
    desk.arrivals(1).await;
    worker.signal(Signal::SIGTERM);
    (desk, run, worker)
}

#[tokio::test]
async fn a_draining_worker_finishes_what_it_has_in_hand_and_claims_nothing_new() {
    join_all(Declared::ALL.map(|declared| async move {
        let (desk, run, mut worker) = draining(declared, Start::named("leaving")).await;
        worker.logged("draining").await;
        let later = desk.start(LATER_ORDER).await;
        desk.payments.release();

        let status = worker.exited().await;

        assert!(status.success(), "{status}; its log:\n{}", worker.log());
        assert_eq!(desk.world.events(later).await, ["run.started"]);
        let refunds = desk.refunds(run).await;
        assert!(refunds.iter().all(|row| row.state == "succeeded"), "{refunds:#?}");
        let _heir = desk.worker("heir");
        desk.is_refunded(run, ORDER, 1).await;
        desk.is_refunded(later, LATER_ORDER, 1).await;
        was_no_crash(&desk, run).await;
        assert_eq!(desk.refunds(run).await.len(), 1, "attempts");
    }))
    .await;
}

#[tokio::test]
async fn a_drain_whose_time_is_over_gives_back_only_what_may_be_repeated() {
    let impatient = Start {
        arguments: &["--drain-seconds", "0"],
        ..Start::named("leaving")
    };
    join_all(Declared::ALL.map(|declared| {
        let start = Start { ..impatient };
        async move {
            let (desk, run, mut worker) = draining(declared, start).await;
            worker.logged("draining").await;
            if declared == Declared::AtMostOnce {
                desk.payments.release();
            }

            let status = worker.exited().await;

            assert!(status.success(), "{status}; its log:\n{}", worker.log());
            let _heir = desk.worker("heir");
            let arrivals = if declared == Declared::AtMostOnce { 1 } else { 2 };
            desk.is_refunded(run, ORDER, arrivals).await;
            was_no_crash(&desk, run).await;
        }
    }))
    .await;
}

#[tokio::test]
async fn a_worker_killed_as_it_begins_to_drain_is_a_crash_like_any_other() {
    join_all(Declared::ALL.map(|declared| async move {
        let start = Start::named("doomed").dying_at("worker.draining");
        let (desk, run, mut worker) = draining(declared, start).await;
        worker.died().await;
        let _heir = desk.worker("heir");
        match declared {
            Declared::ReadOnly | Declared::Idempotent => desk.is_refunded(run, ORDER, 2).await,
            Declared::AtMostOnce => desk.is_left_unknown(run, ORDER, 1).await,
        }
    }))
    .await;
}

#[tokio::test]
async fn a_worker_killed_before_it_gives_a_run_back_has_recorded_what_it_finished() {
    join_all(Declared::ALL.map(|declared| async move {
        let start = Start::named("doomed").dying_at("run.releasing");
        let (desk, run, mut worker) = draining(declared, start).await;
        worker.logged("draining").await;
        desk.payments.release();
        worker.died().await;
        let _heir = desk.worker("heir");
        desk.is_refunded(run, ORDER, 1).await;
    }))
    .await;
}

async fn was_no_crash(desk: &Desk, run: RunId) {
    let events = desk.world.events(run).await;
    assert!(!events.contains(&"run.reclaimed".to_owned()), "{events:?}");
    assert!(events.contains(&"run.released".to_owned()), "{events:?}");
}
