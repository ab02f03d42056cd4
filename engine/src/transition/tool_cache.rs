//! Earlier results of tools that change nothing: where they stand, for later calls that ask the same.
//!
//! What is kept is a hint about journals. It is read and written outside of any run's transition, and losing all of it
//! costs some calls.

use crate::{Engine, EngineError, RunId, limits};

/// By what an earlier result is found.
#[derive(Debug, Clone, Copy)]
pub struct CacheKey<'a> {
    /// Whose data.
    pub tenant: &'a str,
    /// On whose behalf, or empty where results are told to all of the tenant.
    pub requester: &'a str,
    /// The version of the tool: the digest of its definition.
    pub tool: &'a [u8],
    /// What was asked: the digest of the request.
    pub request: &'a [u8],
}

/// An earlier result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// JSON text, as its step has it.
    pub result: String,
    /// How old it is by the database's clock, rounded up.
    pub age_seconds: u64,
}

impl Engine {
    /// An earlier result that is no older than so many seconds.
    ///
    /// # Errors
    /// The database's.
    pub async fn recall(&self, key: CacheKey<'_>, seconds_max: u32) -> Result<Option<Kept>, EngineError> {
        let row = sqlx::query_file!(
            "src/query/recall_result.sql",
            key.tenant,
            key.requester,
            key.tool,
            key.request,
            i32::try_from(seconds_max).unwrap_or(i32::MAX),
            self.at(),
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| Kept {
            result: row.result,
            age_seconds: std::time::Duration::try_from_secs_f64(row.age_seconds.max(0.0).ceil())
                .unwrap_or_default()
                .as_secs(),
        }))
    }

    /// Keeps where the result of a step stands that has succeeded, for so many seconds.
    ///
    /// # Errors
    /// The database's.
    pub async fn remember(&self, key: CacheKey<'_>, (run, seq): (RunId, u32), seconds: u32) -> Result<(), EngineError> {
        sqlx::query_file!(
            "src/transition/remember_result.sql",
            key.tenant,
            key.requester,
            key.tool,
            key.request,
            run.0,
            i32::try_from(seq).unwrap_or(i32::MAX),
            i32::try_from(seconds).unwrap_or(i32::MAX),
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Forgets a batch of results that are of no use any more, and of those beyond [`limits::CACHE_ROWS_MAX`]; how many.
    ///
    /// # Errors
    /// The database's.
    pub async fn sweep_cache(&self) -> Result<usize, EngineError> {
        let forgotten = sqlx::query_file_scalar!(
            "src/transition/sweep_cache.sql",
            limits::CACHE_ROWS_MAX,
            limits::CACHE_BATCH_MAX,
            self.at(),
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(usize::try_from(forgotten).unwrap_or_default())
    }
}
