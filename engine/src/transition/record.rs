//! Records steps and events for the holder of a run.

#[cfg(feature = "planted-faults")]
mod unfenced;

use super::Control;
use crate::{Claim, Engine, EngineError};
use chrono::{DateTime, Utc};

/// What the holder of a run writes in one statement.
#[derive(Debug, Clone, Default)]
pub struct StepWrites {
    /// New steps.
    pub begun: Vec<StepBegin>,
    /// Steps that moved on.
    pub changed: Vec<StepChange>,
    /// Facts, numbered on from the last one.
    pub events: Vec<EventWrite>,
    /// Whether something is about to leave the process: refused once a cancel or a pause was asked for.
    pub has_intent: bool,
    /// Whether a result came in: crashes before it no longer count.
    pub has_result: bool,
}

/// A new step. In the state `running` it is the intent of its first attempt.
#[derive(Debug, Clone)]
pub struct StepBegin {
    /// 1.. per run.
    pub seq: i32,
    /// From 1.
    pub turn: i32,
    /// The place among the calls of its turn, from 0.
    pub call_index: i32,
    /// `model` or `tool`.
    pub kind: &'static str,
    /// The model's or the tool's name.
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
    /// The step that this one takes the place of.
    pub replaces_seq: Option<i32>,
    /// SHA-256 of the request's exact text.
    pub request_digest: Vec<u8>,
    /// JSON text of what leaves the process; absent for model calls, which are rebuilt from the journal.
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

/// What became of the writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// They are committed.
    Now(Control),
    /// Nothing was written: they held an intent, and a cancel or a pause came first.
    Refused(Control),
    /// Nothing was written: the run has moved on under another fence.
    ClaimLost,
}

/// Columns of what is written, as Postgres takes them.
#[derive(Default)]
struct Columns {
    seq: Vec<i32>,
    turn: Vec<i32>,
    call_index: Vec<i32>,
    kind: Vec<String>,
    name: Vec<String>,
    call_id: Vec<Option<String>>,
    state: Vec<String>,
    effect: Vec<String>,
    key: Vec<String>,
    attempt: Vec<i32>,
    attempts_max: Vec<i32>,
    replaces_seq: Vec<Option<i32>>,
    request_digest: Vec<Vec<u8>>,
    request: Vec<Option<String>>,
    result: Vec<Option<String>>,
    error: Vec<Option<String>>,
}

impl Columns {
    fn of(begun: &[StepBegin]) -> Self {
        let mut columns = Self::default();
        for step in begun {
            columns.seq.push(step.seq);
            columns.turn.push(step.turn);
            columns.call_index.push(step.call_index);
            columns.kind.push(step.kind.to_owned());
            columns.name.push(step.name.clone());
            columns.call_id.push(step.call_id.clone());
            columns.state.push(step.state.to_owned());
            columns.effect.push(step.effect.to_owned());
            columns.key.push(step.key.clone());
            columns.attempt.push(step.attempt);
            columns.attempts_max.push(step.attempts_max);
            columns.replaces_seq.push(step.replaces_seq);
            columns.request_digest.push(step.request_digest.clone());
            columns.request.push(step.request.clone());
            columns.result.push(step.result.clone());
            columns.error.push(step.error.clone());
        }
        columns
    }
}

fn column<'a, T, R>(items: &'a [T], pick: impl Fn(&'a T) -> R) -> Vec<R> {
    items.iter().map(pick).collect()
}

impl Engine {
    /// Records all of it or nothing.
    ///
    /// # Errors
    /// The database's. After [`EngineError::Unavailable`] nobody knows whether it was written: [`Engine::look`] tells,
    /// by the number of the last event.
    pub async fn record(&self, claim: &Claim, writes: &StepWrites) -> Result<Recorded, EngineError> {
        #[cfg(feature = "planted-faults")]
        if crate::planted_fault::is_chosen(crate::planted_fault::UNFENCED_RECORD) {
            return self.record_unfenced(claim, writes).await;
        }
        let begun = Columns::of(&writes.begun);
        let row = sqlx::query_file!(
            "src/transition/record.sql",
            claim.run.0,
            claim.fence.0,
            claim.worker.0,
            writes.has_intent,
            writes.has_result,
            self.at(),
            &begun.seq,
            &begun.turn,
            &begun.call_index,
            &begun.kind,
            &begun.name,
            &begun.call_id as &[Option<String>],
            &begun.state,
            &begun.effect,
            &begun.key,
            &begun.attempt,
            &begun.attempts_max,
            &begun.replaces_seq as &[Option<i32>],
            &begun.request_digest,
            &begun.request as &[Option<String>],
            &begun.result as &[Option<String>],
            &begun.error as &[Option<String>],
            &column(&writes.changed, |change| change.seq),
            &column(&writes.changed, |change| change.state.to_owned()),
            &column(&writes.changed, |change| change.attempt),
            &column(&writes.changed, |change| change.attempts_max),
            &column(&writes.changed, |change| change.maybe_applied),
            &column(&writes.changed, |change| change.due_at) as &[Option<DateTime<Utc>>],
            &column(&writes.changed, |change| change.result.clone()) as &[Option<String>],
            &column(&writes.changed, |change| change.error.clone()) as &[Option<String>],
            &column(&writes.changed, |change| change.evidence.clone()) as &[Option<String>],
            &column(&writes.events, |event| event.seq),
            &column(&writes.events, |event| event.kind.to_owned()),
            &column(&writes.events, |event| event.step_seq) as &[Option<i32>],
            &column(&writes.events, |event| event.data.clone()) as &[Option<String>],
            &column(&writes.changed, |change| change.fresh_budget),
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map_or(Recorded::ClaimLost, |row| {
            let control = Control {
                wakes: row.wakes,
                cancel_requested: row.cancel_requested,
                paused: row.paused,
            };
            if row.recorded {
                Recorded::Now(control)
            } else {
                Recorded::Refused(control)
            }
        }))
    }
}
