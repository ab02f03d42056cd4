//! Leases: judged by the database's clock alone; what a dead worker held is taken back whole.

use crate::stage::{LEASE, Stage, claim, intent, nobody, outcome, register};
use chrono::{DateTime, TimeDelta, Utc};
use engine::{Attention, Clock, Control, LiveLease, Recorded, Release};
use std::collections::BTreeMap;
use tokio::task::JoinSet;

#[tokio::test]
async fn an_expired_lease_is_never_extended() {
    let stage = Stage::new().await;
    let (engine, clock) = stage.at(stage.now().await);
    let worker = register(&engine, LEASE).await;
    let expires = async || -> DateTime<Utc> {
        sqlx::query_scalar("select lease_expires_at from longhaul.worker")
            .fetch_one(&stage.pool)
            .await
            .unwrap()
    };
    let first = expires().await;
    clock.advance(TimeDelta::milliseconds(59_999));
    assert_eq!(
        engine.extend_lease(worker, LEASE).await.unwrap(),
        LiveLease::Extended(Vec::new())
    );
    let second = expires().await;
    assert_eq!(second - first, TimeDelta::milliseconds(59_999));

    clock.advance(TimeDelta::seconds(60));

    assert_eq!(engine.extend_lease(worker, LEASE).await.unwrap(), LiveLease::Lost);
    assert_eq!(expires().await, second);
    assert!(engine.poll(nobody()).await.unwrap().reclaimable);
}

#[tokio::test]
async fn a_closed_lease_is_never_extended() {
    let stage = Stage::new().await;
    let worker = stage.worker().await;
    stage.engine.close_worker(worker).await.unwrap();

    assert_eq!(stage.engine.extend_lease(worker, LEASE).await.unwrap(), LiveLease::Lost);
}

