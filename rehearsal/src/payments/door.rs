//! The service's HTTP surface.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::json;

use super::{
    PaymentsError, Till,
    ledger::{self, Arrival, Keys, Outcome, Record},
};
use crate::digest::sha256_hex;

pub(super) fn router(till: Arc<Till>) -> Router {
    Router::new()
        .route("/refunds", post(refund))
        .route("/refunds/{key}", get(find_refund))
        .route("/ledger", get(show_ledger))
        .route("/release", post(release))
        .route("/healthz", get(async || "ok"))
        .with_state(till)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefundBody {
    order_id: String,
    amount_cents: i64,
    #[serde(default)]
    reason: String,
}

async fn show_ledger(State(till): State<Arc<Till>>) -> Json<Vec<Record>> {
    Json(till.records())
}

/// What became of the refund with this key: 404 where there is none.
async fn find_refund(State(till): State<Arc<Till>>, Path(key): Path<String>) -> Response {
    let records = till.records();
    let made = records
        .iter()
        .find(|record| record.applied && record.key.as_ref() == Some(&key));
    match made {
        Some(record) => tell(record, Outcome::Applied),
        None => refuse(
            StatusCode::NOT_FOUND,
            "no_such_refund",
            "no refund was made under this key",
        ),
    }
}

async fn release(State(till): State<Arc<Till>>) -> StatusCode {
    till.release();
    StatusCode::NO_CONTENT
}

async fn refund(State(till): State<Arc<Till>>, headers: HeaderMap, body: Bytes) -> Response {
    let asked: RefundBody = match serde_json::from_slice(&body) {
        Ok(asked) => asked,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, "invalid_body", &error.to_string()),
    };
    if asked.amount_cents <= 0 || asked.order_id.is_empty() {
        return refuse(
            StatusCode::BAD_REQUEST,
            "invalid_body",
            "order_id and a positive amount_cents are required",
        );
    }
    let header = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let arrival = Arrival {
        key: header("idempotency-key"),
        worker: header("longhaul-worker"),
        attempt: header("longhaul-attempt"),
        order_id: asked.order_id,
        amount_cents: asked.amount_cents,
        reason: asked.reason,
        body_sha256: sha256_hex(&body),
    };
    // Taken before the record exists: whoever sees the record and then releases is heard.
    let releases_before = *till.releases.borrow();
    match write_down(&till, arrival).await {
        Ok((record, outcome)) => {
            if till.options.lost_order.as_ref() == Some(&record.order_id) {
                till.stopping.cancelled().await;
            } else if outcome == Outcome::Applied {
                till.keep_waiting(&record, releases_before).await;
            }
            tell(&record, outcome)
        }
        Err(error) => {
            tracing::error!(error = %error, "could not write the ledger");
            refuse(
                StatusCode::INTERNAL_SERVER_ERROR,
                "ledger_unavailable",
                "the refund was not applied",
            )
        }
    }
}

/// Writes the arrival on a thread of its own: a client that hangs up cannot stop it halfway.
async fn write_down(till: &Arc<Till>, arrival: Arrival) -> Result<(Record, Outcome), PaymentsError> {
    let keys = if till.options.honours_keys {
        Keys::Honoured
    } else {
        Keys::Ignored
    };
    let writing = {
        let till = Arc::clone(till);
        tokio::task::spawn_blocking(move || {
            let mut ledger = ledger::lock(&till.ledger);
            let written = ledger.arrive(arrival, keys);
            till.arrivals.send_replace(ledger.len());
            written
        })
    };
    writing.await.unwrap_or_else(|stopped| {
        let source = std::io::Error::other(stopped);
        Err(PaymentsError::Ledger {
            path: till.options.ledger.clone(),
            source,
        })
    })
}

impl Till {
    /// The time between applying and answering.
    async fn keep_waiting(&self, record: &Record, releases_before: u64) {
        if self.options.delay_arrivals.is_some_and(|last| record.arrival > last) {
            return;
        }
        let delay = self.options.delay;
        let mut releases = self.releases.subscribe();
        let released = async {
            if !self.options.hold {
                return std::future::pending().await;
            }
            // The sender lives as long as the till, so waiting cannot fail.
            let _ = releases.wait_for(|releases| *releases > releases_before).await;
        };
        let over = async {
            if self.options.hold && delay.is_zero() {
                return std::future::pending().await;
            }
            tokio::time::sleep(delay).await;
        };
        tokio::select! {
            () = released => {}
            () = over => {}
            () = self.stopping.cancelled() => {}
        }
    }
}

fn tell(record: &Record, outcome: Outcome) -> Response {
    if outcome == Outcome::Conflicting {
        let message = "this Idempotency-Key came with another body before";
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, "key_reused", message);
    }
    let body = json!({
        "refund_id": record.refund_id,
        "order_id": record.order_id,
        "amount_cents": record.amount_cents,
        "status": "refunded",
    });
    let mut response = (StatusCode::OK, Json(body)).into_response();
    if outcome == Outcome::Repeated {
        let name = HeaderName::from_static("idempotent-replayed");
        response.headers_mut().insert(name, HeaderValue::from_static("true"));
    }
    response
}

fn refuse(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({"error": {"code": code, "message": message}}))).into_response()
}
