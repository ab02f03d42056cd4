//! Has results forgotten that are of no use to later calls any more.
//!
//! Nothing waits for it and nothing rests on it: what is too old is not told again, whether it is still there or not. Any
//! number of workers do the same. Start at [`forget`].

use crate::worker::chain;
use engine::{Engine, WorkerId};
use std::time::Duration;
use tracing::warn;

/// Results are kept for minutes to days: nobody notices some more minutes.
const PERIOD: Duration = Duration::from_mins(5);
/// Between two batches while there is more to forget.
const BATCH_PERIOD: Duration = Duration::from_secs(1);

/// Looks now and then, until it is dropped.
pub(crate) async fn forget(engine: Engine, worker: WorkerId) {
    let mut period = PERIOD;
    loop {
        tokio::time::sleep(period).await;
        period = match engine.sweep_cache().await {
            Ok(0) => PERIOD,
            Ok(_) => BATCH_PERIOD,
            Err(error) => {
                warn!(worker.id = %worker, error = %chain(&error), "could not sweep the cache of tools");
                PERIOD
            }
        };
    }
}
