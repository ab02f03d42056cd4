use super::{Breaker, CallLimit, Mark, breaker_open};
use crate::effect::AttemptOutcome;
use crate::error::{ErrorClass, StepError};
use crate::time_limit::{self, Bound};
use serde_json::{Map, Value, json};

fn limit(key: &str) -> CallLimit {
    CallLimit {
        concurrency: Some(1),
        rate: None,
        key: Some(key.to_owned()),
    }
}

fn input(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn error(class: ErrorClass, code: &str) -> StepError {
    StepError::new(class, code, "said")
}

#[test]
fn calls_with_the_same_customer_share_a_limit() {
    let keyed = limit("{customer_id}/{region}");
    let key = |value: Value| keyed.key(&input(&value));
    assert_eq!(
        key(json!({"customer_id": 7, "region": "eu", "cents": 1})).unwrap(),
        "7/eu"
    );
    assert_eq!(key(json!({"customer_id": "7", "region": "eu"})).unwrap(), "7/eu");
    assert_ne!(key(json!({"customer_id": 8, "region": "eu"})).unwrap(), "7/eu");
    assert_eq!(key(json!({"region": "eu"})).unwrap_err(), "/customer_id: is missing");
}

#[test]
fn all_calls_share_a_limit_without_a_key() {
    let shared = CallLimit { key: None, ..limit("") };
    assert_eq!(shared.key(&input(&json!({"customer_id": 7}))).unwrap(), "");
}

#[test]
fn a_key_takes_no_secrets() {
    assert_eq!(limit("{a}-{b}").fields().unwrap(), ["a", "b"]);
    assert!(limit("{env:TOKEN}").fields().is_err());
    assert!(limit("{a").fields().is_err());
}

#[test]
fn only_failures_of_the_target_speak_against_it() {
    let not_applied = |class| {
        Mark::of(&AttemptOutcome::<()>::NotApplied {
            error: error(class, "x"),
            retry_after: None,
        })
    };
    for (class, mark) in [
        (ErrorClass::Transient, Mark::Failed),
        (ErrorClass::Overloaded, Mark::Failed),
        (ErrorClass::Timeout, Mark::Failed),
        (ErrorClass::RateLimited, Mark::RateLimited),
        (ErrorClass::Permanent, Mark::Succeeded),
        (ErrorClass::UserError, Mark::Succeeded),
        (ErrorClass::InvalidInput, Mark::Succeeded),
        (ErrorClass::Unknown, Mark::Neutral),
    ] {
        assert_eq!(not_applied(class), mark, "{class:?}");
    }
    let not_sent = |class, code: &str| Mark::of(&AttemptOutcome::<()>::NotSent(error(class, code)));
    assert_eq!(not_sent(ErrorClass::Transient, "connection_refused"), Mark::Failed);
    assert_eq!(not_sent(ErrorClass::Transient, "lease_over"), Mark::Neutral);
    assert_eq!(not_sent(ErrorClass::Permanent, "missing_secret"), Mark::Neutral);
    assert_eq!(Mark::of(&AttemptOutcome::Done(())), Mark::Succeeded);
}

#[test]
fn an_open_breaker_says_when_to_come_again() {
    let told = breaker_open("pay", Some("2026-11-20T17:00:00Z"));
    assert_eq!(
        (told.class, told.code.as_str()),
        (ErrorClass::Overloaded, "breaker_open")
    );
    assert!(told.message.contains("temporarily unavailable"), "{}", told.message);
    assert!(
        told.suggestion
            .is_some_and(|said| said.contains("after 2026-11-20T17:00:00Z"))
    );
}

#[test]
fn a_breaker_opens_after_five_failures_for_a_minute_where_nothing_is_said() {
    let usual = Breaker::default();
    assert_eq!((usual.enabled, usual.failures, usual.cooldown_seconds), (true, 5, 60));
}

#[test]
fn that_somebody_had_no_more_time_says_nothing_of_the_target() {
    for (bound, mark) in [
        (Bound::Call, Mark::Failed),
        (Bound::Idle, Mark::Failed),
        (Bound::Turn, Mark::Neutral),
        (Bound::Run, Mark::Neutral),
        (Bound::Caller, Mark::Neutral),
    ] {
        let limit = time_limit::CallLimit {
            timeout: std::time::Duration::from_secs(1),
            bound,
        };
        let error = StepError::new(ErrorClass::Timeout, "tool_timeout", "too late").limited(limit);
        let told = Mark::of(&AttemptOutcome::<()>::Ambiguous {
            error,
            retry_after: None,
        });
        assert_eq!(told, mark, "{bound:?}");
    }
}
