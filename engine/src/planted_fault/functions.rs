//! Faults of functions of the database: a part of their text is replaced by another.

use super::{DECIDED_TOO_EARLY, DECIDED_TWICE, chosen};
use crate::{Engine, EngineError};

/// A function that is broken.
struct Broken {
    fault: &'static str,
    function: &'static str,
    /// What stands there, and what stands there afterwards.
    replaced: &'static [(&'static str, &'static str)],
}

const BROKEN: [Broken; 2] = [
    Broken {
        fault: DECIDED_TWICE,
        function: "longhaul.decide_approval",
        replaced: &[
            ("if decided.state = 'decided' then", "if false then"),
            (
                "if decided.state <> 'open' then",
                "if decided.state not in ('open', 'decided') then",
            ),
        ],
    },
    Broken {
        fault: DECIDED_TOO_EARLY,
        function: "longhaul.decide_approval",
        replaced: &[("and clock_timestamp() < decided.settles_at", "and false")],
    },
];

impl Engine {
    /// Breaks the function that was chosen, if it is one. Done twice, it is done once.
    ///
    /// # Errors
    /// The database's; [`EngineError::Unreadable`] where the function is not as it is known here.
    pub async fn plant(&self) -> Result<(), EngineError> {
        let Some(broken) = BROKEN.iter().find(|broken| chosen() == Some(broken.fault)) else {
            return Ok(());
        };
        let mut transaction = self.pool.begin().await?;
        // Two that replace a function at once get in each other's way.
        sqlx::query("lock table longhaul.cell in exclusive mode")
            .execute(&mut *transaction)
            .await?;
        let mut text: String = sqlx::query_scalar("select pg_get_functiondef($1::text::regproc)")
            .bind(broken.function)
            .fetch_one(&mut *transaction)
            .await?;
        if broken.replaced.iter().all(|(_, with)| text.contains(with)) {
            return Ok(());
        }
        for (what, with) in broken.replaced {
            if text.matches(what).count() != 1 {
                let unknown = format!("{} does not say {what:?} once", broken.function);
                return Err(EngineError::Unreadable(unknown));
            }
            text = text.replacen(what, with, 1);
        }
        sqlx::query(sqlx::AssertSqlSafe(text))
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }
}
