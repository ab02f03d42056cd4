//! Makes partitions ahead of the runs that will lie in them.

use crate::{Engine, EngineError, limits};
use chrono::NaiveDate;

/// What came of a month that had no partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MonthMade {
    /// They are there now.
    Made,
    /// Somebody is in the way: later.
    Busy,
    /// It takes the tables' owner. The default partitions catch what comes.
    NotPermitted,
    /// The default partitions hold too much to move it beside the work.
    TooManyRows,
}

impl Engine {
    /// Makes the partitions of the months ahead where they are missing: an answer for each month that was. Seldom any.
    ///
    /// # Errors
    /// The database's.
    pub async fn make_partitions(&self) -> Result<Vec<(NaiveDate, MonthMade)>, EngineError> {
        let rows = sqlx::query_file!("src/transition/make_partitions.sql", limits::MONTHS_AHEAD)
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter()
            .map(|row| Ok((row.month, MonthMade::read(&row.outcome)?)))
            .collect()
    }
}

impl MonthMade {
    fn read(outcome: &str) -> Result<Self, EngineError> {
        match outcome {
            "made" => Ok(Self::Made),
            "busy" => Ok(Self::Busy),
            "not_permitted" => Ok(Self::NotPermitted),
            "too_many_rows" => Ok(Self::TooManyRows),
            other => Err(EngineError::Unreadable(format!(
                "no outcome of make_partitions: {other}"
            ))),
        }
    }
}
