//! The rehearsal itself: a server that judges, chooses a rule, writes down what it was asked, and answers.
//!
//! Start at [`Rehearsal::start`]; one request's way is `answer_message`.

use std::{
    fs::OpenOptions,
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{any, post},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    limits::BODY_BYTES_MAX,
    listen::Server,
    record::{Asked, Notebook},
    scene::Scene,
    script::{Script, ScriptError},
};

mod answer;
mod reply;
#[cfg(test)]
mod tests;

/// Why a rehearsal cannot be held.
#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    /// The script cannot be played.
    #[error("the script cannot be played")]
    Script(#[from] ScriptError),
    /// The address cannot be listened at.
    #[error("could not listen at {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The record cannot be written.
    #[error("could not open the record {}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Where a rehearsal is held and whether it is recorded.
#[derive(Debug, Clone)]
pub struct RehearsalOptions {
    /// Address to listen at; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// File that gets one line of JSON for each request, added to what it holds.
    pub record: Option<PathBuf>,
}

impl RehearsalOptions {
    /// Any free port of the loopback interface, without a record.
    pub fn loopback() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            record: None,
        }
    }
}

/// A running rehearsal. Dropped, it stops.
pub struct Rehearsal {
    server: Server,
    stage: Arc<Stage>,
}

impl Rehearsal {
    /// Plays `script` at a free port of the loopback interface.
    pub async fn start(script: Script) -> Result<Self, RehearsalError> {
        Self::start_with(script, RehearsalOptions::loopback()).await
    }

    /// Plays `script` where the options say.
    pub async fn start_with(script: Script, options: RehearsalOptions) -> Result<Self, RehearsalError> {
        script.check()?;
        let file = match options.record {
            None => None,
            Some(path) => {
                let opened = OpenOptions::new().create(true).append(true).open(&path);
                Some(opened.map_err(|source| RehearsalError::Record { path, source })?)
            }
        };
        let stopping = CancellationToken::new();
        let stage = Arc::new(Stage::new(script, Notebook::new(file), stopping.clone()));
        let address = options.listen;
        let server = Server::start(router(Arc::clone(&stage)), address, stopping).await;
        let server = server.map_err(|source| RehearsalError::Listen { address, source })?;
        Ok(Self { server, stage })
    }

    /// What clients take as the base URL, for example `http://127.0.0.1:41234`; paths begin with `/v1`.
    pub fn base_url(&self) -> String {
        self.server.base_url()
    }

    /// What was asked so far, in order; of a long rehearsal the latest 10,000 requests.
    pub fn asked(&self) -> Vec<Asked> {
        self.stage.lock().notebook.asked()
    }

    /// Waits until at least `count` requests came. Waits forever if they do not: the caller sets a limit.
    pub async fn wait_for_asked(&self, count: u64) {
        let mut asked = self.stage.asked_count.subscribe();
        // The sender lives as long as the stage, so waiting cannot fail.
        let _ = asked.wait_for(|asked| *asked >= count).await;
    }

    /// Stops: cuts what is being answered and closes the socket.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

/// Plays `script` until `shutdown` is done.
pub async fn serve(
    script: Script,
    options: RehearsalOptions,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), RehearsalError> {
    let rehearsal = Rehearsal::start_with(script, options).await?;
    tracing::info!(base_url = %rehearsal.base_url(), "rehearsal listening at {}", rehearsal.base_url());
    shutdown.await;
    rehearsal.stop().await;
    Ok(())
}

/// What the handlers share.
struct Stage {
    book: Mutex<Book>,
    asked_count: watch::Sender<u64>,
    stopping: CancellationToken,
}

/// What changes with each request; held for moments only.
struct Book {
    order: u64,
    scene: Scene,
    notebook: Notebook,
}

impl Stage {
    fn new(script: Script, notebook: Notebook, stopping: CancellationToken) -> Self {
        let book = Book {
            order: 0,
            scene: Scene::new(script),
            notebook,
        };
        Self {
            book: Mutex::new(book),
            asked_count: watch::Sender::new(0),
            stopping,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn router(stage: Arc<Stage>) -> Router {
    Router::new()
        .route("/v1/messages", post(answer::answer_message))
        .route("/v1/messages/count_tokens", post(answer::answer_count))
        .fallback(any(answer::answer_elsewhere))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(stage)
}
