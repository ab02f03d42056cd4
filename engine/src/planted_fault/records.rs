//! Faults of what is recorded for runs.

use super::{ANSWER_BEFORE_COMMIT, INTENT_AFTER_CANCEL, LATE_RESULT_APPLIED, UNFENCED_RECORD, WAKE_UP_LOST, is_chosen};
use crate::transition::Control;
use crate::{Claim, Engine, EngineError, Fence, LateResult, Then, Transition};
use std::time::Duration;

/// How long after its answer a record is written.
const BEHIND: Duration = Duration::from_millis(5);

/// How long a record that was answered waits before it is written; none: it is not answered before.
pub(crate) static WRITE_BEHIND: std::sync::LazyLock<Option<Duration>> =
    std::sync::LazyLock::new(|| is_chosen(ANSWER_BEFORE_COMMIT).then_some(BEHIND));

/// What the holder of a run hears.
pub(crate) fn heard(control: Control) -> Control {
    Control {
        cancel_requested: control.cancel_requested && !is_chosen(INTENT_AFTER_CANCEL),
        ..control
    }
}

impl Engine {
    /// The batch as it is written.
    pub(crate) async fn as_written(&self, batch: &[&Transition]) -> Result<Vec<Transition>, EngineError> {
        let mut batch: Vec<Transition> = batch.iter().map(|transition| (*transition).clone()).collect();
        for transition in &mut batch {
            if is_chosen(UNFENCED_RECORD) {
                self.unfence(transition).await?;
            }
            if is_chosen(WAKE_UP_LOST) {
                self.lose_wakes(transition).await?;
            }
            transition.writes.has_intent &= !is_chosen(INTENT_AFTER_CANCEL);
        }
        Ok(batch)
    }

    /// Under whatever fence its run has by now. The number of an event would still give a late writer away, since the next
    /// holder has used it: events take the next ones that are free.
    async fn unfence(&self, transition: &mut Transition) -> Result<(), EngineError> {
        let (fence, last): (i64, i32) = sqlx::query_as(
            "select run.fence, (select max(event.seq) from longhaul.event where event.run_id = run.id)
             from longhaul.run
             where run.id = $1",
        )
        .bind(transition.claim.run.0)
        .fetch_one(&self.pool)
        .await?;
        transition.claim.fence = Fence(fence);
        for (event, seq) in transition.writes.events.iter_mut().zip(last + 1..) {
            event.seq = seq;
        }
        Ok(())
    }

    /// Under whatever count of wake-ups its run has by now.
    async fn lose_wakes(&self, transition: &mut Transition) -> Result<(), EngineError> {
        if let Then::Park { wakes, .. } = &mut transition.then {
            *wakes = sqlx::query_scalar("select wakes from longhaul.run where id = $1")
                .bind(transition.claim.run.0)
                .fetch_one(&self.pool)
                .await?;
        }
        Ok(())
    }

    /// What becomes of a late result.
    pub(crate) async fn apply_late(&self, claim: &Claim, late: &LateResult) -> Result<(), EngineError> {
        if is_chosen(LATE_RESULT_APPLIED) {
            sqlx::query(
                "update longhaul.step
                 set state = 'succeeded', ended_at = now(), result = $3::text::json -> 'result'
                 where run_id = $1 and seq = $2 and state in ('running', 'unknown')
                   and $3::text::json ->> 'state' = 'succeeded'",
            )
            .bind(claim.run.0)
            .bind(late.step_seq)
            .bind(&late.outcome)
            .execute(&self.pool)
            .await?;
        }
        Ok(())
    }
}
