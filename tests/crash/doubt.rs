//! kill -9 around calls whose outcome nobody knows: people are asked once, and what they say is done once.

use crate::desk::{Declared, Desk, Setting, within};
use engine::query::{ApprovalRow, ApprovalsWanted};
use engine::{Decide, RunId};
use futures_util::future::join_all;

const ORDER: &str = "ORD-1001";

/// A desk whose refund went out with a worker that died, so that nobody knows what became of it. Its calls are over soon.
async fn in_doubt() -> (Desk, RunId) {
    let setting = Setting {
        refund_seconds: 1,
        ..Setting::of(Declared::AtMostOnce)
    };
    let desk = setting.open().await;
    let run = desk.start(ORDER).await;
    desk.doomed("intent.committed:2").died().await;
    (desk, run)
}

async fn inbox(desk: &Desk, run: RunId) -> Vec<ApprovalRow> {
    let wanted = ApprovalsWanted {
        tenant: "default".to_owned(),
        state: None,
        run: Some(run),
        before: None,
        rows: 50,
    };
    desk.world.engine.approvals(&wanted).await.expect("the inbox is read")
}

/// The approval that is open, once the run was asked about so often.
async fn open(desk: &Desk, run: RunId, asked: usize) -> ApprovalRow {
    let waiting = async {
        loop {
            let rows = inbox(desk, run).await;
            if rows.len() == asked
                && let Some(open) = rows.into_iter().find(|row| row.state == "open")
            {
                return open;
            }
            tokio::task::yield_now().await;
        }
    };
    within("somebody is asked", waiting).await
}

async fn decide(desk: &Desk, approval: &ApprovalRow, verb: &str) {
    let decision = Decide {
        approval: approval.id,
        verb: verb.to_owned(),
        words: None,
        result: (verb == "happened").then(|| format!("\"refunded {ORDER}\"")),
        actor: Some("ann".to_owned()),
    };
    let deciding = async {
        while let Err(refused) = desk.world.engine.decide_approval(&decision).await {
            assert_eq!(refused.code(), "too_early");
            tokio::task::yield_now().await;
        }
    };
    within("the call is over some time", deciding).await;
}

async fn ends(desk: &Desk, run: RunId, arrivals: usize) {
    let ended = desk
        .world
        .until(run, "the run ends", |run| run.ended_at.is_some())
        .await;
    assert_eq!(ended.state, "succeeded", "{ended:#?}");
    assert_eq!(desk.ledger(ORDER).len(), arrivals, "arrivals");
    let ends = desk.world.events(run).await;
    let ends = ends.iter().filter(|kind| *kind == "step.succeeded").count();
    assert_eq!(ends, 3, "two model calls and one refund");
    desk.is_whole(run).await;
}

#[tokio::test]
async fn people_are_asked_once_wherever_the_worker_that_asks_dies() {
    join_all(
        ["doubt.recorded", "approval.opened", "run.parked"].map(|point| async move {
            let (desk, run) = in_doubt().await;
            desk.doomed(point).died().await;
            let _heir = desk.worker("heir");

            let approval = open(&desk, run, 1).await;
            decide(&desk, &approval, "happened").await;

            ends(&desk, run, 0).await;
            assert_eq!(inbox(&desk, run).await.len(), 1, "{point}");
        }),
    )
    .await;
}

#[tokio::test]
async fn a_decision_that_comes_while_no_worker_lives_is_done_by_the_next() {
    for (verb, arrivals) in [("happened", 0), ("did_not_happen", 1)] {
        let (desk, run) = in_doubt().await;
        desk.doomed("run.parked").died().await;
        let approval = open(&desk, run, 1).await;
        decide(&desk, &approval, verb).await;

        let _heir = desk.worker("heir");

        ends(&desk, run, arrivals).await;
    }
}

#[tokio::test]
async fn what_was_decided_is_done_once_though_its_worker_dies_right_after() {
    let (desk, run) = in_doubt().await;
    desk.doomed("run.parked").died().await;
    let approval = open(&desk, run, 1).await;
    decide(&desk, &approval, "happened").await;
    desk.doomed("doubt.settled").died().await;

    let _heir = desk.worker("heir");

    ends(&desk, run, 0).await;
}

#[tokio::test]
async fn a_call_that_did_not_happen_and_is_lost_again_is_asked_about_again_and_not_sent() {
    let (desk, run) = in_doubt().await;
    desk.doomed("run.parked").died().await;
    let approval = open(&desk, run, 1).await;
    decide(&desk, &approval, "did_not_happen").await;
    desk.doomed("intent.committed").died().await;

    let _heir = desk.worker("heir");

    let again = open(&desk, run, 2).await;
    assert_eq!(desk.ledger(ORDER).len(), 0, "nothing was sent");
    decide(&desk, &again, "did_not_happen").await;
    ends(&desk, run, 1).await;
}

#[tokio::test]
async fn a_run_that_killed_its_workers_goes_on_once_somebody_approves() {
    let desk = Setting::of(Declared::Idempotent).open().await;
    let run = desk.start(ORDER).await;
    for _ in 0..5 {
        desk.doomed("run.claimed").died().await;
    }
    let _heir = desk.worker("heir");
    let approval = open(&desk, run, 1).await;
    assert_eq!((approval.reason.as_str(), approval.step_seq), ("crashes", None));

    decide(&desk, &approval, "approve").await;

    desk.is_refunded(run, ORDER, 1).await;
}
