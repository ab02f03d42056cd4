//! A planted fault: whoever once held a run may write for it.

use super::Transition;
use crate::planted_fault::{UNFENCED_RECORD, is_chosen};
use crate::{Engine, EngineError, Fence};

impl Engine {
    /// The batch under whatever fences its runs have by now. The number of an event would still give a late writer away,
    /// since the next holder has used it: events take the next ones that are free.
    pub(super) async fn unfenced(&self, batch: &[&Transition]) -> Result<Vec<Transition>, EngineError> {
        let mut batch: Vec<Transition> = batch.iter().map(|transition| (*transition).clone()).collect();
        if !is_chosen(UNFENCED_RECORD) {
            return Ok(batch);
        }
        for transition in &mut batch {
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
        }
        Ok(batch)
    }
}
