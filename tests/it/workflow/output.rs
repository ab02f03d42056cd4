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
                    serde_json::to_value(unwritable()).map_err(|error| FunctionError::permanent(error.to_string()))
                })
                .read_only()
                .await?;
            Ok::<_, WorkflowError>(written)
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
        ("unwritable-step", "step_failed"),
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