#[tokio::test]
async fn an_extension_tells_which_runs_were_cancelled_paused_or_woken() {
    let stage = Stage::new().await;
    let worker = stage.worker().await;
    let (mut runs, mut expected) = (Vec::new(), BTreeMap::new());
    for _ in 0..4 {
        runs.push(stage.start().await);
    }
    assert_eq!(claim(&stage.engine, worker, 10).await.len(), 4);
    stage.engine.cancel_run(runs[0], None, None).await.unwrap();
    stage
        .sql("update longhaul.run set paused_at = now() where id = $1", runs[1])
        .await;
    stage
        .sql("update longhaul.run set wakes = 3 where id = $1", runs[2])
        .await;
    for (run, (wakes, cancel_requested, paused)) in
        runs.iter().zip([(1, true, false), (0, false, true), (3, false, false)])
    {
        expected.insert(
            *run,
            Control {
                wakes,
                cancel_requested,
                paused,
            },
        );
    }

    let LiveLease::Extended(told) = stage.engine.extend_lease(worker, LEASE).await.unwrap() else {
        panic!("the lease is live");
    };

    let told: BTreeMap<_, _> = told
        .into_iter()
        .map(|Attention { run, control }| (run, control))
        .collect();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn what_a_dead_worker_held_is_put_back_and_counts_a_crash() {
    let stage = Stage::new().await;
    let (held, later) = stage.abandoned().await;
    let living = register(&later, LEASE).await;
    let kept = stage.start().await;
    assert_eq!(claim(&later, living, 1).await[0].claim.run, kept);

    let reclaimed = later.reclaim_runs().await.unwrap();

    assert_eq!(reclaimed.runs, [held.claim.run]);
    assert_eq!(reclaimed.workers, [(held.claim.worker, "by hand".to_owned())]);
    let run = stage.engine.run_detail(held.claim.run).await.unwrap();
    assert_eq!((run.state.as_str(), run.crashes, run.worker), ("queued", 1, None));
    assert_eq!(
        stage.events(held.claim.run).await,
        ["run.started", "run.claimed", "run.reclaimed"]
    );
    assert_eq!(stage.state(kept).await, "running");
    assert_eq!(later.reclaim_runs().await.unwrap(), engine::Reclaimed::default());
    let again = claim(&later, living, 1).await.pop().unwrap();
    assert_eq!((again.claim.fence.0, again.crashes), (2, 1));
}

#[tokio::test]
async fn a_closed_worker_that_still_holds_a_run_is_found() {
    let stage = Stage::new().await;
    let held = stage.claimed().await;
    stage.engine.close_worker(held.claim.worker).await.unwrap();

    assert!(stage.engine.poll(nobody()).await.unwrap().reclaimable);
    assert_eq!(stage.engine.reclaim_runs().await.unwrap().runs, [held.claim.run]);
    assert!(!stage.engine.poll(nobody()).await.unwrap().reclaimable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_stay_dense_when_a_run_is_taken_back_while_its_holder_records() {
    let stage = Stage::new().await;
    let (mut lost_at, mut taken) = (BTreeMap::<i32, u32>::new(), 0);
    for _ in 0..40 {
        let (held, later) = stage.abandoned().await;
        let (claim, last) = (held.claim, held.event_seq);
        let mut racing = JoinSet::new();
        let holder = stage.engine.clone();
        racing.spawn(async move {
            let mut recorded = 0;
            for seq in 1..=6 {
                let written = holder.record(&claim, &intent(last + recorded, seq, "idempotent")).await;
                if !matches!(written.unwrap(), Recorded::Now(_)) {
                    break;
                }
                recorded += 1;
            }
            (recorded, 0)
        });
        for _ in 0..2 {
            let later = later.clone();
            racing.spawn(async move {
                let mut taken = 0;
                for _ in 0..3 {
                    taken += later.reclaim_runs().await.unwrap().runs.len();
                }
                (0, taken)
            });
        }

        let mut recorded = 0;
        for (records, reclaimed) in racing.join_all().await {
            recorded += records;
            taken += reclaimed;
        }

        // Whoever found the run locked left it for the next look.
        taken += later.reclaim_runs().await.unwrap().runs.len();
        let events = stage.events(claim.run).await;
        assert_eq!(events.len(), usize::try_from(last + recorded + 1).unwrap());
        assert_eq!(events.last().unwrap(), "run.reclaimed");
        let steps: i64 = stage
            .ask("select count(*) from longhaul.step where run_id = $1", claim.run)
            .await;
        assert_eq!(steps, i64::from(recorded));
        let run = stage.engine.run_detail(claim.run).await.unwrap();
        assert_eq!((run.state.as_str(), run.crashes), ("queued", 1));
        *lost_at.entry(recorded).or_default() += 1;
        stage.engine.cancel_run(claim.run, None, None).await.unwrap();
    }
    assert_eq!(taken, 40);
    assert!(lost_at.len() > 1, "the race never went both ways: {lost_at:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_record_is_just_committing_is_counted_on_from_that_record() {
    let stage = Stage::new().await;
    let (held, later) = stage.abandoned().await;
    let run = held.claim.run;
    let mut recording = stage.pool.begin().await.unwrap();
    sqlx::query("select from longhaul.run where id = $1 for no key update")
        .bind(run.0)
        .execute(&mut *recording)
        .await
        .unwrap();
    sqlx::query("insert into longhaul.event (run_id, seq, kind, fence) values ($1, 3, 'step.started', 1)")
        .bind(run.0)
        .execute(&mut *recording)
        .await
        .unwrap();

    assert!(
        later.reclaim_runs().await.unwrap().runs.is_empty(),
        "a locked run is left"
    );
    recording.commit().await.unwrap();
    assert_eq!(later.reclaim_runs().await.unwrap().runs, [run]);

    assert_eq!(stage.events(run).await.len(), 4);
}

#[tokio::test]
async fn a_result_makes_earlier_crashes_count_no_more() {
    let stage = Stage::new().await;
    let (held, later) = stage.abandoned().await;
    later.reclaim_runs().await.unwrap();
    let worker = register(&later, LEASE).await;
    let again = claim(&later, worker, 1).await.pop().unwrap();
    assert_eq!(again.crashes, 1);
    let crashes = async || -> i32 {
        stage
            .ask("select crashes from longhaul.run where id = $1", held.claim.run)
            .await
    };

    stage
        .engine
        .record(&again.claim, &intent(again.event_seq, 1, "read_only"))
        .await
        .unwrap();
    assert_eq!(crashes().await, 1, "an intent proves nothing");
    stage
        .engine
        .record(&again.claim, &outcome(again.event_seq + 1, 1, "succeeded"))
        .await
        .unwrap();

    assert_eq!(crashes().await, 0);
}

#[tokio::test]
async fn giving_a_run_back_is_no_crash_but_a_broken_driver_is() {
    let stage = Stage::new().await;
    for (why, crashes, wait, event) in [
        (Release::Shutdown, 0, 0, "run.released"),
        (Release::Paused, 0, 0, "run.paused"),
        (Release::DriverBroke, 1, 1, "run.released"),
    ] {
        let held = stage.claimed().await;
        let now = stage.now().await;
        let engine = stage.engine.with_clock(Clock::fixed(now));
        if why == Release::Paused {
            engine.pause_run(held.claim.run, None, None).await.unwrap();
        }

        assert!(engine.release_run(&held.claim, held.event_seq, why).await.unwrap());

        let run = engine.run_detail(held.claim.run).await.unwrap();
        assert_eq!((run.state.as_str(), run.crashes), ("queued", crashes), "{why:?}");
        assert_eq!(run.due_at.unwrap() - now, TimeDelta::seconds(wait), "{why:?}");
        assert_eq!(
            stage.events(held.claim.run).await,
            ["run.started", "run.claimed", event]
        );
        engine.cancel_run(held.claim.run, None, None).await.unwrap();
    }
}

#[tokio::test]
async fn a_run_that_only_has_to_be_ended_is_never_put_before_a_person() {
    let stage = Stage::new().await;
    for way in ["reclaimed", "given back"] {
        let (held, later) = stage.abandoned().await;
        let run = held.claim.run;
        stage
            .sql("update longhaul.run set crashes = 4 where id = $1", run)
            .await;
        stage.engine.cancel_run(run, None, None).await.unwrap();

        if way == "reclaimed" {
            later.reclaim_runs().await.unwrap();
        } else {
            let given_back = later.release_run(&held.claim, held.event_seq, Release::DriverBroke);
            assert!(given_back.await.unwrap());
        }

        let detail = stage.engine.run_detail(run).await.unwrap();
        assert_eq!((detail.state.as_str(), detail.crashes), ("queued", 5), "{way}");
        assert!(detail.due_at.is_some());
        stage.engine.cancel_run(run, None, None).await.unwrap();
        stage.events(run).await;
    }
}
