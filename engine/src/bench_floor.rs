//! What a bench asks of a database besides the work that it measures.
//!
//! The floor ([`Floor`]) is the barest statement that records a step, on tables of its own: what the same server gives when
//! nothing but the record is wanted. The meters ([`Meter`]) read what work has cost. [`remove_traces`] deletes what a bench
//! has left in somebody's database, and [`Snapshot`] is a reader that never ends. Nothing here is used by a worker.

mod floor;
mod meter;
mod traces;

pub use floor::{Floor, FloorWriter};
pub use meter::{Counted, Done, Meter, Reading};
pub use traces::{Snapshot, remove_traces};

use crate::{Connect, EngineError};
use sqlx::{Connection, PgConnection};

async fn connection(connect: &Connect) -> Result<PgConnection, EngineError> {
    Ok(PgConnection::connect_with(&connect.options()?).await?)
}
