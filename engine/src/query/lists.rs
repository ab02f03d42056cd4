//! Lists for people and programs.

use crate::{Engine, EngineError, RunId, limits};
use chrono::{DateTime, Utc};
use sqlx::types::Json;
use std::collections::BTreeMap;

/// Which runs to list.
#[derive(Debug, Clone)]
pub struct RunsWanted {
    /// Whose.
    pub tenant: String,
    /// Only those in this state.
    pub state: Option<String>,
    /// Only those of this agent.
    pub agent: Option<String>,
    /// Only those of this workflow.
    pub workflow: Option<String>,
    /// Only those of this requester.
    pub requester: Option<String>,
    /// Only those that carry all of these labels.
    pub labels: BTreeMap<String, String>,
    /// Only those created then or later.
    pub created_from: Option<DateTime<Utc>>,
    /// Only those created earlier.
    pub created_before: Option<DateTime<Utc>>,
    /// Only those older than this one: the last of the page before.
    pub before: Option<RunId>,
    /// Rows, [`limits::PAGE_ROWS_MAX`] at most.
    pub rows: i64,
}

impl RunsWanted {
    /// All of a tenant's runs, a page of 50.
    pub fn of(tenant: impl Into<String>) -> Self {
        Self {
            tenant: tenant.into(),
            state: None,
            agent: None,
            workflow: None,
            requester: None,
            labels: BTreeMap::new(),
            created_from: None,
            created_before: None,
            before: None,
            rows: 50,
        }
    }
}

/// A run in a list.
#[derive(Debug, Clone, serde::Serialize)]
#[expect(
    missing_docs,
    reason = "the columns of longhaul.run, described in migrations/0002_run.sql"
)]
pub struct RunRow {
    pub id: RunId,
    pub kind: String,
    pub agent: Option<String>,
    pub agent_version: Option<i32>,
    pub state: String,
    pub waiting_for: Option<String>,
    pub wait_reason: Option<String>,
    pub due_at: Option<DateTime<Utc>>,
    pub requester: String,
    pub queue: String,
    pub labels: Json<BTreeMap<String, String>>,
    pub paused_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub worker: Option<String>,
    pub parent_id: Option<RunId>,
    pub on_parent_end: Option<String>,
}

/// Which editions of an agent to list.
#[derive(Debug, Clone, Copy)]
pub struct VersionsWanted<'a> {
    /// Whose.
    pub tenant: &'a str,
    /// The agent's name.
    pub name: &'a str,
    /// Only this one.
    pub version: Option<i32>,
    /// Only those older than this one.
    pub before: Option<i32>,
    /// Rows, [`limits::PAGE_ROWS_MAX`] at most.
    pub rows: i64,
}

/// An agent in a list, without its definition.
#[derive(Debug, Clone)]
pub struct AgentSummary {
    /// Its name.
    pub name: String,
    /// The version that new runs get.
    pub version: i32,
    /// SHA-256 of the definition.
    pub digest: Vec<u8>,
    /// When that version was made the current one.
    pub applied_at: DateTime<Utc>,
    /// One line for people.
    pub description: Option<String>,
}

/// An edition of an agent.
#[derive(Debug, Clone)]
pub struct AgentVersionRow {
    /// From 1.
    pub version: i32,
    /// SHA-256 of the definition.
    pub digest: Vec<u8>,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
    /// By which database user.
    pub created_by: String,
    /// Whether new runs get it.
    pub is_current: bool,
    /// JSON text.
    pub definition: String,
}

/// An agent in a list.
#[derive(Debug, Clone)]
pub struct AgentRow {
    /// Its name.
    pub name: String,
    /// The version that new runs get.
    pub version: i32,
    /// SHA-256 of the definition.
    pub digest: Vec<u8>,
    /// When that version was made the current one.
    pub applied_at: DateTime<Utc>,
    /// JSON text.
    pub definition: String,
}

impl Engine {
    /// Runs, newest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn run_list(&self, wanted: &RunsWanted) -> Result<Vec<RunRow>, EngineError> {
        let rows = sqlx::query_file_as!(
            RunRow,
            "src/query/run_list.sql",
            wanted.tenant,
            wanted.state,
            wanted.agent,
            wanted.before.map(|run| run.0),
            wanted.rows.clamp(1, limits::PAGE_ROWS_MAX),
            wanted.requester,
            serde_json::json!(wanted.labels),
            wanted.created_from,
            wanted.created_before,
            wanted.workflow,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows)
    }

    /// The children of a run after the given one, oldest first, at most `rows`.
    ///
    /// # Errors
    /// The database's.
    pub async fn children(&self, parent: RunId, after: Option<RunId>, rows: i64) -> Result<Vec<RunRow>, EngineError> {
        let after = after.map_or_else(uuid::Uuid::nil, |run| run.0);
        let rows = sqlx::query_file_as!(RunRow, "src/query/children.sql", parent.0, after, rows)
            .fetch_all(&self.pool)
            .await?;
        Ok(rows)
    }

    /// Agents, by name; only the one named, if a name is given.
    ///
    /// # Errors
    /// The database's.
    pub async fn agent_list(&self, tenant: &str, name: Option<&str>) -> Result<Vec<AgentRow>, EngineError> {
        let rows = sqlx::query_file_as!(AgentRow, "src/query/agent_list.sql", tenant, name)
            .fetch_all(&self.pool)
            .await?;
        Ok(rows)
    }

    /// A page of agents by name: those after the name given.
    ///
    /// # Errors
    /// The database's.
    pub async fn agent_page(&self, tenant: &str, after: &str, rows: i64) -> Result<Vec<AgentSummary>, EngineError> {
        let rows = rows.clamp(1, limits::PAGE_ROWS_MAX);
        let rows = sqlx::query_file_as!(AgentSummary, "src/query/agent_page.sql", tenant, after, rows)
            .fetch_all(&self.pool)
            .await?;
        Ok(rows)
    }

    /// Editions of an agent, newest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn agent_versions(&self, wanted: VersionsWanted<'_>) -> Result<Vec<AgentVersionRow>, EngineError> {
        let rows = sqlx::query_file_as!(
            AgentVersionRow,
            "src/query/agent_versions.sql",
            wanted.tenant,
            wanted.name,
            wanted.version,
            wanted.before,
            wanted.rows.clamp(1, limits::PAGE_ROWS_MAX),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows)
    }
}
