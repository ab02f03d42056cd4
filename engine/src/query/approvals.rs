//! What people were asked, for those who decide and for those who act upon it.

use crate::{Engine, EngineError, Fence, RunId, limits};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sqlx::types::Json;
use uuid::Uuid;

/// What was asked about a run, as its driver takes it up.
#[derive(Debug, Clone)]
pub struct AskedRow {
    /// Which approval.
    pub id: Uuid,
    /// Which step; absent: the run as a whole.
    pub step_seq: Option<i32>,
    /// Of the step's attempts, the one that it is about.
    pub attempt: Option<i32>,
    /// The run's, when it was asked.
    pub fence: Fence,
    /// `open`, `decided`, `withdrawn` or `superseded`.
    pub state: String,
    /// Why somebody is asked.
    pub reason: String,
    /// What was decided.
    pub verb: Option<String>,
    /// Who decided.
    pub actor: Option<String>,
    /// In whose words.
    pub words: Option<String>,
    /// JSON text of the step's result, where it is decided that the call happened.
    pub told: Option<String>,
}

/// Which approvals to list.
#[derive(Debug, Clone)]
pub struct ApprovalsWanted {
    /// Whose.
    pub tenant: String,
    /// Only those in this state.
    pub state: Option<String>,
    /// Only those of this run.
    pub run: Option<RunId>,
    /// Only those older than this one: the last of the page before.
    pub before: Option<(DateTime<Utc>, Uuid)>,
    /// Rows, [`limits::PAGE_ROWS_MAX`] at most.
    pub rows: i64,
}

/// An approval in a list.
#[derive(Debug, Clone, Serialize)]
#[expect(
    missing_docs,
    reason = "the columns of longhaul_audit.approval, described in migrations/0008_approvals.sql"
)]
pub struct ApprovalRow {
    pub id: Uuid,
    pub run: RunId,
    pub agent: Option<String>,
    pub kind: String,
    pub run_state: String,
    pub step_seq: Option<i32>,
    pub tool: Option<String>,
    pub reason: String,
    pub state: String,
    pub summary: String,
    pub verbs: Vec<String>,
    pub opened_at: DateTime<Utc>,
    pub settles_at: Option<DateTime<Utc>>,
    pub decided_at: Option<DateTime<Utc>>,
    pub verb: Option<String>,
    pub actor: Option<String>,
    pub words: Option<String>,
    pub priority: String,
}

type Raw = Json<Box<RawValue>>;

/// An approval with all that there is to judge it by; JSON as the database wrote it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(
    missing_docs,
    reason = "the columns of longhaul_audit.approval, described in migrations/0008_approvals.sql"
)]
pub struct ApprovalDetail {
    pub approval_id: Uuid,
    pub run_id: RunId,
    pub tenant: String,
    pub requester: String,
    pub kind: String,
    pub agent: Option<String>,
    pub run_state: String,
    pub step_seq: Option<i32>,
    pub attempt: Option<i32>,
    pub reason: String,
    pub state: String,
    pub summary: String,
    pub verbs: Vec<String>,
    pub opened_at: DateTime<Utc>,
    pub settles_at: Option<DateTime<Utc>>,
    pub decided_at: Option<DateTime<Utc>>,
    pub verb: Option<String>,
    pub actor: Option<String>,
    pub words: Option<String>,
    pub result: Option<Json<Box<RawValue>>>,
    pub name: Option<String>,
    pub effect: Option<String>,
    pub key: Option<String>,
    pub request: Option<Json<Box<RawValue>>>,
    pub error: Option<Json<Box<RawValue>>>,
    pub evidence: Option<Json<Box<RawValue>>>,
    pub probes: Json<Vec<Box<RawValue>>>,
    pub late_results: Json<Vec<Box<RawValue>>>,
    pub priority: String,
}

impl Engine {
    /// What people were asked about a run, in the order asked.
    ///
    /// # Errors
    /// The database's.
    pub async fn asked(&self, run: RunId) -> Result<Vec<AskedRow>, EngineError> {
        Ok(sqlx::query_file_as!(AskedRow, "src/query/approvals.sql", run.0)
            .fetch_all(&self.pool)
            .await?)
    }

    /// A page of approvals, newest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn approvals(&self, wanted: &ApprovalsWanted) -> Result<Vec<ApprovalRow>, EngineError> {
        let (before, before_id) = wanted.before.unzip();
        Ok(sqlx::query_file_as!(
            ApprovalRow,
            "src/query/approval_list.sql",
            wanted.tenant,
            wanted.state.as_deref(),
            wanted.run.map(|run| run.0),
            before,
            before_id,
            wanted.rows.clamp(1, limits::PAGE_ROWS_MAX),
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// All that there is to judge an approval by. None: there is none of that id.
    ///
    /// # Errors
    /// The database's.
    pub async fn approval(&self, id: Uuid) -> Result<Option<ApprovalDetail>, EngineError> {
        Ok(sqlx::query_file_as!(ApprovalDetail, "src/query/approval.sql", id)
            .fetch_optional(&self.pool)
            .await?)
    }
}
