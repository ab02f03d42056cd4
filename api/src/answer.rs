//! JSON answers, each ending its line: a terminal shows its prompt on a line of its own.

use crate::problem::Problem;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// A JSON body.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        let Ok(mut body) = serde_json::to_vec(&self.0) else {
            return Problem::internal("internal_error").into_response();
        };
        body.push(b'\n');
        let headers = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        (headers, body).into_response()
    }
}
