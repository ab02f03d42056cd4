//! What people are asked.

use super::{BEGAN, Good};
use crate::judge::row::{Approval, Step, StepState};
use uuid::Uuid;

impl Good {
    /// About each call whose outcome nobody knows, where they are not asked yet.
    pub(in crate::judge::tests) fn asks_people(&mut self) {
        let unknown = self
            .records
            .steps
            .iter()
            .filter(|step| step.state == StepState::Unknown);
        for step in unknown {
            let about = |approval: &Approval| (approval.run_id, approval.step_seq) == (step.run_id, Some(step.seq));
            if !self.records.approvals.iter().any(about) {
                self.records.approvals.push(open_approval(step));
            }
        }
    }
}

/// A question about a step.
pub(in crate::judge::tests) fn open_approval(step: &Step) -> Approval {
    Approval {
        run_id: step.run_id,
        id: Uuid::from_u128(step.run_id.as_u128() << 16 | u128::from(step.seq.unsigned_abs())),
        step_seq: Some(step.seq),
        attempt: Some(step.attempt),
        state: "open".to_owned(),
        verb: None,
        settles_at: Some(BEGAN),
        decided_at: None,
    }
}
