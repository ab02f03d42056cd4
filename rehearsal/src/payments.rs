//! The demo's payments service: an outside world with a memory of its own.
//!
//! Every refund that arrives becomes a record of an append-only ledger and is on the disk before it is answered, so the
//! ledger is the judge of how often a refund really happened, whatever became of worker, engine or this process. Knows
//! nothing of the product. Start at [`Payments::start`] within a process, at [`serve`] for a process of its own, and at
//! [`read_ledger`] to judge.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::listen::Server;

mod door;
mod ledger;
#[cfg(test)]
mod tests;

use ledger::Ledger;
pub use ledger::{Record, read_ledger};

/// How the service behaves.
#[derive(Debug, Clone)]
pub struct PaymentsOptions {
    /// The ledger file; made if it is not there, continued if it is.
    pub ledger: PathBuf,
    /// Whether a key seen before is answered without a second refund. A request without a key is always applied.
    pub honours_keys: bool,
    /// Time between applying a refund and answering. In `hold` mode the longest time; zero means without end.
    pub delay: Duration,
    /// Only arrivals up to this number are delayed or held; all if not given.
    pub delay_arrivals: Option<u64>,
    /// Answers to refunds of this order are never given, although the refunds are made.
    pub lost_order: Option<String>,
    /// Whether the answer to an applied refund is held back until [`Payments::release`] or `POST /release`.
    pub hold: bool,
}

impl PaymentsOptions {
    /// A service that honours keys and answers at once.
    pub fn new(ledger: impl Into<PathBuf>) -> Self {
        Self {
            ledger: ledger.into(),
            honours_keys: true,
            delay: Duration::ZERO,
            delay_arrivals: None,
            lost_order: None,
            hold: false,
        }
    }
}

/// Why the service or its ledger is of no use.
#[derive(Debug, thiserror::Error)]
pub enum PaymentsError {
    /// The ledger cannot be read or written.
    #[error("could not use the ledger {}", path.display())]
    Ledger {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A line of the ledger is no record.
    #[error("line {line} of the ledger {} is no record", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The address cannot be listened at.
    #[error("could not listen at {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A running payments service. Dropped, it stops; the ledger stays.
pub struct Payments {
    server: Server,
    till: Arc<Till>,
}

impl Payments {
    /// Serves at a free port of the loopback interface.
    pub async fn start(options: PaymentsOptions) -> Result<Self, PaymentsError> {
        Self::start_at(options, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// Serves at `address`.
    pub async fn start_at(options: PaymentsOptions, address: SocketAddr) -> Result<Self, PaymentsError> {
        let ledger = Ledger::open(&options.ledger)?;
        let stopping = CancellationToken::new();
        let till = Arc::new(Till {
            arrivals: watch::Sender::new(ledger.len()),
            ledger: Arc::new(std::sync::Mutex::new(ledger)),
            releases: watch::Sender::new(0),
            stopping: stopping.clone(),
            options,
        });
        let server = Server::start(door::router(Arc::clone(&till)), address, stopping).await;
        let server = server.map_err(|source| PaymentsError::Listen { address, source })?;
        Ok(Self { server, till })
    }

    /// Where it is served, for example `http://127.0.0.1:41234`.
    pub fn base_url(&self) -> String {
        self.server.base_url()
    }

    /// Every arrival so far, in order.
    pub fn ledger(&self) -> Vec<Record> {
        self.till.records()
    }

    /// Waits until at least `count` refunds arrived. Waits forever if they do not: the caller sets a limit.
    pub async fn wait_for_arrivals(&self, count: usize) {
        let mut arrivals = self.till.arrivals.subscribe();
        // The sender lives as long as the till, so waiting cannot fail.
        let _ = arrivals.wait_for(|arrivals| *arrivals >= count).await;
    }

    /// Lets every answer go that is held at this moment.
    pub fn release(&self) {
        self.till.release();
    }

    /// Stops; answers held at this moment are given first.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

/// Serves at `address` until `shutdown` is done.
pub async fn serve(
    options: PaymentsOptions,
    address: SocketAddr,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), PaymentsError> {
    let payments = Payments::start_at(options, address).await?;
    tracing::info!(base_url = %payments.base_url(), "payments listening at {}", payments.base_url());
    shutdown.await;
    payments.stop().await;
    Ok(())
}

/// What the handlers share.
struct Till {
    options: PaymentsOptions,
    ledger: Arc<std::sync::Mutex<Ledger>>,
    /// How many refunds have arrived.
    arrivals: watch::Sender<usize>,
    /// How often held answers were let go.
    releases: watch::Sender<u64>,
    stopping: CancellationToken,
}

impl Till {
    fn records(&self) -> Vec<Record> {
        ledger::lock(&self.ledger).records().to_vec()
    }

    fn release(&self) {
        self.releases.send_modify(|releases| *releases += 1);
    }
}
