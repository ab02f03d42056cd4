//! kill -9 while a run is parked: nobody holds it, so nothing is lost but a worker.

use crate::desk::{Declared, Desk, Setting, one_refund_after};
use engine::RunId;
use engine::query::EventRow;
use rehearsal::{Answer, ErrorAnswer, Rule, Script};

const ORDER: &str = "ORD-1001";

/// A desk whose model asks at first to be left alone for longer than a worker waits.
async fn with_a_busy_model() -> Desk {
    let busy = Answer::failing(ErrorAnswer {
        status: 429,
        retry_after_seconds: Some(3),
        ..ErrorAnswer::default()
    });
    let script = Script::new().rule(Rule::on_turn(1).times(1).answers(busy));
    let setting = Setting {
        script: one_refund_after(script),
        model_attempts: 2,
        ..Setting::of(Declared::AtMostOnce)
    };
    setting.open().await
}

async fn event(desk: &Desk, run: RunId, kind: &str) -> EventRow {
    let events = desk.world.engine.events(run, 0, 1000).await.expect("events are read");
    let found = events.iter().find(|event| event.kind == kind);
    found.unwrap_or_else(|| panic!("no {kind} among {events:#?}")).clone()
}

/// The run went on at its time, no earlier, and no crash is on its record.
async fn went_on_at_its_time(desk: &Desk, run: RunId) {
    desk.is_refunded(run, ORDER, 1).await;
    assert_eq!(desk.world.rehearsal.asked().len(), 3, "the model's calls");
    let scheduled = event(desk, run, "step.retry_scheduled").await;
    let due = &scheduled.data.expect("a due time")["due_at"];
    let due: chrono::DateTime<chrono::Utc> = serde_json::from_value(due.clone()).expect("an instant");
    let woken = event(desk, run, "run.woken").await.at;
    assert!(woken >= due, "woken at {woken}, due at {due}");
    let events = desk.world.events(run).await;
    assert!(!events.contains(&"run.reclaimed".to_owned()), "{events:?}");
}

#[tokio::test]
async fn a_run_parked_by_a_worker_that_died_goes_on_at_its_time() {
    let desk = with_a_busy_model().await;
    let run = desk.start(ORDER).await;
    desk.doomed("run.parked").died().await;

    let _heir = desk.worker("heir");

    went_on_at_its_time(&desk, run).await;
}

#[tokio::test]
async fn a_run_woken_by_a_worker_that_died_is_claimed_by_another() {
    let desk = with_a_busy_model().await;
    let run = desk.start(ORDER).await;
    desk.doomed("run.woken").died().await;

    let _heir = desk.worker("heir");

    went_on_at_its_time(&desk, run).await;
    let refunds = desk.refunds(run).await;
    assert!(
        refunds.iter().all(|row| row.worker.as_deref() == Some("heir")),
        "{refunds:#?}"
    );
}
