//! A worker in this process, with a model that answers at once and a queue that is never empty.

use super::ground::Ground;
use super::{Bench, NAME, TENANT, interrupted};
use crate::failure::{Exit, Failure};
use anyhow::Context;
use engine::bench_floor::Meter;
use engine::{Engine, StartRun};
use rehearsal::{Rehearsal, Script};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker::{Config, Environment, ModelEndpoint, Program, Worker, WorkerError};

/// The threads that play the model: what they use is not the worker's.
pub(super) const MODEL_THREADS: &str = "bench-model";
/// Nobody waits for calls that nobody counts.
const DRAIN_GRACE: Duration = Duration::from_secs(2);
/// Runs that wait for the worker.
const BACKLOG: i64 = 500;
/// Between two looks at them: by then no worker has driven them all.
const FEED_PERIOD: Duration = Duration::from_millis(20);
/// From the first run in the queue to its claim.
const FIRST_CLAIM_LIMIT: Duration = Duration::from_secs(30);
/// The worker goes at its full rate when it begins to count.
const WARM_UP: Duration = Duration::from_millis(500);

/// What works.
pub(super) struct Crew {
    model: Model,
    worker: JoinHandle<Result<(), WorkerError>>,
    shutdown: CancellationToken,
}

/// What is wanted of it.
pub(super) struct CrewPlan {
    pub(super) queue: &'static str,
    pub(super) script: Script,
    pub(super) program: Program,
    /// Runs driven at once.
    pub(super) runs_max: usize,
}

impl Crew {
    pub(super) async fn start(ground: &Ground, plan: CrewPlan) -> anyhow::Result<Self> {
        let model = Model::start(plan.script).await?;
        let endpoint = ModelEndpoint {
            base_url: model.base_url.clone(),
            api_key: Some("no-key-is-needed-here".to_owned().into()),
        };
        let config = Config {
            queues: vec![plan.queue.to_owned()],
            runs_max: plan.runs_max,
            drain_grace: DRAIN_GRACE,
            ..Config::new(NAME, endpoint, Environment::of(BTreeMap::new()))
        };
        let worker = Worker::builder(ground.address(), config).program(plan.program).build();
        let shutdown = CancellationToken::new();
        Ok(Self {
            worker: tokio::spawn(worker.run(shutdown.clone())),
            model,
            shutdown,
        })
    }

    /// Drains the worker, and ends the model.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        let ended = self.worker.await;
        self.model.stop().await;
        ended.context("the worker broke")??;
        Ok(())
    }
}

/// A rehearsal on threads of its own.
struct Model {
    base_url: String,
    rehearsal: Option<Rehearsal>,
    runtime: Option<Runtime>,
}

impl Model {
    async fn start(script: Script) -> anyhow::Result<Self> {
        let mut threads = Builder::new_multi_thread();
        let runtime = threads
            .worker_threads(2)
            .thread_name(MODEL_THREADS)
            .enable_all()
            .build()?;
        let mut model = Self {
            base_url: String::new(),
            rehearsal: None,
            runtime: Some(runtime),
        };
        if let Some(runtime) = &model.runtime {
            let rehearsal = runtime.spawn(Rehearsal::start(script)).await??;
            model.base_url = rehearsal.base_url();
            model.rehearsal = Some(rehearsal);
        }
        Ok(model)
    }

    async fn stop(mut self) {
        if let (Some(runtime), Some(rehearsal)) = (&self.runtime, self.rehearsal.take()) {
            let _ = runtime.spawn(rehearsal.stop()).await;
        }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // A runtime that is dropped within another waits, and may not.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Keeps a queue filled until it is stopped.
pub(super) struct Feeder {
    feeding: JoinHandle<anyhow::Result<()>>,
    enough: CancellationToken,
}

impl Feeder {
    /// Fills the run's queue with runs like it, and waits until the worker goes at its full rate.
    pub(super) async fn start(bench: &Bench, start: StartRun) -> anyhow::Result<Self> {
        let enough = CancellationToken::new();
        let (taking, taken) = oneshot::channel();
        let trough = Trough {
            engine: bench.ground.engine().clone(),
            meter: bench.ground.meter().await?,
            start,
            taking: Some(taking),
        };
        let feeder = Self {
            feeding: tokio::spawn(trough.feed(enough.clone())),
            enough,
        };
        let under_way = tokio::select! {
            taken = tokio::time::timeout(FIRST_CLAIM_LIMIT, taken) => match taken {
                Ok(Ok(())) => bench.pass(WARM_UP).await,
                Ok(Err(_)) | Err(_) => Err(idle()),
            },
            () = bench.shutdown.cancelled() => Err(interrupted()),
        };
        match under_way {
            Ok(()) => Ok(feeder),
            Err(failure) => {
                // Why nothing comes, if the feeder knows.
                feeder.stop().await?;
                Err(failure.into())
            }
        }
    }

    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.enough.cancel();
        self.feeding.await?
    }
}

/// A queue that is kept filled.
struct Trough {
    engine: Engine,
    meter: Meter,
    start: StartRun,
    /// Told once when somebody has taken a run.
    taking: Option<oneshot::Sender<()>>,
}

impl Trough {
    async fn feed(mut self, enough: CancellationToken) -> anyhow::Result<()> {
        let mut is_filled = false;
        while !enough.is_cancelled() {
            let missing = BACKLOG - self.meter.backlog(&self.start.queue, BACKLOG).await?;
            if is_filled
                && missing > 0
                && let Some(taking) = self.taking.take()
            {
                let _ = taking.send(());
            }
            let starts = vec![self.start.clone(); usize::try_from(missing)?];
            if !starts.is_empty() {
                let started = self.engine.start_runs(TENANT, &starts).await;
                started.map_err(|refused| refused.error)?;
            }
            is_filled = true;
            tokio::select! {
                () = tokio::time::sleep(FEED_PERIOD) => {}
                () = enough.cancelled() => {}
            }
        }
        Ok(())
    }
}

/// What is told when nothing was done.
pub(super) fn idle() -> Failure {
    Failure::new(Exit::Failed, "failed", "the worker has done nothing").hint("LONGHAUL_LOG=info shows what it says")
}
