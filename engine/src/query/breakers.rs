//! Breakers, for whoever wants to know why calls are kept back.

use crate::{Engine, EngineError, RunId, limits};
use chrono::{DateTime, Utc};

/// A breaker that has had a failure.
#[derive(Debug, Clone, serde::Serialize)]
#[expect(
    missing_docs,
    reason = "the columns of longhaul_audit.breaker, described in migrations/0009_breakers.sql"
)]
pub struct BreakerRow {
    pub scope: String,
    pub state: String,
    pub failures: i32,
    pub failures_max: i32,
    pub cooldown_seconds: i32,
    pub changed_at: DateTime<Utc>,
    pub error_code: Option<String>,
    pub retry_at: Option<DateTime<Utc>>,
    pub trial_run: Option<RunId>,
    pub trial_step: Option<i32>,
    pub waiting: i64,
}

/// A change of a breaker's state.
#[derive(Debug, Clone, serde::Serialize)]
#[expect(
    missing_docs,
    reason = "the columns of longhaul_audit.breaker_change, described in migrations/0009_breakers.sql"
)]
pub struct BreakerChange {
    pub at: DateTime<Utc>,
    pub state: String,
    pub why: String,
    pub run: Option<RunId>,
    pub step: Option<i32>,
    pub error_code: Option<String>,
    pub actor: Option<String>,
    pub reason: Option<String>,
    pub retry_at: Option<DateTime<Utc>>,
}

impl Engine {
    /// Breakers of a tenant that have had a failure, those that keep calls back first, [`limits::PAGE_ROWS_MAX`] at most;
    /// or the one of that name.
    ///
    /// # Errors
    /// The database's.
    pub async fn breakers(&self, tenant: &str, scope: Option<&str>) -> Result<Vec<BreakerRow>, EngineError> {
        Ok(sqlx::query_file_as!(
            BreakerRow,
            "src/query/breaker_list.sql",
            tenant,
            scope,
            limits::PAGE_ROWS_MAX
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// A breaker's last changes of state, newest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn breaker_changes(
        &self,
        tenant: &str,
        scope: &str,
        rows: i64,
    ) -> Result<Vec<BreakerChange>, EngineError> {
        Ok(sqlx::query_file_as!(
            BreakerChange,
            "src/query/breaker_changes.sql",
            tenant,
            scope,
            rows.clamp(1, limits::PAGE_ROWS_MAX)
        )
        .fetch_all(&self.pool)
        .await?)
    }
}
