//! Columns of what is written, as Postgres takes them: one array each, over all runs of a batch.

use super::{Place, Then, Transition};
use crate::transition::Ending;
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// A column in which all are null says nothing: it need not be sent.
fn thin<T>(column: &mut Vec<Option<T>>) {
    if column.iter().all(Option::is_none) {
        column.clear();
    }
}

/// One line a run.
#[derive(Default)]
pub(super) struct Entries<'a> {
    pub(super) run: Vec<Uuid>,
    /// Of all runs.
    pub(super) lowest: Option<Uuid>,
    pub(super) highest: Option<Uuid>,
    pub(super) fence: Vec<i64>,
    pub(super) worker: Vec<Uuid>,
    pub(super) has_intent: Vec<Option<bool>>,
    pub(super) has_result: Vec<Option<bool>>,
    /// None: it goes on.
    pub(super) state: Vec<Option<&'a str>>,
    pub(super) waiting_for: Vec<Option<&'a str>>,
    pub(super) wait_reason: Vec<Option<&'a str>>,
    pub(super) due_at: Vec<Option<DateTime<Utc>>>,
    pub(super) wakes: Vec<Option<i64>>,
    /// The number of the last event, where nobody counts on.
    pub(super) event_seq: Vec<Option<i32>>,
    pub(super) result: Vec<Option<&'a str>>,
    pub(super) error: Vec<Option<&'a str>>,
}

/// What becomes of a run, as columns have it.
#[derive(Default)]
struct After<'a> {
    state: Option<&'a str>,
    waiting_for: Option<&'a str>,
    wait_reason: Option<&'a str>,
    due_at: Option<DateTime<Utc>>,
    wakes: Option<i64>,
    result: Option<&'a str>,
    error: Option<&'a str>,
}

impl<'a> After<'a> {
    fn of(then: &'a Then) -> Self {
        match then {
            Then::GoOn => Self::default(),
            Then::GoOnUnwoken { wakes } => Self {
                wakes: Some(*wakes),
                ..Self::default()
            },
            Then::Park {
                wakes,
                waiting_for,
                reason,
                until,
            } => Self {
                state: Some("waiting"),
                waiting_for: Some(waiting_for),
                wait_reason: Some(reason),
                due_at: *until,
                wakes: Some(*wakes),
                ..Self::default()
            },
            Then::End(ending) => Self {
                state: Some(ending.state()),
                result: match ending {
                    Ending::Succeeded(result) => Some(result),
                    Ending::Failed(_) | Ending::Cancelled => None,
                },
                error: match ending {
                    Ending::Failed(error) => Some(error),
                    Ending::Succeeded(_) | Ending::Cancelled => None,
                },
                ..Self::default()
            },
        }
    }
}

impl<'a> Entries<'a> {
    pub(super) fn of(batch: &[&'a Transition]) -> Self {
        let mut columns = Self::default();
        for transition in batch {
            let after = After::of(&transition.then);
            columns.run.push(transition.claim.run.0);
            columns.fence.push(transition.claim.fence.0);
            columns.worker.push(transition.claim.worker.0);
            columns.has_intent.push(transition.writes.has_intent.then_some(true));
            columns.has_result.push(transition.writes.has_result.then_some(true));
            columns
                .event_seq
                .push(after.state.and(transition.writes.events.last()).map(|event| event.seq));
            columns.state.push(after.state);
            columns.waiting_for.push(after.waiting_for);
            columns.wait_reason.push(after.wait_reason);
            columns.due_at.push(after.due_at);
            columns.wakes.push(after.wakes);
            columns.result.push(after.result);
            columns.error.push(after.error);
        }
        columns.lowest = columns.run.iter().min().copied();
        columns.highest = columns.run.iter().max().copied();
        thin(&mut columns.has_intent);
        thin(&mut columns.has_result);
        thin(&mut columns.state);
        thin(&mut columns.waiting_for);
        thin(&mut columns.wait_reason);
        thin(&mut columns.due_at);
        thin(&mut columns.wakes);
        thin(&mut columns.event_seq);
        thin(&mut columns.result);
        thin(&mut columns.error);
        columns
    }
}

/// One line a new step.
#[derive(Default)]
pub(super) struct Begun<'a> {
    /// Which line of [`Entries`] it belongs to, from 1.
    pub(super) entry: Vec<i32>,
    pub(super) seq: Vec<i32>,
    pub(super) turn: Vec<Option<i32>>,
    pub(super) call_index: Vec<Option<i32>>,
    pub(super) identity: Vec<Option<&'a str>>,
    pub(super) kind: Vec<&'a str>,
    pub(super) name: Vec<&'a str>,
    pub(super) call_id: Vec<Option<&'a str>>,
    pub(super) state: Vec<&'a str>,
    pub(super) effect: Vec<&'a str>,
    pub(super) key: Vec<&'a str>,
    pub(super) attempt: Vec<i32>,
    pub(super) attempts_max: Vec<i32>,
    pub(super) maybe_applied: Vec<Option<bool>>,
    pub(super) due_at: Vec<Option<DateTime<Utc>>>,
    pub(super) replaces_seq: Vec<Option<i32>>,
    pub(super) request_digest: Vec<&'a [u8]>,
    pub(super) request: Vec<Option<&'a str>>,
    pub(super) result: Vec<Option<&'a str>>,
    pub(super) error: Vec<Option<&'a str>>,
}

