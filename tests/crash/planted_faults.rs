//! Each planted fault breaks what it says, where it is compiled in; and nothing breaks without the feature, whatever
//! `LONGHAUL_BREAK` says.

use crate::desk::{Declared, Desk, Setting, refund, refund_of};
use engine::RunId;
use longhaul_tests::process::{Start, WorkerProcess};
use longhaul_tests::world::PATIENCE;
use nix::sys::signal::Signal;
use rehearsal::{Rule, Script};
use serde_json::Value;
use sqlx::{PgPool, Postgres, Transaction};
use std::time::Duration;

const ORDER: &str = "ORD-1001";
const LATER_ORDER: &str = "ORD-1002";

/// A desk whose workers are told to be broken.
async fn desk_with(fault: &str, setting: Setting) -> Desk {
    let mut desk = setting.open().await;
    desk.world
        .environment
        .insert("LONGHAUL_BREAK".to_owned(), fault.to_owned());
    desk
}

/// A refund that was out when its worker was killed, and is sent again.
async fn refunded_again(fault: &str) -> (Desk, RunId, WorkerProcess) {
    let desk = desk_with(fault, Setting::holding(Declared::Idempotent)).await;
    let run = desk.start(ORDER).await;
    desk.worker_with_a_refund_out("doomed").await.kill_9();
    let heir = desk.worker("heir");
    desk.arrivals(2).await;
    (desk, run, heir)
}

/// A refund whose intent cannot be committed before the transaction ends.
async fn refund_without_intent(fault: &str) -> (Desk, RunId, WorkerProcess, Transaction<'static, Postgres>) {
    let desk = desk_with(fault, Setting::of(Declared::Idempotent)).await;
    let run = desk.start(ORDER).await;
    let pool = desk.world.database.pool().await;
    let mut transaction = pool.begin().await.expect("a transaction");
    // Whoever begins the second step waits to see what becomes of this one.
    sqlx::query(
        "insert into longhaul.step (
             run_id, seq, turn, call_index, kind, name, state, effect, key, attempt, attempts_max, maybe_applied,
             worker_id, fence, created_at, budget_from, request_digest)
         values ($1, 2, 1, 0, 'model', '', 'running', 'read_only', '', 1, 1, false, $1, 1, now(), now(), '')",
    )
    .bind(run.0)
    .execute(&mut *transaction)
    .await
    .expect("a step nobody sees");
    let worker = desk.worker("worker");
    until_blocked(&pool).await;
    (desk, run, worker, transaction)
}

