//! Records for the holders of runs, many runs in one statement: steps, events, parkings and ends.
//!
//! Start at [`Engine::record_batch`]; the statements are in [`statements`].

mod columns;
mod statements;

use super::{Control, Ending};
use crate::{Claim, Engine, EngineError, RunId};
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};
use std::collections::HashMap;

/// What the holder of a run writes in one statement.
#[derive(Debug, Clone, Default)]
pub struct StepWrites {
    /// New steps.
    pub begun: Vec<StepBegin>,
    /// Steps that moved on.
    pub changed: Vec<StepChange>,
    /// Facts, numbered on from the last one.
    pub events: Vec<EventWrite>,
    /// Steps that people are asked about, since nobody can vouch for them.
    pub asks: Vec<i32>,
    /// Whether something is about to leave the process: refused once a cancel or a pause was asked for.
    pub has_intent: bool,
    /// Whether a result came in: crashes before it no longer count.
    pub has_result: bool,
}

/// Where a step stands in its run.
#[derive(Debug, Clone)]
pub enum Place {
    /// In an agent's.
    Turn {
        /// From 1.
        turn: i32,
        /// Among the calls of the turn, from 0.
        call_index: i32,
    },
    /// In a workflow's: branch path, name and occurrence.
    Identity(String),
}

/// A new step. In the state `running` it is the intent of its first attempt.
#[derive(Debug, Clone)]
pub struct StepBegin {
    /// 1.. per run.
    pub seq: i32,
    /// Where it stands in its run.
    pub place: Place,
    /// `model`, `tool`, `task` or `timer`.
    pub kind: &'static str,
    /// The model's or the tool's name, or what the workflow calls it.
    pub name: String,
    /// The provider's id of the call.
    pub call_id: Option<String>,
    /// The first state.
    pub state: &'static str,
    /// How it may be repeated.
    pub effect: &'static str,
    /// Made from run and step, the same in every attempt.
    pub key: String,
    /// 1, or 0 for a call that is answered without being made.
    pub attempt: i32,
    /// The last attempt allowed.
    pub attempts_max: i32,
    /// Whether its attempt may have been applied without our knowing.
    pub maybe_applied: bool,
    /// When it is over, or may be tried again.
    pub due_at: Option<DateTime<Utc>>,
    /// The step that this one takes the place of.
    pub replaces_seq: Option<i32>,
    /// SHA-256 of the request's exact text.
    pub request_digest: Vec<u8>,
    /// JSON text of what leaves the process, or of a workflow step's input; absent for model calls, which are rebuilt from
    /// the journal.
    pub request: Option<String>,
    /// JSON text, for a step that has ended already.
    pub result: Option<String>,
    /// JSON text, for a step that has failed already.
    pub error: Option<String>,
}

/// A step that moved on. An `attempt` above the recorded one is the intent of another attempt.
#[derive(Debug, Clone)]
pub struct StepChange {
    /// Which one.
    pub seq: i32,
    /// The new state.
    pub state: &'static str,
    /// Attempts begun.
    pub attempt: i32,
    /// The last attempt allowed.
    pub attempts_max: i32,
    /// Whether any attempt may have been applied without our knowing.
    pub maybe_applied: bool,
    /// When it may be tried again.
    pub due_at: Option<DateTime<Utc>>,
    /// JSON text.
    pub result: Option<String>,
    /// JSON text.
    pub error: Option<String>,
    /// Whether its budget of time counts from now on.
    pub fresh_budget: bool,
    /// JSON text of what an attempt showed; its presence says that the attempt came to its end.
    pub evidence: Option<String>,
}

/// A fact.
#[derive(Debug, Clone)]
pub struct EventWrite {
    /// On from the last one, without gaps.
    pub seq: i32,
    /// Such as `step.succeeded`.
    pub kind: &'static str,
    /// Which step it is about.
    pub step_seq: Option<i32>,
    /// JSON text.
    pub data: Option<String>,
}

