//! A router behind a loopback socket: bind, serve, stop within a bound.

use std::{io, net::SocketAddr};

use axum::{Router, serve::ListenerExt};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::limits::STOP_WITHIN;

/// A server that runs until it is stopped or dropped.
pub(crate) struct Server {
    address: SocketAddr,
    stopping: CancellationToken,
    _stop_when_dropped: DropGuard,
    task: JoinHandle<io::Result<()>>,
}

impl Server {
    /// Serves `router` at `listen` until `stopping` is cancelled.
    pub(crate) async fn start(router: Router, listen: SocketAddr, stopping: CancellationToken) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        // Events are small and must not wait for each other.
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(error = %error, "could not set TCP_NODELAY");
            }
        });
        let stopped = stopping.clone().cancelled_owned();
        let task = tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(stopped).await });
        let stop_when_dropped = stopping.clone().drop_guard();
        Ok(Self {
            address,
            stopping,
            _stop_when_dropped: stop_when_dropped,
            task,
        })
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops taking connections and waits for the open ones, but not long.
    pub(crate) async fn stop(mut self) {
        self.stopping.cancel();
        if tokio::time::timeout(STOP_WITHIN, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}