impl<'a> Begun<'a> {
    pub(super) fn of(batch: &[&'a Transition]) -> Self {
        let mut columns = Self::default();
        for (entry, transition) in (1..).zip(batch) {
            for step in &transition.writes.begun {
                columns.entry.push(entry);
                columns.seq.push(step.seq);
                let (turn, call_index, identity) = match &step.place {
                    Place::Turn { turn, call_index } => (Some(*turn), Some(*call_index), None),
                    Place::Identity(identity) => (None, None, Some(identity.as_str())),
                };
                columns.turn.push(turn);
                columns.call_index.push(call_index);
                columns.identity.push(identity);
                columns.kind.push(step.kind);
                columns.name.push(&step.name);
                columns.call_id.push(step.call_id.as_deref());
                columns.state.push(step.state);
                columns.effect.push(step.effect);
                columns.key.push(&step.key);
                columns.attempt.push(step.attempt);
                columns.attempts_max.push(step.attempts_max);
                columns.maybe_applied.push(step.maybe_applied.then_some(true));
                columns.due_at.push(step.due_at);
                columns.replaces_seq.push(step.replaces_seq);
                columns.request_digest.push(&step.request_digest);
                columns.request.push(step.request.as_deref());
                columns.result.push(step.result.as_deref());
                columns.error.push(step.error.as_deref());
            }
        }
        thin(&mut columns.turn);
        thin(&mut columns.call_index);
        thin(&mut columns.identity);
        thin(&mut columns.call_id);
        thin(&mut columns.maybe_applied);
        thin(&mut columns.due_at);
        thin(&mut columns.replaces_seq);
        thin(&mut columns.request);
        thin(&mut columns.result);
        thin(&mut columns.error);
        columns
    }
}

/// One line a step that moved on.
#[derive(Default)]
pub(super) struct Changed<'a> {
    /// Which line of [`Entries`] it belongs to, from 1.
    pub(super) entry: Vec<i32>,
    pub(super) seq: Vec<i32>,
    pub(super) state: Vec<&'a str>,
    pub(super) attempt: Vec<i32>,
    pub(super) attempts_max: Vec<i32>,
    pub(super) maybe_applied: Vec<Option<bool>>,
    pub(super) due_at: Vec<Option<DateTime<Utc>>>,
    pub(super) result: Vec<Option<&'a str>>,
    pub(super) error: Vec<Option<&'a str>>,
    pub(super) evidence: Vec<Option<&'a str>>,
    pub(super) fresh_budget: Vec<Option<bool>>,
}

impl<'a> Changed<'a> {
    pub(super) fn of(batch: &[&'a Transition]) -> Self {
        let mut columns = Self::default();
        for (entry, transition) in (1..).zip(batch) {
            for change in &transition.writes.changed {
                columns.entry.push(entry);
                columns.seq.push(change.seq);
                columns.state.push(change.state);
                columns.attempt.push(change.attempt);
                columns.attempts_max.push(change.attempts_max);
                columns.maybe_applied.push(change.maybe_applied.then_some(true));
                columns.due_at.push(change.due_at);
                columns.result.push(change.result.as_deref());
                columns.error.push(change.error.as_deref());
                columns.evidence.push(change.evidence.as_deref());
                columns.fresh_budget.push(change.fresh_budget.then_some(true));
            }
        }
        thin(&mut columns.maybe_applied);
        thin(&mut columns.due_at);
        thin(&mut columns.result);
        thin(&mut columns.error);
        thin(&mut columns.evidence);
        thin(&mut columns.fresh_budget);
        columns
    }
}

/// One line an event.
#[derive(Default)]
pub(super) struct Facts<'a> {
    /// Which line of [`Entries`] it belongs to, from 1.
    pub(super) entry: Vec<i32>,
    pub(super) seq: Vec<i32>,
    pub(super) kind: Vec<&'a str>,
    pub(super) step_seq: Vec<Option<i32>>,
    pub(super) data: Vec<Option<&'a str>>,
}

impl<'a> Facts<'a> {
    pub(super) fn of(batch: &[&'a Transition]) -> Self {
        let mut columns = Self::default();
        for (entry, transition) in (1..).zip(batch) {
            for event in &transition.writes.events {
                columns.entry.push(entry);
                columns.seq.push(event.seq);
                columns.kind.push(event.kind);
                columns.step_seq.push(event.step_seq);
                columns.data.push(event.data.as_deref());
            }
        }
        thin(&mut columns.step_seq);
        thin(&mut columns.data);
        columns
    }
}
