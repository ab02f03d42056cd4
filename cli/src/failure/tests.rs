use super::*;
use engine::EngineError;

fn refused(status: u16) -> EngineError {
    EngineError::Refused {
        status,
        code: "a_code".to_owned(),
        message: "a sentence".to_owned(),
        hint: Some("a hint".to_owned()),
    }
}

#[test]
fn a_refusal_of_the_state_of_things_is_told_from_bad_input() {
    assert_eq!(of_engine(&refused(404)).exit, Exit::Refused);
    assert_eq!(of_engine(&refused(409)).exit, Exit::Refused);
    assert_eq!(of_engine(&refused(413)).exit, Exit::Usage);
    assert_eq!(of_engine(&refused(422)).exit, Exit::Usage);
}

#[test]
fn a_refusal_keeps_its_code_sentence_and_hint() {
    let failure = of_engine(&refused(404));
    assert_eq!(
        failure.as_json(),
        json!({"error": {"code": "a_code", "message": "a sentence", "hint": "a hint"}})
    );
}

#[test]
fn a_schema_that_is_not_known_has_an_exit_code_of_its_own() {
    let failure = of_engine(&EngineError::Schema("run this".to_owned()));
    assert_eq!((failure.exit.code(), failure.message.as_str()), (5, "run this"));
}

#[test]
fn an_address_that_cannot_be_read_is_bad_input() {
    assert_eq!(of_engine(&EngineError::InvalidUrl).exit, Exit::Usage);
}

#[test]
fn the_documented_exit_codes_are_the_ones_given() {
    let all = [
        Exit::Ok,
        Exit::Failed,
        Exit::Usage,
        Exit::Refused,
        Exit::Unreachable,
        Exit::Schema,
    ];
    assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn an_error_inside_an_error_of_a_worker_keeps_its_meaning() {
    let error = anyhow::Error::from(WorkerError::Engine(refused(404)));
    assert_eq!(classify(&error).exit, Exit::Refused);
}

#[test]
fn an_error_of_nobody_in_particular_tells_its_whole_chain() {
    let error = anyhow::anyhow!("the cause").context("what was tried");
    let failure = classify(&error);
    assert_eq!(
        (failure.exit, failure.message.as_str()),
        (Exit::Failed, "what was tried: the cause")
    );
}

#[test]
fn details_for_programs_stand_beside_the_code() {
    let failure = Failure::usage("a_code", "a sentence").details("mistakes", json!([1]));
    assert_eq!(failure.as_json()["error"]["mistakes"], json!([1]));
}

#[test]
fn a_machine_without_postgres_is_told_the_ways_to_get_one() {
    let failure = classify(&anyhow::Error::from(LauncherError::NotFound));
    assert_eq!((failure.exit, failure.code.as_str()), (Exit::Failed, "no_postgres"));
    assert!(
        failure.message.contains("apt-get install postgresql"),
        "{}",
        failure.message
    );
}
