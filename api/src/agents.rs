//! `/v1/agents`: store definitions, show them and their editions.

use crate::answer::Json;
use crate::body::{essence, read_text, unsupported};
use crate::limits;
use crate::parameter::{Names, Parameters};
use crate::problem::{APPLY_FIRST, Problem};
use crate::runs::raw;
use crate::server::App;
use agent::definition::{Mistake, digest_text, read};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use engine::query::{AgentVersionRow, VersionsWanted};
use engine::{ApplyAgent, payload};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// Something in an agent file that is not as it should be.
#[derive(Serialize, ToSchema)]
pub(crate) struct FileMistake {
    /// From 1.
    #[schema(minimum = 1)]
    line: usize,
    /// Dotted path such as `tool[2].effect`; empty for the file as a whole.
    key: String,
    /// What stands there.
    found: String,
    /// What should.
    expected: String,
}

impl From<Mistake> for FileMistake {
    fn from(mistake: Mistake) -> Self {
        Self {
            line: mistake.line,
            key: mistake.key,
            found: mistake.found,
            expected: mistake.expected,
        }
    }
}

/// What applying a file came to.
#[derive(Serialize, ToSchema)]
pub(crate) struct AppliedAgent {
    /// The agent's name.
    name: String,
    /// The version that new runs get.
    version: i32,
    /// Whether the content was not known before.
    added: bool,
    /// Whether new runs get another version than before.
    changed: bool,
    /// What could be better, in the order of the file.
    warnings: Vec<FileMistake>,
}

/// An agent in a list.
#[derive(Serialize, ToSchema)]
pub(crate) struct AgentSummary {
    name: String,
    /// The version that new runs get.
    version: i32,
    /// SHA-256 of its definition.
    digest: String,
    /// When that version was made the current one.
    applied_at: DateTime<Utc>,
    /// One line for people.
    description: Option<String>,
}

/// A page of agents.
#[derive(Serialize, ToSchema)]
pub(crate) struct AgentPage {
    /// By name.
    agents: Vec<AgentSummary>,
    /// The next page's `cursor`; null: there is none.
    next_cursor: Option<String>,
}

/// An agent as new runs get it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Agent {
    name: String,
    /// The version that new runs get.
    version: i32,
    /// SHA-256 of its definition.
    digest: String,
    /// When that version was made the current one.
    applied_at: DateTime<Utc>,
    /// What it may do and spend, defaults filled in.
    #[schema(value_type = serde_json::Value)]
    definition: Option<Box<RawValue>>,
}

/// An edition in a list.
#[derive(Serialize, ToSchema)]
pub(crate) struct VersionSummary {
    /// From 1.
    version: i32,
    /// SHA-256 of its definition.
    digest: String,
    /// Whether new runs get it.
    is_current: bool,
    created_at: DateTime<Utc>,
    /// By which database user.
    created_by: String,
}

/// A page of an agent's editions.
#[derive(Serialize, ToSchema)]
pub(crate) struct VersionPage {
    /// Newest first.
    versions: Vec<VersionSummary>,
    /// The next page's `cursor`; null: there is none.
    next_cursor: Option<String>,
}

/// An edition of an agent. It never changes.
#[derive(Serialize, ToSchema)]
pub(crate) struct AgentVersion {
    name: String,
    /// From 1.
    version: i32,
    /// SHA-256 of its definition.
    digest: String,
    /// Whether new runs get it.
    is_current: bool,
    created_at: DateTime<Utc>,
    /// By which database user.
    created_by: String,
    /// What it may do and spend, defaults filled in.
    #[schema(value_type = serde_json::Value)]
    definition: Option<Box<RawValue>>,
}

