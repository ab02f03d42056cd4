//! A worker: claims runs that are due, drives each in a task of its own, and gives everything back when it stops.
//!
//! A process that loses its lease or its database begins anew under another identity: what it held is another's by then.

use crate::announcer::Announcer;
use crate::config::Config;
use crate::drive::Shared;
use crate::gates::Gates;
use crate::model::ModelClient;
use crate::session::{Ended, Session};
use crate::tool::{Databases, Functions, ToolBox};
use crate::workflow::{Context, WorkflowError, Workflows};
use engine::recorder::Recorder;
use engine::{Connect, Engine, EngineError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Between two tries to reach a database that is away.
const RECONNECT_PERIOD: Duration = Duration::from_secs(1);

/// Why a worker could not go on.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The database refused, and would again.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Models cannot be called as configured.
    #[error(transparent)]
    Model(#[from] crate::model::ModelClientError),
}

/// What a worker's program brings along: Rust functions that agents call, and workflows.
#[derive(Debug, Default)]
pub struct Program {
    /// By the names that agents' tools name.
    pub functions: Functions,
    /// By the names that runs name as their kind.
    pub workflows: Workflows,
}

impl From<Functions> for Program {
    fn from(functions: Functions) -> Self {
        Self {
            functions,
            workflows: Workflows::default(),
        }
    }
}

/// A worker, ready to run.
#[derive(Debug)]
pub struct Worker {
    connect: Connect,
    config: Config,
    program: Program,
}

/// Builds a [`Worker`].
#[derive(Debug)]
pub struct Builder {
    worker: Worker,
}

impl Builder {
    /// Registers all that a program brings along.
    #[must_use]
    pub fn program(mut self, program: Program) -> Self {
        self.worker.program = program;
        self
    }

    /// Registers Rust functions that agents may call.
    #[must_use]
    pub fn functions(mut self, functions: Functions) -> Self {
        self.worker.program.functions = functions;
        self
    }

    /// Registers a workflow under the name that runs name as their kind.
    #[must_use]
    pub fn workflow<I, O, F, Fut>(mut self, name: &str, workflow: F) -> Self
    where
        I: DeserializeOwned + Send,
        O: Serialize,
        F: Fn(Context, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, WorkflowError>> + Send + 'static,
    {
        self.worker.program.workflows.register(name, workflow);
        self
    }

    /// The worker.
    pub fn build(self) -> Worker {
        self.worker
    }
}

/// Transactions of workflows and of tools that are open at once; each has a connection that the worker's own statements do without.
const TRANSACTIONS_MAX: u32 = 4;

impl Worker {
    /// Starts building a worker.
    pub fn builder(connect: Connect, config: Config) -> Builder {
        Builder {
            worker: Self {
                connect,
                config,
                program: Program::default(),
            },
        }
    }

    /// Works until the token is cancelled, then drains: no new claim, work in hand finished or given back, no attempt
    /// spent. While the database is away it claims nothing and keeps trying.
    ///
    /// # Errors
    /// What no patience would mend: a schema that this program does not know, a refused login.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), WorkerError> {
        #[cfg(feature = "planted-faults")]
        crate::planted_fault::check();
        let databases = Databases::new(&self.config.databases);
        let tools = ToolBox::new(self.program.functions, self.config.environment.clone()).with_databases(databases);
        let models = ModelClient::new(&self.config.endpoint)?;
        let patience = Patience { shutdown: &shutdown };
        let (engine, recorder) = loop {
            match reach(&self.connect).await {
                Ok(reached) => break reached,
                Err(error) => patience.after(error).await?,
            }
            if shutdown.is_cancelled() {
                return Ok(());
            }
        };
        while let Err(error) = engine.check_schema().await {
            patience.after(error).await?;
            if shutdown.is_cancelled() {
                return Ok(());
            }
        }
        #[cfg(feature = "planted-faults")]
        crate::planted_fault::plant(&engine).await;
        let announcer = if self.config.notifications {
            Announcer::new()
        } else {
            Announcer::default()
        };
        let shared = Arc::new(Shared {
            engine,
            models,
            tools,
            workflows: self.program.workflows,
            worker_name: self.config.name.clone(),
            drain_grace: self.config.drain_grace,
            announcer,
            recorder,
            gates: Gates::new(self.config.calls_max),
            transactions: Arc::new(Semaphore::new(TRANSACTIONS_MAX as usize)),
            tool_settings: self.config.tool_settings.clone(),
            versions: Mutex::default(),
        });
        let mut helpers = JoinSet::new();
        let (announcing, connect) = (Arc::clone(&shared), self.connect.clone());
        helpers.spawn(async move { announcing.announcer.announce(connect).await });
        while !shutdown.is_cancelled() {
            match Session::open(&self.connect, &self.config, Arc::clone(&shared)).await {
                Ok(session) => match session.run(&shutdown).await {
                    Ended::Drained => break,
                    Ended::LeaseLost => info!(worker.name = %self.config.name, "beginning anew under another identity"),
                },
                Err(error) => patience.after(error).await?,
            }
        }
        shared.announcer.finish(&shared.engine).await;
        shared.engine.close().await;
        Ok(())
    }
}

/// Connections for all that a worker asks, and the recorder with its own.
async fn reach(connect: &Connect) -> Result<(Engine, Recorder), EngineError> {
    let connect = &Connect {
        connections_max: connect.connections_max.saturating_add(TRANSACTIONS_MAX),
        ..connect.clone()
    };
    let engine = Engine::connect(connect).await?;
    let recorder = Recorder::start(connect, engine.clone()).await?;
    Ok((engine, recorder))
}

/// Waits for a database that is away.
struct Patience<'a> {
    shutdown: &'a CancellationToken,
}

impl Patience<'_> {
    /// Waits a moment, or until a shutdown, after an error that may pass; hands back one that will not.
    async fn after(&self, error: EngineError) -> Result<(), EngineError> {
        if !error.is_transient() {
            return Err(error);
        }
        warn!(error = %chain(&error), "the database does not answer, trying again");
        tokio::select! {
            () = tokio::time::sleep(RECONNECT_PERIOD) => {}
            () = self.shutdown.cancelled() => {}
        }
        Ok(())
    }
}

/// An error with its sources, for a log line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Some errors print their source themselves.
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
