//! The product's HTTP door: one process, the same address over all its lives.

use super::journal::{Journal, deed};
use super::process::Process;
use super::slot::Setup;
use crate::record::Deed;
use anyhow::Context;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

/// Below the range from which systems hand out ports for outgoing connections: nobody else lands on the port between
/// two lives.
const PORTS: std::ops::Range<u16> = 12_000..32_000;
const PORT_TRIES: usize = 64;
/// It waits for a database that is away, and so do we.
const READY_LIMIT: Duration = Duration::from_secs(180);
const READY_PERIOD: Duration = Duration::from_millis(50);
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

pub(super) struct HttpDoor {
    setup: Arc<Setup>,
    database_url: String,
    address: SocketAddr,
    journal: Arc<Journal>,
    process: Mutex<Option<Process>>,
}

impl HttpDoor {
    pub(super) async fn open(setup: Arc<Setup>, database_url: String, journal: Arc<Journal>) -> anyhow::Result<Self> {
        let free = || {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, fastrand::u16(PORTS)));
            TcpListener::bind(address).is_ok().then_some(address)
        };
        let address = (0..PORT_TRIES).find_map(|_| free()).context("no port is free")?;
        let door = Self {
            setup,
            database_url,
            address,
            journal,
            process: Mutex::default(),
        };
        *door.process.lock().await = Some(door.start()?);
        door.ready().await?;
        Ok(door)
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn start(&self) -> anyhow::Result<Process> {
        let mut command = Command::new(&self.setup.program);
        command
            .args(["api", "--insecure-no-token", "--listen", &self.address.to_string()])
            .current_dir(&self.setup.folder)
            .env("LONGHAUL_DATABASE_URL", &self.database_url)
            .env("LONGHAUL_LOG", "info")
            .env_remove("LONGHAUL_BREAK");
        if let Some(planted) = &self.setup.planted {
            command.env("LONGHAUL_BREAK", planted);
        }
        Process::start(&mut command, &self.setup.folder.join("logs/api.log"))
    }

    /// SIGKILL, and a new one at once. Returns when that answers.
    pub(super) async fn kill(&self) -> anyhow::Result<()> {
        let mut process = self.process.lock().await;
        if let Some(mut process) = process.take() {
            process.kill();
            self.journal.write(deed(Deed::ApiKilled));
        }
        *process = Some(self.start()?);
        self.ready().await?;
        self.journal.write(deed(Deed::ApiReady));
        Ok(())
    }

    /// Starts it again where it has ended without being killed.
    pub(super) async fn tend(&self) -> anyhow::Result<()> {
        let mut process = self.process.lock().await;
        if let Some(status) = process.as_mut().and_then(Process::ended) {
            let ended = deed(Deed::WorkerEnded).to("api");
            self.journal.write(ended.saying(status.to_string()));
            *process = Some(self.start()?);
        }
        Ok(())
    }

    /// Once it answers.
    pub(super) async fn ready(&self) -> anyhow::Result<()> {
        let asking = async {
            while !matches!(tokio::time::timeout(ANSWER_LIMIT, self.ask()).await, Ok(Ok(true))) {
                tokio::time::sleep(READY_PERIOD).await;
            }
        };
        let answered = tokio::time::timeout(READY_LIMIT, asking).await;
        answered.context("the API does not answer")
    }

    async fn ask(&self) -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(self.address).await?;
        let request = format!(
            "GET /healthz HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(super::request::is_good(&answer))
    }

    pub(super) async fn close(&self) {
        *self.process.lock().await = None;
    }
}
