//! `longhaul run signal`, and what `longhaul run show` says of signals and children.

use crate::stage::Stage;
use crate::waiting::{child_of, parked_for, takes};
use engine::RunId;
use longhaul_tests::dev_process::Desk;
use serde_json::{Value, json};
use std::fs::{self, File};

/// A desk whose commands find the stage's database.
fn beside(stage: &Stage) -> Desk {
    let desk = Desk::new();
    let settings = format!("database_url = {:?}\n", stage.database.url);
    fs::write(desk.path().join("longhaul.toml"), settings).expect("it is written");
    desk
}

/// What the run was told: name, payload and sender of each signal.
async fn told(stage: &Stage, run: RunId) -> Value {
    stage
        .ask(
            "select coalesce(jsonb_agg(jsonb_build_array(name, payload, sender) order by at, id), '[]')
             from longhaul_audit.signal where run_id = $1",
            run,
        )
        .await
}

#[tokio::test]
async fn a_signal_is_sent_once_per_id_and_shown_with_the_step_that_took_it() {
    let stage = Stage::new().await;
    let desk = beside(&stage);
    let run = parked_for(&stage, "approved").await;
    let id = run.to_string();
    let shown = desk.said(&["run", "show", &id]);
    for part in [
        "waiting for the signal approved\n",
        &format!(" run signal {run} approved PAYLOAD "),
    ] {
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }

    let send = [
        "run",
        "signal",
        &id,
        "approved",
        r#"{"by":"Ada"}"#,
        "--id",
        "approval-17",
        "--by",
        "me",
    ];
    let first = desk.run(&send);
    let again = desk.run(&send);
    let json: Value = serde_json::from_str(&desk.said(&[&send[..], &["--json"]].concat())).expect("JSON");

    assert_eq!(
        (first.stdout.as_slice(), first.stderr.as_slice()),
        (&b"approval-17\n"[..], &b""[..])
    );
    assert_eq!(again.stdout, first.stdout);
    assert_eq!(
        String::from_utf8_lossy(&again.stderr),
        "this signal had been sent before\n"
    );
    assert_eq!(json, json!({"run_id": run, "id": "approval-17", "created": false}));
    assert_eq!(told(&stage, run).await, json!([["approved", {"by": "Ada"}, "me"]]));

    takes(&stage, run).await;
    let shown = desk.said(&["run", "show", &id]);
    let row = shown
        .lines()
        .find(|line| line.contains("approval-17"))
        .expect("the signal is shown");
    let cells: Vec<&str> = row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert_eq!(
        (&cells[..3], &cells[4..]),
        (
            &["approved", "approval-17", "me"][..],
            &["step 1", r#"{"by":"Ada"}"#][..]
        )
    );
    let all: Value = serde_json::from_str(&desk.said(&["run", "show", &id, "--json"])).expect("JSON");
    assert_eq!(all["signals"][0]["taken_by"], 1);
}

#[tokio::test]
async fn a_payload_is_json_or_a_text_or_stands_in_a_file_or_on_standard_input_and_anything_else_is_refused() {
    let stage = Stage::new().await;
    let desk = beside(&stage);
    let run = stage.start().await;
    let id = run.to_string();
    fs::write(desk.path().join("payload.json"), "[1]").expect("it is written");
    let signal = |more: &[&str]| {
        let mut command = desk.command(&[&["run", "signal", id.as_str(), "go"], more].concat());
        let stdin = File::open(desk.path().join("payload.json")).expect("a file");
        let output = command.stdin(stdin).output().expect("longhaul runs");
        assert!(
            output.status.success(),
            "{more:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    };

    for more in [&["--by", "1"][..], &["2", "--by", "2"], &["--text", "2", "--by", "3"]] {
        signal(more);
    }
    for more in [
        &["--file", "payload.json", "--by", "4"][..],
        &["-", "--by", "5"],
        &["--file", "-", "--by", "6"],
    ] {
        signal(more);
    }

    let expected = [json!(null), json!(2), json!("2"), json!([1]), json!([1]), json!([1])];
    let expected: Vec<Value> = (1..)
        .zip(expected)
        .map(|(by, payload)| json!(["go", payload, by.to_string()]))
        .collect();
    assert_eq!(told(&stage, run).await, json!(expected));

    // What cannot be sent is refused with its code.
    desk.said(&["run", "signal", &id, "go", "--id", "a"]);
    let long = "x".repeat(256);
    let refusals: [(&[&str], &str, i32); 7] = [
        (&[&id], "usage", 2),
        (&[&id, "go", "1", "--text", "one"], "usage", 2),
        (&[&id, "go", "nonsense"], "invalid_payload", 2),
        (&[&id, &long], "invalid_signal", 2),
        (&[&id, "go", "--file", "nowhere"], "unreadable_file", 2),
        (&[&id, "go", "1", "--id", "a"], "signal_id_reused", 3),
        (&["019a2f3c-5d5e-7000-8f65-0a8c3e1b2d4f", "go"], "no_such_run", 3),
    ];
    for (words, expected, exit) in refusals {
        let (error, code) = desk.refused(&[&["run", "signal"], words].concat());
        assert_eq!(
            (error["code"].as_str(), code),
            (Some(expected), Some(exit)),
            "{words:?}: {error}"
        );
    }
    desk.said(&["run", "cancel", &id]);
    let (error, code) = desk.refused(&["run", "signal", &id, "go"]);
    assert_eq!((error["code"].as_str(), code), (Some("run_has_ended"), Some(3)));
}

#[tokio::test]
async fn parents_and_children_are_shown_and_spared_where_asked_for() {
    let stage = Stage::new().await;
    let desk = beside(&stage);
    let (parent, [child, abandoned]) = child_of(&stage).await;

    let shown = desk.said(&["run", "show", &parent.to_string()]);
    let (_, children) = shown.split_once("\nChildren\n").expect("it shows children");
    assert!(
        children.contains(&child.to_string()) && children.contains(&abandoned.to_string()),
        "{shown}"
    );
    let shown = desk.said(&["run", "show", &child.to_string()]);
    assert!(
        shown.contains(&format!("  parent     {parent}, ends with it\n")),
        "{shown}"
    );
    let shown = desk.said(&["run", "show", &abandoned.to_string()]);
    assert!(
        shown.contains(&format!("  parent     {parent}, goes on when that ends\n")),
        "{shown}"
    );
    let all: Value = serde_json::from_str(&desk.said(&["run", "show", &parent.to_string(), "--json"])).expect("JSON");
    assert_eq!(all["children"][0]["id"], json!(child));

    desk.said(&["run", "cancel", &parent.to_string(), "--spare-children"]);
    assert_eq!(stage.state(child).await, "queued");
    let (parent, [child, _]) = child_of(&stage).await;
    desk.said(&["run", "cancel", &parent.to_string()]);
    assert_eq!(stage.state(child).await, "cancelled");
}
