//! A crash is not the target's failure: it spends none of a call's attempts.

use crate::desk::{Declared, Setting, one_refund_after};
use rehearsal::{Answer, Rule, Script};

const ORDER: &str = "ORD-1001";

#[tokio::test]
async fn three_crashes_leave_a_refund_its_only_attempt() {
    let desk = Setting::of(Declared::Idempotent).open().await;
    let run = desk.start(ORDER).await;
    desk.doomed("intent.committed:2").died().await;
    desk.doomed("intent.committed:1").died().await;
    desk.doomed("intent.committed:1").died().await;

    let _heir = desk.worker("heir");

    desk.is_refunded(run, ORDER, 1).await;
    let attempts: Vec<_> = desk.refunds(run).await.into_iter().map(|row| row.attempt).collect();
    assert_eq!(attempts, [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_crash_leaves_a_model_call_the_retry_that_an_overload_needs() {
    let overloaded = Rule::on_turn(1).times(1).answers(Answer::error(529));
    let setting = Setting {
        script: one_refund_after(Script::new().rule(overloaded)),
        model_attempts: 2,
        ..Setting::of(Declared::AtMostOnce)
    };
    let desk = setting.open().await;
    let run = desk.start(ORDER).await;
    desk.doomed("intent.committed:1").died().await;

    let _heir = desk.worker("heir");

    desk.is_refunded(run, ORDER, 1).await;
    assert_eq!(desk.world.rehearsal.asked().len(), 3);
}
