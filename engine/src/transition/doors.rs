//! The client verbs: thin calls of the SQL functions that applications call too.

use crate::{Engine, EngineError, RunId, limits, payload};
use chrono::{DateTime, Datelike, Utc};
use std::collections::BTreeMap;

/// A run to start.
#[derive(Debug, Clone)]
pub struct StartRun {
    /// `agent`, or the name of a workflow.
    pub kind: String,
    /// The agent by name; the run keeps the version that is in force now. Empty for a workflow.
    pub agent: String,
    /// JSON text.
    pub input: String,
    /// Where it lines up.
    pub queue: String,
    /// 0 goes first, 1000 last.
    pub priority: i32,
    /// Not before this.
    pub due_at: Option<DateTime<Utc>>,
    /// Over at this; the agent's own wall-clock limit holds besides.
    pub deadline_at: Option<DateTime<Utc>>,
    /// On whose behalf; the database user if absent.
    pub requester: Option<String>,
    /// Whose data.
    pub tenant: String,
    /// Free words.
    pub labels: BTreeMap<String, String>,
    /// The same key with the same agent and input gives the same run.
    pub idempotency_key: Option<String>,
    /// JSON text of an earlier conversation: an array of `{role, content}`.
    pub history: Option<String>,
}

impl StartRun {
    /// A run of a workflow, of the default queue, priority and tenant.
    pub fn workflow(name: impl Into<String>, input: impl Into<String>) -> Self {
        Self {
            kind: name.into(),
            ..Self::new("", input)
        }
    }

    /// The agent, where there is one.
    pub(super) fn agent(&self) -> Option<&str> {
        Some(self.agent.as_str()).filter(|agent| self.kind == "agent" || !agent.is_empty())
    }

    /// A run of an agent, of the default queue, priority and tenant.
    pub fn new(agent: impl Into<String>, input: impl Into<String>) -> Self {
        Self {
            kind: "agent".to_owned(),
            agent: agent.into(),
            input: input.into(),
            queue: "default".to_owned(),
            priority: 100,
            due_at: None,
            deadline_at: None,
            requester: None,
            tenant: "default".to_owned(),
            labels: BTreeMap::new(),
            idempotency_key: None,
            history: None,
        }
    }

    /// About how much is sent.
    fn bytes(&self) -> usize {
        self.input.len() + self.history.as_ref().map_or(0, String::len)
    }

    /// Refuses what the database would, before anything is sent.
    pub(super) fn check(&self) -> Result<(), EngineError> {
        payload::check("input", &self.input, limits::INPUT_BYTES_MAX)?;
        if let Some(history) = &self.history {
            payload::check("history", history, limits::CONTENT_BYTES_MAX)?;
        }
        // Postgres could not even be sent some of what chrono holds.
        let times = [self.due_at, self.deadline_at];
        if times
            .into_iter()
            .flatten()
            .any(|time| !(2000..=9999).contains(&time.year()))
        {
            return Err(EngineError::refused(
                "invalid_time",
                "a time lies between the years 2000 and 9999",
            ));
        }
        let names = [
            Some(&self.agent),
            Some(&self.kind),
            Some(&self.queue),
            Some(&self.tenant),
            self.requester.as_ref(),
            self.idempotency_key.as_ref(),
        ];
        let labels = self.labels.iter().flat_map(|(name, value)| [name, value]);
        if names
            .into_iter()
            .flatten()
            .chain(labels)
            .any(|text| text.contains('\0'))
        {
            return Err(EngineError::refused(
                "invalid_name",
                "names, keys and labels hold no NUL character",
            ));
        }
        Ok(())
    }
}

/// A started run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// Its id.
    pub run: RunId,
    /// False where the idempotency key had started it before.
    pub created: bool,
}

/// What a cancel came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// The run has ended.
    Now,
    /// Its holder has been asked.
    Requested,
}

