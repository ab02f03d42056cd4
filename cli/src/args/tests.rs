use super::run::label;
use super::*;
use clap::CommandFactory;
use std::time::Duration;

fn worker(arguments: &[&str]) -> Result<Worker, clap::Error> {
    let typed = ["longhaul", "worker"].iter().chain(arguments);
    let Command::Worker(worker) = Cli::try_parse_from(typed)?.command else {
        panic!("not a worker");
    };
    Ok(worker)
}

#[test]
fn the_definition_of_the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn a_lease_may_be_given_in_fractions_of_a_second() {
    let worker = worker(&["--lease-seconds", "0.75"]).unwrap();
    assert_eq!(worker.lease, Duration::from_millis(750));
}

#[test]
fn durations_that_are_none_are_refused() {
    for text in ["-1", "nan", "inf", "1e30", "soon", ""] {
        assert!(worker(&[&format!("--lease-seconds={text}")]).is_err(), "{text:?}");
    }
}

#[test]
fn a_worker_without_room_is_refused() {
    assert!(worker(&["--runs-max", "0"]).is_err());
}

#[test]
fn several_queues_replace_the_usual_one() {
    assert_eq!(worker(&["--queue", "a", "--queue", "b"]).unwrap().queues, ["a", "b"]);
    assert_eq!(worker(&[]).unwrap().queues, ["default"]);
}

#[test]
fn a_part_of_a_run_id_is_refused_with_what_is_expected() {
    let told = Cli::try_parse_from(["longhaul", "run", "show", "019a2f3c"]).unwrap_err();
    assert!(told.to_string().contains("expected a run's whole id"), "{told}");
}

#[test]
fn a_label_keeps_every_equals_sign_but_its_first() {
    assert_eq!(label("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
    assert_eq!(label("a="), Ok(("a".to_owned(), String::new())));
    assert!(label("=b").is_err());
    assert!(label("b").is_err());
}

#[test]
fn a_run_has_one_input() {
    let two = ["longhaul", "run", "start", "a", "--input", "1", "--input-text", "one"];
    assert!(Cli::try_parse_from(two).is_err());
}
