//! One cell without workers: a database, an engine, and every transition made by hand.

use chrono::{DateTime, TimeDelta, Utc};
use engine::query::Poller;
use engine::transition::ApplyAgent;
use engine::{
    ClaimRuns, Claimed, Clock, Connect, Engine, EngineError, EventWrite, Place, Reach, Registration, RunId, StartRun,
    StepBegin, StepChange, StepWrites, Which, WorkerId,
};
use longhaul_tests::database::TestDatabase;
use longhaul_tests::world::PATIENCE;
use serde_json::Value;
use sqlx::PgPool;
use std::time::Duration;

/// The agent of every run here. Nobody drives it, so only what the database reads of it matters.
pub(crate) const AGENT: &str = "clerk";
/// Longer than any test.
pub(crate) const LEASE: Duration = Duration::from_secs(60);

pub(crate) struct Stage {
    pub(crate) database: TestDatabase,
    pub(crate) engine: Engine,
    pub(crate) pool: PgPool,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let database = TestDatabase::new().await;
        let engine = Engine::connect(&Connect::new(&database.url, "test"))
            .await
            .expect("the engine connects");
        let pool = database.pool().await;
        let stage = Self { database, engine, pool };
        stage.apply(AGENT, &[]).await;
        stage
    }

    /// The same cell through an engine whose clock stands at an instant, and that clock.
    pub(crate) fn at(&self, instant: DateTime<Utc>) -> (Engine, Clock) {
        let clock = Clock::fixed(instant);
        (self.engine.with_clock(clock.clone()), clock)
    }

    /// The database's clock.
    pub(crate) async fn now(&self) -> DateTime<Utc> {
        sqlx::query_scalar("select now()")
            .fetch_one(&self.pool)
            .await
            .expect("the database tells the time")
    }

    pub(crate) async fn apply(&self, name: &str, functions: &[&str]) {
        let functions: Vec<String> = functions.iter().map(ToString::to_string).collect();
        let definition = format!(r#"{{"name":"{name}","limits":{{"wall_clock_seconds":3600}}}}"#);
        let agent = ApplyAgent {
            tenant: "default",
            name,
            definition: &definition,
            functions: &functions,
        };
        self.engine.apply_agent(agent).await.expect("the agent is applied");
    }

    pub(crate) async fn start(&self) -> RunId {
        self.start_with(|_| ()).await
    }

    pub(crate) async fn start_with(&self, change: impl FnOnce(&mut StartRun)) -> RunId {
        let mut start = StartRun::new(AGENT, "{}");
        change(&mut start);
        self.engine.start_run(&start).await.expect("the run starts").run
    }

    /// A worker with a long lease.
    pub(crate) async fn worker(&self) -> WorkerId {
        register(&self.engine, LEASE).await
    }

    /// A fresh run, claimed by a fresh worker.
    pub(crate) async fn claimed(&self) -> Claimed {
        let run = self.start().await;
        let worker = self.worker().await;
        let claimed = claim(&self.engine, worker, 1).await.pop().expect("a run is due");
        assert_eq!(claimed.claim.run, run);
        claimed
    }

    /// A run whose holder is gone, its old claim, and an engine at whose time the lease is over.
    pub(crate) async fn abandoned(&self) -> (Claimed, Engine) {
        let claimed = self.claimed().await;
        let (later, _) = self.at(self.now().await + TimeDelta::hours(1));
        (claimed, later)
    }

    /// Everything that is recorded of runs: what a refused transition must not have touched.
    pub(crate) async fn trace(&self) -> Value {
        sqlx::query_scalar(
            "select jsonb_build_object(
                'run', (select jsonb_agg(to_jsonb(run) order by run.id) from longhaul.run),
                'key', (select jsonb_agg(to_jsonb(run_key)) from longhaul.run_key),
                'step', (select jsonb_agg(to_jsonb(step) order by run_id, seq) from longhaul.step),
                'attempt', (select jsonb_agg(to_jsonb(attempt) order by run_id, step_seq) from longhaul.attempt),
                'event', (select jsonb_agg(to_jsonb(event) order by run_id, seq) from longhaul.event))",
        )
        .fetch_one(&self.pool)
        .await
        .expect("the trace is read")
    }

    /// Waits until somebody in this cell waits for a lock.
    pub(crate) async fn until_blocked(&self) {
        let blocked = async {
            loop {
                let waiting: bool = sqlx::query_scalar(
                    "select exists (select from pg_locks join pg_database on pg_database.oid = pg_locks.database
                         or pg_locks.database is null
                     where not granted and datname = current_database()
                       and pid in (select pid from pg_stat_activity where datname = current_database()))",
                )
                .fetch_one(&self.pool)
                .await
                .expect("the locks are read");
                if waiting {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, blocked)
            .await
            .expect("somebody waits for a lock");
    }

    /// Runs a statement of a test's own on one run.
    pub(crate) async fn sql(&self, statement: &'static str, run: RunId) {
        sqlx::query(statement)
            .bind(run.0)
            .execute(&self.pool)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
    }

    /// What a statement of a test's own says about one run.
    pub(crate) async fn ask<T>(&self, statement: &'static str, run: RunId) -> T
    where
        T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        sqlx::query_scalar(statement)
            .bind(run.0)
            .fetch_one(&self.pool)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"))
    }

    pub(crate) async fn state(&self, run: RunId) -> String {
        self.ask("select state from longhaul.run where id = $1", run).await
    }

    /// The kinds of the run's events; their numbers must be dense, and the row of a run that nobody holds must carry the
    /// last one.
    pub(crate) async fn events(&self, run: RunId) -> Vec<String> {
        let rows: Vec<(i32, String)> =
            sqlx::query_as("select seq, kind from longhaul.event where run_id = $1 order by seq")
                .bind(run.0)
                .fetch_all(&self.pool)
                .await
                .expect("events are read");
        for ((seq, _), expected) in rows.iter().zip(1..) {
            assert_eq!(*seq, expected, "events are dense: {rows:?}");
        }
        let carried: Option<i32> = self
            .ask(
                "select case when worker_id is null then event_seq end from longhaul.run where id = $1",
                run,
            )
            .await;
        if let Some(carried) = carried {
            assert_eq!(i32::try_from(rows.len()).expect("few"), carried, "{rows:?}");
        }
        rows.into_iter().map(|(_, kind)| kind).collect()
    }
}

