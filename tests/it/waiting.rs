//! Runs that wait for signals and have children, made by hand, for tests of the doors.

use crate::stage::{AGENT, Stage, call, change, claim, fact};
use engine::{OnParentEnd, Park, Place, Recorded, RunId, StartChild, StepBegin, StepChange, StepWrites};
use serde_json::json;

/// A run that is parked for a signal of that name, by its step 1.
pub(crate) async fn parked_for(stage: &Stage, name: &str) -> RunId {
    let held = stage.claimed().await;
    let begun = held.event_seq + 1;
    let writes = StepWrites {
        begun: vec![StepBegin {
            place: Place::Identity(format!("{name}#1")),
            kind: "signal",
            name: name.to_owned(),
            call_id: None,
            state: "waiting",
            ..call(1, "read_only")
        }],
        events: vec![fact(begun, "step.started", 1)],
        ..StepWrites::default()
    };
    let written = stage.engine.record(&held.claim, &writes).await.expect("it is written");
    assert!(matches!(written, Recorded::Now(_)), "{written:?}");
    let park = Park {
        event_seq: begun,
        wakes: held.wakes,
        waiting_for: "signal",
        reason: "signal",
        until: None,
        detail: None,
    };
    let parked = stage.engine.park_run(&held.claim, &park).await.expect("it is parked");
    assert!(parked.is_some(), "nothing came in between");
    held.claim.run
}

/// A worker takes the run up, and its step 1 the newest signal.
pub(crate) async fn takes(stage: &Stage, run: RunId) {
    let worker = stage.worker().await;
    let held = claim(&stage.engine, worker, 1).await.pop().expect("it is due");
    assert_eq!(held.claim.run, run);
    let wake: i64 = stage
        .ask("select max(wake) from longhaul.signal where run_id = $1", run)
        .await;
    let writes = StepWrites {
        changed: vec![StepChange {
            result: Some(json!({"wake": wake, "payload": null}).to_string()),
            ..change(1, "succeeded")
        }],
        events: vec![fact(held.event_seq + 1, "step.succeeded", 1)],
        has_result: true,
        ..StepWrites::default()
    };
    let written = stage.engine.record(&held.claim, &writes).await.expect("it is written");
    assert!(matches!(written, Recorded::Now(_)), "{written:?}");
}

/// A run that a worker holds, and two children: one that ends with it, and one that goes on.
pub(crate) async fn child_of(stage: &Stage) -> (RunId, [RunId; 2]) {
    let held = stage.claimed().await;
    let start = async |key: &str, on_parent_end| {
        let child = StartChild {
            key: format!("{}-{key}", held.claim.run),
            kind: "agent".to_owned(),
            agent: Some(AGENT.to_owned()),
            input: "{}".to_owned(),
            queue: Some("nobody takes from here".to_owned()),
            priority: None,
            labels: [].into(),
            on_parent_end,
        };
        stage.engine.start_child(&held.claim, &child).await.expect("it starts")
    };
    let children = [
        start("a", OnParentEnd::Cancel).await,
        start("b", OnParentEnd::Abandon).await,
    ];
    (held.claim.run, children)
}
