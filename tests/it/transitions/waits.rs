//! Signals and children by hand: what wakes a run, what is told to whom, and what ends with what.

use crate::stage::{Stage, claim};
use engine::query::Wanted;
use engine::{
    Cancelled, Claimed, Ending, EngineError, EventWrite, OnParentEnd, Park, Place, Recorded, RunId, SendSignal,
    SignalSent, StartChild, StepBegin, StepWrites, Then, Transition,
};
use serde_json::json;

fn signal(run: RunId, name: &str, id: Option<&str>) -> SendSignal {
    SendSignal {
        run,
        name: name.to_owned(),
        payload: json!({"from": "test"}).to_string(),
        id: id.map(str::to_owned),
        sender: None,
    }
}

pub(super) fn child(key: &str) -> StartChild {
    StartChild {
        key: key.to_owned(),
        kind: "agent".to_owned(),
        agent: Some(crate::stage::AGENT.to_owned()),
        input: "{}".to_owned(),
        queue: None,
        priority: None,
        labels: [].into(),
        on_parent_end: OnParentEnd::Cancel,
    }
}

fn code(error: &EngineError) -> &str {
    error.code()
}

/// Records a step that waits for a child; the run as it is held then.
pub(super) async fn begins_wait(stage: &Stage, held: &Claimed, request: serde_json::Value) -> Claimed {
    begins(stage, held, ("child", "join"), request).await;
    Claimed {
        event_seq: held.event_seq + 1,
        ..held.clone()
    }
}

