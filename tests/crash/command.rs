//! kill -9 while a command runs. Its process group outlives the worker; what it did is in its file.

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

fn agent_file(effect: &str, folder: &Path) -> String {
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
        argv = ["sh", "-c", "{PROGRAM}"]
        working_dir = {folder:?}
        retry = {{ attempts_max = 1 }}
        input = {{ type = "object", additionalProperties = false }}
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
    world.apply(&agent_file(effect, folder.path())).await;
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
