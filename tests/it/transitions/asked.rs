//! What people are asked, by whom, and what they may answer.

use crate::stage::{Stage, change, fact, intent};
use engine::query::{ApprovalRow, ApprovalsWanted};
use engine::{Claimed, Release, RunId, StepWrites};
use sqlx::PgPool;

/// What was asked about a run, the oldest first.
async fn asked(stage: &Stage, run: RunId) -> Vec<ApprovalRow> {
    let wanted = ApprovalsWanted {
        tenant: "default".to_owned(),
        state: None,
        run: Some(run),
        before: None,
        rows: 10,
    };
    let mut rows = stage.engine.approvals(&wanted).await.expect("the inbox is read");
    rows.reverse();
    rows
}

/// A run that is held, whose only call may have happened.
async fn doubtful(stage: &Stage, effect: &'static str) -> Claimed {
    let held = stage.claimed().await;
    let last = held.event_seq;
    let sent = stage.engine.record(&held.claim, &intent(last, 1, effect)).await;
    sent.expect("the intent is recorded");
    let mut lost = change(1, "unknown");
    lost.result = None;
    let writes = StepWrites {
        changed: vec![lost],
        events: vec![fact(last + 2, "step.unknown", 1)],
        ..StepWrites::default()
    };
    let lost = stage.engine.record(&held.claim, &writes).await;
    lost.expect("the doubt is recorded");
    held
}

async fn ask_about_its_call(pool: &PgPool, run: RunId) {
    sqlx::query("select longhaul.open_approval($1, 1)")
        .bind(run.0)
        .execute(pool)
        .await
        .expect("somebody is asked");
}

#[tokio::test]
async fn a_call_that_must_not_happen_twice_cannot_be_approved() {
    let stage = Stage::new().await;
    let told = ["happened", "did_not_happen"];
    for (effect, reason, more) in [
        ("at_most_once", "unknown_outcome", &[][..]),
        ("transactional", "unknown_outcome", &[]),
        ("idempotent", "retries_exhausted", &["approve", "reject"]),
        ("read_only", "retries_exhausted", &["approve", "reject"]),
    ] {
        let held = doubtful(&stage, effect).await;

        ask_about_its_call(&stage.pool, held.claim.run).await;

        let asked = asked(&stage, held.claim.run).await;
        assert_eq!(asked[0].reason, reason, "{effect}");
        assert_eq!(asked[0].verbs, [&told[..], more, &["give_up"]].concat(), "{effect}");
    }
}

#[tokio::test]
async fn asked_twice_about_an_attempt_is_asked_once_and_an_earlier_attempt_is_asked_about_no_more() {
    let stage = Stage::new().await;
    let run = doubtful(&stage, "at_most_once").await.claim.run;
    ask_about_its_call(&stage.pool, run).await;
    ask_about_its_call(&stage.pool, run).await;
    assert_eq!(asked(&stage, run).await.len(), 1);

    stage
        .sql("update longhaul.step set attempt = 2 where run_id = $1", run)
        .await;
    ask_about_its_call(&stage.pool, run).await;

    let states: Vec<String> = asked(&stage, run).await.into_iter().map(|row| row.state).collect();
    assert_eq!(states, ["superseded", "open"]);
}

#[tokio::test]
async fn a_run_whose_driver_broke_too_often_is_put_before_a_person() {
    let stage = Stage::new().await;
    for (crashes, state, reasons) in [(3, "queued", &[][..]), (4, "waiting", &["crashes"])] {
        let held = stage.claimed().await;
        let run = held.claim.run;
        sqlx::query("update longhaul.run set crashes = $2 where id = $1")
            .bind(run.0)
            .bind(crashes)
            .execute(&stage.pool)
            .await
            .expect("it has crashed before");

        let given_back = stage
            .engine
            .release_run(&held.claim, held.event_seq, Release::DriverBroke);
        assert!(given_back.await.expect("it is given back"));

        assert_eq!(stage.state(run).await, state);
        let asked = asked(&stage, run).await;
        let told: Vec<&str> = asked.iter().map(|row| row.reason.as_str()).collect();
        assert_eq!(told, reasons);
        assert!(asked.iter().all(|row| row.verbs == ["approve", "reject"]), "{asked:?}");
        stage.engine.cancel_run(run, None, None).await.expect("it is cancelled");
    }
}
