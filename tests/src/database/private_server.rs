//! A Postgres that belongs to one test, for tests that stop it, kill it and start it again.

use std::sync::{Arc, Mutex, PoisonError};

use launcher::{Durability, LauncherError, Server};

use super::migrate;

/// An own server with durable settings and one migrated database. Needs Postgres binaries on this machine.
#[derive(Debug, Clone)]
pub struct PrivateServer {
    server: Arc<Mutex<Server>>,
    url: String,
}

impl PrivateServer {
    /// Starts one and migrates its database.
    pub async fn start() -> Self {
        let started = tokio::task::spawn_blocking(|| Server::start_temporary(Durability::Durable)).await;
        let server = started
            .expect("starting a server does not panic")
            .unwrap_or_else(|error| panic!("{error}"));
        let url = server.url("longhaul");
        migrate(url.clone()).await;
        Self {
            server: Arc::new(Mutex::new(server)),
            url,
        }
    }

    /// The URL of the migrated database; it stays the same over restarts.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Kills all of its processes with `SIGKILL` and waits until they are gone.
    pub async fn kill_9(&self) {
        self.act(Server::kill_9).await;
    }

    /// Shuts it down as an operator would; connections are ended.
    pub async fn stop(&self) {
        self.act(Server::stop).await;
    }

    /// Starts it again on the same data and port, after stopping it if it runs; waits until it is ready.
    pub async fn restart(&self) {
        self.act(Server::restart).await;
    }

    async fn act(&self, action: fn(&mut Server) -> Result<(), LauncherError>) {
        let server = Arc::clone(&self.server);
        let acting =
            tokio::task::spawn_blocking(move || action(&mut server.lock().unwrap_or_else(PoisonError::into_inner)));
        acting
            .await
            .expect("the launcher does not panic")
            .unwrap_or_else(|error| panic!("{error}"));
    }
}
