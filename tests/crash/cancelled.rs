//! kill -9 between the wish to cancel and the end of the run: whoever takes the run over ends it, and no doubt with it.

use crate::desk::{Declared, Setting};
use engine::Cancelled;
use futures_util::future::join_all;

const ORDER: &str = "ORD-1001";

#[tokio::test]
async fn a_cancelled_run_whose_worker_died_is_ended_by_another_that_sends_nothing() {
    join_all(Declared::ALL.map(|declared| async move {
        let desk = Setting::holding(declared).open().await;
        let run = desk.start(ORDER).await;
        let mut doomed = desk.worker_with_a_refund_out("doomed").await;
        let asked = desk.world.engine.cancel_run(run, None, None).await;
        assert_eq!(asked.expect("a cancel is taken"), Cancelled::Requested);
        doomed.kill_9();

        let _heir = desk.worker("heir");
        let ended = desk.world.settled(run).await;

        assert_eq!(ended.state, "cancelled", "{ended:#?}");
        let refunds = desk.refunds(run).await;
        let state = match declared {
            Declared::ReadOnly => "cancelled",
            Declared::Idempotent | Declared::AtMostOnce => "unknown",
        };
        assert!(
            refunds.iter().all(|row| row.state == state && row.attempt == 1),
            "{refunds:#?}"
        );
        assert_eq!(desk.ledger(ORDER).len(), 1);
        desk.is_whole(run).await;
    }))
    .await;
}
