//! A planted fault: records steps and events for whoever asks.

use super::{Columns, Recorded, StepWrites, column};
use crate::transition::Control;
use crate::{Claim, Engine, EngineError};

impl Engine {
    /// As [`Engine::record`], with its parameters in the same places; events take whatever numbers come next.
    pub(super) async fn record_unfenced(&self, claim: &Claim, writes: &StepWrites) -> Result<Recorded, EngineError> {
        let begun = Columns::of(&writes.begun);
        let row = sqlx::query_as::<_, (bool, i64, bool, bool)>(include_str!("unfenced.sql"))
            .bind(claim.run.0)
            .bind(claim.fence.0)
            .bind(claim.worker.0)
            .bind(writes.has_intent)
            .bind(writes.has_result)
            .bind(self.at())
            .bind(&begun.seq)
            .bind(&begun.turn)
            .bind(&begun.call_index)
            .bind(&begun.kind)
            .bind(&begun.name)
            .bind(&begun.call_id)
            .bind(&begun.state)
            .bind(&begun.effect)
            .bind(&begun.key)
            .bind(&begun.attempt)
            .bind(&begun.attempts_max)
            .bind(&begun.replaces_seq)
            .bind(&begun.request_digest)
            .bind(&begun.request)
            .bind(&begun.result)
            .bind(&begun.error)
            .bind(column(&writes.changed, |change| change.seq))
            .bind(column(&writes.changed, |change| change.state))
            .bind(column(&writes.changed, |change| change.attempt))
            .bind(column(&writes.changed, |change| change.attempts_max))
            .bind(column(&writes.changed, |change| change.maybe_applied))
            .bind(column(&writes.changed, |change| change.due_at))
            .bind(column(&writes.changed, |change| change.result.as_deref()))
            .bind(column(&writes.changed, |change| change.error.as_deref()))
            .bind(column(&writes.changed, |change| change.evidence.as_deref()))
            .bind(column(&writes.events, |event| event.seq))
            .bind(column(&writes.events, |event| event.kind))
            .bind(column(&writes.events, |event| event.step_seq))
            .bind(column(&writes.events, |event| event.data.as_deref()))
            .bind(column(&writes.changed, |change| change.fresh_budget))
            .fetch_optional(&self.pool)
            .await?;
        Ok(
            row.map_or(Recorded::ClaimLost, |(recorded, wakes, cancel_requested, paused)| {
                let control = Control {
                    wakes,
                    cancel_requested,
                    paused,
                };
                if recorded {
                    Recorded::Now(control)
                } else {
                    Recorded::Refused(control)
                }
            }),
        )
    }
}
