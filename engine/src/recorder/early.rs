//! A planted fault: offers are answered, and only then written.

use super::{Answer, Offer};
use crate::Recorded;
use crate::planted_fault::WRITE_BEHIND;
use crate::transition::Control;
use tokio::sync::oneshot;

/// What is left to be written.
pub(super) async fn answered(batch: Vec<Offer>) -> Vec<Offer> {
    let Some(behind) = *WRITE_BEHIND else {
        return batch;
    };
    let answered = |offer: Offer| {
        let recorded = Recorded::Now(Control::default());
        let _ = offer.answer.send(Answer::Recorded(recorded));
        Offer {
            transition: offer.transition,
            answer: oneshot::channel().0,
        }
    };
    let batch = batch.into_iter().map(answered).collect();
    tokio::time::sleep(behind).await;
    batch
}
