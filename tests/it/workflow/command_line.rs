//! `longhaul run …` of workflows.

use super::{Outside, shop, world};
use longhaul_tests::dev_process::Desk;
use longhaul_tests::world::World;
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;
use worker::{Context, WorkflowError};

/// A desk whose commands find the world's database.
fn beside(world: &World) -> Desk {
    let desk = Desk::new();
    let settings = format!("database_url = {:?}\n", world.database.url);
    fs::write(desk.path().join("longhaul.toml"), settings).expect("it is written");
    desk
}

// The command and the worker of this process run at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workflow_is_started_once_per_key_watched_listed_and_shown() {
    let world = world().await;
    let worker = world.worker_with(world.config("worker A"), shop(&Outside::default()));
    let desk = beside(&world);
    let start = |more: &[&'static str]| {
        let words = [
            "run",
            "start",
            "--workflow",
            "shop",
            "--input",
            r#"{"id":"ORD-1"}"#,
            "--key",
            "k",
        ];
        desk.said(&[&words, more].concat())
    };

    let watched = start(&["--watch"]);
    let run = watched.lines().next().expect("an id");
    assert_eq!(start(&[]), format!("{run}\n"), "the key started it before");
    for part in [
        "run.started           shop\n",
        "task charge#1",
        "\nResult\n  \"receipt of ORD-1\"\n",
    ] {
        assert!(watched.contains(part), "no {part:?} in {watched}");
    }

    let listed = desk.said(&["run", "list", "--workflow", "shop"]);
    assert!(listed.contains(run) && listed.contains("  shop  "), "{listed}");
    assert_eq!(desk.said(&["run", "list", "--workflow", "other"]), "");

    let shown = desk.said(&["run", "show", run]);
    for part in [
        "  workflow   shop\n",
        "\nInput\n    {\"id\":\"ORD-1\"}\n",
        "charge#1",
        "ship#1",
    ] {
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }
    for part in ["Conversation", "TURN"] {
        assert!(!shown.contains(part), "{part:?} in {shown}");
    }
    worker.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_runs_names_workflows_line_by_line_or_for_all_lines() {
    let world = world().await;
    let desk = beside(&world);
    let lines = "{\"key\":\"a\",\"input\":1}\n{\"workflow\":\"other\",\"key\":\"b\"}\n";
    fs::write(desk.path().join("runs.jsonl"), lines).expect("it is written");
    let start = ["run", "start", "--workflow", "shop", "--file", "runs.jsonl"];

    let started = desk.said(&start);

    let list: Value = serde_json::from_str(&desk.said(&["run", "list", "--json"])).expect("JSON");
    let kind = |id: &str| {
        let runs = list["runs"].as_array().expect("runs").iter();
        let mut of_id = runs.filter(|run| run["id"] == id);
        of_id.next().expect("it is listed")["kind"].clone()
    };
    let kinds: Vec<Value> = started.lines().map(kind).collect();
    assert_eq!(kinds, [json!("shop"), json!("other")]);
    assert_eq!(desk.said(&start), started, "given again, they are not started again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workflow_goes_on_with_what_it_is_told_and_its_watcher_sees_by_whom() {
    let world = world().await;
    let desk = beside(&world);
    let run = desk.said(&["run", "start", "--workflow", "approval", "--input", "null"]);
    let (run, id) = (run.trim(), run.trim().parse().expect("an id"));
    let stranded = desk.said(&["run", "show", run]);
    assert!(stranded.contains("queued: no worker is alive"), "{stranded}");
    let worker = world.worker_with(world.config("worker A"), |builder| {
        builder.workflow("approval", async |ctx: Context, (): ()| {
            let week = Duration::from_secs(7 * 24 * 3600);
            let approved = ctx.wait_signal::<Value>("approved", week);
            approved.await.map_err(WorkflowError::from)
        })
    });
    world
        .until(id, "it waits", |run| run.waiting_for.as_deref() == Some("signal"))
        .await;
    let waiting = desk.said(&["run", "show", run]);
    assert!(
        waiting.contains("waiting for the signal approved until 20"),
        "{waiting}"
    );

    desk.said(&["run", "signal", run, "approved", "17", "--by", "Ada"]);
    let watched = desk.said(&["run", "watch", run]);

    for part in [
        "1 signal approved#1, at most 7 days",
        "run.parked            for signal  ",
        "run.woken             by signal approved",
        "1 signal approved#1, from Ada",
        "\nResult\n  17\n",
    ] {
        assert!(watched.contains(part), "no {part:?} in {watched}");
    }
    worker.drain().await;
}
