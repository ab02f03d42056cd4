//! `longhaul inbox …`, and what `longhaul run show` says of what is asked.

use crate::asked::{doubtful, inbox};
use crate::driving::{request, results};
use longhaul_tests::dev_process::Desk;
use longhaul_tests::world::World;
use serde_json::{Value, json};
use std::fs::{self, File};

/// A desk whose commands find the world's database.
fn beside(world: &World) -> Desk {
    let desk = Desk::new();
    let settings = format!("database_url = {:?}\n", world.database.url);
    fs::write(desk.path().join("longhaul.toml"), settings).expect("it is written");
    desk
}

fn json_of(desk: &Desk, words: &[&str]) -> Value {
    serde_json::from_str(&desk.said(&[words, &["--json"]].concat())).expect("JSON")
}

#[tokio::test]
async fn what_is_asked_is_listed_shown_whole_and_decided_once() {
    let (world, run, worker) = doubtful(1, 1).await;
    let desk = beside(&world);
    let id = inbox(&world, run).await[0].id.to_string();

    let listed = desk.said(&["inbox", "list"]);
    let row = listed.lines().nth(1).expect("a row");
    assert!(
        row.starts_with(&id) && row.contains("pay") && row.contains("unknown_outcome"),
        "{listed}"
    );
    let all = json_of(&desk, &["inbox", "list", "--run", &run.to_string()]);
    assert_eq!(all["approvals"][0]["id"], json!(id));

    let shown = desk.said(&["inbox", "show", &id]);
    assert!(
        shown
            .lines()
            .next()
            .is_some_and(|sentence| sentence.ends_with("Did it?")),
        "{shown}"
    );
    for part in [
        &format!(" inbox happened {id} --result JSON ") as &str,
        &format!(" inbox did-not-happen {id} "),
        &format!(" inbox give-up {id} "),
        &format!("  run        {run}, waiting, for "),
        "\nRequest\n",
        "\nError\n",
        "rent \\u{202e}yraunaJ",
    ] {
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }
    assert!(!shown.contains('\u{202e}'), "{shown:?}");
    assert_eq!(json_of(&desk, &["inbox", "show", &id])["approval_id"], json!(id));

    let result = r#"{"receipt":  7.50}"#;
    let happened = [
        "inbox",
        "happened",
        &id,
        "--result",
        result,
        "--words",
        "the bank says so",
        "--actor",
        "ann",
    ];
    let decided = json_of(&desk, &happened);
    assert_eq!(
        decided,
        json!({"approval_id": id, "verb": "happened", "run_id": run, "run_state": "queued"})
    );
    let (error, code) = desk.refused(&["inbox", "give-up", &id]);
    assert_eq!((error["code"].as_str(), code), (Some("already_decided"), Some(3)));
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|told| told.starts_with("ann decided ")),
        "{error}"
    );
    world
        .until(run, "the run succeeds", |run| run.state == "succeeded")
        .await;

    assert_eq!(results(&request(&world, 1)), [(result.to_owned(), false)]);
    let empty = desk.run(&["inbox", "list"]);
    assert_eq!(String::from_utf8_lossy(&empty.stderr), "nobody is asked anything\n");
    let listed = desk.said(&["inbox", "list", "--state", "all"]);
    assert!(listed.contains("happened by ann"), "{listed}");
    let shown = desk.said(&["inbox", "show", &id]);
    assert!(
        shown.contains("happened by ann at ") && shown.contains("  the bank says so\n"),
        "{shown}"
    );
    worker.drain().await;
}

