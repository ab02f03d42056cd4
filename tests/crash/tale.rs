//! A world in which workflows wait, have children and sell, and what is asked when their workers died.

use crate::desk::within;
use engine::{RunId, SendSignal, StartRun};
use longhaul_tests::process::{Start, WorkerProcess};
use longhaul_tests::world::World;
use rehearsal::{Answer, Rule, Script};
use serde_json::{Value, json};
use std::path::PathBuf;
use tempfile::TempDir;

pub(crate) struct Tales {
    pub(crate) world: World,
    folder: TempDir,
}

impl Tales {
    pub(crate) async fn new() -> Self {
        let script = Script::new().rule(Rule::always().answers(Answer::text("Nobody asks.")));
        Self {
            world: World::new(script).await,
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A step that is done at once.
    pub(crate) fn noted() -> Value {
        json!({"do": "note"})
    }

    /// A step that answers when the gate is open.
    pub(crate) fn held(&self) -> Value {
        json!({"do": "note", "gate": self.file("gate")})
    }

    pub(crate) fn waits_for(name: &str) -> Value {
        json!({"do": "wait", "name": name})
    }

    pub(crate) fn child(deeds: Value) -> Value {
        json!({"do": "child", "deeds": deeds})
    }

    pub(crate) fn open_the_gate(&self) {
        std::fs::write(self.file("gate"), "").expect("the gate opens");
    }

    fn tale(&self, deeds: &Value) -> StartRun {
        let input = json!({"ledger": self.file("ledger"), "deeds": deeds});
        StartRun::workflow("tale", input.to_string())
    }

    pub(crate) async fn start(&self, deeds: Value) -> RunId {
        let start = self.tale(&deeds);
        self.world.engine.start_run(&start).await.expect("the run starts").run
    }

    /// Sends a signal whose payload is this number.
    pub(crate) async fn send(&self, run: RunId, name: &str, payload: u32) {
        let signal = SendSignal {
            run,
            name: name.to_owned(),
            payload: payload.to_string(),
            id: None,
            sender: None,
        };
        self.world.engine.send_signal(&signal).await.expect("it is sent");
    }

    pub(crate) fn worker(&self, name: &str) -> WorkerProcess {
        WorkerProcess::start(&self.world, &Start::named(name))
    }

    /// A worker that has died at this point when this returns.
    pub(crate) async fn dies_at(&self, point: &str) {
        let dying = Start::named("doomed").dying_at(point);
        WorkerProcess::start(&self.world, &dying).died().await;
    }

    pub(crate) async fn parked_for(&self, run: RunId, what: &str) {
        self.world
            .until(run, what, |run| run.waiting_for.as_deref() == Some(what))
            .await;
    }

    /// It has succeeded, with this output and dense events.
    pub(crate) async fn comes_to(&self, run: RunId, told: Value) {
        let ended = self.world.settled(run).await;
        let result = ended.result.as_deref().map(serde_json::from_str::<Value>);
        assert_eq!(result.and_then(Result::ok), Some(told), "{ended:#?}");
        self.world.events(run).await;
    }

    /// How often steps were made in the world.
    pub(crate) fn calls(&self) -> usize {
        std::fs::read_to_string(self.file("ledger"))
            .unwrap_or_default()
            .lines()
            .filter(|line| !line.is_empty())
            .count()
    }

    pub(crate) async fn called(&self, count: usize) {
        let waiting = async {
            while self.calls() < count {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        within(&format!("{count} calls arrive"), waiting).await;
    }

    /// The states of all runs of a tree below this one, in the order of their start.
    pub(crate) async fn below(&self, run: RunId) -> Vec<String> {
        let states = "select coalesce(jsonb_agg(state order by id), '[]') from longhaul.run where tree_id = $1";
        serde_json::from_value(self.world.sql(states, run).await).expect("states")
    }

    pub(crate) async fn only_child(&self, run: RunId) -> RunId {
        let children = self
            .world
            .sql("select jsonb_agg(id) from longhaul.run where parent_id = $1", run)
            .await;
        let children: Vec<RunId> = serde_json::from_value(children).expect("ids");
        assert_eq!(children.len(), 1, "children");
        children[0]
    }

    /// From now on its time is over.
    pub(crate) async fn is_out_of_time(&self, run: RunId) {
        let pool = self.world.database.pool().await;
        let over = sqlx::query("update longhaul.run set deadline_at = now() where id = $1");
        over.bind(run.0).execute(&pool).await.expect("its time is over");
    }
}
