//! Stores agent versions.

use crate::{Engine, EngineError, payload};

/// A definition to store.
#[derive(Debug, Clone, Copy)]
pub struct ApplyAgent<'a> {
    /// Whose.
    pub tenant: &'a str,
    /// The agent's name.
    pub name: &'a str,
    /// JSON text; its digest is the version's identity.
    pub definition: &'a str,
    /// Functions that a worker must have to drive it.
    pub functions: &'a [String],
}

/// What applying a definition came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// The version that new runs get.
    pub version: i32,
    /// Whether the content was not known before.
    pub added: bool,
    /// Whether new runs get another version than before.
    pub changed: bool,
}

impl Engine {
    /// Stores a definition, JSON text, under its digest and makes it the one that new runs get. The same content again
    /// changes nothing.
    ///
    /// # Errors
    /// The database's.
    pub async fn apply_agent(&self, agent: ApplyAgent<'_>) -> Result<Applied, EngineError> {
        let mut tries = 0;
        loop {
            let stored = sqlx::query_file!(
                "src/transition/apply_agent.sql",
                agent.tenant,
                agent.name,
                agent.definition,
                payload::digest(agent.definition),
                agent.functions,
            )
            .fetch_one(&self.pool)
            .await;
            match stored {
                Ok(row) => {
                    return Ok(Applied {
                        version: row.version,
                        added: row.added,
                        changed: row.changed,
                    });
                }
                // Two who apply at once count to the same number: the second counts again.
                Err(sqlx::Error::Database(error)) if error.is_unique_violation() && tries < 3 => tries += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
}
