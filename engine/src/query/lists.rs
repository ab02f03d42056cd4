//! Lists for people and programs.

use crate::{Engine, EngineError, RunId, limits};
use chrono::{DateTime, Utc};

/// Which runs to list.
#[derive(Debug, Clone)]
pub struct RunsWanted {
    /// Whose.
    pub tenant: String,
    /// Only those in this state.
    pub state: Option<String>,
    /// Only those of this agent.
    pub agent: Option<String>,
    /// Only those older than this one: the last of the page before.
    pub before: Option<RunId>,
    /// Rows, [`limits::PAGE_ROWS_MAX`] at most.
    pub rows: i64,
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
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub worker: Option<String>,
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
        )
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
}