#[tokio::test]
async fn a_run_that_waits_for_a_person_says_what_is_asked_and_how_it_is_decided() {
    let (world, run, worker) = doubtful(1, 1).await;
    let desk = beside(&world);
    let id = inbox(&world, run).await[0].id.to_string();

    let of_run = desk.said(&["run", "show", &run.to_string()]);
    for part in [
        "\nSomebody is asked\n",
        &format!(" inbox show {id} "),
        &format!(" inbox give-up {id} "),
        &format!(" inbox list --run {run} "),
    ] {
        assert!(of_run.contains(part), "no {part:?} in {of_run}");
    }
    let show = ["run", "show", &run.to_string()];
    assert_eq!(json_of(&desk, &show)["approvals"][0]["id"], json!(id));
    desk.said(&["inbox", "give-up", &id]);
    assert_eq!(json_of(&desk, &show)["approvals"], json!([]));
    worker.drain().await;
}

#[tokio::test]
async fn every_verb_has_its_command_and_a_result_stands_where_payloads_stand() {
    let (world, run, worker) = doubtful(4, 1).await;
    let desk = beside(&world);
    let rows = inbox(&world, run).await;
    let ids: Vec<String> = rows.iter().map(|row| row.id.to_string()).collect();
    fs::write(desk.path().join("result.json"), "[1]").expect("it is written");

    desk.said(&["inbox", "happened", &ids[0], "--file", "result.json"]);
    desk.said(&["inbox", "happened", &ids[1], "--text", "paid", "--by", "bob"]);
    let mut command = desk.command(&["inbox", "happened", &ids[2], "--result", "-"]);
    let stdin = File::open(desk.path().join("result.json")).expect("a file");
    assert!(command.stdin(stdin).output().expect("longhaul runs").status.success());
    let told = desk.said(&["inbox", "give-up", &ids[3], "--words", "the bank is silent"]);
    assert!(told.starts_with(&format!("decided; run {run} is ")), "{told}");

    let after = inbox(&world, run).await;
    let facts: Vec<_> = after
        .iter()
        .map(|row| (row.verb.as_deref(), row.words.as_deref()))
        .collect();
    assert_eq!(
        facts,
        [
            (Some("happened"), None),
            (Some("happened"), None),
            (Some("happened"), None),
            (Some("give_up"), Some("the bank is silent"))
        ]
    );
    assert_eq!(after[1].actor.as_deref(), Some("bob"));
    let said = async |id: &str| json_of(&desk, &["inbox", "show", id])["result"].clone();
    assert_eq!(
        [said(&ids[0]).await, said(&ids[1]).await, said(&ids[2]).await],
        [json!([1]), json!("paid"), json!([1])]
    );
    worker.drain().await;
}

#[tokio::test]
async fn what_is_no_decision_is_refused_with_its_code() {
    let (world, run, worker) = doubtful(1, 600).await;
    let desk = beside(&world);
    let id = inbox(&world, run).await[0].id.to_string();
    let nobody = "0f7a3c2e-6d9b-4c1f-8a5e-7d6c3b2a1908";
    let refusals: [(&[&str], &str, i32); 11] = [
        (&["show", "0f7a3c2e"], "usage", 2),
        (&["show", nobody], "no_such_approval", 3),
        (&["give-up", nobody], "no_such_approval", 3),
        (&["give-up", &id, "--result", "1"], "usage", 2),
        (&["give-up", &id, "--words", ""], "invalid_decision", 2),
        (&["happened", &id, "--result", "nonsense"], "invalid_result", 2),
        (&["happened", &id, "--file", "nowhere"], "unreadable_file", 2),
        (&["happened", &id, "--result", "1", "--text", "one"], "usage", 2),
        (&["approve", &id], "verb_not_allowed", 3),
        (&["reject", &id], "verb_not_allowed", 3),
        (&["did-not-happen", &id], "too_early", 3),
    ];
    for (words, expected, exit) in refusals {
        let (error, code) = desk.refused(&[&["inbox"], words].concat());
        assert_eq!(
            (error["code"].as_str(), code),
            (Some(expected), Some(exit)),
            "{words:?}: {error}"
        );
    }
    let (error, _) = desk.refused(&["inbox", "probe-again", &id]);
    assert_eq!(error["code"], "verb_not_allowed", "there is no probe");
    assert_eq!(inbox(&world, run).await[0].state, "open");
    worker.drain().await;
}
