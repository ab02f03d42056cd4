//! The server: started, killed, started again.

use super::journal::{Journal, deed};
use crate::record::Deed;
use anyhow::Context;
use launcher::{Durability, Server, ServerOptions};
use sqlx::{Connection, PgConnection};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Recovery included.
const READY_LIMIT: Duration = Duration::from_secs(120);
const READY_PERIOD: Duration = Duration::from_millis(20);

pub(super) struct Postgres {
    server: Arc<Mutex<Server>>,
    pub(super) url: String,
    pub(super) address: SocketAddr,
    journal: Arc<Journal>,
}

impl Postgres {
    pub(super) async fn start(folder: &Path, journal: Arc<Journal>) -> anyhow::Result<Self> {
        let settings = [
            // What was acknowledged must be there after SIGKILL, so it must have left the server's own memory. It need
            // not have reached the disk: what was written stays in the kernel's cache, and the machine stays up.
            ("synchronous_commit", "on"),
            // As in production; a page that was torn by a kill could not be mended without.
            ("full_page_writes", "on"),
        ];
        let options = ServerOptions {
            state_dir: folder.join("postgres"),
            durability: Durability::Fast,
            port: None,
            settings: settings
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
        };
        let server = tokio::task::spawn_blocking(|| Server::start(options)).await??;
        Ok(Self {
            url: server.url("longhaul"),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, server.port())),
            server: Arc::new(Mutex::new(server)),
            journal,
        })
    }

    /// SIGKILL to all of it, then again after this while. Returns once it answers.
    pub(super) async fn kill_for(&self, down: Duration) -> anyhow::Result<()> {
        self.journal.write(deed(Deed::PostgresKilled));
        self.with(Server::kill_9).await?;
        tokio::time::sleep(down).await;
        self.with(Server::restart).await?;
        self.ready().await?;
        self.journal.write(deed(Deed::PostgresReady));
        Ok(())
    }

    /// Once it answers a query.
    pub(super) async fn ready(&self) -> anyhow::Result<()> {
        let asking = async {
            while self.ask().await.is_err() {
                tokio::time::sleep(READY_PERIOD).await;
            }
        };
        let answered = tokio::time::timeout(READY_LIMIT, asking).await;
        answered.context("Postgres does not answer")
    }

    async fn ask(&self) -> Result<(), sqlx::Error> {
        let mut connection = PgConnection::connect(&self.url).await?;
        sqlx::query("select 1").execute(&mut connection).await?;
        connection.close().await
    }

    pub(super) async fn stop(&self) -> anyhow::Result<()> {
        self.with(Server::stop).await
    }

    async fn with<D>(&self, done: D) -> anyhow::Result<()>
    where
        D: FnOnce(&mut Server) -> Result<(), launcher::LauncherError> + Send + 'static,
    {
        let server = Arc::clone(&self.server);
        let doing = move || done(&mut server.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(tokio::task::spawn_blocking(doing).await??)
    }
}