pub(crate) async fn register(engine: &Engine, lease: Duration) -> WorkerId {
    let worker = Registration {
        id: WorkerId::new(),
        name: "by hand".to_owned(),
        kinds: vec!["agent".to_owned()],
        functions: Vec::new(),
        queues: vec!["default".to_owned()],
    };
    engine
        .register_worker(&worker, lease)
        .await
        .expect("the worker registers");
    worker.id
}

/// A worker that is not registered asks what there is to do.
pub(crate) fn poller<'a>(queues: &'a [String], kinds: &'a [String], functions: &'a [String]) -> Poller<'a> {
    Poller {
        worker: WorkerId::new(),
        queues,
        kinds,
        functions,
        reach: Reach::everything(),
    }
}

/// Somebody who can drive nothing asks.
pub(crate) fn nobody() -> Poller<'static> {
    poller(&[], &[], &[])
}

pub(crate) async fn claim(engine: &Engine, worker: WorkerId, batch: u32) -> Vec<Claimed> {
    engine
        .claim_runs(ClaimRuns {
            worker,
            batch,
            queues: &["default".to_owned()],
            kinds: &["agent".to_owned()],
            functions: &[],
            which: Which::Ordinary,
            reach: Reach::everything(),
        })
        .await
        .expect("claims are answered")
}

/// A tool call about to leave.
pub(crate) fn call(seq: i32, effect: &'static str) -> StepBegin {
    StepBegin {
        seq,
        place: Place::Turn {
            turn: 1,
            call_index: seq - 1,
        },
        kind: "tool",
        name: "pay".to_owned(),
        call_id: Some(format!("toolu_{seq}")),
        state: "running",
        effect,
        key: format!("key-{seq}"),
        attempt: 1,
        attempts_max: 3,
        maybe_applied: false,
        due_at: None,
        replaces_seq: None,
        request_digest: vec![1],
        request: Some(r#"{"kind":"command","argv":[],"stdin":""}"#.to_owned()),
        result: None,
        error: None,
    }
}

/// A step that moved on; results are those of its first attempt.
pub(crate) fn change(seq: i32, state: &'static str) -> StepChange {
    let ended = state != "running" && state != "waiting";
    StepChange {
        seq,
        state,
        attempt: 1,
        attempts_max: 3,
        maybe_applied: false,
        due_at: None,
        result: ended.then(|| r#"{"content":"done"}"#.to_owned()),
        error: None,
        fresh_budget: false,
        evidence: Some("{}".to_owned()),
    }
}

pub(crate) fn fact(seq: i32, kind: &'static str, step: i32) -> EventWrite {
    EventWrite {
        seq,
        kind,
        step_seq: Some(step),
        data: None,
    }
}

/// The intent of one call, numbered on from an event.
pub(crate) fn intent(after: i32, seq: i32, effect: &'static str) -> StepWrites {
    StepWrites {
        begun: vec![call(seq, effect)],
        events: vec![fact(after + 1, "step.started", seq)],
        has_intent: true,
        ..StepWrites::default()
    }
}

/// The result of one call, numbered on from an event.
pub(crate) fn outcome(after: i32, seq: i32, state: &'static str) -> StepWrites {
    StepWrites {
        changed: vec![change(seq, state)],
        events: vec![fact(after + 1, "step.succeeded", seq)],
        has_result: true,
        ..StepWrites::default()
    }
}

/// The code and status of a refusal.
pub(crate) fn refusal<T: std::fmt::Debug>(answer: Result<T, EngineError>) -> (u16, String) {
    match answer {
        Err(EngineError::Refused { status, code, .. }) => (status, code),
        other => panic!("not a refusal: {other:?}"),
    }
}