/// Whether the run goes on.
#[derive(Debug, Clone, Default)]
pub enum Then {
    /// Its holder keeps it.
    #[default]
    GoOn,
    /// Its holder keeps it, and nothing is written where something has woken it: what was decided may not hold any more.
    GoOnUnwoken {
        /// The count of wake-ups that the holder has seen.
        wakes: i64,
    },
    /// Nobody holds it until something wakes it.
    Park {
        /// The count of wake-ups that the holder has seen.
        wakes: i64,
        /// `timer`, `approval`, …
        waiting_for: String,
        /// More exactly, such as `unknown_outcome`.
        reason: String,
        /// When it wakes by itself.
        until: Option<DateTime<Utc>>,
    },
    /// It is over.
    End(Ending),
}

/// All that is written for one run at once: the whole of it or nothing.
#[derive(Debug, Clone)]
pub struct Transition {
    /// The right to write.
    pub claim: Claim,
    /// The run that is told when this one ends.
    pub parent: Option<RunId>,
    /// Steps and events. Where the run does not go on, the last event says so.
    pub writes: StepWrites,
    /// Whether it goes on.
    pub then: Then,
}

/// What became of the writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// They are committed.
    Now(Control),
    /// Nothing was written: they held an intent, and a cancel or a pause came first; or the run was to be parked or ended,
    /// and something had woken or cancelled it.
    Refused(Control),
    /// Nothing was written: the run has moved on under another fence.
    ClaimLost,
}

/// A row of the answer.
struct Row {
    /// From 1.
    entry: i64,
    recorded: bool,
    wakes: i64,
    cancel_requested: bool,
    paused: bool,
}

impl Row {
    fn recorded(&self) -> Recorded {
        let control = Control {
            wakes: self.wakes,
            cancel_requested: self.cancel_requested,
            paused: self.paused,
        };
        if self.recorded {
            #[cfg(feature = "planted-faults")]
            let control = crate::planted_fault::heard(control);
            Recorded::Now(control)
        } else {
            Recorded::Refused(control)
        }
    }
}

impl Transition {
    /// Whom it tells of the run's end. Such a transition has a statement of its own: it locks two runs' rows, the
    /// parent's first, and batches lock theirs by id.
    pub fn told(&self) -> Option<RunId> {
        self.parent.filter(|_| matches!(self.then, Then::End(_)))
    }

    /// Whether it has a statement of its own: it tells a parent, or people.
    pub fn is_lone(&self) -> bool {
        self.told().is_some() || self.leaves_doubts() || !self.asked().is_empty()
    }

    /// Whether it ends the run in a way that may leave calls behind whose outcome nobody knows.
    const fn leaves_doubts(&self) -> bool {
        matches!(self.then, Then::End(Ending::Failed(_) | Ending::Cancelled))
    }

    /// What people are asked about: steps, and the run itself where it waits for them as a whole.
    fn asked(&self) -> Vec<Option<i32>> {
        let of_steps = ["unknown_outcome", "retries_exhausted"];
        let run = match &self.then {
            Then::Park {
                waiting_for, reason, ..
            } => waiting_for == "approval" && !of_steps.contains(&reason.as_str()),
            Then::GoOn | Then::GoOnUnwoken { .. } | Then::End(_) => false,
        };
        let steps = self.writes.asks.iter().map(|seq| Some(*seq));
        steps.chain(run.then_some(None)).collect()
    }

    /// How many rows it writes, besides the run's own.
    pub fn rows(&self) -> usize {
        self.writes.begun.len() + self.writes.changed.len() + self.writes.events.len()
    }

    /// About how much it sends.
    pub fn bytes(&self) -> usize {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let begun = self.writes.begun.iter();
        let begun = begun.map(|step| length(&step.request) + length(&step.result) + length(&step.error));
        let changed = self.writes.changed.iter();
        let changed = changed.map(|step| length(&step.result) + length(&step.error) + length(&step.evidence));
        let events = self.writes.events.iter().map(|event| length(&event.data));
        let then = match &self.then {
            Then::End(Ending::Succeeded(text) | Ending::Failed(text)) => text.len(),
            Then::End(Ending::Cancelled) | Then::Park { .. } | Then::GoOnUnwoken { .. } | Then::GoOn => 0,
        };
        begun.chain(changed).chain(events).sum::<usize>() + then
    }
}

