//! Wake-ups: none early, and none lost, whoever wakes and however close to the parking it comes.

use crate::stage::{LEASE, Stage, claim, nobody, poller, register};
use chrono::{DateTime, TimeDelta, Utc};
use engine::{Cancelled, Claimed, Decide, Ending, EngineError, Park, Reach, Release};

fn park(held: &Claimed, waiting_for: &'static str, until: Option<DateTime<Utc>>) -> Park<'static> {
    Park {
        event_seq: held.event_seq,
        wakes: held.wakes,
        waiting_for,
        reason: "retry",
        until,
        detail: None,
    }
}

#[tokio::test]
async fn a_run_that_was_woken_since_its_holder_looked_is_not_parked() {
    let stage = Stage::new().await;
    let held = stage.claimed().await;
    let (engine, claim) = (&stage.engine, &held.claim);
    stage
        .sql("update longhaul.run set wakes = wakes + 1 where id = $1", claim.run)
        .await;
    let before = stage.trace().await;

    assert_eq!(
        engine.park_run(claim, &park(&held, "approval", None)).await.unwrap(),
        None
    );
    assert_eq!(stage.trace().await, before);

    let look = engine.look(claim).await.unwrap().unwrap();
    let mut seen = park(&held, "approval", None);
    seen.wakes = look.control.wakes;
    assert_eq!(engine.park_run(claim, &seen).await.unwrap(), Some(look.event_seq + 1));
}

#[tokio::test]
async fn no_timer_wakes_early_by_the_database_clock() {
    let stage = Stage::new().await;
    let (engine, clock) = stage.at(stage.now().await);
    let now = stage.now().await;
    let held = stage.claimed().await;
    let until = now + TimeDelta::seconds(30);
    engine
        .park_run(&held.claim, &park(&held, "timer", Some(until)))
        .await
        .unwrap()
        .unwrap();
    let (early, _) = stage.at(until - TimeDelta::microseconds(1));

    let poll = early.poll(nobody()).await.unwrap();
    assert!(!poll.wakeable);
    assert_eq!(poll.next_due.unwrap().as_micros(), 1);
    assert!(early.wake_runs(Reach::everything()).await.unwrap().is_empty());
    assert!(engine.wake_runs(Reach::everything()).await.unwrap().is_empty());
    clock.advance(TimeDelta::seconds(31));
    assert!(engine.poll(nobody()).await.unwrap().wakeable);
    assert_eq!(engine.wake_runs(Reach::everything()).await.unwrap(), [held.claim.run]);

    let run = engine.run_detail(held.claim.run).await.unwrap();
    assert_eq!(
        (run.state.as_str(), run.waiting_for, run.wait_reason),
        ("queued", None, None)
    );
    assert_eq!(
        stage.events(held.claim.run).await,
        ["run.started", "run.claimed", "run.parked", "run.woken"]
    );
    let worker = register(&engine, LEASE).await;
    let again = claim(&engine, worker, 1).await.pop().unwrap();
    assert_eq!(again.wakes, held.wakes + 1);
}

#[tokio::test]
async fn a_paused_run_sleeps_on() {
    let stage = Stage::new().await;
    let held = stage.claimed().await;
    let now = stage.now().await;
    stage
        .engine
        .park_run(&held.claim, &park(&held, "timer", Some(now)))
        .await
        .unwrap();
    stage
        .sql(
            "update longhaul.run set paused_at = now() where id = $1",
            held.claim.run,
        )
        .await;

    assert!(stage.engine.wake_runs(Reach::everything()).await.unwrap().is_empty());
    assert!(!stage.engine.poll(nobody()).await.unwrap().wakeable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_that_meets_the_parking_is_never_lost() {
    let stage = Stage::new().await;
    let (mut first, mut second) = (0, 0);
    for round in 0..60 {
        let held = stage.claimed().await;
        let (engine, canceller, claim) = (stage.engine.clone(), stage.engine.clone(), held.claim);
        let parking = tokio::spawn(async move {
            if round % 2 == 0 {
                tokio::task::yield_now().await;
            }
            engine.park_run(&claim, &park(&held, "approval", None)).await.unwrap()
        });
        let cancelled = canceller.cancel_run(claim.run, None, None).await.unwrap();
        let parked = parking.await.unwrap();

        match (cancelled, parked) {
            // Parked before: the cancel ended it.
            (Cancelled::Now, Some(_)) => second += 1,
            // Asked before: the holder was not allowed to park, looks, and ends it.
            (Cancelled::Requested, None) => {
                first += 1;
                let look = stage.engine.look(&claim).await.unwrap().unwrap();
                assert!(look.control.cancel_requested);
                assert!(
                    stage
                        .engine
                        .finish_run(&claim, look.event_seq, &Ending::Cancelled)
                        .await
                        .unwrap()
                );
            }
            lost => panic!(
                "the cancel was lost: {lost:?}, the run is {}",
                stage.state(claim.run).await
            ),
        }
        assert_eq!(stage.state(claim.run).await, "cancelled");
        stage.events(claim.run).await;
    }
    assert!(
        first > 0 && second > 0,
        "the race never went both ways: {first} {second}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resume_that_meets_the_parking_is_either_refused_or_done() {
    let stage = Stage::new().await;
    for round in 0..60 {
        let held = stage.claimed().await;
        let (engine, claim) = (stage.engine.clone(), held.claim);
        let parking =
            tokio::spawn(async move { engine.park_run(&claim, &park(&held, "approval", None)).await.unwrap() });
        if round % 2 == 0 {
            tokio::task::yield_now().await;
        }
        let resumed = stage.engine.resume_run(claim.run, None, None).await;
        assert!(parking.await.unwrap().is_some(), "nothing woke it");

        match resumed {
            Ok(()) => assert_eq!(stage.state(claim.run).await, "queued"),
            Err(EngineError::Refused { code, .. }) => {
                assert_eq!(code, "not_resumable");
                assert_eq!(stage.state(claim.run).await, "waiting");
            }
            Err(broken) => panic!("{broken}"),
        }
        stage.events(claim.run).await;
        stage.engine.cancel_run(claim.run, None, None).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_that_meets_the_parking_is_never_lost() {
    let stage = Stage::new().await;
    for round in 0..40 {
        let held = stage.claimed().await;
        let (engine, claim) = (stage.engine.clone(), held.claim);
        let parking = tokio::spawn(async move {
            if round % 2 == 0 {
                tokio::task::yield_now().await;
            }
            engine.park_run(&claim, &park(&held, "approval", None)).await.unwrap()
        });
        stage.engine.pause_run(claim.run, None, None).await.unwrap();

        if parking.await.unwrap().is_none() {
            let look = stage.engine.look(&claim).await.unwrap().unwrap();
            assert!(look.control.paused, "whoever may not park is told why");
            let given_back = stage.engine.release_run(&claim, look.event_seq, Release::Paused);
            assert!(given_back.await.unwrap());
        }
        let run = stage.engine.run_detail(claim.run).await.unwrap();
        assert!(run.paused_at.is_some() && run.worker.is_none());
        assert_eq!(
            stage.events(claim.run).await.len(),
            4 - usize::from(run.state == "queued")
        );
        stage.engine.cancel_run(claim.run, None, None).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resume_that_meets_the_giving_back_of_a_paused_run_lets_it_go_on() {
    let stage = Stage::new().await;
    for round in 0..40 {
        let held = stage.claimed().await;
        let (engine, claim) = (stage.engine.clone(), held.claim);
        engine.pause_run(claim.run, None, None).await.unwrap();
        let giving_back = tokio::spawn(async move {
            if round % 2 == 0 {
                tokio::task::yield_now().await;
            }
            engine
                .release_run(&claim, held.event_seq, Release::Paused)
                .await
                .unwrap()
        });
        stage.engine.resume_run(claim.run, None, None).await.unwrap();
        assert!(giving_back.await.unwrap());

        let run = stage.engine.run_detail(claim.run).await.unwrap();
        assert_eq!((run.state.as_str(), run.paused_at), ("queued", None));
        stage.events(claim.run).await;
        stage.engine.cancel_run(claim.run, None, None).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timer_that_is_due_while_its_run_is_being_parked_is_found_by_the_next_look() {
    let stage = Stage::new().await;
    for _ in 0..60 {
        let held = stage.claimed().await;
        let (engine, claim) = (stage.engine.clone(), held.claim);
        let due = stage.now().await;
        let parking =
            tokio::spawn(async move { engine.park_run(&claim, &park(&held, "timer", Some(due))).await.unwrap() });
        let early = stage.engine.wake_runs(Reach::everything()).await.unwrap();
        assert!(parking.await.unwrap().is_some());

        if early.is_empty() {
            assert!(stage.engine.poll(nobody()).await.unwrap().wakeable);
            assert_eq!(stage.engine.wake_runs(Reach::everything()).await.unwrap(), [claim.run]);
        }
        assert_eq!(stage.state(claim.run).await, "queued");
        assert_eq!(stage.events(claim.run).await.len(), 4);
        stage.engine.cancel_run(claim.run, None, None).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_wake_at_the_same_time_wake_once() {
    let stage = Stage::new().await;
    for _ in 0..20 {
        let held = stage.claimed().await;
        let due = stage.now().await;
        stage
            .engine
            .park_run(&held.claim, &park(&held, "timer", Some(due)))
            .await
            .unwrap();
        let (one, other) = (stage.engine.clone(), stage.engine.clone());

        let (one, other) = tokio::join!(
            tokio::spawn(async move { one.wake_runs(Reach::everything()).await.unwrap() }),
            tokio::spawn(async move { other.wake_runs(Reach::everything()).await.unwrap() })
        );

        assert_eq!(one.unwrap().len() + other.unwrap().len(), 1);
        assert_eq!(stage.events(held.claim.run).await.len(), 4);
        stage.engine.cancel_run(held.claim.run, None, None).await.unwrap();
    }
}

#[tokio::test]
async fn a_run_started_for_later_is_what_the_next_look_waits_for() {
    let stage = Stage::new().await;
    let words = |word: &str| vec![word.to_owned()];
    let now = stage.now().await;
    let (engine, clock) = stage.at(now);
    let next = async || {
        engine
            .poll(poller(&words("default"), &words("agent"), &[]))
            .await
            .unwrap()
    };
    assert_eq!(next().await.next_due, None);
    stage
        .start_with(|start| start.due_at = Some(now + TimeDelta::seconds(90)))
        .await;
    stage
        .start_with(|start| start.due_at = Some(now + TimeDelta::seconds(40)))
        .await;

    assert_eq!(next().await.next_due.unwrap().as_secs(), 40);
    assert!(!next().await.claimable);
    clock.advance(TimeDelta::seconds(40));
    assert!(next().await.claimable);
    assert_eq!(next().await.next_due.unwrap().as_secs(), 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_that_meets_the_parking_is_never_lost() {
    let stage = Stage::new().await;
    let (mut first, mut second) = (0, 0);
    for round in 0..60 {
        let held = stage.claimed().await;
        let (engine, claim) = (stage.engine.clone(), held.claim);
        let approval: uuid::Uuid = sqlx::query_scalar(
            "insert into longhaul.approval (run_id, step_seq, attempt, fence, reason, verbs, summary)
             values ($1, 1, 1, 1, 'unknown_outcome', '{happened}', 'Did it?') returning id",
        )
        .bind(claim.run.0)
        .fetch_one(&stage.pool)
        .await
        .unwrap();
        let parking = tokio::spawn(async move {
            if round % 2 == 0 {
                tokio::task::yield_now().await;
            }
            engine.park_run(&claim, &park(&held, "timer", None)).await.unwrap()
        });
        let decision = Decide {
            approval,
            verb: "happened".to_owned(),
            words: None,
            result: None,
            actor: None,
        };
        let left = stage.engine.decide_approval(&decision).await.unwrap();

        match (left.as_str(), parking.await.unwrap()) {
            // Parked before: the decision woke it.
            ("queued", Some(_)) => second += 1,
            // Decided before: the holder was not allowed to park, and looks.
            ("running", None) => {
                first += 1;
                let asked = stage.engine.asked(claim.run).await.unwrap();
                assert_eq!(asked[0].verb.as_deref(), Some("happened"));
            }
            lost => panic!("the decision was lost: {lost:?}"),
        }
        stage.events(claim.run).await;
        stage.engine.cancel_run(claim.run, None, None).await.unwrap();
    }
    assert!(
        first > 0 && second > 0,
        "the race never went both ways: {first} {second}"
    );
}
