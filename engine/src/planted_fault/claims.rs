//! Faults of those who claim runs and take them back.

use super::{
    CHILD_BY_FENCE, CLAIM_KEEPS_FENCE, CRASHES_UNCOUNTED, EVENT_NUMBER_SKIPPED, LEASE_BY_OWN_CLOCK, is_chosen,
};
use crate::{Claimed, Engine, EngineError, Fence};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// How far ahead of the database the clock of whoever takes back runs is.
const AHEAD: TimeDelta = TimeDelta::milliseconds(1500);

/// The clock that leases are judged by.
pub(crate) fn lease_clock(at: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    if is_chosen(LEASE_BY_OWN_CLOCK) {
        #[expect(
            clippy::disallowed_methods,
            reason = "that it is not the database's clock is the fault"
        )]
        Some(Utc::now() + AHEAD)
    } else {
        at
    }
}

/// The key that starts a child.
pub(crate) fn child_key(key: &str, fence: Fence) -> String {
    if is_chosen(CHILD_BY_FENCE) {
        format!("{key}-{}", fence.0)
    } else {
        key.to_owned()
    }
}

impl Engine {
    /// What a claim came to.
    pub(crate) async fn as_claimed(&self, mut claimed: Vec<Claimed>) -> Result<Vec<Claimed>, EngineError> {
        for run in claimed.iter_mut().filter(|run| run.crashes > 0) {
            if is_chosen(EVENT_NUMBER_SKIPPED) {
                run.event_seq += 1;
            }
            if is_chosen(CLAIM_KEEPS_FENCE) {
                self.lower_fence(run).await?;
            }
        }
        Ok(claimed)
    }

    async fn lower_fence(&self, run: &mut Claimed) -> Result<(), EngineError> {
        let (id, fence) = (run.claim.run.0, run.claim.fence.0);
        for lowered in [
            "update longhaul.run set fence = fence - 1 where id = $1 and fence = $2",
            "update longhaul.event set fence = fence - 1
             where run_id = $1 and fence = $2 and kind = 'run.claimed'",
        ] {
            sqlx::query(lowered).bind(id).bind(fence).execute(&self.pool).await?;
        }
        run.claim.fence = Fence(fence - 1);
        Ok(())
    }
}

/// What becomes of the counts of runs that were just taken back.
pub(crate) async fn forget_crashes(transaction: &mut PgConnection, runs: &[Uuid]) -> Result<(), EngineError> {
    if is_chosen(CRASHES_UNCOUNTED) {
        sqlx::query("update longhaul.run set crashes = 0 where id = any ($1)")
            .bind(runs)
            .execute(transaction)
            .await?;
    }
    Ok(())
}
