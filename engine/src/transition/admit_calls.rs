//! What keeps calls back: breakers and gates. The decisions are made in the database, by the functions of
//! `migrations/0010_gates.sql`; the thin calls of them stand here.

use super::doors::refuse_nul;
use crate::{Claim, Engine, EngineError, limits};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A call that wants to go out.
#[derive(Debug, Clone, Serialize)]
pub struct AdmitCall {
    /// Its step.
    pub step_seq: i32,
    /// Whose breaker and limits: `tool:agent.name` or `model:host`.
    pub scope: String,
    /// Failures in a row that open the breaker; absent: there is none.
    pub failures_max: Option<i32>,
    /// Whether it waits while a trial call is out.
    pub waits: bool,
    /// Which calls share the limits.
    pub key: String,
    /// Calls out at once.
    pub concurrency: Option<i32>,
    /// Calls in so many seconds.
    pub rate_calls: Option<i32>,
    /// How many.
    pub rate_seconds: Option<i32>,
}

/// Whether a call may go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pass {
    /// It may.
    Admitted,
    /// The breaker is open.
    Open,
    /// The breaker's trial call is out.
    Trial,
    /// All slots are taken.
    Slot,
    /// The rate is used up.
    Rate,
}

/// The answer to a call that wants to go out.
#[derive(Debug, Clone, Deserialize)]
pub struct Admission {
    /// Its step.
    pub step_seq: i32,
    /// Whether it may.
    pub pass: Pass,
    /// When it may be tried again: with an open breaker, or a rate that is used up.
    pub until: Option<DateTime<Utc>>,
    /// When that was decided.
    pub at: DateTime<Utc>,
    /// Whether it had waited for a slot, or for the rate.
    pub has_waited: bool,
    /// The breaker's, under which the outcome is reported.
    pub generation: i64,
    /// The breaker's failures in a row.
    pub failures: i32,
    /// Whether this is the breaker's trial call.
    pub is_trial: bool,
}

/// What became of a call that was let out.
#[derive(Debug, Clone, Serialize)]
pub struct CallReport {
    /// Its step.
    pub step_seq: i32,
    /// Whose breaker and limits.
    pub scope: String,
    /// The key under which it has a slot; absent: it has none.
    pub key: Option<String>,
    /// The breaker's when it was let out; absent: the breaker need not know.
    pub generation: Option<i64>,
    /// `succeeded`, `failed`, `rate_limited` or `neutral`.
    pub outcome: &'static str,
    /// Why it failed.
    pub error_code: Option<String>,
    /// Failures in a row that open the breaker.
    pub failures_max: i32,
    /// How long it is open then.
    pub cooldown_seconds: i32,
}

/// A breaker that is to be opened by hand.
#[derive(Debug, Clone)]
pub struct OpenBreaker {
    /// `tool:agent.name` or `model:host`.
    pub scope: String,
    /// Whose.
    pub tenant: String,
    /// For how long.
    pub seconds: i32,
    /// Why.
    pub reason: Option<String>,
    /// Who does; the database user if absent.
    pub actor: Option<String>,
}

/// Whether slots of dead workers stay taken.
pub(super) fn dead_hold() -> bool {
    #[cfg(feature = "planted-faults")]
    return crate::planted_fault::is_chosen(crate::planted_fault::SLOT_KEPT_BY_THE_DEAD);
    #[cfg(not(feature = "planted-faults"))]
    false
}

impl Engine {
    /// Asks which of these calls may go out now. None: the claim is lost. Asked again after a lost reply, a call keeps what
    /// it was given.
    ///
    /// # Errors
    /// The database's.
    pub async fn admit_calls(&self, claim: &Claim, calls: &[AdmitCall]) -> Result<Option<Vec<Admission>>, EngineError> {
        let calls = serde_json::json!(calls).to_string();
        let answers = sqlx::query_file_scalar!(
            "src/transition/admit_calls.sql",
            claim.run.0,
            claim.fence.0,
            calls,
            dead_hold()
        )
        .fetch_one(&self.pool)
        .await?;
        let read = |text: String| {
            serde_json::from_str(&text).map_err(|error| EngineError::Unreadable(format!("an admission: {error}")))
        };
        answers.map(read).transpose()
    }

    /// Tells what became of calls that were let out, once their results are recorded, and wakes the runs that may go on.
    ///
    /// # Errors
    /// The database's. Told again after a lost reply, a failure may count twice.
    pub async fn report_calls(&self, claim: &Claim, reports: &[CallReport]) -> Result<(), EngineError> {
        let reports = serde_json::json!(reports).to_string();
        let called = sqlx::query_file_scalar!(
            "src/transition/report_calls.sql",
            claim.run.0,
            claim.fence.0,
            reports,
            dead_hold()
        )
        .fetch_one(&self.pool)
        .await?;
        self.wake_called(&called).await
    }

    /// Calls waiters whom nobody has called although they may go on; how many runs that wakes.
    ///
    /// # Errors
    /// The database's.
    pub async fn tend_gates(&self) -> Result<usize, EngineError> {
        let called = sqlx::query_file_scalar!(
            "src/transition/tend_gates.sql",
            i32::try_from(limits::UPKEEP_BATCH_MAX).unwrap_or(i32::MAX),
            dead_hold()
        )
        .fetch_one(&self.pool)
        .await?;
        self.wake_called(&called).await?;
        Ok(called.len())
    }

    /// Wakes runs whose waiters were called. Where this is never done, [`Engine::tend_gates`] does it.
    pub(super) async fn wake_called(&self, called: &[uuid::Uuid]) -> Result<(), EngineError> {
        if called.is_empty() {
            return Ok(());
        }
        sqlx::query_file!("src/transition/wake_called.sql", called)
            .fetch_one(&self.pool)
            .await?;
        Ok(())
    }

    /// Closes a breaker by hand; the state that it had.
    ///
    /// # Errors
    /// Refusal `no_such_breaker`.
    pub async fn reset_breaker(
        &self,
        (tenant, scope): (&str, &str),
        reason: Option<&str>,
        actor: Option<&str>,
    ) -> Result<String, EngineError> {
        refuse_nul([tenant, scope].into_iter().chain(reason).chain(actor))?;
        Ok(
            sqlx::query_file_scalar!("src/transition/reset_breaker.sql", scope, reason, actor, tenant)
                .fetch_one(&self.pool)
                .await?,
        )
    }

    /// Opens a breaker by hand; the state that it had.
    ///
    /// # Errors
    /// Refusal `invalid_breaker`.
    pub async fn open_breaker(&self, wanted: &OpenBreaker) -> Result<String, EngineError> {
        let OpenBreaker {
            scope,
            tenant,
            seconds,
            reason,
            actor,
        } = wanted;
        refuse_nul([tenant, scope].into_iter().chain(reason).chain(actor))?;
        Ok(sqlx::query_file_scalar!(
            "src/transition/open_breaker.sql",
            scope,
            seconds,
            reason.as_deref(),
            actor.as_deref(),
            tenant
        )
        .fetch_one(&self.pool)
        .await?)
    }
}