async fn begins(stage: &Stage, held: &Claimed, (kind, name): (&'static str, &str), request: serde_json::Value) {
    let request = request.to_string();
    let begun = held.event_seq + 1;
    let writes = StepWrites {
        begun: vec![StepBegin {
            seq: begun,
            place: Place::Identity(format!("{name}#1")),
            kind,
            name: name.to_owned(),
            call_id: None,
            state: "waiting",
            effect: "read_only",
            key: format!("{}-{name}", held.claim.run),
            attempt: 1,
            attempts_max: 1,
            maybe_applied: false,
            due_at: None,
            replaces_seq: None,
            request_digest: engine::payload::digest(&request),
            request: Some(request),
            result: None,
            error: None,
        }],
        events: vec![EventWrite {
            seq: begun,
            kind: "step.started",
            step_seq: Some(begun),
            data: None,
        }],
        ..StepWrites::default()
    };
    let written = stage.engine.record(&held.claim, &writes).await.unwrap();
    assert!(matches!(written, Recorded::Now(_)), "{written:?}");
}

/// Parks a run with a step that waits.
pub(super) async fn waits_for(stage: &Stage, held: &Claimed, what: (&'static str, &str), request: serde_json::Value) {
    begins(stage, held, what, request).await;
    let (begun, last) = (held.event_seq + 1, held.event_seq + 2);
    let park = Park {
        event_seq: begun,
        wakes: held.wakes,
        waiting_for: what.0,
        reason: what.0,
        until: None,
        detail: None,
    };
    assert_eq!(stage.engine.park_run(&held.claim, &park).await.unwrap(), Some(last));
}

/// Ends a held run as its driver would.
pub(super) async fn ends(stage: &Stage, held: &Claimed) {
    let ending = Ending::Succeeded("1".to_owned());
    let transition = Transition {
        claim: held.claim,
        parent: held.parent,
        writes: StepWrites {
            events: vec![ending.event(held.event_seq + 1)],
            ..StepWrites::default()
        },
        then: Then::End(ending),
    };
    let recorded = stage.engine.record_alone(&transition).await.unwrap();
    assert!(matches!(recorded, Recorded::Now(_)), "{recorded:?}");
}

#[tokio::test]
async fn a_signal_sent_twice_is_sent_once_whatever_became_of_its_run() {
    let stage = Stage::new().await;
    let run = stage.start().await;

    let first = stage
        .engine
        .send_signal(&signal(run, "go", Some("order-7")))
        .await
        .unwrap();
    let trace = stage.trace().await;
    let second = stage
        .engine
        .send_signal(&signal(run, "go", Some("order-7")))
        .await
        .unwrap();
    let other = stage
        .engine
        .send_signal(&signal(run, "stay", Some("order-7")))
        .await
        .unwrap_err();

    assert_eq!(
        first,
        SignalSent {
            id: "order-7".to_owned(),
            created: true
        }
    );
    assert_eq!(
        second,
        SignalSent {
            id: "order-7".to_owned(),
            created: false
        }
    );
    assert_eq!(code(&other), "signal_id_reused");
    assert_eq!(stage.trace().await, trace);

    stage.engine.cancel_run(run, None, None).await.unwrap();
    let late = stage
        .engine
        .send_signal(&signal(run, "go", Some("order-7")))
        .await
        .unwrap();
    let new = stage.engine.send_signal(&signal(run, "go", None)).await.unwrap_err();
    assert!(!late.created);
    assert_eq!(code(&new), "run_has_ended");
    assert_eq!(
        stage
            .ask::<i64>("select count(*) from longhaul.signal where run_id = $1", run)
            .await,
        1
    );
}

#[tokio::test]
async fn signals_of_a_name_are_kept_in_their_order() {
    let stage = Stage::new().await;
    let held = stage.claimed().await;
    for (name, id) in [("go", "a"), ("other", "b"), ("go", "c"), ("go", "d")] {
        let sent = stage.engine.send_signal(&signal(held.claim.run, name, Some(id))).await;
        assert!(sent.unwrap().created);
    }
    let wanted = |taken, most| Wanted {
        name: "go".to_owned(),
        taken,
        most,
    };

    let ids = async |wanted: Wanted| {
        let rows = stage.engine.signals(&held.claim, &[wanted]).await.unwrap();
        rows.into_iter().map(|row| (row.id, row.wake)).collect::<Vec<_>>()
    };
    assert_eq!(ids(wanted(0, 2)).await, [("a".to_owned(), 1), ("c".to_owned(), 3)]);
    assert_eq!(ids(wanted(1, 2)).await, [("c".to_owned(), 3), ("d".to_owned(), 4)]);
    assert!(ids(wanted(4, 2)).await.is_empty());
}

#[tokio::test]
async fn a_signal_wakes_a_run_that_waits_for_its_name_and_no_other() {
    let stage = Stage::new().await;
    let held = stage.claimed().await;
    waits_for(&stage, &held, ("signal", "go"), json!({})).await;

    stage
        .engine
        .send_signal(&signal(held.claim.run, "other", None))
        .await
        .unwrap();
    assert_eq!(stage.state(held.claim.run).await, "waiting");
    stage
        .engine
        .send_signal(&signal(held.claim.run, "go", None))
        .await
        .unwrap();
    assert_eq!(stage.state(held.claim.run).await, "queued");
    assert_eq!(
        stage.events(held.claim.run).await,
        ["run.started", "run.claimed", "step.started", "run.parked", "run.woken"]
    );
}

#[tokio::test]
async fn what_was_decided_before_a_signal_came_is_decided_anew() {
    let stage = Stage::new().await;
    let held = stage.claimed().await;
    let decided = |wakes| Transition {
        claim: held.claim,
        parent: None,
        writes: StepWrites {
            events: vec![EventWrite {
                seq: held.event_seq + 1,
                kind: "step.succeeded",
                step_seq: Some(1),
                data: None,
            }],
            ..StepWrites::default()
        },
        then: Then::GoOnUnwoken { wakes },
    };
    stage
        .engine
        .send_signal(&signal(held.claim.run, "go", None))
        .await
        .unwrap();
    let trace = stage.trace().await;

    let late = stage.engine.record_batch(&[&decided(held.wakes)]).await.unwrap();
    assert!(matches!(late[..], [Some(Recorded::Refused(_))]), "{late:?}");
    assert_eq!(stage.trace().await, trace);
    let seen = stage.engine.record_batch(&[&decided(held.wakes + 1)]).await.unwrap();
    assert!(matches!(seen[..], [Some(Recorded::Now(_))]), "{seen:?}");
}

#[tokio::test]
async fn a_child_is_started_once_and_knows_its_tree() {
    let stage = Stage::new().await;
    let top = stage.claimed().await;
    let first = stage.engine.start_child(&top.claim, &child("a")).await.unwrap();
    let again = stage.engine.start_child(&top.claim, &child("a")).await.unwrap();
    assert_eq!(first, again);
    assert_ne!(stage.engine.start_child(&top.claim, &child("b")).await.unwrap(), first);

    let held = claim(&stage.engine, top.claim.worker, 1).await.pop().unwrap();
    assert_eq!((held.claim.run, held.parent), (first, Some(top.claim.run)));
    let below = stage.engine.start_child(&held.claim, &child("c")).await.unwrap();
    let tree: String = stage
        .ask(
            "select concat_ws(' ', parent_id, tree_id, depth) from longhaul_audit.run where run_id = $1",
            below,
        )
        .await;
    assert_eq!(tree, format!("{first} {} 2", top.claim.run));
}

#[tokio::test]
async fn a_run_that_took_a_childs_key_is_taken_for_no_child() {
    let stage = Stage::new().await;
    let top = stage.claimed().await;
    let digest: String = engine::payload::digest("a")
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let stranger = engine::StartRun {
        idempotency_key: Some(format!("child:{digest}")),
        ..engine::StartRun::new(crate::stage::AGENT, "{}")
    };
    stage.engine.start_run(&stranger).await.unwrap();

    let refused = stage.engine.start_child(&top.claim, &child("a")).await.unwrap_err();

    assert_eq!(code(&refused), "key_reused");
}

#[tokio::test]
async fn no_child_is_started_for_one_who_may_not_or_too_deep_or_that_nobody_drives() {
    let stage = Stage::new().await;
    let mut stale = stage.claimed().await.claim;
    let deep = stage.claimed().await;
    stage
        .sql(
            "update longhaul.run set parent_id = id, tree_id = id, on_parent_end = 'cancel', depth = 16 where id = $1",
            deep.claim.run,
        )
        .await;
    let cancelled = stage.claimed().await;
    stage.engine.cancel_run(cancelled.claim.run, None, None).await.unwrap();
    let held = stage.claimed().await;
    stale.fence.0 -= 1;
    let nobody = StartChild {
        kind: "nobodys".to_owned(),
        agent: None,
        ..child("a")
    };
    let unknown = StartChild {
        agent: Some("stranger".to_owned()),
        ..child("a")
    };
    let before = stage.trace().await;

    for (parent, wanted, expected) in [
        (stale, child("a"), "claim_lost"),
        (deep.claim, child("a"), "child_too_deep"),
        (cancelled.claim, child("a"), "run_is_cancelled"),
        (held.claim, nobody, "unknown_kind"),
        (held.claim, unknown, "no_such_agent"),
    ] {
        let refused = stage.engine.start_child(&parent, &wanted).await.unwrap_err();
        assert_eq!(code(&refused), expected);
    }
    assert_eq!(stage.trace().await, before);
}

#[tokio::test]
async fn a_childs_end_wakes_the_parent_that_waits_for_it() {
    let stage = Stage::new().await;
    let parent = stage.claimed().await;
    let mut ids = Vec::new();
    for key in ["a", "b", "c"] {
        ids.push(stage.engine.start_child(&parent.claim, &child(key)).await.unwrap());
    }
    let run = parent.claim.run;
    waits_for(&stage, &parent, ("child", "join"), json!({"run_id": ids[1]})).await;
    let held = claim(&stage.engine, parent.claim.worker, 1).await;

    ends(&stage, &held[0]).await;
    assert_eq!(stage.state(run).await, "waiting");
    assert_eq!(
        stage.engine.cancel_run(ids[1], None, None).await.unwrap(),
        Cancelled::Now
    );
    assert_eq!(stage.state(run).await, "queued");
    let ended = stage.engine.ended_children(&ids).await.unwrap();
    let mut ended: Vec<_> = ended.iter().map(|child| (child.run, child.state.as_str())).collect();
    ended.sort_unstable();
    assert_eq!(ended, [(ids[0], "succeeded"), (ids[1], "cancelled")]);
    assert_eq!(
        stage
            .ask::<i64>("select wakes from longhaul.run where id = $1", run)
            .await,
        2
    );
    assert_eq!(stage.events(run).await.last().map(String::as_str), Some("run.woken"));
}

#[tokio::test]
async fn a_childs_end_is_told_whatever_else_its_parent_has_in_hand() {
    let stage = Stage::new().await;
    let parent = stage.claimed().await;
    let below = stage.engine.start_child(&parent.claim, &child("a")).await.unwrap();
    let run = parent.claim.run;
    waits_for(&stage, &parent, ("child", "join"), json!({"run_id": below})).await;
    // The start of another one is to be tried again; its input is JSON that Postgres can store and not read out.
    stage
        .sql(
            "insert into longhaul.step
             select (jsonb_populate_record(step, '{\"seq\": 2, \"request_digest\": \"\\\\x00\"}')).*
             from longhaul.step where run_id = $1",
            run,
        )
        .await;
    stage
        .sql(
            r#"update longhaul.step set request = '{"input":"\u0000"}' where run_id = $1 and seq = 2"#,
            run,
        )
        .await;
    // Whoever looks for the wait comes to that one first.
    stage
        .sql(
            "insert into longhaul.step
             select (jsonb_populate_record(step, '{\"seq\": 3}')).*
             from longhaul.step where run_id = $1 and seq = 1",
            run,
        )
        .await;
    stage
        .sql("delete from longhaul.step where run_id = $1 and seq = 1", run)
        .await;
    let held = claim(&stage.engine, parent.claim.worker, 1).await;

    ends(&stage, &held[0]).await;

    assert_eq!(stage.state(run).await, "queued");
}

#[tokio::test]
async fn a_cancel_spreads_through_the_tree_but_for_who_was_told_to_go_on() {
    let stage = Stage::new().await;
    let top = stage.claimed().await;
    let start = async |parent: &Claimed, key: &str, on_parent_end| {
        let wanted = StartChild {
            on_parent_end,
            ..child(key)
        };
        stage.engine.start_child(&parent.claim, &wanted).await.unwrap()
    };
    let held_child = start(&top, "held", OnParentEnd::Cancel).await;
    let held = claim(&stage.engine, top.claim.worker, 1).await.pop().unwrap();
    assert_eq!(held.claim.run, held_child);
    let below = start(&held, "below", OnParentEnd::Cancel).await;
    let waiting = start(&top, "waiting", OnParentEnd::Cancel).await;
    let free = start(&top, "free", OnParentEnd::Abandon).await;

    stage
        .engine
        .cancel_run(top.claim.run, Some("enough"), Some("ann"))
        .await
        .unwrap();
    let mut states = Vec::new();
    for run in [top.claim.run, held_child, below, waiting, free] {
        states.push(stage.state(run).await);
    }
    assert_eq!(states, ["running", "running", "cancelled", "cancelled", "queued"]);
    let look = stage.engine.look(&held.claim).await.unwrap().unwrap();
    assert!(look.control.cancel_requested);
    let why: String = stage
        .ask(
            "select cancel_requested_by || ': ' || cancel_reason from longhaul.run where id = $1",
            below,
        )
        .await;
    assert_eq!(why, "ann: enough");
}

#[tokio::test]
async fn a_cancel_told_to_spare_the_children_spares_them() {
    let stage = Stage::new().await;
    let top = stage.claimed().await;
    let below = stage.engine.start_child(&top.claim, &child("a")).await.unwrap();

    stage
        .sql("select longhaul.cancel_run($1, children => false)", top.claim.run)
        .await;
    assert!(stage.engine.cancel_children(&top.claim, "the end").await.unwrap());
    assert_eq!(stage.state(below).await, "queued");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_of_children_and_a_cancel_of_their_parent_never_wait_for_each_other_in_a_ring() {
    let stage = Stage::new().await;
    for round in 0..15 {
        let top = stage.claimed().await;
        for number in 0..4 {
            let key = format!("{round} {number}");
            stage.engine.start_child(&top.claim, &child(&key)).await.unwrap();
        }
        let held = claim(&stage.engine, top.claim.worker, 4).await;
        let ending = futures_util::future::join_all(held.iter().take(2).map(|held| async {
            ends_somehow(&stage, held).await;
        }));
        let cancelling = async {
            stage.engine.cancel_run(top.claim.run, None, None).await.unwrap();
        };
        let one = async {
            stage.engine.cancel_run(held[3].claim.run, None, None).await.unwrap();
        };
        tokio::join!(ending, cancelling, one);
        let told: i64 = stage
            .ask("select wakes from longhaul.run where id = $1", top.claim.run)
            .await;
        let ended: i64 = stage
            .ask(
                "select count(*) from longhaul.run where parent_id = $1 and ended_at is not null",
                top.claim.run,
            )
            .await;
        // One for the cancel, and one for each child that has ended.
        assert_eq!(told, ended + 1, "round {round}");
    }
}

/// With a result, or refused since a cancel came first.
async fn ends_somehow(stage: &Stage, held: &Claimed) {
    let ending = Ending::Succeeded("1".to_owned());
    let transition = Transition {
        claim: held.claim,
        parent: held.parent,
        writes: StepWrites {
            events: vec![ending.event(held.event_seq + 1)],
            ..StepWrites::default()
        },
        then: Then::End(ending),
    };
    stage.engine.record_alone(&transition).await.unwrap();
}
