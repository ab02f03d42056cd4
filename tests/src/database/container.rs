//! Postgres in a container, for machines with a Docker engine and without Postgres.

use std::{borrow::Cow, thread::JoinHandle, time::Duration};

use sqlx::{Connection, PgConnection};
use testcontainers::{
    ContainerAsync, Image,
    core::{ContainerPort, WaitFor},
    runners::AsyncRunner,
};
use tokio::sync::oneshot;

const PORT: ContainerPort = ContainerPort::Tcp(5432);
const PASSWORD: &str = "longhaul";
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
const ANSWER_PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
struct Postgres;

impl Image for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn tag(&self) -> &'static str {
        "17-alpine"
    }

    /// None: the official image says "ready" twice, once for the server that only initialises it. See [`answers`].
    fn ready_conditions(&self) -> Vec<WaitFor> {
        Vec::new()
    }

    fn env_vars(&self) -> impl IntoIterator<Item = (impl Into<Cow<'_, str>>, impl Into<Cow<'_, str>>)> {
        [("POSTGRES_PASSWORD", PASSWORD)]
    }

    fn cmd(&self) -> impl IntoIterator<Item = impl Into<Cow<'_, str>>> {
        [
            "-c",
            "fsync=off",
            "-c",
            "synchronous_commit=off",
            "-c",
            "full_page_writes=off",
            "-c",
            "max_connections=300",
        ]
    }

    fn expose_ports(&self) -> &[ContainerPort] {
        &[PORT]
    }
}

/// A running container, removed when this is dropped.
///
/// A thread with its own runtime keeps it: the tests that share it come and go with runtimes of theirs.
#[derive(Debug)]
pub(super) struct Container {
    url: String,
    stop: Option<oneshot::Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl Container {
    /// Starts one, or says why that cannot be.
    pub(super) async fn start() -> Result<Self, String> {
        let (tell, told) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let keeper = std::thread::spawn(move || keep(tell, stopped));
        let url = told
            .await
            .map_err(|_closed| "the container's thread ended early".to_owned())??;
        Ok(Self {
            url,
            stop: Some(stop),
            keeper: Some(keeper),
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(keeper) = self.keeper.take() {
            let _ended = keeper.join();
        }
    }
}

fn keep(tell: oneshot::Sender<Result<String, String>>, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts");
    runtime.block_on(async {
        let container = match Postgres.start().await {
            Ok(container) => container,
            Err(error) => {
                let _nobody_asks = tell.send(Err(error.to_string()));
                return;
            }
        };
        let _nobody_asks = tell.send(answers(&container).await);
        let _dropped = stopped.await;
        let _gone = container.rm().await;
    });
}

/// Waits until the container's Postgres takes a connection; says where it is.
async fn answers(container: &ContainerAsync<Postgres>) -> Result<String, String> {
    let host = container.get_host().await.map_err(|error| error.to_string())?;
    let port = container
        .get_host_port_ipv4(PORT)
        .await
        .map_err(|error| error.to_string())?;
    let url = format!("postgres://postgres:{PASSWORD}@{host}:{port}/postgres");
    let answered = tokio::time::timeout(ANSWER_LIMIT, async {
        while PgConnection::connect(&url).await.is_err() {
            tokio::time::sleep(ANSWER_PAUSE).await;
        }
    });
    answered
        .await
        .map_err(|_elapsed| format!("the container's Postgres did not answer within {ANSWER_LIMIT:?}"))?;
    Ok(url)
}