async fn until_blocked(pool: &PgPool) {
    let blocked = async {
        loop {
            let waiting: bool = sqlx::query_scalar(
                "select exists (select from pg_stat_activity
                 where datname = current_database() and wait_event_type = 'Lock')",
            )
            .fetch_one(pool)
            .await
            .expect("sessions are read");
            if waiting {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, blocked).await.expect("an intent waits");
}

/// A run that another worker drives, with a result on its way to the stopped worker that held it before.
async fn late_result(fault: &str) -> (Desk, RunId, WorkerProcess, WorkerProcess) {
    let both = refund(ORDER).call("estimate", refund_of(LATER_ORDER));
    let setting = Setting {
        script: Script::new().rule(Rule::on_turn(1).answers(both)),
        held: 3,
        ..Setting::of(Declared::AtMostOnce)
    };
    let desk = desk_with(fault, setting).await;
    let run = desk.start(ORDER).await;
    let start = Start {
        lease_seconds: "1",
        ..Start::named("stopped")
    };
    let stopped = WorkerProcess::start(&desk.world, &start);
    desk.arrivals(2).await;
    stopped.halt().await;
    desk.payments.release();
    let other = desk.worker("other");
    // The other one has found the refund unknown and makes the estimate again.
    desk.arrivals(3).await;
    (desk, run, stopped, other)
}

/// The refund's step, as it is recorded.
async fn refund_step(desk: &Desk, run: RunId) -> Value {
    desk.world
        .sql(
            "select to_jsonb(step) from longhaul.step where run_id = $1 and name = 'refund'",
            run,
        )
        .await
}

#[cfg(feature = "planted-faults")]
mod planted {
    use super::*;
    use crate::desk::within;

    #[tokio::test]
    async fn with_a_key_by_attempt_money_is_paid_twice() {
        let (desk, run, _heir) = refunded_again("key-by-attempt").await;

        desk.world.settled(run).await;
        let ledger = desk.ledger(ORDER);
        assert_eq!(ledger.len(), 2, "{ledger:#?}");
        assert_ne!(ledger[0].key, ledger[1].key);
        assert!(ledger.iter().all(|record| record.applied), "{ledger:#?}");
    }

    #[tokio::test]
    async fn with_the_intent_after_the_call_money_is_paid_that_no_record_tells_of() {
        let (desk, run, _worker, unseen) = refund_without_intent("send-before-intent").await;

        desk.arrivals(1).await;
        assert!(desk.refunds(run).await.is_empty());
        unseen.rollback().await.expect("the transaction ends");
        desk.is_refunded(run, ORDER, 1).await;
    }

    #[tokio::test]
    async fn with_an_unfenced_record_a_late_result_is_taken_from_a_worker_that_lost_the_run() {
        let (desk, run, stopped, _other) = late_result("unfenced-record").await;
        let before = refund_step(&desk, run).await;
        assert_eq!(before["state"], "unknown");

        stopped.signal(Signal::SIGCONT);

        let taken = async {
            while refund_step(&desk, run).await["state"] != "succeeded" {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        within("the late result is recorded", taken).await;
        // It stands under the new holder's fence, and the new holder did not write it.
        let stale = "select to_jsonb(exists (
                select from longhaul.event as late
                join longhaul.event as claim on claim.run_id = late.run_id and claim.fence = late.fence
                where late.run_id = $1
                  and late.kind = 'step.succeeded'
                  and claim.kind = 'run.claimed'
                  and claim.worker_id <> late.worker_id))";
        assert_eq!(desk.world.sql(stale, run).await, serde_json::json!(true));
    }

    #[tokio::test]
    async fn a_worker_that_is_to_be_broken_in_an_unknown_way_ends_at_once() {
        let desk = desk_with("unfenced-recrod", Setting::of(Declared::Idempotent)).await;

        let mut worker = desk.worker("worker");

        assert_eq!(worker.exited().await.code(), Some(2));
        let told = "LONGHAUL_BREAK=unfenced-recrod is no planted fault; there are unfenced-record, ";
        assert!(worker.log().contains(told), "{}", worker.log());
        assert!(worker.log().contains(", key-by-attempt"), "{}", worker.log());
    }

    #[tokio::test]
    async fn a_worker_that_nobody_breaks_is_whole() {
        let desk = desk_with("", Setting::of(Declared::Idempotent)).await;
        let run = desk.start(ORDER).await;

        let worker = desk.worker("worker");

        desk.is_refunded(run, ORDER, 1).await;
        assert!(!worker.log().contains("broken on purpose"), "{}", worker.log());
    }
}

#[cfg(not(feature = "planted-faults"))]
mod not_planted {
    use super::*;

    #[tokio::test]
    async fn the_key_stays_the_same() {
        let (desk, run, _heir) = refunded_again("key-by-attempt").await;

        desk.is_refunded(run, ORDER, 2).await;
    }

    #[tokio::test]
    async fn no_call_goes_out_before_its_intent() {
        let (desk, run, _worker, unseen) = refund_without_intent("send-before-intent").await;

        assert!(desk.ledger(ORDER).is_empty());
        unseen.rollback().await.expect("the transaction ends");
        desk.is_refunded(run, ORDER, 1).await;
    }

    #[tokio::test]
    async fn a_late_result_is_refused() {
        let (desk, run, stopped, _other) = late_result("unfenced-record").await;
        let before = refund_step(&desk, run).await;
        assert_eq!(before["state"], "unknown");

        stopped.signal(Signal::SIGCONT);

        stopped.logged("is lost, its work is dropped").await;
        assert_eq!(refund_step(&desk, run).await, before);
        desk.payments.release();
        desk.is_left_unknown(run, ORDER, 1).await;
    }

    #[tokio::test]
    async fn a_name_of_no_fault_is_nothing_to_a_worker() {
        let desk = desk_with("unfenced-recrod", Setting::of(Declared::Idempotent)).await;
        let run = desk.start(ORDER).await;

        let _worker = desk.worker("worker");

        desk.is_refunded(run, ORDER, 1).await;
    }
}
