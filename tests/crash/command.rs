//! kill -9 while a command runs. Its process group outlives the worker; what it did, and what it was told, is in its
//! files.

use crate::desk::within;
use engine::RunId;
use longhaul_tests::process::{Start, WorkerProcess};
use longhaul_tests::world::World;
use rehearsal::{Answer, Rule, Script};
use serde_json::json;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// Writes down that it runs, and then runs for as long as the file `busy` is there.
const PROGRAM: &str = "echo $LONGHAUL_IDEMPOTENCY_KEY $LONGHAUL_ATTEMPT >> ledger; \
                       while test -e busy; do sleep 0.02; done; echo counted";

/// Copies its input, and shows the copy once it is complete.
const COPIER: &str = "cat > copying && mv copying copy";

fn agent_file(effect: &str, program: &str, folder: &Path) -> String {
    format!(
        r#"
        name = "stock"
        system = "You count the stock."

        [model]
        name = "claude-sonnet-5-5"
        max_tokens = 512

        [[tool]]
        name = "count"
        description = "Counts what is in stock. Use it to learn how much there is."
        kind = "command"
        effect = "{effect}"
        argv = ["sh", "-c", "{program}"]
        working_dir = {folder:?}
        retry = {{ attempts_max = 1 }}
        input = {{ type = "object" }}
        "#
    )
}

struct Stock {
    world: World,
    run: RunId,
    folder: TempDir,
    _heir: WorkerProcess,
}

/// The worker dies while its command runs; another one takes over.
async fn killed_while_counting(effect: &str) -> Stock {
    let script = Script::new()
        .rule(Rule::on_turn(1).answers(Answer::calling("count", json!({}))))
        .rule(Rule::on_turn(2).answers(Answer::text("There is enough.")));
    let world = World::new(script).await;
    let folder = tempfile::tempdir().expect("a folder");
    let busy = folder.path().join("busy");
    std::fs::write(&busy, "").expect("a file");
    world.apply(&agent_file(effect, PROGRAM, folder.path())).await;
    let run = world.start("stock", &json!({})).await;
    let start = Start {
        lease_seconds: "1",
        ..Start::named("doomed")
    };
    let mut doomed = WorkerProcess::start(&world, &start);
    within("the command runs", async {
        while ledger(folder.path()).is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    doomed.kill_9();
    std::fs::remove_file(&busy).expect("the command may end");
    let heir = WorkerProcess::start(&world, &Start::named("heir"));
    Stock {
        world,
        run,
        folder,
        _heir: heir,
    }
}

/// Key and attempt of each time that the program ran.
fn ledger(folder: &Path) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(folder.join("ledger")).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines
        .map(|(key, attempt)| (key.to_owned(), attempt.to_owned()))
        .collect()
}

#[tokio::test]
async fn a_command_that_may_be_repeated_is_run_again_under_its_key() {
    for effect in ["read_only", "idempotent"] {
        let stock = killed_while_counting(effect).await;

        let ended = stock.world.settled(stock.run).await;

        assert_eq!(ended.state, "succeeded", "{effect}: {ended:#?}");
        let ledger = ledger(stock.folder.path());
        let key = ledger[0].0.clone();
        assert_eq!(
            ledger,
            [(key.clone(), "1".to_owned()), (key, "2".to_owned())],
            "{effect}"
        );
        stock.world.events(stock.run).await;
    }
}

#[tokio::test]
async fn a_command_that_may_not_be_repeated_is_left_unknown() {
    let stock = killed_while_counting("at_most_once").await;

    let parked = stock.world.settled(stock.run).await;

    assert_eq!(parked.state, "waiting", "{parked:#?}");
    assert_eq!(parked.wait_reason.as_deref(), Some("unknown_outcome"));
    assert_eq!(ledger(stock.folder.path()).len(), 1);
    stock.world.events(stock.run).await;
}

#[tokio::test]
async fn a_worker_killed_as_it_starts_a_program_leaves_it_its_whole_input() {
    let input = json!({"shelves": "x".repeat(300 * 1024)});
    let script = Script::new().rule(Rule::always().answers(Answer::calling("count", input.clone())));
    let world = World::new(script).await;
    let folder = tempfile::tempdir().expect("a folder");
    world.apply(&agent_file("at_most_once", COPIER, folder.path())).await;
    world.start("stock", &json!({})).await;

    WorkerProcess::start(&world, &Start::named("doomed").dying_at("command.started"))
        .died()
        .await;

    let copy = folder.path().join("copy");
    within("the command has read its input", async {
        while !copy.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let copied = std::fs::read_to_string(&copy).expect("the copy is there");
    let input = input.to_string();
    assert_eq!(copied.len(), input.len());
    assert!(copied == input, "the copy is another text of that length");
}

#[tokio::test]
async fn a_command_whose_input_cannot_be_written_is_not_started() {
    let script = Script::new()
        .rule(Rule::on_turn(1).answers(Answer::calling("count", json!({}))))
        .rule(Rule::on_turn(2).answers(Answer::text("Nobody counts.")));
    let mut world = World::new(script).await;
    let folder = tempfile::tempdir().expect("a folder");
    let nowhere = folder.path().join("nowhere").display().to_string();
    world.environment.insert("TMPDIR".to_owned(), nowhere);
    world.apply(&agent_file("at_most_once", COPIER, folder.path())).await;
    let run = world.start("stock", &json!({})).await;

    let _worker = WorkerProcess::start(&world, &Start::named("worker"));
    let ended = world.settled(run).await;

    assert_eq!(ended.state, "succeeded", "{ended:#?}");
    let journal = world.engine.journal(run).await.expect("the journal is read");
    let error = journal[1].step_error.as_ref().expect("an error");
    assert_eq!(error["code"], "command_input_not_written");
    assert_eq!(error["class"], "transient");
    assert_eq!((journal[1].state.as_str(), journal[1].maybe_applied), ("failed", false));
    assert!(!folder.path().join("copy").exists());
}
