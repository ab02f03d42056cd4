//! What the holder of a run may write, and what nobody else may.

use crate::stage::{LEASE, Stage, call, change, claim, fact, intent, outcome, register};
use engine::{Claimed, Ending, Engine, Park, Recorded, Release, StepWrites};

fn parking(held: &Claimed) -> Park<'static> {
    Park {
        event_seq: held.event_seq,
        wakes: held.wakes,
        waiting_for: "approval",
        reason: "unknown_outcome",
        until: None,
        detail: None,
    }
}

fn endings() -> [Ending; 3] {
    [
        Ending::Succeeded(r#"{"answer":"mine"}"#.to_owned()),
        Ending::Failed(r#"{"code":"mine"}"#.to_owned()),
        Ending::Cancelled,
    ]
}

/// Everything that a holder can write, offered under a claim that is no longer the run's.
async fn all_is_refused(engine: &Engine, held: &Claimed) {
    let (claim, last) = (&held.claim, held.event_seq);
    for writes in [intent(last, 1, "idempotent"), outcome(last, 1, "succeeded")] {
        assert_eq!(engine.record(claim, &writes).await.unwrap(), Recorded::ClaimLost);
    }
    assert_eq!(engine.park_run(claim, &parking(held)).await.unwrap(), None);
    for ending in endings() {
        assert!(!engine.finish_run(claim, last, &ending).await.unwrap(), "{ending:?}");
    }
    for why in [Release::Shutdown, Release::Paused, Release::DriverBroke] {
        assert!(!engine.release_run(claim, last, why).await.unwrap(), "{why:?}");
    }
    assert_eq!(engine.look(claim).await.unwrap(), None);
}

#[tokio::test]
async fn a_holder_that_lost_its_run_is_refused_everywhere_and_leaves_no_trace() {
    let stage = Stage::new().await;
    let (old, later) = stage.abandoned().await;
    later.reclaim_runs().await.unwrap();
    let while_queued = stage.trace().await;
    all_is_refused(&stage.engine, &old).await;
    assert_eq!(stage.trace().await, while_queued);

    let worker = register(&later, LEASE).await;
    let new = claim(&later, worker, 1).await.pop().unwrap();
    later
        .record(&new.claim, &intent(new.event_seq, 1, "idempotent"))
        .await
        .unwrap();
    let while_held = stage.trace().await;
    all_is_refused(&stage.engine, &old).await;
    assert_eq!(stage.trace().await, while_held);
}

#[tokio::test]
async fn the_same_worker_under_its_old_fence_is_refused_too() {
    let stage = Stage::new().await;
    let old = stage.claimed().await;
    let engine = &stage.engine;
    assert!(
        engine
            .release_run(&old.claim, old.event_seq, Release::Shutdown)
            .await
            .unwrap()
    );
    let new = claim(engine, old.claim.worker, 1).await.pop().unwrap();
    assert_eq!(new.claim.worker, old.claim.worker);
    assert!(new.claim.fence > old.claim.fence);
    let before = stage.trace().await;

    all_is_refused(engine, &old).await;

    assert_eq!(stage.trace().await, before);
}

#[tokio::test]
async fn a_run_that_has_ended_takes_no_writes() {
    let stage = Stage::new().await;
    for ending in endings() {
        let held = stage.claimed().await;
        if matches!(ending, Ending::Cancelled) {
            stage.engine.cancel_run(held.claim.run, None, None).await.unwrap();
        }
        assert!(
            stage
                .engine
                .finish_run(&held.claim, held.event_seq, &ending)
                .await
                .unwrap()
        );
        let before = stage.trace().await;

        all_is_refused(&stage.engine, &held).await;

        assert_eq!(stage.trace().await, before, "{ending:?}");
    }
}

#[tokio::test]
async fn an_intent_after_a_cancel_or_a_pause_is_refused_as_a_whole() {
    let stage = Stage::new().await;
    for way in ["cancel", "pause"] {
        let held = stage.claimed().await;
        let (engine, run, last) = (&stage.engine, held.claim.run, held.event_seq);
        engine
            .record(&held.claim, &intent(last, 1, "idempotent"))
            .await
            .unwrap();
        if way == "cancel" {
            engine.cancel_run(run, None, None).await.unwrap();
        } else {
            stage
                .sql("update longhaul.run set paused_at = now() where id = $1", run)
                .await;
        }
        let before = stage.trace().await;

        // A result rides along with the intent: neither is written.
        let both = StepWrites {
            begun: vec![call(2, "idempotent")],
            changed: vec![change(1, "succeeded")],
            events: vec![fact(last + 2, "step.succeeded", 1), fact(last + 3, "step.started", 2)],
            asks: Vec::new(),
            has_intent: true,
            has_result: true,
        };
        let Recorded::Refused(control) = engine.record(&held.claim, &both).await.unwrap() else {
            panic!("an intent was accepted after a {way}");
        };
        assert_eq!(
            (control.cancel_requested, control.paused),
            (way == "cancel", way == "pause")
        );
        assert_eq!(stage.trace().await, before, "{way}");

        // The result of a call that was out is recorded all the same.
        let recorded = engine
            .record(&held.claim, &outcome(last + 1, 1, "succeeded"))
            .await
            .unwrap();
        assert!(matches!(recorded, Recorded::Now(_)), "{way}");
        assert_eq!(stage.events(run).await.len(), 4);
    }
}

#[tokio::test]
async fn a_run_whose_cancel_was_requested_ends_as_cancelled_and_not_otherwise() {
    let stage = Stage::new().await;
    let held = stage.claimed().await;
    let (engine, claim, last) = (&stage.engine, &held.claim, held.event_seq);
    assert!(
        !engine.finish_run(claim, last, &Ending::Cancelled).await.unwrap(),
        "nobody asked"
    );
    engine.cancel_run(claim.run, Some("enough"), Some("ada")).await.unwrap();
    let before = stage.trace().await;

    for ending in &endings()[..2] {
        assert!(!engine.finish_run(claim, last, ending).await.unwrap(), "{ending:?}");
    }
    assert_eq!(engine.park_run(claim, &parking(&held)).await.unwrap(), None);
    assert_eq!(stage.trace().await, before);
    assert!(engine.finish_run(claim, last, &Ending::Cancelled).await.unwrap());

    let run = engine.run_detail(claim.run).await.unwrap();
    assert_eq!(run.state, "cancelled");
    assert!(run.ended_at.is_some());
    let told: serde_json::Value = stage
        .ask(
            "select data::jsonb from longhaul.event where run_id = $1 and kind = 'run.cancelled'",
            claim.run,
        )
        .await;
    assert_eq!(told, serde_json::json!({"by": "ada", "reason": "enough"}));
}

#[tokio::test]
async fn a_step_that_has_ended_never_changes() {
    let stage = Stage::new().await;
    let held = stage.claimed().await;
    let (engine, claim, mut last) = (&stage.engine, &held.claim, held.event_seq);
    for (seq, end) in [(1, "succeeded"), (2, "failed"), (3, "cancelled")] {
        engine.record(claim, &intent(last, seq, "idempotent")).await.unwrap();
        engine.record(claim, &outcome(last + 1, seq, end)).await.unwrap();
        last += 2;
        let before: serde_json::Value = stage.trace().await["step"].clone();

        for other in ["running", "waiting", "succeeded", "failed", "cancelled", "unknown"] {
            let mut late = change(seq, other);
            late.attempt = 2;
            late.result = Some(r#"{"content":"another"}"#.to_owned());
            let writes = StepWrites {
                changed: vec![late],
                ..StepWrites::default()
            };
            engine.record(claim, &writes).await.unwrap();
            assert_eq!(stage.trace().await["step"], before, "{end} became {other}");
        }
    }
}

#[tokio::test]
async fn every_attempt_of_a_step_is_kept_under_one_key_and_digest() {
    let stage = Stage::new().await;
    let held = stage.claimed().await;
    let (engine, claim, last) = (&stage.engine, &held.claim, held.event_seq);
    engine.record(claim, &intent(last, 1, "idempotent")).await.unwrap();
    let mut failed = change(1, "waiting");
    failed.error = Some(r#"{"code":"http_503"}"#.to_owned());
    let mut again = change(1, "running");
    again.attempt = 2;
    again.evidence = None;
    let writes = |changed, seq, kind, has_intent| StepWrites {
        changed: vec![changed],
        events: vec![fact(seq, kind, 1)],
        has_intent,
        ..StepWrites::default()
    };
    engine
        .record(claim, &writes(failed, last + 2, "step.retry_scheduled", false))
        .await
        .unwrap();
    engine
        .record(claim, &writes(again, last + 3, "step.started", true))
        .await
        .unwrap();
    let mut ended = outcome(last + 3, 1, "succeeded");
    ended.changed[0].attempt = 2;
    engine.record(claim, &ended).await.unwrap();

    let journal = engine.journal(claim.run).await.unwrap();

    let told: Vec<_> = journal
        .iter()
        .map(|row| {
            (
                row.attempt,
                row.key.as_str(),
                row.error.as_ref().map(|error| error["code"].clone()),
            )
        })
        .collect();
    assert_eq!(told, [(1, "key-1", Some("http_503".into())), (2, "key-1", None)]);
    assert!(journal.iter().all(|row| row.attempt_ended_at >= row.started_at));
    assert_eq!(stage.events(claim.run).await.len(), 6);
}
