//! Hints to followers that runs have new events.

use crate::{Engine, EngineError, RunId, limits};

impl Engine {
    /// Tells followers, through whatever server they listen to, that these runs have new events.
    ///
    /// # Errors
    /// The database's.
    pub async fn announce_events(&self, runs: &[RunId]) -> Result<(), EngineError> {
        let hints: Vec<String> = runs.chunks(limits::HINT_RUNS_MAX).map(written).collect();
        sqlx::query_file!("src/transition/announce_events.sql", &hints)
            .fetch_all(&self.pool)
            .await?;
        Ok(())
    }
}

fn written(runs: &[RunId]) -> String {
    let ids: Vec<String> = runs.iter().map(ToString::to_string).collect();
    ids.join(",")
}
