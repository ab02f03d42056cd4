//! Cancel and resume: what people ask for, in every state that a run can be in.

use crate::stage::{LEASE, Stage, change, claim, fact, intent, refusal, register};
use engine::{Cancelled, Claimed, Ending, Park, Release, RunId, StepWrites};
use uuid::Uuid;

async fn parked(stage: &Stage, held: &Claimed, event_seq: i32) {
    let park = Park {
        event_seq,
        wakes: held.wakes,
        waiting_for: "approval",
        reason: "retries_exhausted",
        until: None,
        detail: None,
    };
    stage
        .engine
        .park_run(&held.claim, &park)
        .await
        .unwrap()
        .expect("it parks");
}

async fn failed(stage: &Stage) -> RunId {
    let held = stage.claimed().await;
    let ending = Ending::Failed(r#"{"code":"broken"}"#.to_owned());
    assert!(
        stage
            .engine
            .finish_run(&held.claim, held.event_seq, &ending)
            .await
            .unwrap()
    );
    held.claim.run
}

#[tokio::test]
async fn a_run_that_nobody_holds_is_cancelled_at_once() {
    let stage = Stage::new().await;
    let queued = stage.start().await;
    assert_eq!(
        stage.engine.cancel_run(queued, None, None).await.unwrap(),
        Cancelled::Now
    );
    let held = stage.claimed().await;
    parked(&stage, &held, held.event_seq).await;
    let waiting = held.claim.run;

    assert_eq!(
        stage
            .engine
            .cancel_run(waiting, Some("why"), Some("ada"))
            .await
            .unwrap(),
        Cancelled::Now
    );

    assert_eq!(stage.events(queued).await, ["run.started", "run.cancelled"]);
    assert_eq!(
        stage.events(waiting).await,
        ["run.started", "run.claimed", "run.parked", "run.cancelled"]
    );
    let worker = stage.worker().await;
    for run in [queued, waiting] {
        let run = stage.engine.run_detail(run).await.unwrap();
        assert_eq!(run.state, "cancelled");
        assert!(run.ended_at.is_some() && run.waiting_for.is_none() && run.due_at.is_none());
    }
    assert!(
        claim(&stage.engine, worker, 10).await.is_empty(),
        "a cancelled run is never claimed"
    );
}

#[tokio::test]
async fn the_holder_of_a_running_run_is_asked_and_asking_twice_changes_nothing() {
    let stage = Stage::new().await;
    let held = stage.claimed().await;
    let run = held.claim.run;

    assert_eq!(
        stage.engine.cancel_run(run, Some("first"), None).await.unwrap(),
        Cancelled::Requested
    );
    let before = stage.trace().await;
    assert_eq!(
        stage.engine.cancel_run(run, Some("second"), None).await.unwrap(),
        Cancelled::Requested
    );
    assert_eq!(stage.trace().await, before);

    let look = stage.engine.look(&held.claim).await.unwrap().unwrap();
    assert!(look.control.cancel_requested);
    assert_eq!(look.control.wakes, held.wakes + 1);
    stage
        .engine
        .finish_run(&held.claim, held.event_seq, &Ending::Cancelled)
        .await
        .unwrap();
    let before = stage.trace().await;
    assert_eq!(
        stage.engine.cancel_run(run, None, None).await.unwrap(),
        Cancelled::Now,
        "it is"
    );
    assert_eq!(stage.trace().await, before);
}

#[tokio::test]
async fn no_pause_keeps_a_cancelled_run_from_its_end_when_its_holder_gives_it_back_or_dies() {
    let stage = Stage::new().await;
    for pause_comes_first in [true, false] {
        for dies in [true, false] {
            let (held, later) = stage.abandoned().await;
            let (engine, run) = (&stage.engine, held.claim.run);
            if pause_comes_first {
                engine.pause_run(run, None, None).await.unwrap();
            }
            engine.cancel_run(run, None, None).await.unwrap();
            if !pause_comes_first {
                engine.pause_run(run, None, None).await.unwrap();
            }

            if dies {
                later.reclaim_runs().await.unwrap();
            } else {
                let released = engine.release_run(&held.claim, held.event_seq, Release::Paused).await;
                assert!(released.unwrap());
            }

            engine.pause_run(run, Some("again"), None).await.unwrap();
            let next = if dies { &later } else { engine };
            let worker = register(next, LEASE).await;
            let again = claim(next, worker, 1).await.pop().expect("it is claimed, to be ended");
            assert_eq!((again.claim.run, again.cancel_requested), (run, true));
            let ended = engine
                .finish_run(&again.claim, again.event_seq, &Ending::Cancelled)
                .await;
            assert!(ended.unwrap());
        }
    }
}

#[tokio::test]
async fn a_cancel_leaves_what_may_have_happened_unknown() {
    let stage = Stage::new().await;
    let held = stage.claimed().await;
    let (engine, run, last) = (&stage.engine, held.claim.run, held.event_seq);
    let cases = [
        ("idempotent", true, "unknown"),
        ("idempotent", false, "cancelled"),
        ("read_only", true, "cancelled"),
        ("at_most_once", true, "unknown"),
    ];
    for ((effect, maybe_applied, _), seq) in cases.into_iter().zip(1..) {
        let after = last + 2 * (seq - 1);
        engine.record(&held.claim, &intent(after, seq, effect)).await.unwrap();
        let mut waiting = change(seq, "waiting");
        waiting.maybe_applied = maybe_applied;
        let writes = StepWrites {
            changed: vec![waiting],
            events: vec![fact(after + 2, "step.retry_scheduled", seq)],
            ..StepWrites::default()
        };
        engine.record(&held.claim, &writes).await.unwrap();
    }
    parked(&stage, &held, last + 8).await;

    engine.cancel_run(run, None, None).await.unwrap();

    let states: Vec<String> = sqlx::query_scalar("select state from longhaul.step where run_id = $1 order by seq")
        .bind(run.0)
        .fetch_all(&stage.pool)
        .await
        .unwrap();
    assert_eq!(states, cases.map(|(_, _, end)| end));
    let events = stage.events(run).await;
    assert_eq!(
        events[events.len() - 5..],
        [
            "step.unknown",
            "step.cancelled",
            "step.cancelled",
            "step.unknown",
            "run.cancelled"
        ]
    );
}

#[tokio::test]
async fn a_call_that_was_out_when_its_run_was_taken_back_is_unknown_after_a_cancel() {
    let stage = Stage::new().await;
    let (held, later) = stage.abandoned().await;
    for (effect, seq) in ["at_most_once", "idempotent", "read_only"].into_iter().zip(1..) {
        let written = intent(held.event_seq + seq - 1, seq, effect);
        stage.engine.record(&held.claim, &written).await.unwrap();
    }
    later.reclaim_runs().await.unwrap();

    stage.engine.cancel_run(held.claim.run, None, None).await.unwrap();

    let states: Vec<(String, bool)> =
        sqlx::query_as("select state, maybe_applied from longhaul.step where run_id = $1 order by seq")
            .bind(held.claim.run.0)
            .fetch_all(&stage.pool)
            .await
            .unwrap();
    let told: Vec<_> = states.iter().map(|(state, maybe)| (state.as_str(), *maybe)).collect();
    assert_eq!(told, [("unknown", true), ("unknown", true), ("cancelled", true)]);
    assert_eq!(stage.events(held.claim.run).await.len(), 10);
}

#[tokio::test]
async fn a_run_that_has_ended_cannot_be_cancelled_and_one_that_is_not_there_cannot_either() {
    let stage = Stage::new().await;
    let held = stage.claimed().await;
    let ending = Ending::Succeeded("{}".to_owned());
    stage
        .engine
        .finish_run(&held.claim, held.event_seq, &ending)
        .await
        .unwrap();
    let failed = failed(&stage).await;
    let before = stage.trace().await;

    for ended in [held.claim.run, failed] {
        let refused = stage.engine.cancel_run(ended, None, None).await;
        assert_eq!(refusal(refused), (409, "run_has_ended".to_owned()));
    }
    let nobody = RunId(Uuid::now_v7());
    assert_eq!(
        refusal(stage.engine.cancel_run(nobody, None, None).await),
        (404, "no_such_run".to_owned())
    );
    assert_eq!(
        refusal(stage.engine.resume_run(nobody, None, None).await),
        (404, "no_such_run".to_owned())
    );
    assert_eq!(stage.trace().await, before);
}

#[tokio::test]
async fn only_a_failed_run_or_one_that_waits_for_a_person_is_resumed() {
    let stage = Stage::new().await;
    let queued = stage.start().await;
    let refused = async |run: RunId| refusal(stage.engine.resume_run(run, None, None).await);
    assert_eq!(refused(queued).await, (409, "not_resumable".to_owned()));
    stage.engine.cancel_run(queued, None, None).await.unwrap();
    assert_eq!(refused(queued).await, (409, "not_resumable".to_owned()), "cancelled");

    let held = stage.claimed().await;
    let run = held.claim.run;
    assert_eq!(refused(run).await, (409, "not_resumable".to_owned()), "running");
    let park = Park {
        event_seq: held.event_seq,
        wakes: 0,
        waiting_for: "timer",
        reason: "retry",
        until: Some(stage.now().await + chrono::TimeDelta::hours(1)),
        detail: None,
    };
    stage.engine.park_run(&held.claim, &park).await.unwrap().unwrap();
    assert_eq!(
        refused(run).await,
        (409, "not_resumable".to_owned()),
        "waits for a time"
    );
    assert_eq!(stage.state(run).await, "waiting");
}

#[tokio::test]
async fn a_resumed_run_keeps_its_results_and_is_due_at_once() {
    let stage = Stage::new().await;
    let run = failed(&stage).await;
    stage
        .sql("update longhaul.run set crashes = 4 where id = $1", run)
        .await;

    stage.engine.resume_run(run, Some("mended"), Some("ada")).await.unwrap();

    let detail = stage.engine.run_detail(run).await.unwrap();
    assert_eq!(
        (detail.state.as_str(), detail.crashes),
        ("queued", 1),
        "one is not forgotten"
    );
    assert!(detail.ended_at.is_none() && detail.error.is_none());
    assert_eq!(
        stage.events(run).await,
        ["run.started", "run.claimed", "run.failed", "run.resumed"]
    );
    let told: serde_json::Value = stage
        .ask(
            "select data::jsonb from longhaul.event where run_id = $1 and kind = 'run.resumed'",
            run,
        )
        .await;
    assert_eq!(
        told,
        serde_json::json!({"by": "ada", "reason": "mended", "from": "failed"})
    );
    let worker = stage.worker().await;
    let again = claim(&stage.engine, worker, 1).await.pop().unwrap();
    assert_eq!(again.resumed_fence.0, 1);
    assert_eq!(again.claim.fence.0, 2);
}

#[tokio::test]
async fn a_call_that_may_have_happened_and_may_not_be_repeated_bars_the_way() {
    let stage = Stage::new().await;
    for (effect, barred) in [("at_most_once", true), ("idempotent", false)] {
        let held = stage.claimed().await;
        let (engine, last) = (&stage.engine, held.event_seq);
        engine.record(&held.claim, &intent(last, 1, effect)).await.unwrap();
        let mut lost = change(1, "unknown");
        lost.result = None;
        let writes = StepWrites {
            changed: vec![lost],
            events: vec![fact(last + 2, "step.unknown", 1)],
            ..StepWrites::default()
        };
        engine.record(&held.claim, &writes).await.unwrap();
        parked(&stage, &held, last + 2).await;
        let before = stage.trace().await;

        let resumed = engine.resume_run(held.claim.run, None, None).await;

        if barred {
            assert_eq!(refusal(resumed), (409, "unknown_outcome".to_owned()));
            assert_eq!(stage.trace().await, before);
            engine.cancel_run(held.claim.run, None, None).await.unwrap();
        } else {
            resumed.unwrap();
            assert_eq!(stage.state(held.claim.run).await, "queued");
        }
    }
}