/// Apply an agent file
///
/// Stores the definition under its content's digest and makes it the version that new runs get; runs under way keep
/// theirs. The same content again changes nothing. All mistakes of a file are told at once.
#[utoipa::path(
    post, path = "/v1/agents", tag = "agents", operation_id = "applyAgent",
    request_body(content(
        (String = "application/toml", example = json!(EXAMPLE)),
        (String = "text/plain", example = json!(EXAMPLE)),
    ), description = "An agent file: see docs/agent-file.md"),
    responses(
        (status = 201, description = "A new version was stored", body = AppliedAgent,
         headers(("Location" = String, description = "Where the agent is"))),
        (status = 200, description = "The content was known", body = AppliedAgent,
         headers(("Location" = String, description = "Where the agent is"))),
    ),
)]
pub(crate) async fn apply(
    State(app): State<App>,
    parameters: Parameters,
    request: Request,
) -> Result<Response, Problem> {
    parameters.known(&[])?;
    if !essence(&request).is_some_and(|essence| ["application/toml", "text/plain"].contains(&essence.as_str())) {
        return Err(unsupported("application/toml or text/plain"));
    }
    let text = read_text(request, &app, limits::BODY_BYTES_MAX, "malformed_text").await?;
    let readout = read(&text).map_err(refused)?;
    let agent = readout.agent;
    let applied = app
        .engine
        .apply_agent(ApplyAgent {
            tenant: &app.options.tenant,
            name: &agent.name,
            definition: &digest_text(&agent),
            functions: &agent.functions(),
        })
        .await?;
    let status = if applied.added {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let place = [(LOCATION, format!("/v1/agents/{}", agent.name))];
    let body = AppliedAgent {
        name: agent.name,
        version: applied.version,
        added: applied.added,
        changed: applied.changed,
        warnings: readout.warnings.into_iter().map(FileMistake::from).collect(),
    };
    Ok((status, place, Json(body)).into_response())
}

/// Shown with the route.
const EXAMPLE: &str = r#"name = "greeter"
system = "Greet whoever is named in the input."

[model]
name = "claude-sonnet-4-5"
max_tokens = 512
"#;

fn refused(mistakes: Vec<Mistake>) -> Problem {
    let detail = match mistakes.len() {
        1 => "1 mistake, nothing was applied".to_owned(),
        count => format!("{count} mistakes, nothing was applied"),
    };
    let mistakes: Vec<FileMistake> = mistakes.into_iter().map(FileMistake::from).collect();
    Problem::unprocessable("invalid_agent_file", detail)
        .with("mistakes", serde_json::to_value(mistakes).unwrap_or_default())
}

/// List agents
///
/// By name.
#[utoipa::path(
    get, path = "/v1/agents", tag = "agents", operation_id = "listAgents",
    params(
        ("cursor" = Option<String>, Query, pattern = "^a[a-z0-9-]{1,63}$", description = "`next_cursor` of the page before"),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 200, description = "Rows of a page, 50 if absent"),
    ),
    responses((status = 200, description = "A page", body = AgentPage)),
)]
pub(crate) async fn list(State(app): State<App>, parameters: Parameters) -> Result<Json<AgentPage>, Problem> {
    parameters.known(&["cursor", "limit"])?;
    let (after, limit) = (parameters.cursor(read_cursor)?, parameters.limit()?);
    let rows = app
        .engine
        .agent_page(&app.options.tenant, after.as_deref().unwrap_or_default(), limit)
        .await?;
    let is_full = i64::try_from(rows.len()) == Ok(limit);
    let next_cursor = rows.last().filter(|_| is_full).map(|last| format!("a{}", last.name));
    let agents = rows.into_iter().map(|row| AgentSummary {
        name: row.name,
        version: row.version,
        digest: payload::hex(&row.digest),
        applied_at: row.applied_at,
        description: row.description,
    });
    Ok(Json(AgentPage {
        agents: agents.collect(),
        next_cursor,
    }))
}

fn read_cursor(text: &str) -> Option<String> {
    let name = text.strip_prefix('a')?;
    let is_name = (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    is_name.then(|| name.to_owned())
}

/// Look at an agent
///
/// As new runs get it.
#[utoipa::path(
    get, path = "/v1/agents/{name}", tag = "agents", operation_id = "showAgent",
    params(("name" = String, Path, description = "The agent's name")),
    responses(
        (status = 200, description = "The agent", body = Agent),
        (status = 404, description = "`no_such_agent`"),
    ),
)]
pub(crate) async fn show(
    State(app): State<App>,
    Names(name): Names<String>,
    parameters: Parameters,
) -> Result<Json<Agent>, Problem> {
    parameters.known(&[])?;
    let found = app.engine.agent_list(&app.options.tenant, Some(&name)).await?;
    let agent = found.into_iter().next().ok_or_else(|| no_such_agent(&name))?;
    Ok(Json(Agent {
        name: agent.name,
        version: agent.version,
        digest: payload::hex(&agent.digest),
        applied_at: agent.applied_at,
        definition: raw(Some(agent.definition)),
    }))
}

