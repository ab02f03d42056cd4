//! Group commit: many runs in one statement, and none of them at the mercy of another.

use crate::stage::{Stage, fact, intent, outcome};
use engine::recorder::{Answer, Recorder};
use engine::{Claimed, Connect, Ending, Recorded, StepWrites, Then, Transition};
use std::sync::Arc;
use tokio::task::JoinSet;

fn going_on(held: &Claimed, writes: StepWrites) -> Transition {
    Transition {
        claim: held.claim,
        parent: None,
        writes,
        then: Then::GoOn,
    }
}

fn begins(held: &Claimed) -> Transition {
    going_on(held, intent(held.event_seq, 1, "idempotent"))
}

async fn recorder(stage: &Stage) -> Recorder {
    let connect = Connect::new(&stage.database.url, "recorder");
    let started = Recorder::start(&connect, stage.engine.clone()).await;
    started.expect("the recorder starts")
}

async fn claimed(stage: &Stage, count: usize) -> Vec<Claimed> {
    for _ in 0..count {
        stage.start().await;
    }
    let worker = stage.worker().await;
    let mut held = Vec::new();
    while held.len() < count {
        held.extend(crate::stage::claim(&stage.engine, worker, 50).await);
    }
    held
}

/// Offers all of them at the same time; answers in the same order.
async fn offered(recorder: &Recorder, transitions: impl IntoIterator<Item = Transition>) -> Vec<Answer> {
    let mut tasks = JoinSet::new();
    for (number, transition) in transitions.into_iter().enumerate() {
        let recorder = recorder.clone();
        tasks.spawn(async move { (number, recorder.write(Arc::new(transition)).await) });
    }
    let mut answers = tasks.join_all().await;
    answers.sort_by_key(|(number, _)| *number);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

fn is_written(answer: &Answer) -> bool {
    matches!(answer, Answer::Recorded(Recorded::Now(_)))
}

#[tokio::test]
async fn each_run_of_a_batch_stands_or_falls_by_its_own_fence() {
    let stage = Stage::new().await;
    let held = claimed(&stage, 4).await;
    let [good, stale, cancelled, ends] = held.as_slice() else {
        panic!("four runs");
    };
    stage
        .sql(
            "update longhaul.run set fence = fence + 1 where id = $1",
            stale.claim.run,
        )
        .await;
    stage.engine.cancel_run(cancelled.claim.run, None, None).await.unwrap();
    let ending = Ending::Succeeded(r#"{"answer":"done"}"#.to_owned());
    let batch = [
        begins(good),
        begins(stale),
        begins(cancelled),
        Transition {
            claim: ends.claim,
            parent: None,
            writes: StepWrites {
                events: vec![ending.event(ends.event_seq + 1)],
                ..StepWrites::default()
            },
            then: Then::End(ending),
        },
    ];

    let recorded = stage.engine.record_batch(&batch.each_ref()).await.unwrap();

    let [first, second, third, fourth] = recorded.as_slice() else {
        panic!("four answers");
    };
    assert!(matches!(first, Some(Recorded::Now(_))), "{first:?}");
    assert!(second.is_none(), "{second:?}");
    assert!(matches!(third, Some(Recorded::Refused(control)) if control.cancel_requested));
    assert!(matches!(fourth, Some(Recorded::Now(_))), "{fourth:?}");
    let steps = "select count(*) from longhaul.step where run_id = $1";
    let mut counts = Vec::new();
    for run in &held {
        counts.push(stage.ask::<i64>(steps, run.claim.run).await);
    }
    assert_eq!(counts, [1, 0, 0, 0]);
    assert_eq!(stage.state(ends.claim.run).await, "succeeded");
    assert_eq!(
        stage.events(ends.claim.run).await,
        ["run.started", "run.claimed", "run.succeeded"]
    );
    let alone = stage.engine.record_alone(&begins(stale)).await.unwrap();
    assert_eq!(alone, Recorded::ClaimLost);
}

#[tokio::test]
async fn what_comes_while_others_are_on_their_way_shares_their_commits() {
    let stage = Stage::new().await;
    let held = claimed(&stage, 200).await;
    let recorder = recorder(&stage).await;

    let answers = offered(&recorder, held.iter().map(begins)).await;

    assert!(answers.iter().all(is_written), "{answers:?}");
    let commits: i64 =
        sqlx::query_scalar("select count(distinct xmin::text) from longhaul.event where kind = 'step.started'")
            .fetch_one(&stage.pool)
            .await
            .unwrap();
    assert!(commits < 50, "{commits} commits for 200 runs");
    for run in &held {
        stage.events(run.claim.run).await;
    }
}

#[tokio::test]
async fn a_run_whose_row_an_application_has_locked_delays_itself_only() {
    let stage = Stage::new().await;
    let held = claimed(&stage, 20).await;
    let recorder = recorder(&stage).await;
    let mut application = stage.pool.begin().await.unwrap();
    sqlx::query("select from longhaul.run where id = $1 for update")
        .bind(held[7].claim.run.0)
        .execute(&mut *application)
        .await
        .unwrap();
    let locked = {
        let (recorder, transition) = (recorder.clone(), Arc::new(begins(&held[7])));
        tokio::spawn(async move { recorder.write(transition).await })
    };
    stage.until_blocked().await;

    let others = held.iter().enumerate().filter(|(number, _)| *number != 7);
    let answers = offered(&recorder, others.map(|(_, run)| begins(run))).await;

    assert!(answers.iter().all(is_written), "{answers:?}");
    assert!(!locked.is_finished());
    application.commit().await.unwrap();
    assert!(is_written(&locked.await.unwrap()));
}

#[tokio::test]
async fn a_transition_that_the_database_cannot_take_harms_no_other_of_its_batch() {
    let stage = Stage::new().await;
    let held = claimed(&stage, 30).await;
    let recorder = recorder(&stage).await;
    let answers = offered(&recorder, held.iter().map(begins)).await;
    assert!(answers.iter().all(is_written), "{answers:?}");
    let ends = |(number, run): (usize, &Claimed)| {
        let mut writes = outcome(run.event_seq + 1, 1, "succeeded");
        if number == 11 {
            writes.changed[0].result = Some("{not json".to_owned());
        }
        going_on(run, writes)
    };

    let answers = offered(&recorder, held.iter().enumerate().map(ends)).await;

    for (number, answer) in answers.iter().enumerate() {
        if number == 11 {
            assert!(matches!(answer, Answer::Impossible(_)), "{answer:?}");
        } else {
            assert!(is_written(answer), "{number}: {answer:?}");
        }
    }
    let left = "select state from longhaul.step where run_id = $1";
    assert_eq!(stage.ask::<String>(left, held[11].claim.run).await, "running");
}

#[tokio::test]
async fn a_stale_transition_of_a_run_is_no_cover_for_its_new_holder_in_the_same_batch() {
    let stage = Stage::new().await;
    let held = stage.claimed().await;
    stage
        .sql(
            "update longhaul.run set fence = fence + 1 where id = $1",
            held.claim.run,
        )
        .await;
    let mut new = held.clone();
    new.claim.fence.0 += 1;
    let stale = going_on(
        &held,
        StepWrites {
            events: vec![fact(held.event_seq + 1, "step.started", 9)],
            ..StepWrites::default()
        },
    );

    let recorded = stage.engine.record_batch(&[&stale, &begins(&new)]).await.unwrap();

    assert!(
        recorded[0].is_none() && matches!(recorded[1], Some(Recorded::Now(_))),
        "{recorded:?}"
    );
    let about: i32 = stage
        .ask(
            "select step_seq from longhaul.event where run_id = $1 and kind = 'step.started'",
            held.claim.run,
        )
        .await;
    assert_eq!(about, 1);
}
