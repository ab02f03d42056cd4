//! kill -9 around a Rust function that declares nothing of its effect, and so must never run twice.

use engine::RunId;
use longhaul_tests::process::{Start, WorkerProcess};
use longhaul_tests::world::World;
use rehearsal::{Answer, Rule, Script};
use serde_json::json;
use std::path::PathBuf;
use tempfile::TempDir;

const AGENT: &str = r#"
    name = "notes"
    system = "You take notes."

    [model]
    name = "claude-sonnet-5-5"
    max_tokens = 512

    [[tool]]
    name = "append_note"
    description = "Writes a note down. Use it once for each note."
    kind = "function"
"#;

struct Notes {
    world: World,
    run: RunId,
    ledger: PathBuf,
    _folder: TempDir,
    _heir: WorkerProcess,
}

/// The first worker dies at this point, the second one goes on.
async fn killed_at(point: &str) -> Notes {
    let note = Answer::calling("append_note", json!({"ledger": "{{input.ledger}}", "text": "milk"}));
    let script = Script::new()
        .rule(Rule::on_turn(1).answers(note))
        .rule(Rule::on_turn(2).answers(Answer::text("Noted.")));
    let world = World::new(script).await;
    world.apply(AGENT).await;
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = folder.path().join("notes");
    let run = world.start("notes", &json!({ "ledger": ledger })).await;
    WorkerProcess::start(&world, &Start::named("doomed").dying_at(point))
        .died()
        .await;
    let heir = WorkerProcess::start(&world, &Start::named("heir"));
    Notes {
        world,
        run,
        ledger,
        _folder: folder,
        _heir: heir,
    }
}

impl Notes {
    /// How often it really happened.
    fn lines(&self) -> usize {
        std::fs::read_to_string(&self.ledger)
            .unwrap_or_default()
            .lines()
            .count()
    }

    async fn ends_as(&self, state: &str, reason: Option<&str>) {
        let ended = self.world.settled(self.run).await;
        assert_eq!(ended.state, state, "{ended:#?}");
        assert_eq!(ended.wait_reason.as_deref(), reason, "{ended:#?}");
        self.world.events(self.run).await;
    }
}

#[tokio::test]
async fn a_function_about_to_run_when_its_worker_died_is_not_run() {
    let notes = killed_at("intent.committed:2").await;

    notes.ends_as("waiting", Some("unknown_outcome")).await;

    assert_eq!(notes.lines(), 0);
}

#[tokio::test]
async fn a_function_that_ran_and_was_not_recorded_is_not_run_again() {
    let notes = killed_at("result.received:2").await;

    notes.ends_as("waiting", Some("unknown_outcome")).await;

    assert_eq!(notes.lines(), 1);
}

#[tokio::test]
async fn a_function_whose_result_was_recorded_is_not_run_again() {
    let notes = killed_at("result.recorded:2").await;

    notes.ends_as("succeeded", None).await;

    assert_eq!(notes.lines(), 1);
}
