//! What both kinds of proxies share: a listener of a slot, and how its connections end.

use super::slot::Slot;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How a connection came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// One side closed it, and so do we.
    Closed,
    /// It broke, or is to break: the worker's side is reset.
    Reset,
}

/// A connection of a worker and the one behind it.
pub(super) struct Pair {
    pub(super) worker: TcpStream,
    pub(super) target: TcpStream,
}

/// The next connection of a worker.
pub(super) async fn accept(listener: &TcpListener) -> std::io::Result<TcpStream> {
    let (worker, _) = listener.accept().await?;
    worker.set_nodelay(true)?;
    Ok(worker)
}

/// Connects to the target and carries the connection to its end.
pub(super) async fn carry<P>(worker: TcpStream, target: SocketAddr, mut cut: watch::Receiver<()>, pass: P)
where
    P: AsyncFnOnce(&mut Pair) -> End,
{
    let Ok(target) = TcpStream::connect(target).await else {
        reset(&worker);
        return;
    };
    if target.set_nodelay(true).is_err() {
        return;
    }
    let mut pair = Pair { worker, target };
    let end = tokio::select! {
        end = pass(&mut pair) => Some(end),
        _ = cut.changed() => None,
    };
    match end {
        Some(End::Closed) => {}
        Some(End::Reset) => reset(&pair.worker),
        None => {
            reset(&pair.worker);
            reset(&pair.target);
        }
    }
}

/// Makes the connection end in a reset once it is dropped.
fn reset(stream: &TcpStream) {
    let _gone = stream.set_zero_linger();
}

/// Which slot's, and where to.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) slot: Arc<Slot>,
    pub(super) target: SocketAddr,
}
