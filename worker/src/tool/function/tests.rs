use super::{FunctionContext, FunctionError, Functions};
use crate::tool::scene::{BRIEF, KEY, Scene};
use agent::ErrorClass;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Deserialize, JsonSchema)]
struct Refund {
    order: String,
    amount: Amount,
}

#[derive(Deserialize, JsonSchema)]
struct Amount {
    cents: u32,
}

const REFUND: &str = r#"{"order":"o-1","amount":{"cents":500}}"#;

#[tokio::test]
async fn a_function_gets_its_input_and_who_calls_under_which_key() {
    let mut functions = Functions::new();
    let seen = Arc::new(Mutex::new(None));
    let heard = Arc::clone(&seen);
    functions.register("refund", move |context: FunctionContext, input: Refund| {
        heard.lock().unwrap().replace(context);
        async move { Ok(format!("{} cents for {}", input.amount.cents, input.order)) }
    });

    let attempt = Scene::function(functions, "refund", REFUND).call().await;

    assert_eq!(attempt.evidence["function"], "refund");
    assert_eq!(attempt.done().content, "500 cents for o-1");
    let context = FunctionContext {
        key: KEY.into(),
        attempt: 2,
        run: "run-1".into(),
        step: 7,
        tenant: "acme".into(),
        requester: Some("ada".into()),
    };
    assert_eq!(seen.lock().unwrap().take(), Some(context));
}

#[tokio::test]
async fn an_output_that_is_not_text_becomes_json() {
    #[derive(Serialize)]
    struct Receipt {
        zeta: u32,
        alpha: Option<bool>,
    }
    let mut functions = Functions::new();
    functions.register("refund", |_, _: Refund| async { Ok(Receipt { zeta: 1, alpha: None }) });

    let output = Scene::function(functions, "refund", REFUND).call().await.done();

    assert_eq!(output.content, r#"{"zeta":1,"alpha":null}"#);
}

#[test]
fn the_schema_is_derived_and_inlined() {
    let mut functions = Functions::new();
    functions.register("refund", |_, _: Refund| async { Ok(()) });

    let schema = functions.schema("refund").unwrap();

    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["type"], "object");
    assert_eq!(schema["required"], json!(["order", "amount"]));
    assert_eq!(schema["properties"]["amount"]["properties"]["cents"]["type"], "integer");
    assert_eq!(schema.get("$defs"), None);
    assert_eq!(functions.schema("other"), None);
    assert_eq!(functions.names(), ["refund"]);
}

#[tokio::test]
async fn a_function_that_nobody_registered_is_not_sent_and_the_run_fails() {
    let error = Scene::function(Functions::new(), "refund", REFUND)
        .call()
        .await
        .unsent();

    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Permanent, "function_not_registered")
    );
    assert!(error.fatal);
}

#[tokio::test]
async fn an_input_of_another_shape_is_not_applied() {
    let mut functions = Functions::new();
    functions.register("refund", |_, _: Refund| async { Ok(()) });

    let (error, _) = Scene::function(functions, "refund", r#"{"order":1}"#)
        .call()
        .await
        .not_applied();

    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::InvalidInput, "invalid_input")
    );
    assert!(error.suggestion.is_some());
}

#[tokio::test]
async fn a_typed_error_is_ambiguous_unless_it_vouches_that_nothing_was_done() {
    for (told, class) in [
        (FunctionError::user_error("no such order"), ErrorClass::UserError),
        (FunctionError::permanent("the account is closed"), ErrorClass::Permanent),
        (FunctionError::transient("the ledger is busy"), ErrorClass::Transient),
    ] {
        let told = told.suggest("look again");
        let (error, _) = failing(told.clone()).call().await.ambiguous();
        assert_eq!((error.class, error.code.as_str()), (class, "function_failed"));
        assert_eq!(error.message, told.to_string());
        assert_eq!(error.suggestion.as_deref(), Some("look again"));

        let (error, _) = failing(told.not_applied()).call().await.not_applied();
        assert_eq!(error.class, class);
    }
}

#[tokio::test]
async fn a_panic_ends_the_call_and_tells_nothing_of_its_message() {
    let mut functions = Functions::new();
    functions.register("refund", |_, input: Refund| async move {
        assert!(input.order.is_empty(), "token s3cret-key");
        Ok(())
    });

    let attempt = Scene::function(functions, "refund", REFUND).call().await;

    assert!(!format!("{attempt:?}").contains("s3cret"));
    let (error, _) = attempt.ambiguous();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Permanent, "panicked"));
}

#[tokio::test]
async fn a_panic_before_the_first_await_is_caught_too() {
    let mut functions = Functions::new();
    functions.register("refund", |_, input: Refund| {
        assert!(input.order.is_empty(), "not for this");
        async { Ok(()) }
    });

    assert_eq!(
        Scene::function(functions, "refund", REFUND)
            .call()
            .await
            .ambiguous()
            .0
            .code,
        "panicked"
    );
}

#[tokio::test]
async fn a_function_past_its_time_is_dropped() {
    let held = Arc::new(());
    let inside = Arc::clone(&held);
    let mut functions = Functions::new();
    functions.register("refund", move |_, _: Refund| {
        let inside = Arc::clone(&inside);
        async move {
            std::future::pending::<()>().await;
            drop(inside);
            Ok(())
        }
    });
    let scene = Scene::function(functions, "refund", REFUND).within(BRIEF);

    let (error, _) = scene.call().await.ambiguous();

    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Timeout, "tool_timeout")
    );
    assert_eq!(Arc::strong_count(&held), 2, "the test's and the registered closure's");
}

#[tokio::test]
async fn work_that_is_always_ready_does_not_outrun_its_time() {
    let mut functions = Functions::new();
    functions.register("refund", |_, _: Refund| async {
        loop {
            tokio::task::coop::consume_budget().await;
        }
        #[expect(unreachable_code, reason = "gives the output its type")]
        Ok(())
    });

    let attempt = Scene::function(functions, "refund", REFUND).within(BRIEF).call().await;

    assert_eq!(attempt.ambiguous().0.code, "tool_timeout");
}

#[tokio::test]
async fn an_output_that_cannot_be_written_is_ambiguous() {
    struct Broken;
    impl Serialize for Broken {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("broken"))
        }
    }
    let mut functions = Functions::new();
    functions.register("refund", |_, _: Refund| async { Ok(Broken) });

    let (error, _) = Scene::function(functions, "refund", REFUND).call().await.ambiguous();

    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Permanent, "output_unreadable")
    );
}

fn failing(told: FunctionError) -> Scene {
    let mut functions = Functions::new();
    functions.register("refund", move |_, _: Refund| {
        let told = told.clone();
        async move { Err::<(), _>(told) }
    });
    Scene::function(functions, "refund", REFUND)
}

#[tokio::test]
async fn a_function_hands_on_the_pause_that_its_target_asked_for() {
    let limited = FunctionError::rate_limited("slow down")
        .retry_after(Duration::from_secs(7))
        .not_applied();

    let (error, pause) = failing(limited).call().await.not_applied();

    assert_eq!(
        (error.class, error.code.as_str(), pause),
        (ErrorClass::RateLimited, "function_failed", Some(Duration::from_secs(7)))
    );
    let (error, pause) = failing(FunctionError::overloaded("full")).call().await.ambiguous();
    assert_eq!((error.class, pause), (ErrorClass::Overloaded, None));
}
