//! Faults of the door through which runs are started.

use super::{START_ANSWERED_EARLY, START_KEY_IGNORED, is_chosen};
use crate::transition::{StartRun, Started};
use crate::{Engine, EngineError, RunId};
use std::time::Duration;

/// How long after its answer a start is committed.
const BEHIND: Duration = Duration::from_millis(300);

/// A start as it is taken.
pub(crate) fn as_taken(start: &StartRun) -> StartRun {
    let key = start.idempotency_key.clone();
    StartRun {
        idempotency_key: key.filter(|_| !is_chosen(START_KEY_IGNORED)),
        ..start.clone()
    }
}

impl Engine {
    /// A start that is answered before it is committed. None: it is made as it should be.
    pub(crate) async fn start_early(&self, start: &StartRun) -> Result<Option<Started>, EngineError> {
        if !is_chosen(START_ANSWERED_EARLY) {
            return Ok(None);
        }
        let mut transaction = self.pool.begin().await?;
        let (run, created): (RunId, bool) = sqlx::query_as(
            "select run_id, created
             from longhaul.start_run(agent => $1, input => $2::text::json, kind => $3, queue => $4, idempotency_key => $5)",
        )
        .bind(Some(&start.agent).filter(|agent| !agent.is_empty()))
        .bind(&start.input)
        .bind(&start.kind)
        .bind(&start.queue)
        .bind(&start.idempotency_key)
        .fetch_one(&mut *transaction)
        .await?;
        tokio::spawn(async move {
            tokio::time::sleep(BEHIND).await;
            let _ = transaction.commit().await;
        });
        Ok(Some(Started { run, created }))
    }
}
