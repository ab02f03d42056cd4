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
    let first = desk.run(&start);
    let ids = String::from_utf8_lossy(&first.stdout).into_owned();
    assert_eq!(ids.lines().count(), 300, "{ids}");
    assert_eq!(String::from_utf8_lossy(&first.stderr), "300 runs started\n");
    let again = desk.run(&start);
    assert_eq!(String::from_utf8_lossy(&again.stdout), ids);
    let told = String::from_utf8_lossy(&again.stderr);
    assert_eq!(told, "0 runs started, 300 had been started before\n");

    let list: Value = serde_json::from_str(&desk.said(&["run", "list", "--json"])).expect("JSON");
    let run = list["runs"][0]["id"].as_str().expect("an id");
    let shown = desk.said(&["run", "show", run]);
    assert!(shown.contains("no live worker takes from queue \"nobody\""), "{shown}");

    // A mistake on any line starts nothing; a refusal of the database stops at its batch.
    let stranger = "{\"agent\":\"nobody\",\"key\":\"\"}\n";
    fs::write(desk.path().join("runs.jsonl"), format!("{}{stranger}no\n", line(1000))).expect("it is written");
    let (error, code) = desk.refused(&start);
    assert_eq!((error["code"].as_str(), code), (Some("invalid_runs_file"), Some(2)));
    let mistakes = error["mistakes"].as_array().expect("mistakes").iter();
    let at: Vec<Option<u64>> = mistakes.map(|mistake| mistake["line"].as_u64()).collect();
    assert_eq!(at, [Some(2), Some(2), Some(3)], "{error}");
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

#[test]
fn what_somebody_edited_is_kept_and_a_closed_terminal_stops_dev_in_good_order() {
    let desk = Desk::new();
    let mut dev = desk.dev(&[]);
    let pid = i32::try_from(dev.pid()).expect("a process number");
    kill(Pid::from_raw(pid), Signal::SIGHUP).expect("the signal is sent");
    assert_eq!(dev.ended().code(), Some(0), "{}", dev.log());

    let file = desk.path().join(".longhaul/examples/refund-desk/agent.toml");
    let edited = format!("{}# mine\n", fs::read_to_string(&file).expect("the example"));
    fs::write(&file, &edited).expect("it is written");
    let mut dev = desk.dev(&[]);
    assert_eq!(dev.stop().code(), Some(0), "{}", dev.log());
    assert_eq!(fs::read_to_string(&file).expect("the example"), edited);
}

#[test]
fn a_damaged_state_folder_is_refused_in_one_line_with_its_code() {
    let desk = Desk::new();
    let mut dev = desk.dev(&[]);
    dev.stop();
    let folder = desk.path().join(".longhaul");
    let dev = ["dev", "--listen", "127.0.0.1:0"];
    let refused = |expected: &str| {
        let (error, code) = desk.refused(&dev);
        assert_eq!((error["code"].as_str(), code), (Some(expected), Some(1)), "{error}");
        assert_eq!(
            error["message"].as_str().unwrap_or_default().lines().count(),
            1,
            "{error}"
        );
    };

    let password = folder.join("postgres/password");
    let kept = fs::read(&password).expect("a password");
    fs::write(&password, "another").expect("it is written");
    refused("state_folder_damaged");
    fs::write(&password, kept).expect("it is written");

    let lock = folder.join("postgres/data/postmaster.pid");
    fs::write(&lock, "garbage\n").expect("it is written");
    refused("state_folder_damaged");
    fs::remove_file(&lock).expect("it is removed");

    fs::remove_file(folder.join("postgres/data/global/pg_control")).expect("it is removed");
    refused("state_folder_damaged");

    fs::remove_dir_all(folder.join("postgres/data")).expect("it is removed");
    fs::remove_file(folder.join("lock")).expect("it is removed");
    fs::create_dir(folder.join("lock")).expect("it is made");
    refused("state_folder_unusable");
    fs::remove_dir(folder.join("lock")).expect("it is removed");
}
