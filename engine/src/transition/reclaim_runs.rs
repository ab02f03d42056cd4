//! Takes back what dead workers held.
//!
//! Three statements in two transactions, and what wakes those who waited for a slot of theirs in a third: a worker's row is closed first, so that it cannot extend; then its runs are
//! locked; then, in a snapshot taken under the locks, their events are counted on. One statement would read a snapshot
//! older than a record that is just committing.

use crate::{Engine, EngineError, RunId, WorkerId, limits};

/// What was taken back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Workers found dead, with their names.
    pub workers: Vec<(WorkerId, String)>,
    /// Runs put back into their queues.
    pub runs: Vec<RunId>,
}

impl Engine {
    /// Closes workers whose lease has expired and puts a batch of their runs back.
    ///
    /// # Errors
    /// The database's.
    pub async fn reclaim_runs(&self) -> Result<Reclaimed, EngineError> {
        let at = self.at();
        #[cfg(feature = "planted-faults")]
        let at = crate::planted_fault::lease_clock(at);
        let closed = sqlx::query_file!("src/transition/close_expired_workers.sql", at)
            .fetch_all(&self.pool)
            .await?;
        let mut transaction = self.pool.begin().await?;
        let abandoned = sqlx::query_file_scalar!("src/transition/lock_abandoned_runs.sql", limits::UPKEEP_BATCH_MAX)
            .fetch_all(&mut *transaction)
            .await?;
        let ids: Vec<uuid::Uuid> = abandoned.iter().map(|run| run.0).collect();
        let runs = sqlx::query_file_scalar!("src/transition/reclaim_runs.sql", &ids, self.at(), limits::CRASHES_MAX)
            .fetch_all(&mut *transaction)
            .await?;
        #[cfg(feature = "planted-faults")]
        crate::planted_fault::forget_crashes(&mut transaction, &ids).await?;
        sqlx::query_file!("src/transition/ask_about_quarantined.sql", &ids)
            .fetch_all(&mut *transaction)
            .await?;
        let called = match super::admit_calls::dead_hold() {
            true => Vec::new(),
            false => {
                sqlx::query_file_scalar!("src/transition/free_slots.sql", &ids)
                    .fetch_one(&mut *transaction)
                    .await?
            }
        };
        transaction.commit().await?;
        self.wake_called(&called).await?;
        Ok(Reclaimed {
            workers: closed.into_iter().map(|row| (row.id, row.name)).collect(),
            runs,
        })
    }
}
