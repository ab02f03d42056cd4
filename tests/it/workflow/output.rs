//! Workflows whose outputs cannot be kept.

use super::{start, world};
use serde_json::{Value, json};
use std::collections::HashMap;
use worker::{Builder, Context, FunctionError, StepCall, WorkflowError};

const MIB: usize = 1024 * 1024;

/// No JSON object has such keys.
fn unwritable() -> HashMap<Vec<u8>, u8> {
    HashMap::from([(vec![1], 1)])
}

/// Serialising it fails, and so does reading it.
#[derive(Debug)]
struct Unwritable;

impl serde::Serialize for Unwritable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it has no words"))
    }
}

impl<'de> serde::Deserialize<'de> for Unwritable {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("it has no words"))
    }
}

/// Deeper than any payload may be.
fn deep() -> Value {
    (0..200).fold(json!(1), |inner, _| json!([inner]))
}

fn careless(builder: Builder) -> Builder {
    builder
        .workflow("large", |_: Context, _: Value| async {
            Ok::<_, WorkflowError>("x".repeat(MIB))
        })
        .workflow("unwritable", |_: Context, _: Value| async {
            Ok::<_, WorkflowError>(unwritable())
        })
        .workflow("large-step", |ctx: Context, _: Value| async move {
            ctx.step("write", (), |_: StepCall, ()| async { Ok("x".repeat(MIB)) })
                .read_only()
                .await
                .map_err(WorkflowError::from)
        })
        .workflow("unwritable-step", |ctx: Context, _: Value| async move {
            let written = ctx
                .step("write", (), |_: StepCall, ()| async {
                    Ok::<_, FunctionError>(Unwritable)
                })
                .read_only()
                .await?;
            Ok::<_, WorkflowError>(written)
        })
        .workflow("deep-step", |ctx: Context, _: Value| async move {
            ctx.step("write", (), |_: StepCall, ()| async { Ok(deep()) })
                .read_only()
                .await
                .map_err(WorkflowError::from)
        })
        .workflow("done", |ctx: Context, what: Value| async move {
            let (how, effect) = (what["how"].as_i64(), what["effect"] == "idempotent");
            let step = ctx.step("write", how, |_: StepCall, how: Option<i64>| async move {
                match how {
                    Some(0) => serde_json::to_value("x".repeat(MIB))
                        .map_err(|error| FunctionError::permanent(error.to_string())),
                    _ => Ok(deep()),
                }
            });
            let written = match effect {
                true => step.idempotent().await,
                false => step.await,
            };
            written.map_err(WorkflowError::from)
        })
        .workflow("unwritable-input", |ctx: Context, _: Value| async move {
            ctx.step("write", unwritable(), |_: StepCall, _| async { Ok(()) })
                .await
                .map_err(WorkflowError::from)
        })
        .workflow("wordy", |_: Context, _: Value| async {
            Err::<(), _>(WorkflowError::new("too_much", format!("a\0b{}", "x".repeat(MIB))))
        })
        .workflow("sound", |_: Context, _: Value| async { Ok::<_, WorkflowError>(1) })
}

#[tokio::test]
async fn an_output_that_cannot_be_kept_fails_its_run_with_a_code_and_the_worker_goes_on() {
    let world = world().await;
    let worker = world.worker_with(world.config("worker A"), careless);
    for (kind, code) in [
        ("large", "result_too_large"),
        ("unwritable", "output_unreadable"),
        ("large-step", "result_too_large"),
        ("unwritable-step", "output_unreadable"),
        ("deep-step", "result_too_deep"),
        ("unwritable-input", "input_unreadable"),
    ] {
        let run = start(&world, kind).await;
        let failed = world.settled(run).await;
        let error: Value = serde_json::from_str(failed.error.as_deref().expect(kind)).unwrap();
        assert_eq!(
            (failed.state.as_str(), &error["code"]),
            ("failed", &json!(code)),
            "{kind}: {error}"
        );
        world.events(run).await;
    }
    let run = start(&world, "wordy").await;
    let failed = world.settled(run).await;
    let error: Value = serde_json::from_str(failed.error.as_deref().expect("it failed")).unwrap();
    let message = error["message"].as_str().expect("a message");
    assert!(
        message.len() <= 4096 && !message.contains('\0'),
        "{} bytes",
        message.len()
    );
    let run = start(&world, "sound").await;
    assert_eq!(world.settled(run).await.state, "succeeded");
    worker.drain().await;
}

#[tokio::test]
async fn a_step_that_was_carried_out_and_whose_result_cannot_be_kept_is_not_carried_out_again() {
    let world = world().await;
    let worker = world.worker_with(world.config("worker A"), careless);
    for effect in ["at_most_once", "idempotent"] {
        for (how, why) in [(0, "bytes"), (1, "deeper than")] {
            let start = engine::StartRun::workflow("done", json!({"how": how, "effect": effect}).to_string());
            let run = world.engine.start_run(&start).await.expect("it starts").run;
            let parked = world.settled(run).await;
            assert_eq!(
                parked.waiting_for.as_deref(),
                Some("approval"),
                "{effect}: {:?}",
                parked.error
            );
            let asked = "select to_jsonb(approval) from longhaul_audit.approval where run_id = $1";
            let asked = world.sql(asked, run).await;
            assert_eq!(asked["verbs"], json!(["happened", "give_up"]), "{effect}");
            let summary = asked["summary"].as_str().expect("a sentence");
            assert!(
                summary.contains("of write, was carried out, but") && summary.contains(why),
                "{summary}"
            );
        }
    }
    worker.drain().await;
}
