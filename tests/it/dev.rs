//! `longhaul dev`, as people start it: it works at once, ends without a trace, and finds everything again.

use longhaul_tests::database::TestDatabase;
use longhaul_tests::dev_process::{Desk, gone, is_alive};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use std::fs;
use std::os::unix::process::ExitStatusExt;

const INPUT: &str = r#"{"order_id":"ORD-1007","reason":"arrived broken"}"#;

#[test]
fn dev_runs_its_example_ends_without_a_trace_and_finds_the_run_again() {
    let desk = Desk::new();
    let mut dev = desk.dev(&[]);
    let postgres = desk.postgres();
    let told = desk.said(&["run", "start", "refund-desk", "--input", INPUT, "--watch"]);
    assert!(told.contains("Order ORD-1007 is refunded"), "{told}");
    let run = told.lines().next().unwrap_or_default();

    // One folder, one dev; one port, one server.
    let (error, code) = desk.refused(&["dev", "--listen", "127.0.0.1:0"]);
    assert_eq!((error["code"].as_str(), code), (Some("state_folder_in_use"), Some(3)));
    let holder = format!("process {}", dev.pid());
    assert!(
        error["message"].as_str().unwrap_or_default().contains(&holder),
        "{error}"
    );
    let taken = dev.ready["api"].as_str().unwrap_or_default().replace("http://", "");
    let (error, code) = desk.refused(&["dev", "--state", "another", "--listen", &taken]);
    assert_eq!((error["code"].as_str(), code), (Some("cannot_listen"), Some(1)));
    assert!(!desk.path().join("another").exists(), "nothing is made for nothing");

    assert_eq!(dev.stop().code(), Some(0), "{}", dev.log());
    assert!(!is_alive(postgres), "Postgres ends before dev does");
    let (error, _) = desk.refused(&["run", "list"]);
    assert_eq!(error["code"], "no_database");

    let (token, url) = (dev.ready["token"].clone(), dev.ready["database_url"].clone());
    let mut again = desk.dev(&[]);
    assert_eq!((&again.ready["token"], &again.ready["database_url"]), (&token, &url));
    let shown = desk.said(&["run", "show", run]);
    assert!(shown.contains("succeeded"), "{shown}");
    assert_eq!(again.stop().code(), Some(0), "{}", again.log());
}

#[test]
fn a_killed_dev_leaves_no_postgres_and_the_next_one_goes_on() {
    let desk = Desk::new();
    let mut dev = desk.dev(&[]);
    let run = desk.said(&["run", "start", "refund-desk", "--input", INPUT]);
    let postgres = desk.postgres();
    dev.kill_9();
    gone(postgres);

    // Whether the run was taken up or not: what the killed one held is taken over.
    let mut next = desk.dev(&[]);
    let watched = desk.said(&["run", "watch", run.trim()]);
    assert!(watched.contains("Order ORD-1007 is refunded"), "{watched}");

    // And when its Postgres is killed, it says so and ends.
    kill(Pid::from_raw(desk.postgres()), Signal::SIGKILL).expect("it is killed");
    let status = next.ended();
    assert_eq!(status.signal(), None);
    assert_eq!(status.code(), Some(4), "{}", next.log());
    assert!(next.log().contains("postgres_died"), "{}", next.log());
}

#[tokio::test]
async fn a_state_folder_of_another_release_is_refused_with_what_to_do() {
    let desk = Desk::new();
    let mut dev = desk.dev(&[]);
    let url = dev.ready["database_url"].as_str().unwrap_or_default().to_owned();
    let mut database = PgConnection::connect(&url).await.expect("its database answers");
    sqlx::query("update longhaul.migration set checksum = 'another' where version = 2")
        .execute(&mut database)
        .await
        .expect("the migration is another's");
    database.close().await.expect("the connection closes");
    dev.stop();
    let (error, code) = desk.refused(&["dev", "--listen", "127.0.0.1:0"]);
    assert_eq!((error["code"].as_str(), code), (Some("unknown_schema"), Some(5)));
    assert!(
        error["message"]
            .as_str()
            .unwrap_or_default()
            .contains("another release"),
        "{error}"
    );
    assert!(error["hint"].is_string(), "{error}");

    fs::write(desk.path().join(".longhaul/postgres/data/PG_VERSION"), "9.6\n").expect("it is written");
    let (error, code) = desk.refused(&["dev", "--listen", "127.0.0.1:0"]);
    assert_eq!((error["code"].as_str(), code), (Some("other_postgres"), Some(5)));
    assert!(
        error["message"].as_str().unwrap_or_default().contains("PostgreSQL 9.6"),
        "{error}"
    );
}

#[tokio::test]
async fn dev_on_a_database_of_somebodys_own_starts_no_server() {
    let database = TestDatabase::empty().await;
    let desk = Desk::new();
    let mut dev = desk.dev(&["--database-url", &database.url]);
    let found: Value = serde_json::from_str(&desk.said(&["config", "--json"])).expect("JSON");
    assert_eq!(found["settings"][0]["source"], "dev");
    let told = desk.said(&["run", "start", "refund-desk", "--input", INPUT, "--watch"]);
    assert!(told.contains("Order ORD-1007 is refunded"), "{told}");
    assert!(!desk.path().join(".longhaul/postgres").exists());
    assert_eq!(dev.stop().code(), Some(0), "{}", dev.log());
}

#[test]
fn a_file_of_runs_is_started_once_however_often_it_is_given() {
    let desk = Desk::new();
    let mut dev = desk.dev(&[]);
    let line = |number: u32| format!("{{\"key\":\"k-{number}\",\"input\":{number},\"queue\":\"nobody\"}}\n");
    let lines: String = (0..300).map(line).collect();
    fs::write(desk.path().join("runs.jsonl"), &lines).expect("it is written");
    let start = ["run", "start", "refund-desk", "--file", "runs.jsonl"];
    assert_eq!(desk.said(&start), "300 runs started\n");
    assert_eq!(desk.said(&start), "0 runs started, 300 had been started before\n");

    let list: Value = serde_json::from_str(&desk.said(&["run", "list", "--json"])).expect("JSON");
    let run = list["runs"][0]["id"].as_str().expect("an id");
    let shown = desk.said(&["run", "show", run]);
    assert!(shown.contains("no live worker takes from queue \"nobody\""), "{shown}");

    // A mistake on any line starts nothing; a refusal of the database stops at its batch.
    fs::write(desk.path().join("runs.jsonl"), format!("{}{{}}\nno\n", line(1000))).expect("it is written");
    let (error, code) = desk.refused(&start);
    assert_eq!((error["code"].as_str(), code), (Some("invalid_runs_file"), Some(2)));
    assert_eq!(error["mistakes"][0]["line"], 3);
    let changed = lines.replace("\"input\":270,", "\"input\":\"other\",");
    fs::write(desk.path().join("runs.jsonl"), changed).expect("it is written");
    let (error, code) = desk.refused(&start);
    assert_eq!((error["code"].as_str(), code), (Some("key_reused"), Some(3)));
    assert!(
        error["message"].as_str().unwrap_or_default().contains("line 271"),
        "{error}"
    );
    dev.stop();
}
