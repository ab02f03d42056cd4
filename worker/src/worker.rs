//! A worker: claims runs that are due, drives each in a task of its own, and gives everything back when it stops.
//!
//! A process that loses its lease or its database begins anew under another identity: what it held is another's by then.

use crate::config::Config;
use crate::model::ModelClient;
use crate::session::{Ended, Session};
use crate::tool::{Functions, ToolBox};
use engine::{Connect, Engine, EngineError};
use std::time::Duration;
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

/// A worker, ready to run.
#[derive(Debug)]
pub struct Worker {
    connect: Connect,
    config: Config,
    functions: Functions,
}

/// Builds a [`Worker`].
#[derive(Debug)]
pub struct Builder {
    worker: Worker,
}

impl Builder {
    /// Registers Rust functions that agents may call.
    #[must_use]
    pub fn functions(mut self, functions: Functions) -> Self {
        self.worker.functions = functions;
        self
    }

    /// The worker.
    pub fn build(self) -> Worker {
        self.worker
    }
}

impl Worker {
    /// Starts building a worker.
    pub fn builder(connect: Connect, config: Config) -> Builder {
        Builder {
            worker: Self {
                connect,
                config,
                functions: Functions::default(),
            },
        }
    }

    /// Works until the token is cancelled, then drains: no new claim, work in hand finished or given back, no attempt
    /// spent. While the database is away it claims nothing and keeps trying.
    ///
    /// # Errors
    /// What no patience would mend: a schema that this program does not know, a refused login.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), WorkerError> {
        let tools = ToolBox::new(self.functions, self.config.environment.clone());
        let models = ModelClient::new(&self.config.endpoint)?;
        let Some(engine) = patiently(&shutdown, async || Engine::connect(&self.connect).await).await? else {
            return Ok(());
        };
        if patiently(&shutdown, async || engine.check_schema().await)
            .await?
            .is_none()
        {
            return Ok(());
        }
        let names = (self.config.name.clone(), self.config.drain_grace);
        let shared = std::sync::Arc::new(crate::drive::Shared::new(engine, models, tools, names));
        loop {
            let opened = patiently(&shutdown, async || {
                Session::open(&self.connect, &self.config, std::sync::Arc::clone(&shared)).await
            });
            let Some(session) = opened.await? else { break };
            match session.run(&shutdown).await {
                Ended::Drained => break,
                Ended::LeaseLost => info!(worker.name = %self.config.name, "beginning anew under another identity"),
            }
        }
        shared.engine.close().await;
        Ok(())
    }
}

/// Tries until the database answers. None: a shutdown came first.
async fn patiently<T>(
    shutdown: &CancellationToken,
    mut attempt: impl AsyncFnMut() -> Result<T, EngineError>,
) -> Result<Option<T>, EngineError> {
    loop {
        match attempt().await {
            Err(error) if error.is_transient() => {
                warn!(error = %chain(&error), "the database does not answer, trying again");
            }
            answered => return answered.map(Some),
        }
        tokio::select! {
            () = tokio::time::sleep(RECONNECT_PERIOD) => {}
            () = shutdown.cancelled() => return Ok(None),
        }
    }
}

/// An error with its sources, for a log line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
