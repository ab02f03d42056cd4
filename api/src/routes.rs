//! Every route, and what stands around all of them.

use crate::answer::Json;
use crate::guard;
use crate::limits::READY_LIMIT;
use crate::openapi;
use crate::parameter::Names;
use crate::problem::{Problem, pages};
use crate::reference;
use crate::server::App;
use crate::{agents, approvals, breakers, events, runs};
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes, and the document that describes them.
fn described() -> (Router<App>, utoipa::openapi::OpenApi) {
    OpenApiRouter::with_openapi(openapi::bare())
        .routes(routes!(runs::list, runs::start))
        .routes(routes!(runs::start_batch))
        .routes(routes!(runs::show))
        .routes(routes!(runs::journal))
        .routes(routes!(runs::transcript))
        .routes(routes!(events::follow))
        .routes(routes!(runs::children))
        .routes(routes!(runs::signals, runs::signal))
        .routes(routes!(runs::cancel))
        .routes(routes!(runs::pause))
        .routes(routes!(runs::resume))
        .routes(routes!(approvals::list))
        .routes(routes!(approvals::show))
        .routes(routes!(approvals::decide))
        .routes(routes!(breakers::list))
        .routes(routes!(breakers::show))
        .routes(routes!(breakers::reset))
        .routes(routes!(breakers::open))
        .routes(routes!(agents::list, agents::apply))
        .routes(routes!(agents::show))
        .routes(routes!(agents::versions))
        .routes(routes!(agents::version))
        .routes(routes!(healthz))
        .routes(routes!(readyz))
        .split_for_parts()
}

pub(crate) fn router(app: App) -> Router {
    let (router, document) = described();
    let document = openapi::complete(document, &app.options.access);
    let page: Arc<str> = reference::page(&document).into();
    let json = serde_json::to_string_pretty(&document).unwrap_or_default() + "\n";
    let json: Arc<str> = json.into();
    router
        .route(
            "/openapi.json",
            get(async move || cached("application/json", json.to_string())),
        )
        .route(
            "/docs",
            get(async move || cached("text/html; charset=utf-8", page.to_string())),
        )
        .route(
            "/docs/errors",
            get(async || Html(reference::text_page("Errors", pages::INDEX))),
        )
        .route("/docs/errors/{code}", get(error_page))
        .route("/", get(async || Html(reference::FRONT)))
        .fallback(no_such_route)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(app.clone(), guard::surround))
        .with_state(app)
}

fn cached(content_type: &'static str, body: String) -> impl IntoResponse {
    let headers: [(HeaderName, &'static str); 2] =
        [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "public, max-age=60")];
    (headers, body)
}

async fn error_page(Names(code): Names<String>) -> Result<Html<String>, Problem> {
    let page = match code.as_str() {
        "steps" => Some(pages::STEPS),
        code => pages::page(code),
    };
    let page = page.ok_or_else(|| Problem::not_found("no_such_route", "there is no such error code"))?;
    Ok(Html(reference::text_page(&code, page)))
}

async fn no_such_route(method: Method, uri: Uri) -> Problem {
    Problem::not_found("no_such_route", format!("there is nothing at {method} {}", uri.path()))
        .hint("GET /openapi.json describes what there is; GET /docs shows it to people")
}

async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!(
            "{} does not take {method}; the header Allow says what it takes",
            uri.path()
        ),
    )
}

/// How the server is.
#[derive(Serialize, ToSchema)]
struct Health {
    #[schema(example = "ok")]
    status: &'static str,
}

/// Is the process alive
///
/// Asks nothing of anybody.
#[utoipa::path(get, path = "/healthz", tag = "health", operation_id = "isAlive",
    responses((status = 200, description = "It is", body = Health)))]
async fn healthz() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Is it ready
///
/// Whether the database answers and has the schema that this program knows.
#[utoipa::path(get, path = "/readyz", tag = "health", operation_id = "isReady",
    responses((status = 200, description = "It is", body = Health)))]
async fn readyz(State(app): State<App>) -> Result<Response, Problem> {
    match tokio::time::timeout(READY_LIMIT, app.engine.check_schema()).await {
        Ok(checked) => checked?,
        Err(_) => {
            let told = format!("the database has not answered within {READY_LIMIT:?}");
            return Err(Problem::unavailable("database_unavailable", told));
        }
    }
    Ok(Json(Health { status: "ok" }).into_response())
}
