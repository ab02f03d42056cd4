//! What is said of the API as a whole, and of every route alike, in its OpenAPI document.

use crate::options::Access;
use crate::problem::PROBLEM_JSON;
use crate::runs::{LabelFilter, agent_or_workflow};
use serde_json::json;
use utoipa::PartialSchema;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{Schema, SchemaFormat, SchemaType, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    ComponentsBuilder, HeaderBuilder, InfoBuilder, LicenseBuilder, ObjectBuilder, OpenApi, OpenApiBuilder, Ref, RefOr,
    Response, ResponseBuilder,
};

const SCHEME: &str = "token";

const DESCRIPTION: &str = "Durable runs of agents and workflows on Postgres. Every answer that is not what was asked for is \
`application/problem+json` with a stable `code`; `/docs/errors/CODE` says what happened and what to do. Lists go on with \
`cursor`. The same things can be done in SQL and with the `longhaul` command.";

/// Before the routes.
pub(crate) fn bare() -> OpenApi {
    let license = LicenseBuilder::new()
        .name("MIT OR Apache-2.0")
        .identifier(Some("MIT OR Apache-2.0"))
        .build();
    let info = InfoBuilder::new()
        .title("Longhaul")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .license(Some(license))
        .build();
    let tag = |name: &str, description: &str| TagBuilder::new().name(name).description(Some(description)).build();
    OpenApiBuilder::new()
        .info(info)
        .tags(Some([
            tag("runs", "Durable executions of an agent or a workflow"),
            tag("approvals", "What people are asked, and what they decide"),
            tag("breakers", "What keeps calls from targets that fail"),
            tag("agents", "Definitions of what an agent may do and spend"),
            tag("health", "For whoever watches the process"),
        ]))
        .components(Some(
            ComponentsBuilder::new()
                .schema("Problem", problem())
                .schema("LabelFilter", LabelFilter::schema())
                .build(),
        ))
        .build()
}

fn text(description: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
}

fn problem() -> RefOr<Schema> {
    let mistakes = ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::Array))
        .description(Some(
            "`invalid_agent_file`: every mistake, with line, key, found and expected",
        ));
    let status = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(400))
        .maximum(Some(599))
        .description(Some("The HTTP status"));
    let item = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(0))
        .description(Some("In a batch: the run that was refused, from 0"));
    let uri = SchemaFormat::Custom("uri-reference".to_owned());
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("Why a request was not done"))
        .property("type", text("A page about this code").format(Some(uri)))
        .property("title", text("The code in words"))
        .property("status", status)
        .property("code", text("Stable, for programs"))
        .property("detail", text("What was wrong this time"))
        .property("hint", text("What to do about it"))
        .property("parameter", text("`bad_parameter`: which one"))
        .property("item", item)
        .property("mistakes", mistakes)
        .required("type")
        .required("title")
        .required("status")
        .required("code")
        .required("detail")
        .examples([json!({
            "type": "/docs/errors/no_such_run", "title": "There is no such run", "status": 404, "code": "no_such_run",
            "detail": "run 01a1f762-b174-7000-a4f5-d095ea2e20bd does not exist",
        })])
        .into()
}

/// After the routes: what all of them answer alike.
pub(crate) fn complete(mut document: OpenApi, access: &Access) -> OpenApi {
    let asks_token = matches!(access, Access::Token(_));
    if asks_token && let Some(components) = &mut document.components {
        components.add_security_scheme(SCHEME, SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
    if let Some(RefOr::T(Schema::Object(new_run))) = document
        .components
        .as_mut()
        .and_then(|components| components.schemas.get_mut("NewRun"))
    {
        new_run.extensions = Some(Extensions::from_iter([("oneOf", agent_or_workflow())]));
    }
    for (path, item) in &mut document.paths.paths {
        for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
            describe_refusals(operation, path);
            never_null(operation);
            if asks_token && path.starts_with("/v1/") {
                operation.security = Some(vec![SecurityRequirement::new(SCHEME, Vec::<String>::new())]);
            }
        }
    }
    document
}

/// Statuses that any route may answer with, besides its own.
fn describe_refusals(operation: &mut Operation, path: &str) {
    let mut all = vec![
        ("431", "`headers_too_large`"),
        ("403", "`cross_site_request`, `wrong_host`"),
        ("500", "`internal_error`, `database_error`, `unreadable_row`"),
        (
            "503",
            "`database_unavailable`, `unknown_schema`, `timed_out`, `too_many_streams`; try again",
        ),
    ];
    if path.starts_with("/v1/") {
        all.push((
            "400",
            "`bad_id`, `bad_parameter`, `unknown_parameter`, `bad_cursor`, `bad_header`, `malformed_json`",
        ));
        all.push(("401", "`unauthorized`"));
    }
    if operation.request_body.is_some() {
        all.push(("408", "`request_timeout`"));
        all.push((
            "413",
            "`body_too_large`, `body_too_deep`, and payloads of their own: `input_too_large`, …",
        ));
        all.push(("415", "`unsupported_media_type`"));
        all.push((
            "422",
            "`invalid_body`, `unknown_field`, `invalid_agent_file`, and values that cannot be: `invalid_priority`, …",
        ));
    }
    for (status, description) in all {
        let known = operation.responses.responses.entry(status.to_owned());
        known.or_insert_with(|| RefOr::T(ResponseBuilder::new().description(description).build()));
    }
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response {
            say_problem(status, response);
        }
    }
}

/// A parameter is left out or has a value: none is null.
fn never_null(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        let RefOr::T(parameter) = parameter else { continue };
        match &mut parameter.schema {
            Some(RefOr::T(Schema::Object(object))) => object.schema_type = without_null(&object.schema_type),
            Some(RefOr::T(Schema::Array(array))) => array.schema_type = without_null(&array.schema_type),
            Some(RefOr::T(Schema::OneOf(either))) => {
                if let Some(named @ RefOr::Ref(_)) = either.items.pop() {
                    parameter.schema = Some(named);
                }
            }
            Some(_) | None => {}
        }
    }
}

fn without_null(types: &SchemaType) -> SchemaType {
    match types {
        SchemaType::Array(several) => match several.iter().find(|single| **single != Type::Null) {
            Some(single) => SchemaType::Type(single.clone()),
            None => types.clone(),
        },
        SchemaType::Type(_) | SchemaType::AnyValue => types.clone(),
    }
}

fn say_problem(status: &str, response: &mut Response) {
    let id = HeaderBuilder::new().description(Some("The request's id")).build();
    response.headers.insert("x-request-id".to_owned(), id.into());
    if status.starts_with(['4', '5']) {
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("Problem")))
            .build();
        response.content.insert(PROBLEM_JSON.to_owned(), content.into());
    }
    if status == "503" {
        let again = HeaderBuilder::new().description(Some("Seconds to wait")).build();
        response.headers.insert("Retry-After".to_owned(), again.into());
    }
}
