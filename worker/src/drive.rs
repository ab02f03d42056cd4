//! Drives claimed runs. One driver per kind of run.

pub mod agent;
pub(crate) mod workflow;

use crate::announcer::Announcer;
use crate::gates::Gates;
use crate::lease::{DatabaseClock, Lease};
use crate::model::ModelClient;
use crate::session::give_back_broken;
use crate::tool::ToolBox;
use crate::worker::chain;
use crate::workflow::Workflows;
use ::agent::definition::Agent;
use ::agent::definition::digest::tool_text;
use ::agent::sanitise::{Sanitiser, sanitisers};
use ::agent::tool::check::InputSchema;
use ::agent::wire::messages::ToolSpec;
use chrono::{DateTime, TimeDelta, Utc};
use engine::recorder::Recorder;
use engine::transition::Control;
use engine::{AgentVersionId, Claimed, Engine, EngineError, SettingsOfTools, payload};
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info_span};

/// The kind of runs that an agent version drives.
pub(crate) const AGENT: &str = "agent";
/// A wait longer than this parks the run and frees its place.
pub(crate) const MOMENT: TimeDelta = TimeDelta::seconds(2);
/// An instant that the database can hold: so long after another one, or the last of the year 9999.
pub(crate) fn later(instant: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    let later = TimeDelta::from_std(by)
        .ok()
        .and_then(|by| instant.checked_add_signed(by));
    later.map_or(LAST, held_by_database)
}

/// The instant nearest to this one that the database can hold, and every program can show.
pub(crate) fn held_by_database(instant: DateTime<Utc>) -> DateTime<Utc> {
    instant.clamp(DateTime::UNIX_EPOCH, LAST)
}

/// The last second of the year 9999.
const LAST: DateTime<Utc> = match DateTime::from_timestamp(253_402_300_799, 0) {
    Some(last) => last,
    None => DateTime::<Utc>::MAX_UTC,
};

/// Agent versions kept ready; more than this are seldom in use at once.
const VERSIONS_MAX: usize = 256;

/// What all drivers of a worker share.
#[derive(Debug)]
pub struct Shared {
    pub(crate) engine: Engine,
    pub(crate) models: ModelClient,
    pub(crate) tools: ToolBox,
    pub(crate) workflows: Workflows,
    pub(crate) worker_name: String,
    pub(crate) drain_grace: Duration,
    pub(crate) announcer: Announcer,
    pub(crate) recorder: Recorder,
    pub(crate) gates: Gates,
    /// As many transactions of workflows and tools may be open at once.
    pub(crate) transactions: Arc<Semaphore>,
    /// As whom tools write.
    pub(crate) tool_settings: SettingsOfTools,
    /// Those in use.
    pub(crate) versions: Mutex<HashMap<AgentVersionId, Arc<Version>>>,
}

/// An agent version, made ready.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) agent: Agent,
    pub(crate) specs: Vec<ToolSpec>,
    pub(crate) schemas: HashMap<String, InputSchema>,
    /// Of the tools that have rules.
    pub(crate) sanitisers: HashMap<String, Sanitiser>,
    /// The versions of the tools whose results are kept.
    pub(crate) tool_digests: HashMap<String, Vec<u8>>,
}

/// Held by each suspect of a group; the session hears when the last one has let go of it.
pub(crate) type Suspicion = mpsc::Sender<Infallible>;

/// One claimed run and the ways in which it can be told to stop.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) claimed: Claimed,
    pub(crate) clock: DatabaseClock,
    pub(crate) lease: Lease,
    pub(crate) control: watch::Receiver<Control>,
    /// The worker stops.
    pub(crate) drain: CancellationToken,
    /// The worker makes room for suspects.
    pub(crate) room: CancellationToken,
    /// Of a suspect; dropped once it has recorded a result.
    pub(crate) suspicion: Option<Suspicion>,
}

/// Drives one claimed run until it ends, parks, is given back or is lost.
pub(crate) async fn drive(shared: Arc<Shared>, held: Held) {
    let (claim, lease) = (held.claimed.claim, held.lease.clone());
    let (tenant, requester) = (&held.claimed.tenant, &held.claimed.requester);
    let span = info_span!("run", run.id = %claim.run, fence = %claim.fence, tenant, requester);
    async {
        let driven = if held.claimed.kind == AGENT {
            agent::drive(Arc::clone(&shared), held).await
        } else {
            workflow::drive(Arc::clone(&shared), held).await
        };
        if let Err(broken) = driven {
            error!(error = %chain(&broken), "run {} cannot be driven, giving it back", claim.run);
            give_back_broken(&shared, &claim, &lease).await;
        }
        // It was parked, ended or given back.
        shared.announcer.tell([claim.run]);
    }
    .instrument(span)
    .await;
}

impl Shared {
    pub(crate) async fn version(&self, id: AgentVersionId) -> Result<Arc<Version>, EngineError> {
        if let Some(version) = self.versions.lock().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Ok(Arc::clone(version));
        }
        let row = self.engine.agent_version(id).await?;
        let version = Arc::new(self.prepare(&row.definition)?);
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        if versions.len() >= VERSIONS_MAX {
            versions.clear();
        }
        versions.insert(id, Arc::clone(&version));
        Ok(version)
    }

    fn prepare(&self, definition: &str) -> Result<Version, EngineError> {
        let unreadable = |what: String| EngineError::Unreadable(format!("agent version: {what}"));
        let agent: Agent = serde_json::from_str(definition).map_err(|error| unreadable(error.to_string()))?;
        let mut specs = Vec::with_capacity(agent.tools.len());
        let mut schemas = HashMap::with_capacity(agent.tools.len());
        for tool in &agent.tools {
            let derived = match &tool.action {
                ::agent::definition::ToolAction::Function(function) => {
                    self.tools.functions().schema(&function.function)
                }
                ::agent::definition::ToolAction::Http(_)
                | ::agent::definition::ToolAction::Command(_)
                | ::agent::definition::ToolAction::Sql(_) => None,
            };
            let schema = tool
                .input
                .as_ref()
                .or(derived)
                .cloned()
                .ok_or_else(|| unreadable(format!("tool {} has no input schema", tool.name)))?;
            let compiled = InputSchema::compile(&schema).map_err(|error| unreadable(error.message))?;
            schemas.insert(tool.name.clone(), compiled);
            specs.push(ToolSpec {
                name: tool.name.clone(),
                description: tool.description.clone(),
                input_schema: schema,
                strict: tool.strict,
            });
        }
        let sanitisers = sanitisers(&agent).map_err(unreadable)?;
        let cached = agent.tools.iter().filter(|tool| tool.cache.is_some());
        let tool_digests = cached
            .map(|tool| (tool.name.clone(), payload::digest(&tool_text(tool))))
            .collect();
        Ok(Version {
            agent,
            specs,
            schemas,
            sanitisers,
            tool_digests,
        })
    }
}
