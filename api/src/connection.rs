//! Connections: accepted up to a bound, cut when their client stops reading, ended in good order.

use crate::limits::{BUFFER_BYTES_MAX, HEAD_TIMEOUT, Limits};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

/// After a failed accept: most often there are no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stopping` is cancelled, then waits for answers that are on their way, but not for long.
pub(crate) async fn serve(listener: TcpListener, router: Router, limits: &Limits, stopping: CancellationToken) {
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let connections = TaskTracker::new();
    while let Some((stream, place)) = next(&listener, &places, &stopping).await {
        let connection = Connection {
            stream: Stalling::new(stream, limits.stall_timeout, stopping.clone()),
            router: router.clone(),
            stopping: stopping.clone(),
            _place: place,
        };
        connections.spawn(connection.serve());
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(limits.stop_grace, connections.wait())
        .await
        .is_err()
    {
        warn!("{} connections are cut: their answers took too long", connections.len());
    }
}

/// The next connection. None: it is time to stop.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    stopping: &CancellationToken,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let accepting = async {
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return Some((stream, place)),
                Err(error) => {
                    warn!(error = %error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = stopping.cancelled() => None,
        accepted = accepting => accepted,
    }
}

struct Connection {
    stream: Stalling,
    router: Router,
    stopping: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve(self) {
        // Events are small and must not wait for each other.
        if let Err(error) = self.stream.stream.set_nodelay(true) {
            debug!(error = %error, "could not set TCP_NODELAY");
        }
        let (router, requests) = (self.router, self.stream.requests.clone());
        let answer = service_fn(move |request: Request<Incoming>| {
            let under_way = requests.token();
            let answering = TowerToHyperService::new(router.clone()).call(request);
            async move {
                // Until its last byte is handed over, the answer is on its way.
                let held = move |frame| {
                    let _ = &under_way;
                    frame
                };
                let answer: Response = answering.await?;
                Ok::<_, Infallible>(answer.map(|body| Body::new(body.map_frame(held))))
            }
        });
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(BUFFER_BYTES_MAX)
            .serve_connection(TokioIo::new(self.stream), answer);
        tokio::pin!(serving);
        let served = tokio::select! {
            served = serving.as_mut() => served,
            () = self.stopping.cancelled() => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        if let Err(error) = served {
            debug!(error = %error, "a connection ended early");
        }
    }
}

/// A client's connection that breaks when it takes nothing for too long. A client that reads slowly is not cut. Once it
/// is time to stop, nothing more comes from a client whose requests are answered: the head that it may have begun is not
/// waited for.
struct Stalling {
    stream: TcpStream,
    patience: Duration,
    /// Runs while the client has no room.
    stalled: Option<Pin<Box<Sleep>>>,
    stopping: CancellationToken,
    /// Those that have come and are not yet answered.
    requests: TaskTracker,
}

impl Stalling {
    fn new(stream: TcpStream, patience: Duration, stopping: CancellationToken) -> Self {
        Self {
            stream,
            patience,
            stalled: None,
            stopping,
            requests: TaskTracker::new(),
        }
    }

    /// What a write came to; one that waits for room waits so long and no longer.
    fn within_patience<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + patience)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client stopped reading",
        )))
    }
}

impl AsyncRead for Stalling {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_pending() && self.stopping.is_cancelled() && self.requests.is_empty() {
            return Poll::Ready(Ok(()));
        }
        read
    }
}

impl AsyncWrite for Stalling {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.within_patience(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.within_patience(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
