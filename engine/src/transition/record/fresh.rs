//! Batches in which no recorded step moves on: the statement `record_fresh.sql`.

use super::columns::{Entries, thin};
use super::{EventWrite, Place, Row, StepBegin, Transition};
use crate::{Engine, EngineError};
use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

/// Whether the statement takes it.
pub(super) fn is_fresh(transition: &Transition) -> bool {
    let writes = &transition.writes;
    let follows = match writes.events.as_slice() {
        [] | [_] => true,
        [first, second] => second.seq == first.seq + 1,
        _ => false,
    };
    writes.changed.is_empty() && writes.begun.len() <= 1 && follows
}

/// What may be at each place of a batch.
struct Places<'a, T>(Vec<Option<&'a T>>);

impl<'a, T> Places<'a, T> {
    fn column<C>(&self, of: impl Fn(&'a T) -> Option<C>) -> Vec<Option<C>> {
        let mut column = self.0.iter().map(|item| item.and_then(&of)).collect();
        thin(&mut column);
        column
    }
}

fn turn(step: &StepBegin) -> Option<(i32, i32)> {
    match &step.place {
        Place::Turn { turn, call_index } => Some((*turn, *call_index)),
        Place::Identity(_) => None,
    }
}

fn identity(step: &StepBegin) -> Option<&str> {
    match &step.place {
        Place::Turn { .. } => None,
        Place::Identity(identity) => Some(identity),
    }
}

impl Engine {
    pub(super) async fn write_fresh(
        &self,
        executor: impl PgExecutor<'_>,
        batch: &[&Transition],
    ) -> Result<Vec<Row>, EngineError> {
        let entries = Entries::of(batch);
        let steps = Places(batch.iter().map(|one| one.writes.begun.first()).collect());
        let event = |place: usize| Places(batch.iter().map(|one| one.writes.events.get(place)).collect());
        let (first, second): (Places<'_, EventWrite>, Places<'_, EventWrite>) = (event(0), event(1));
        let rows = sqlx::query_file_as!(
            Row,
            "src/transition/record_fresh.sql",
            &entries.run,
            &entries.fence,
            &entries.worker,
            &entries.has_intent as &[Option<bool>],
            &entries.has_result as &[Option<bool>],
            &entries.state as &[Option<&str>],
            &entries.waiting_for as &[Option<&str>],
            &entries.wait_reason as &[Option<&str>],
            &entries.due_at as &[Option<DateTime<Utc>>],
            &entries.wakes as &[Option<i64>],
            &entries.event_seq as &[Option<i32>],
            &entries.result as &[Option<&str>],
            &entries.error as &[Option<&str>],
            self.at(),
            &steps.column(|step| Some(step.seq)) as &[Option<i32>],
            &steps.column(|step| Some(turn(step)?.0)) as &[Option<i32>],
            &steps.column(|step| Some(turn(step)?.1)) as &[Option<i32>],
            &steps.column(identity) as &[Option<&str>],
            &steps.column(|step| Some(step.kind)) as &[Option<&str>],
            &steps.column(|step| Some(step.name.as_str())) as &[Option<&str>],
            &steps.column(|step| step.call_id.as_deref()) as &[Option<&str>],
            &steps.column(|step| Some(step.state)) as &[Option<&str>],
            &steps.column(|step| Some(step.effect)) as &[Option<&str>],
            &steps.column(|step| Some(step.key.as_str())) as &[Option<&str>],
            &steps.column(|step| Some(step.attempt)) as &[Option<i32>],
            &steps.column(|step| Some(step.attempts_max)) as &[Option<i32>],
            &steps.column(|step| step.maybe_applied.then_some(true)) as &[Option<bool>],
            &steps.column(|step| step.due_at) as &[Option<DateTime<Utc>>],
            &steps.column(|step| step.replaces_seq) as &[Option<i32>],
            &steps.column(|step| Some(step.request_digest.as_slice())) as &[Option<&[u8]>],
            &steps.column(|step| step.request.as_deref()) as &[Option<&str>],
            &steps.column(|step| step.result.as_deref()) as &[Option<&str>],
            &steps.column(|step| step.error.as_deref()) as &[Option<&str>],
            &first.column(|event| Some(event.seq)) as &[Option<i32>],
            &first.column(|event| Some(event.kind)) as &[Option<&str>],
            &first.column(|event| event.step_seq) as &[Option<i32>],
            &first.column(|event| event.data.as_deref()) as &[Option<&str>],
            &second.column(|event| Some(event.kind)) as &[Option<&str>],
            &second.column(|event| event.step_seq) as &[Option<i32>],
            &second.column(|event| event.data.as_deref()) as &[Option<&str>],
        )
        .fetch_all(executor)
        .await?;
        Ok(rows)
    }
}
