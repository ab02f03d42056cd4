//! `longhaul dev`: a private Postgres, the API, a worker and an example, in one process and one folder.
//!
//! [`state`] is the folder and who holds it, [`database`] the server in it, [`example`] what is there to try, and
//! [`welcome`] what people are told. What was started last is stopped first; a process that is killed takes its
//! Postgres with it, and the next one finds the data.

mod database;
pub(crate) mod example;
mod state;
mod welcome;

pub(crate) use state::{folder, running};

use crate::args::{Dev as Args, Global};
use crate::command::api::{cannot_listen, not_listening};
use crate::failure::{Exit, Failure, of_engine};
use crate::output::{self, style};
use crate::signals;
use ::api::{Access, Api, ApiOptions};
use ::worker::{Config, Program, Worker, WorkerError};
use database::Database;
use engine::{Connect, Engine};
use example::World;
use state::{Data, StateFolder};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Between two looks at the server.
const LOOK_PERIOD: Duration = Duration::from_millis(500);
/// One worker on one machine: when it was killed, the next start soon takes over what it held.
const LEASE: Duration = Duration::from_secs(5);
/// How long calls in flight may go on after Ctrl-C; somebody sits there and waits.
const DRAIN_GRACE: Duration = Duration::from_secs(5);
/// Longer than this nobody waits without being told for what.
const SILENCE: Duration = Duration::from_secs(1);
/// How long the rest has to end when its database is gone.
const ABANDON_LIMIT: Duration = Duration::from_secs(2);

/// What runs, and ends when asked to.
struct Running {
    worker: JoinHandle<Result<(), WorkerError>>,
    api: JoinHandle<()>,
    world: World,
    engine: Engine,
    database: Database,
}

pub(crate) async fn run(global: &Global, args: Args, program: Program) -> anyhow::Result<Exit> {
    let began = Instant::now();
    let shutdown = CancellationToken::new();
    signals::cancel_on_signal(shutdown.clone())?;
    // What cannot work is told before anything is made.
    let scripts = example::read_scripts(&args.scripts)?;
    if !args.state.exists() {
        is_free(args.listen)?;
    }
    let state = StateFolder::open(&args.state)?;
    is_free(args.listen)?;
    if global.database_url.is_none() {
        announce(&state, global.json);
    }
    let database = Database::start(global.database_url.clone(), &state).await?;
    let engine = match database.prepare(&state).await {
        Ok(engine) => engine,
        Err(failure) => {
            database.stop().await;
            return Err(failure.into());
        }
    };
    let connect = Connect::new(database.url(), "longhaul dev");
    let token = state.token()?;
    let options = ApiOptions {
        tenant: global.tenant.clone(),
        ..ApiOptions::new(args.listen, Access::Token(token.clone().into()))
    };
    let world = World::start(global, &state, scripts).await?;
    let applied = example::apply(&engine, global, &state).await?;
    let api = Api::bind(engine.clone(), connect.clone(), options).await;
    let api = api.map_err(|error| not_listening(&error))?;
    let address = api.address();
    let config = Config {
        lease: LEASE,
        drain_grace: DRAIN_GRACE,
        databases: global.settings.database_urls(),
        tool_settings: global.settings.of_tools(),
        ..Config::new("dev", world.endpoint(), world.environment())
    };
    let worker = Worker::builder(connect, config).program(program).build();
    let running = Running {
        worker: tokio::spawn(worker.run(shutdown.clone())),
        api: tokio::spawn(api.run(shutdown.clone())),
        world,
        engine,
        database,
    };
    state.write_url(running.database.url())?;
    debug!("ready after {} ms", began.elapsed().as_millis());
    welcome::tell(&welcome::Facts {
        address,
        token: &token,
        state: &state,
        database: &running.database,
        model: running.world.model(),
        applied: &applied,
        json: global.json,
    });
    let ended = running.until(&shutdown).await;
    state.forget_url();
    ended?;
    welcome::goodbye(&state, global.json);
    Ok(Exit::Ok)
}

/// What takes long, and what nobody expects.
fn announce(state: &StateFolder, json: bool) {
    let shown = state.shown();
    match state.data() {
        Data::New if !json => {
            let once = format!("making a private Postgres in {shown}; this happens once");
            output::note(style::dim(once));
        }
        Data::New | Data::There => {}
        // Whoever reads the answer with a program wants to know it too.
        Data::Gone => {
            let label = style::yellow("warning:");
            output::note(format!(
                "{label} the data of {shown} is gone; making a private Postgres anew, with an empty database"
            ));
        }
    }
}

/// Asked before anything is started: the API takes the address at the end.
fn is_free(address: SocketAddr) -> Result<(), Failure> {
    match std::net::TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) => Err(cannot_listen(address, &error)),
    }
}

impl Running {
    /// Until somebody wants it to end, or something that it needs has ended.
    async fn until(mut self, shutdown: &CancellationToken) -> Result<(), Failure> {
        let mut looks = tokio::time::interval(LOOK_PERIOD);
        let why = loop {
            tokio::select! {
                // First: a worker that has ended by then was asked to.
                biased;
                () = shutdown.cancelled() => break None,
                _ = looks.tick() => if let Some(failure) = self.database.has_died() {
                    break Some(failure);
                },
                ended = &mut self.worker => break Some(worker_ended(ended)),
            }
        };
        shutdown.cancel();
        let is_well = why.is_none();
        self.stop(is_well).await;
        match why {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    /// The worker and the API first, then what they use.
    async fn stop(self, is_well: bool) {
        let Self {
            worker,
            api,
            world,
            engine,
            database,
        } = self;
        let (abort_worker, abort_api) = (worker.abort_handle(), api.abort_handle());
        let ending = async {
            if !worker.is_finished() {
                let _ = worker.await;
            }
            let _ = api.await;
            engine.close().await;
        };
        if is_well {
            tokio::pin!(ending);
            if tokio::time::timeout(SILENCE, ending.as_mut()).await.is_err() {
                let why = "waiting for calls that are on their way; Ctrl-C again stops at once";
                output::note(style::dim(why));
                ending.await;
            }
        } else if tokio::time::timeout(ABANDON_LIMIT, ending).await.is_err() {
            abort_worker.abort();
            abort_api.abort();
        }
        world.stop().await;
        database.stop().await;
    }
}

fn worker_ended(ended: Result<Result<(), WorkerError>, tokio::task::JoinError>) -> Failure {
    match ended {
        Ok(Err(WorkerError::Engine(error))) => of_engine(&error),
        Ok(Err(WorkerError::Model(error))) => Failure::usage("invalid_model_endpoint", error.to_string()),
        Ok(Ok(())) => Failure::new(Exit::Failed, "failed", "the worker ended although nobody asked it to"),
        Err(error) => Failure::new(Exit::Failed, "failed", format!("the worker broke: {error}")),
    }
}
