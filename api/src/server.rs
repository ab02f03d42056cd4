//! The HTTP door: binds, serves until it is told to stop, and ends what is open.

use crate::connection;
use crate::events::{Feed, Hub};
use crate::limits;
use crate::options::{Access, ApiOptions};
use crate::routes;
use engine::{Connect, Engine};
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Why the HTTP door could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address cannot be listened at.
    #[error("could not listen at {address}")]
    Listen {
        /// As it was asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A token that protects nothing.
    #[error("the token is empty")]
    EmptyToken,
}

/// What the handlers share.
#[derive(Debug, Clone)]
pub(crate) struct App(Arc<Shared>);

/// See [`App`].
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) options: ApiOptions,
    pub(crate) hub: Hub,
    /// Places for followers.
    pub(crate) streams: Arc<Semaphore>,
    /// Places for bodies that hold much memory.
    pub(crate) large_bodies: Semaphore,
    /// Cancelled when everything open has to end.
    pub(crate) stopping: CancellationToken,
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// The HTTP door, listening and not yet answering.
#[derive(Debug)]
pub struct Api {
    listener: TcpListener,
    address: SocketAddr,
    app: App,
    feed: Feed,
    connect: Connect,
}

impl Api {
    /// Takes the address. `connect` is where notifications are listened to, on a connection of its own.
    ///
    /// # Errors
    /// [`ApiError::Listen`] where the address is taken or is not this machine's.
    pub async fn bind(engine: Engine, connect: Connect, options: ApiOptions) -> Result<Self, ApiError> {
        if let Access::Token(token) = &options.access
            && secrecy::ExposeSecret::expose_secret(token).trim().is_empty()
        {
            return Err(ApiError::EmptyToken);
        }
        let refused = |source| ApiError::Listen {
            address: options.listen,
            source,
        };
        let listener = TcpListener::bind(options.listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        if matches!(options.access, Access::AllowAnyone) && !address.ip().is_loopback() {
            warn!("anybody who can reach {address} may start, read and cancel runs: no token is asked for");
        }
        let (hub, feed) = Hub::new();
        let app = App(Arc::new(Shared {
            hub,
            streams: Arc::new(Semaphore::new(options.limits.streams_max)),
            large_bodies: Semaphore::new(limits::LARGE_BODIES_MAX),
            stopping: CancellationToken::new(),
            engine,
            options,
        }));
        Ok(Self {
            listener,
            address,
            app,
            feed,
            connect,
        })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown` is cancelled: then streams end, answers on their way are waited for, and nothing is
    /// left running.
    pub async fn run(self, shutdown: CancellationToken) {
        info!("listening at http://{}", self.address);
        let stopping = self.app.stopping.clone();
        let feeding = tokio::spawn(self.feed.run(self.app.engine.clone(), self.connect));
        let router = routes::router(self.app.clone());
        let limits = self.app.options.limits.clone();
        let serving = connection::serve(self.listener, router, &limits, stopping.clone());
        tokio::pin!(serving);
        tokio::select! {
            () = &mut serving => {}
            () = shutdown.cancelled() => {
                stopping.cancel();
                serving.await;
            }
        }
        feeding.abort();
        info!("stopped");
    }
}

/// Listens and answers until `shutdown` is cancelled. Who wants to know the address first: [`Api::bind`].
///
/// # Errors
/// See [`Api::bind`].
pub async fn serve_api(
    engine: Engine,
    connect: Connect,
    options: ApiOptions,
    shutdown: CancellationToken,
) -> Result<(), ApiError> {
    Api::bind(engine, connect, options).await?.run(shutdown).await;
    Ok(())
}