fn no_such_agent(name: &str) -> Problem {
    Problem::not_found("no_such_agent", format!("agent {name:?} does not exist")).hint(APPLY_FIRST)
}

/// List an agent's versions
///
/// Newest first.
#[utoipa::path(
    get, path = "/v1/agents/{name}/versions", tag = "agents", operation_id = "listAgentVersions",
    params(
        ("name" = String, Path, description = "The agent's name"),
        ("cursor" = Option<String>, Query, pattern = "^v[0-9]{1,9}$", description = "`next_cursor` of the page before"),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 200, description = "Rows of a page, 50 if absent"),
    ),
    responses(
        (status = 200, description = "A page", body = VersionPage),
        (status = 404, description = "`no_such_agent`"),
    ),
)]
pub(crate) async fn versions(
    State(app): State<App>,
    Names(name): Names<String>,
    parameters: Parameters,
) -> Result<Json<VersionPage>, Problem> {
    parameters.known(&["cursor", "limit"])?;
    let wanted = VersionsWanted {
        tenant: &app.options.tenant,
        name: &name,
        version: None,
        before: parameters.cursor(|text| crate::runs::numbered('v', text))?,
        rows: parameters.limit()?,
    };
    let rows = app.engine.agent_versions(wanted).await?;
    if rows.is_empty() && wanted.before.is_none() {
        return Err(no_such_agent(&name));
    }
    let is_full = i64::try_from(rows.len()) == Ok(wanted.rows);
    let next_cursor = rows.last().filter(|_| is_full).map(|last| format!("v{}", last.version));
    let versions = rows.into_iter().map(|row| VersionSummary {
        version: row.version,
        digest: payload::hex(&row.digest),
        is_current: row.is_current,
        created_at: row.created_at,
        created_by: row.created_by,
    });
    Ok(Json(VersionPage {
        versions: versions.collect(),
        next_cursor,
    }))
}

/// Look at a version
///
/// An edition of an agent. It never changes.
#[utoipa::path(
    get, path = "/v1/agents/{name}/versions/{version}", tag = "agents", operation_id = "showAgentVersion",
    params(
        ("name" = String, Path, description = "The agent's name"),
        ("version" = i32, Path, minimum = 1, description = "Which one"),
    ),
    responses(
        (status = 200, description = "The version", body = AgentVersion),
        (status = 404, description = "`no_such_agent_version`"),
    ),
)]
pub(crate) async fn version(
    State(app): State<App>,
    Names((name, version)): Names<(String, String)>,
    parameters: Parameters,
) -> Result<Json<AgentVersion>, Problem> {
    parameters.known(&[])?;
    let number = version
        .parse::<i32>()
        .ok()
        .filter(|number| *number >= 1)
        .ok_or_else(|| Problem::bad_request("bad_id", "a version is a number from 1"))?;
    let wanted = VersionsWanted {
        tenant: &app.options.tenant,
        name: &name,
        version: Some(number),
        before: None,
        rows: 1,
    };
    let found = app.engine.agent_versions(wanted).await?.into_iter().next();
    found.map(|row| Json(shown(name.clone(), row))).ok_or_else(|| {
        let detail = format!("agent {name:?} has no version {number}");
        Problem::not_found("no_such_agent_version", detail)
    })
}

fn shown(name: String, row: AgentVersionRow) -> AgentVersion {
    AgentVersion {
        name,
        version: row.version,
        digest: payload::hex(&row.digest),
        is_current: row.is_current,
        created_at: row.created_at,
        created_by: row.created_by,
        definition: raw(Some(row.definition)),
    }
}
