use super::doors::{Request, of_command, of_response};
use super::{any_door, next_door};
use crate::plan::Kind;
use crate::record::{Decision, Door, Outcome};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Output};

fn start() -> Request {
    Request::Start {
        key: "storm-1-1".to_owned(),
        kind: Kind::Agent,
        input: "{}".to_owned(),
    }
}

fn ended(code: i32, stdout: &str, stderr: &str) -> Output {
    Output {
        status: ExitStatus::from_raw(code << 8),
        stdout: stdout.into(),
        stderr: stderr.into(),
    }
}

#[test]
fn a_good_answer_counts_only_with_the_runs_id() {
    let run = r#"{"id":"a-run","created":true}"#;
    assert_eq!(
        of_response(&start(), 201, run),
        Outcome::Acknowledged("a-run".to_owned())
    );
    assert_eq!(
        of_response(&start(), 200, run),
        Outcome::Acknowledged("a-run".to_owned())
    );
    assert!(matches!(
        of_response(&start(), 201, r#"{"id":"a-"#),
        Outcome::Indeterminate(_)
    ));
}

#[test]
fn a_signals_answer_counts_only_with_its_own_id() {
    let signal = Request::Signal {
        run: "a-run".to_owned(),
        id: "a-signal".to_owned(),
        place: 0,
    };
    let told = |id| of_response(&signal, 201, &format!(r#"{{"id":"{id}","created":true}}"#));
    assert_eq!(told("a-signal"), Outcome::Acknowledged("a-run".to_owned()));
    assert!(matches!(told("another"), Outcome::Indeterminate(_)));
}

#[test]
fn only_a_refusal_is_final() {
    let problem = r#"{"code":"run_has_ended"}"#;
    assert_eq!(
        of_response(&start(), 409, problem),
        Outcome::Refused("run_has_ended".to_owned())
    );
    assert!(matches!(of_response(&start(), 503, problem), Outcome::Indeterminate(_)));
    assert!(matches!(of_response(&start(), 408, problem), Outcome::Indeterminate(_)));
}

#[test]
fn a_command_is_read_by_its_exit_code() {
    let done = ended(0, r#"{"run_id":"a-run","created":false}"#, "");
    assert_eq!(of_command(&start(), &done), Outcome::Acknowledged("a-run".to_owned()));
    let refused = ended(3, "", r#"{"error":{"code":"run_has_ended"}}"#);
    let cancel = Request::Cancel("a-run".to_owned());
    assert_eq!(
        of_command(&cancel, &refused),
        Outcome::Refused("run_has_ended".to_owned())
    );
    let done = ended(0, "", "");
    assert_eq!(of_command(&cancel, &done), Outcome::Acknowledged("a-run".to_owned()));
    for code in [1, 4, 5] {
        let away = ended(code, "", r#"{"error":{"code":"database_unavailable"}}"#);
        assert!(matches!(of_command(&start(), &away), Outcome::Indeterminate(_)));
    }
}

#[test]
fn asking_again_tries_other_doors_and_the_same() {
    let mut random = fastrand::Rng::with_seed(7);
    let doors: Vec<Door> = (0..60).map(|_| next_door(Door::Sql, &mut random)).collect();
    for door in [Door::Http, Door::CommandLine, Door::Sql] {
        assert!(doors.contains(&door), "{door:?} is never tried");
        assert!((0..60).any(|_| any_door(&mut random) == door));
    }
}

#[test]
fn a_decision_is_known_by_its_status_and_a_refused_one_by_its_code() {
    let decision = Request::Decide {
        run: "a-run".to_owned(),
        decision: Decision {
            approval: "an-approval".to_owned(),
            verb: "happened".to_owned(),
        },
        result: Some("1".to_owned()),
    };
    let told = |status, body| of_response(&decision, status, body);
    assert_eq!(
        told(200, r#"{"state":"queued"}"#),
        Outcome::Acknowledged("a-run".to_owned())
    );
    let refused = told(409, r#"{"code":"too_early"}"#);
    assert_eq!(refused, Outcome::Refused("too_early".to_owned()));
    assert!(matches!(told(503, ""), Outcome::Indeterminate(_)));
}