impl Engine {
    /// Records several runs' transitions in one statement, each run's whole or not at all.
    /// In the order given; None: nothing was written, since the claim is lost or somebody else has the run's row just
    /// now. [`Engine::record_alone`] waits, and tells which.
    ///
    /// # Errors
    /// The database's; then nothing was written for any of them. After [`EngineError::Unavailable`] nobody knows whether
    /// it was: [`Engine::look`] tells, by the number of the last event.
    pub async fn record_batch(&self, batch: &[&Transition]) -> Result<Vec<Option<Recorded>>, EngineError> {
        #[cfg(feature = "planted-faults")]
        let written = self.as_written(batch).await?;
        #[cfg(feature = "planted-faults")]
        let batch = &written.iter().collect::<Vec<_>>();
        self.write(&self.pool, batch).await
    }

    /// Records one run's transition, after whoever else has the run's row, tells its parent of its end, and asks people
    /// what they must decide.
    ///
    /// # Errors
    /// As those of [`Engine::record_batch`].
    pub async fn record_alone(&self, transition: &Transition) -> Result<Recorded, EngineError> {
        let mut transaction = self.pool.begin().await?;
        if let Some(parent) = transition.told() {
            sqlx::query_file!("src/transition/lock_parent.sql", parent.0)
                .fetch_optional(&mut *transaction)
                .await?;
        }
        let recorded = self.record_in(&mut transaction, transition).await?;
        if matches!(recorded, Recorded::Now(_)) {
            ask(&mut transaction, transition).await?;
        }
        if let (Recorded::Now(_), Some(parent)) = (recorded, transition.told()) {
            sqlx::query_file!("src/transition/child_ended.sql", parent.0, transition.claim.run.0)
                .fetch_one(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(recorded)
    }

    /// Records one run's transition in a transaction of the caller's: it counts once that is committed.
    ///
    /// # Errors
    /// As those of [`Engine::record_batch`].
    pub async fn record_in(
        &self,
        transaction: &mut PgConnection,
        transition: &Transition,
    ) -> Result<Recorded, EngineError> {
        let claim = &transition.claim;
        let held = sqlx::query_file_scalar!("src/transition/lock_run.sql", claim.run.0, claim.fence.0)
            .fetch_optional(&mut *transaction)
            .await?;
        if held != Some(true) {
            return Ok(Recorded::ClaimLost);
        }
        let written = self.write(transaction, &[transition]).await?;
        Ok(written.into_iter().flatten().next().unwrap_or(Recorded::ClaimLost))
    }

    /// Records one run's steps and events, all of it or nothing.
    ///
    /// # Errors
    /// As those of [`Engine::record_batch`].
    pub async fn record(&self, claim: &Claim, writes: &StepWrites) -> Result<Recorded, EngineError> {
        let transition = Transition {
            claim: *claim,
            parent: None,
            writes: writes.clone(),
            then: Then::GoOn,
        };
        self.record_one(&transition).await
    }

    /// Records one run's transition.
    ///
    /// # Errors
    /// As those of [`Engine::record_batch`].
    pub(crate) async fn record_one(&self, transition: &Transition) -> Result<Recorded, EngineError> {
        if transition.is_lone() {
            return self.record_alone(transition).await;
        }
        match self.record_batch(&[transition]).await?.pop().flatten() {
            Some(recorded) => Ok(recorded),
            None => self.record_alone(transition).await,
        }
    }

    async fn write(
        &self,
        executor: impl PgExecutor<'_>,
        batch: &[&Transition],
    ) -> Result<Vec<Option<Recorded>>, EngineError> {
        let rows = self.send(executor, batch).await?;
        let rows: HashMap<i64, Row> = rows.into_iter().map(|row| (row.entry, row)).collect();
        let recorded = |(entry, _): (i64, _)| rows.get(&entry).map(Row::recorded);
        Ok((1..).zip(batch).map(recorded).collect())
    }
}

/// Asks people what they must decide of what was just recorded.
pub(super) async fn ask(transaction: &mut PgConnection, transition: &Transition) -> Result<(), EngineError> {
    let run = transition.claim.run.0;
    let asked = transition.asked();
    if !asked.is_empty() {
        sqlx::query_file!("src/transition/open_approval.sql", run, &asked as &[Option<i32>])
            .fetch_all(&mut *transaction)
            .await?;
    }
    if transition.leaves_doubts() {
        sqlx::query_file!("src/transition/ask_about_ended.sql", run)
            .fetch_one(&mut *transaction)
            .await?;
    }
    Ok(())
}
