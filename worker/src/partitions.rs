//! Has the months ahead made, so that their runs find partitions of their own.
//!
//! Nothing waits for it and nothing rests on it: the default partitions catch what comes before its month is made. Any
//! number of workers do the same. Start at [`make_ahead`].

use crate::worker::chain;
use engine::transition::MonthMade;
use engine::{Engine, EngineError, WorkerId};
use std::time::Duration;
use tracing::{info, warn};

/// Months are made well ahead: there is time.
const PERIOD: Duration = Duration::from_hours(24);
/// After somebody was in the way, or the database away.
const AGAIN_PERIOD: Duration = Duration::from_mins(10);

/// Looks now and then, until it is dropped.
pub(crate) async fn make_ahead(engine: Engine, worker: WorkerId) {
    let mut said = false;
    loop {
        let period = match look(&engine, worker, &mut said).await {
            Ok(period) => period,
            Err(error) => {
                warn!(worker.id = %worker, error = %chain(&error), "could not make the partitions of the months ahead");
                AGAIN_PERIOD
            }
        };
        tokio::time::sleep(period).await;
    }
}

/// Makes what is missing. What only a person can mend is said once.
async fn look(engine: &Engine, worker: WorkerId, said: &mut bool) -> Result<Duration, EngineError> {
    let mut period = PERIOD;
    for (month, made) in engine.make_partitions().await? {
        match made {
            MonthMade::Made => info!(worker.id = %worker, %month, "made the partitions of {month}"),
            MonthMade::Busy => period = AGAIN_PERIOD,
            MonthMade::NotPermitted if !*said => {
                *said = true;
                warn!(worker.id = %worker, %month,
                    "this role may not make the partitions of {month}; as the tables' owner: select * from longhaul.make_partitions()");
            }
            MonthMade::TooManyRows if !*said => {
                *said = true;
                warn!(worker.id = %worker, %month,
                    "the default partitions hold too many rows to make {month} beside the work; see docs/operations.md");
            }
            MonthMade::NotPermitted | MonthMade::TooManyRows => {}
        }
    }
    Ok(period)
}