impl Engine {
    /// Starts a run.
    ///
    /// # Errors
    /// Refusals of `longhaul.start_run`: `no_such_agent`, `key_reused`, `input_too_large`, `input_too_deep`,
    /// `invalid_input`, …
    pub async fn start_run(&self, start: &StartRun) -> Result<Started, EngineError> {
        start.check()?;
        #[cfg(feature = "planted-faults")]
        let start = &crate::planted_fault::as_taken(start);
        #[cfg(feature = "planted-faults")]
        if let Some(started) = self.start_early(start).await? {
            return Ok(started);
        }
        // One with a key may have to wait for another's end: nobody is to wait with it.
        if start.idempotency_key.is_some() || start.bytes() > limits::GATHERED_START_BYTES_MAX {
            return self.start_alone(start).await;
        }
        self.start_gathered(start).await
    }

    /// Starts a run in a statement of its own.
    pub(crate) async fn start_alone(&self, start: &StartRun) -> Result<Started, EngineError> {
        let labels = serde_json::json!(start.labels);
        let row = sqlx::query_file!(
            "src/transition/start_run.sql",
            start.agent(),
            start.input,
            start.queue,
            start.priority,
            start.due_at,
            start.deadline_at,
            start.requester,
            start.tenant,
            labels,
            start.idempotency_key,
            start.history,
            start.kind,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(Started {
            run: row.run_id,
            created: row.created,
        })
    }

    /// Ends a run that nobody holds, or asks its holder to; and so its children that are to end with it, and theirs.
    ///
    /// # Errors
    /// Refusals `no_such_run` and `run_has_ended`.
    pub async fn cancel_run(
        &self,
        run: RunId,
        reason: Option<&str>,
        actor: Option<&str>,
    ) -> Result<Cancelled, EngineError> {
        self.cancel(run, (reason, actor), true).await
    }

    /// The same of this run alone: its children go on, whatever they were told when they were started.
    ///
    /// # Errors
    /// Those of [`Engine::cancel_run`].
    pub async fn cancel_run_alone(
        &self,
        run: RunId,
        reason: Option<&str>,
        actor: Option<&str>,
    ) -> Result<Cancelled, EngineError> {
        self.cancel(run, (reason, actor), false).await
    }

    async fn cancel(
        &self,
        run: RunId,
        (reason, actor): (Option<&str>, Option<&str>),
        children: bool,
    ) -> Result<Cancelled, EngineError> {
        refuse_nul(reason.into_iter().chain(actor))?;
        let state = sqlx::query_file_scalar!("src/transition/cancel_run.sql", run.0, reason, actor, children)
            .fetch_one(&self.pool)
            .await?;
        Ok(if state == "cancelled" {
            Cancelled::Now
        } else {
            Cancelled::Requested
        })
    }

    /// Stops work on a run until it is resumed.
    ///
    /// # Errors
    /// Refusals `no_such_run` and `run_has_ended`.
    pub async fn pause_run(&self, run: RunId, reason: Option<&str>, actor: Option<&str>) -> Result<(), EngineError> {
        refuse_nul(reason.into_iter().chain(actor))?;
        sqlx::query_file_scalar!("src/transition/pause_run.sql", run.0, reason, actor)
            .fetch_one(&self.pool)
            .await?;
        Ok(())
    }

    /// Lets a paused run, a failed one, or one that waits for a person, go on.
    ///
    /// # Errors
    /// Refusals `no_such_run`, `not_resumable` and `unknown_outcome`.
    pub async fn resume_run(&self, run: RunId, reason: Option<&str>, actor: Option<&str>) -> Result<(), EngineError> {
        refuse_nul(reason.into_iter().chain(actor))?;
        sqlx::query_file_scalar!("src/transition/resume_run.sql", run.0, reason, actor)
            .fetch_one(&self.pool)
            .await?;
        Ok(())
    }
}

/// No text in Postgres can hold a NUL.
pub(super) fn refuse_nul(texts: impl IntoIterator<Item: AsRef<str>>) -> Result<(), EngineError> {
    if texts.into_iter().any(|text| text.as_ref().contains('\0')) {
        return Err(EngineError::refused(
            "invalid_name",
            "names, keys, labels and reasons hold no NUL character",
        ));
    }
    Ok(())
}
