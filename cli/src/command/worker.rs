//! `longhaul worker`.

use crate::args::{Global, Worker as Args};
use crate::database::{self, not_connected};
use crate::failure::Exit;
use crate::signals;
use anyhow::Context;
use engine::{Connect, Engine, EngineError};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use worker::{Config, Environment, ModelEndpoint, Program, Worker, WorkerError};

/// Whoever asks gives up after two seconds.
const READY_LIMIT: Duration = Duration::from_millis(1500);

pub(crate) async fn run(global: &Global, args: Args, program: Program) -> anyhow::Result<Exit> {
    let url = database::url(global)?;
    let config = config(global, &args);
    let shutdown = CancellationToken::new();
    signals::cancel_on_signal(shutdown.clone())?;
    if args.end_with_stdin {
        signals::end_with_stdin();
    }
    if let Some(address) = args.health_address {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("could not listen at {address}"))?;
        info!("health at http://{}", listener.local_addr().unwrap_or(address));
        let engine: Arc<OnceCell<Engine>> = Arc::default();
        let database = url.clone();
        let health = api::health(move || is_ready(Arc::clone(&engine), database.clone()));
        tokio::spawn(api::serve(listener, health, shutdown.clone().cancelled_owned()));
    }
    let connect = Connect::new(url.as_str(), format!("longhaul worker {}", config.name));
    let worker = Worker::builder(connect, config).program(program).build();
    match worker.run(shutdown).await {
        Ok(()) => Ok(Exit::Ok),
        // A server that is away is waited for; one that refuses the login is not.
        Err(WorkerError::Engine(error @ EngineError::Database(_))) => Err(not_connected(&error, &url).into()),
        Err(error) => Err(error.into()),
    }
}

fn config(global: &Global, args: &Args) -> Config {
    let key = global.settings.value("model_key");
    if key.is_none() {
        warn!("neither LONGHAUL_MODEL_KEY nor ANTHROPIC_API_KEY is set: model calls will fail");
    }
    let endpoint = ModelEndpoint {
        base_url: args.model_url.clone(),
        api_key: key.map(Into::into),
    };
    let name = args.name.clone().unwrap_or_else(host_and_process);
    Config {
        queues: args.queues.clone(),
        lease: args.lease,
        poll: args.poll,
        runs_max: args.runs_max,
        calls_max: args.calls_max,
        drain_grace: args.drain,
        notifications: !args.no_notifications,
        databases: global.settings.database_urls(),
        tool_settings: global.settings.of_tools(),
        ..Config::new(name, endpoint, Environment::of_process())
    }
}

fn host_and_process() -> String {
    let host = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "worker".to_owned());
    format!("{host}:{}", std::process::id())
}

/// The database answers, and its schema is known.
async fn is_ready(engine: Arc<OnceCell<Engine>>, url: String) -> Result<(), String> {
    let asked = async {
        let connected = engine.get_or_try_init(|| database::connect(&url)).await;
        let engine = connected.map_err(|failure| failure.message)?;
        engine.check_schema().await.map_err(|error| error.to_string())
    };
    let answered = tokio::time::timeout(READY_LIMIT, asked).await;
    answered.unwrap_or_else(|_| Err(format!("the database has not answered within {READY_LIMIT:?}")))
}
