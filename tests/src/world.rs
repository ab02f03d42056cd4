//! One test's world: a database, a rehearsed model, and workers in this process.

use crate::database::TestDatabase;
use agent::definition::digest_text;
use engine::query::RunDetail;
use engine::transition::ApplyAgent;
use engine::{Connect, Engine, RunId, StartRun};
use rehearsal::{Rehearsal, Script};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker::{Builder, Config, Environment, Functions, ModelEndpoint, Worker};

/// No condition of a test takes longer on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A database with the schema, an engine on it, and a rehearsed model.
pub struct World {
    /// Dropped with the world.
    pub database: TestDatabase,
    /// On the database.
    pub engine: Engine,
    /// The model.
    pub rehearsal: Rehearsal,
    /// What secret references and command environments are looked up in.
    pub environment: BTreeMap<String, String>,
}

/// A worker in this process. Stops in good order when dropped, or at [`WorkerHandle::drain`].
pub struct WorkerHandle {
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), worker::WorkerError>>,
}

impl World {
    /// A world whose model plays this script.
    pub async fn new(script: Script) -> Self {
        Self::on(TestDatabase::new().await, script).await
    }

    /// A world on a database of the test's own.
    pub async fn on(database: TestDatabase, script: Script) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let engine = Engine::connect(&Connect::new(&database.url, "test"))
            .await
            .expect("the engine connects");
        let rehearsal = Rehearsal::start(script).await.expect("the rehearsal starts");
        Self {
            database,
            engine,
            rehearsal,
            environment: BTreeMap::new(),
        }
    }

    /// Applies an agent file's text.
    pub async fn apply(&self, file: &str) -> engine::Applied {
        let agent = agent::definition::read(file)
            .unwrap_or_else(|mistakes| {
                let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
                panic!("the test's agent file is wrong:\n{}", told.join("\n"))
            })
            .agent;
        self.engine
            .apply_agent(ApplyAgent {
                tenant: "default",
                name: &agent.name,
                definition: &digest_text(&agent),
                functions: &agent.functions(),
            })
            .await
            .expect("the agent is applied")
    }

    /// Starts a run.
    pub async fn start(&self, agent: &str, input: &Value) -> RunId {
        let start = StartRun::new(agent, input.to_string());
        self.engine.start_run(&start).await.expect("the run starts").run
    }

    /// A worker's settings in this world: a lease of 2 s, so that takeovers are quick. With `LONGHAUL_NO_NOTIFICATIONS` in
    /// the environment no worker listens: all tests pass so as well.
    pub fn config(&self, name: &str) -> Config {
        let endpoint = ModelEndpoint {
            base_url: self.rehearsal.base_url(),
            api_key: Some("test-key-not-secret".to_owned().into()),
        };
        let mut config = Config::new(name, endpoint, Environment::of(self.environment.clone()));
        config.lease = Duration::from_secs(2);
        config.poll = Duration::from_secs(1);
        config.notifications = std::env::var_os("LONGHAUL_NO_NOTIFICATIONS").is_none();
        config
    }

    /// Starts a worker in this process.
    pub fn worker(&self, config: Config, functions: Functions) -> WorkerHandle {
        self.worker_with(config, |builder| builder.functions(functions))
    }

    /// The same, with whatever else its program registers.
    pub fn worker_with(&self, config: Config, register: impl FnOnce(Builder) -> Builder) -> WorkerHandle {
        let shutdown = CancellationToken::new();
        let connect = Connect::new(&self.database.url, "test worker");
        let worker = register(Worker::builder(connect, config)).build();
        let task = tokio::spawn(worker.run(shutdown.clone()));
        WorkerHandle { shutdown, task }
    }

    /// The run once it satisfies the condition.
    pub async fn until(&self, run: RunId, what: &str, condition: impl Fn(&RunDetail) -> bool) -> RunDetail {
        let last = async || self.engine.run_detail(run).await.expect("the run is there");
        let waiting = async {
            loop {
                let detail = last().await;
                if condition(&detail) {
                    return detail;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(detail) => detail,
            Err(_) => panic!("{what}: not within {PATIENCE:?}; the run is {:#?}", last().await),
        }
    }

    /// The run once it has ended or waits for a person.
    pub async fn settled(&self, run: RunId) -> RunDetail {
        self.until(run, "the run ends or waits for a person", |run| {
            run.ended_at.is_some() || run.waiting_for.as_deref() == Some("approval")
        })
        .await
    }

    /// The kinds of the run's events, in order; their numbers must be dense.
    pub async fn events(&self, run: RunId) -> Vec<String> {
        let events = self.engine.events(run, 0, 10_000).await.expect("events are read");
        for (event, seq) in events.iter().zip(1..) {
            assert_eq!(event.seq, seq, "events are dense: {events:#?}");
        }
        events.into_iter().map(|event| event.kind).collect()
    }

    /// Waits until some worker's lease has been extended once more.
    pub async fn lease_extended(&self) {
        let pool = self.database.pool().await;
        let newest = async || -> Option<chrono::DateTime<chrono::Utc>> {
            sqlx::query_scalar("select max(lease_expires_at) from longhaul.worker")
                .fetch_one(&pool)
                .await
                .expect("leases are read")
        };
        let before = newest().await;
        let waiting = async {
            while newest().await <= before {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .expect("a lease is extended");
    }

    /// What a test's own statement answers.
    pub async fn sql(&self, statement: &'static str, run: RunId) -> Value {
        let pool = self.database.pool().await;
        sqlx::query_scalar(statement)
            .bind(run.0)
            .fetch_one(&pool)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"))
    }
}

impl WorkerHandle {
    /// Asks the worker to stop and waits until it has.
    pub async fn drain(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .expect("the worker drains")
            .expect("the worker's task does not break")
            .expect("the worker ends well");
    }

    /// Whether it has stopped by itself.
    pub fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Ends the worker without a word, as a crash would: its lease runs out by itself.
    pub fn vanish(self) {
        self.task.abort();
    }
}

/// The text of a file below the workspace.
pub fn workspace_file(path: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
