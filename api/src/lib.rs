//! Surface: what Longhaul shows over HTTP.
//!
//! Of a worker, its health: see [`health`]. The whole API is behind [`Api`]: `routes.rs` lists what there is, `guard.rs`
//! what every request goes through, `events.rs` the live streams. Every refusal is a problem with a code, whose page is
//! in `docs/errors/`.

mod agents;
mod answer;
mod approvals;
mod body;
mod breakers;
mod connection;
mod events;
mod fields;
mod guard;
mod limits;
mod openapi;
mod options;
mod parameter;
mod problem;
mod reference;
mod routes;
mod runs;
mod server;

pub use limits::Limits;
pub use options::{Access, ApiOptions};
pub use server::{Api, ApiError, serve_api};

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use std::future::Future;
use tokio::net::TcpListener;

/// `/healthz` answers while the process lives; `/readyz` answers as `ready` does, with its reason where it is not.
pub fn health<Ready, Answer>(ready: Ready) -> Router
where
    Ready: Fn() -> Answer + Clone + Send + Sync + 'static,
    Answer: Future<Output = Result<(), String>> + Send,
{
    let readyz = move || {
        let answer = ready();
        async move { tell(answer.await) }
    };
    Router::new()
        .route("/healthz", get(async || tell(Ok(()))))
        .route("/readyz", get(readyz))
}

fn tell(answer: Result<(), String>) -> Response {
    match answer {
        Ok(()) => Json(json!({"status": "ok"})).into_response(),
        Err(reason) => {
            let body = json!({"status": "unavailable", "reason": reason});
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}

/// Serves a router until `shutdown` is done.
///
/// # Errors
/// The listener's.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}
