//! A planted fault: calls that leave the process before their intents are committed.

use super::Driver;
use super::attempt::Going;
use super::begin::Sent;
use crate::planted_fault::SEND_BEFORE_INTENT;
use agent::Step;
use engine::planted_fault::is_chosen;
use std::time::Duration;

/// Enough for a request to be out when its intent is stamped by the database's clock.
const HEAD_START: Duration = Duration::from_millis(100);

impl Driver {
    /// Starts what waits for the record of these steps; what is left to be started after it.
    pub(super) async fn send_before_intent(
        &mut self,
        steps: &[Step],
        sent: &[(u32, Sent)],
        going: Vec<Going>,
    ) -> Vec<Going> {
        if going.is_empty() || !is_chosen(SEND_BEFORE_INTENT) {
            return going;
        }
        self.keep(steps.to_vec());
        self.sent.extend(sent.iter().cloned());
        for call in going {
            self.start(call);
        }
        tokio::time::sleep(HEAD_START).await;
        Vec::new()
    }
}
