//! kill -9 of a worker that has a slot, or a breaker's trial call: both fall free with its fence.

use crate::desk::within;
use engine::{OpenBreaker, RunId, StartRun};
use longhaul_tests::process::{Start, WorkerProcess};
use longhaul_tests::world::World;
use rehearsal::{Answer, Rule, Script};
use serde_json::json;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// Writes down that it runs, and then runs for as long as the file `busy` is there.
const PROGRAM: &str = "echo ran >> ledger; while test -e busy; do sleep 0.02; done; echo counted";

const COUNT: &str = "tool:stock.count";

fn agent_file(keys: &str, folder: &Path) -> String {
    format!(
        r#"
        name = "stock"

        [model]
        name = "claude-sonnet-5-5"
        max_tokens = 512

        [[tool]]
        name = "count"
        description = "Counts what is in stock. Use it to learn how much there is."
        kind = "command"
        effect = "read_only"
        argv = ["sh", "-c", "{PROGRAM}"]
        working_dir = {folder:?}
        retry = {{ attempts_max = 1 }}
        input = {{ type = "object" }}
        {keys}
        "#
    )
}

struct Stock {
    world: World,
    folder: TempDir,
}

impl Stock {
    async fn new(keys: &str) -> Self {
        let script = Script::new()
            .rule(Rule::on_turn(1).answers(Answer::calling("count", json!({}))))
            .rule(Rule::on_turn(2).answers(Answer::text("There is enough.")));
        let world = World::new(script).await;
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("busy"), "").expect("a file");
        world.apply(&agent_file(keys, folder.path())).await;
        Self { world, folder }
    }

    async fn start(&self) -> RunId {
        let start = StartRun::new("stock", "{}");
        self.world.engine.start_run(&start).await.expect("the run starts").run
    }

    /// How often the program ran.
    fn counted(&self) -> usize {
        let ledger = std::fs::read_to_string(self.folder.path().join("ledger"));
        ledger.unwrap_or_default().lines().count()
    }

    async fn has_counted(&self, times: usize) {
        within("the command runs", async {
            while self.counted() < times {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    fn may_end(&self) {
        std::fs::remove_file(self.folder.path().join("busy")).expect("the command may end");
    }
}

fn doomed(world: &World) -> WorkerProcess {
    let start = Start {
        lease_seconds: "1",
        ..Start::named("doomed")
    };
    WorkerProcess::start(world, &start)
}

#[tokio::test]
async fn a_slot_falls_free_when_its_holder_is_killed_and_whoever_waits_for_it_goes_on() {
    let stock = Stock::new("limit = { concurrency = 1 }").await;
    let holder = stock.start().await;
    let mut doomed = doomed(&stock.world);
    stock.has_counted(1).await;
    let waiter = stock.start().await;
    let waits = |run: &engine::query::RunDetail| run.waiting_for.as_deref() == Some("limit");
    stock.world.until(waiter, "the run waits for a slot", waits).await;

    doomed.kill_9();
    stock.may_end();
    let _heir = WorkerProcess::start(&stock.world, &Start::named("heir"));

    for run in [holder, waiter] {
        let ended = stock.world.settled(run).await;
        assert_eq!(ended.state, "succeeded", "{ended:#?}");
        stock.world.events(run).await;
    }
    assert_eq!(stock.counted(), 3);
}

#[tokio::test]
async fn a_trial_call_falls_free_when_its_holder_is_killed_and_the_next_one_is_on_trial() {
    let stock = Stock::new("").await;
    let opening = OpenBreaker {
        scope: COUNT.to_owned(),
        tenant: "default".to_owned(),
        seconds: 1,
        reason: None,
        actor: None,
    };
    stock.world.engine.open_breaker(&opening).await.expect("it opens");
    let pool = stock.world.database.pool().await;
    within("it may be tried", async {
        let is_due = "select breaker.retry_at <= now() from longhaul.breaker";
        while !sqlx::query_scalar::<_, bool>(is_due)
            .fetch_one(&pool)
            .await
            .expect("it is read")
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let run = stock.start().await;
    let mut doomed = doomed(&stock.world);
    stock.has_counted(1).await;

    doomed.kill_9();
    stock.may_end();
    let _heir = WorkerProcess::start(&stock.world, &Start::named("heir"));

    let ended = stock.world.settled(run).await;
    assert_eq!(ended.state, "succeeded", "{ended:#?}");
    assert_eq!(stock.counted(), 2);
    let changes = stock.world.engine.breaker_changes("default", COUNT, 10).await;
    let why: Vec<String> = changes
        .expect("they are read")
        .into_iter()
        .map(|change| change.why)
        .collect();
    assert_eq!(
        why,
        ["trial_succeeded", "trial", "trial_lost", "trial", "opened_by_hand"]
    );
}
