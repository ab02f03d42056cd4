//! What an operator can set for a worker.

use crate::model::ModelEndpoint;
use crate::tool::Environment;
use engine::SettingsOfTools;
use std::collections::BTreeMap;
use std::time::Duration;

/// Settings of one worker process.
#[derive(Debug, Clone)]
pub struct Config {
    /// Shown in the journal; host and process by default.
    pub name: String,
    /// Queues to take runs from.
    pub queues: Vec<String>,
    /// How long a claim holds without renewal.
    pub lease: Duration,
    /// How often an idle worker looks without being told.
    pub poll: Duration,
    /// Runs driven at once.
    pub runs_max: usize,
    /// Tool calls out at once, over all runs.
    pub calls_max: usize,
    /// How long calls in flight may go on after a shutdown was asked for. Calls that may not be repeated are waited for
    /// to their own time limits.
    pub drain_grace: Duration,
    /// Whether to listen for notifications. Everything works without.
    pub notifications: bool,
    /// Where models are called.
    pub endpoint: ModelEndpoint,
    /// Where secret references are looked up.
    pub environment: Environment,
    /// Databases that tools of kind `sql` may read, by the names that agents' files have for them: a URL each, or
    /// `env:NAME` for the variable of the environment that holds it.
    pub databases: BTreeMap<String, String>,
    /// As whom, and where, tools of kind `sql` write into the engine's own database.
    pub tool_settings: SettingsOfTools,
}

impl Config {
    /// A lease of 15 s, a poll every 5 s, 64 runs and 128 tool calls at once, 20 s of grace.
    pub fn new(name: impl Into<String>, endpoint: ModelEndpoint, environment: Environment) -> Self {
        Self {
            name: name.into(),
            queues: vec!["default".to_owned()],
            lease: Duration::from_secs(15),
            poll: Duration::from_secs(5),
            runs_max: 64,
            calls_max: 128,
            drain_grace: Duration::from_secs(20),
            notifications: true,
            endpoint,
            environment,
            databases: BTreeMap::new(),
            tool_settings: SettingsOfTools::default(),
        }
    }
}
