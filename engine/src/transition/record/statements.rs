//! The statements: `record.sql`, and `record_fresh.sql` for batches in which no recorded step moves on.

use super::columns::{Begun, Changed, Entries, Facts};
use super::{Row, Transition};
use crate::{Engine, EngineError};
use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

/// The columns of a batch.
struct Columns<'a> {
    entries: Entries<'a>,
    begun: Begun<'a>,
    changed: Changed<'a>,
    facts: Facts<'a>,
}

impl Engine {
    /// Writes a batch by the smallest statement that does for it.
    pub(super) async fn send(
        &self,
        executor: impl PgExecutor<'_>,
        batch: &[&Transition],
    ) -> Result<Vec<Row>, EngineError> {
        let columns = Columns {
            entries: Entries::of(batch),
            begun: Begun::of(batch),
            changed: Changed::of(batch),
            facts: Facts::of(batch),
        };
        if columns.changed.entry.is_empty() {
            self.send_fresh(executor, &columns).await
        } else {
            self.send_any(executor, &columns).await
        }
    }

    async fn send_any(&self, executor: impl PgExecutor<'_>, columns: &Columns<'_>) -> Result<Vec<Row>, EngineError> {
        let Columns {
            entries,
            begun,
            changed,
            facts,
        } = columns;
        let rows = sqlx::query_file_as!(
            Row,
            "src/transition/record.sql",
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
            &begun.entry,
            &begun.seq,
            &begun.turn as &[Option<i32>],
            &begun.call_index as &[Option<i32>],
            &begun.identity as &[Option<&str>],
            &begun.kind as &[&str],
            &begun.name as &[&str],
            &begun.call_id as &[Option<&str>],
            &begun.state as &[&str],
            &begun.effect as &[&str],
            &begun.key as &[&str],
            &begun.attempt,
            &begun.attempts_max,
            &begun.maybe_applied as &[Option<bool>],
            &begun.due_at as &[Option<DateTime<Utc>>],
            &begun.replaces_seq as &[Option<i32>],
            &begun.request_digest as &[&[u8]],
            &begun.request as &[Option<&str>],
            &begun.result as &[Option<&str>],
            &begun.error as &[Option<&str>],
            &changed.entry,
            &changed.seq,
            &changed.state as &[&str],
            &changed.attempt,
            &changed.attempts_max,
            &changed.maybe_applied as &[Option<bool>],
            &changed.due_at as &[Option<DateTime<Utc>>],
            &changed.result as &[Option<&str>],
            &changed.error as &[Option<&str>],
            &changed.evidence as &[Option<&str>],
            &changed.fresh_budget as &[Option<bool>],
            &facts.entry,
            &facts.seq,
            &facts.kind as &[&str],
            &facts.step_seq as &[Option<i32>],
            &facts.data as &[Option<&str>],
            entries.lowest,
            entries.highest,
        )
        .fetch_all(executor)
        .await?;
        Ok(rows)
    }

    async fn send_fresh(&self, executor: impl PgExecutor<'_>, columns: &Columns<'_>) -> Result<Vec<Row>, EngineError> {
        let Columns {
            entries, begun, facts, ..
        } = columns;
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
            &begun.entry,
            &begun.seq,
            &begun.turn as &[Option<i32>],
            &begun.call_index as &[Option<i32>],
            &begun.identity as &[Option<&str>],
            &begun.kind as &[&str],
            &begun.name as &[&str],
            &begun.call_id as &[Option<&str>],
            &begun.state as &[&str],
            &begun.effect as &[&str],
            &begun.key as &[&str],
            &begun.attempt,
            &begun.attempts_max,
            &begun.maybe_applied as &[Option<bool>],
            &begun.due_at as &[Option<DateTime<Utc>>],
            &begun.replaces_seq as &[Option<i32>],
            &begun.request_digest as &[&[u8]],
            &begun.request as &[Option<&str>],
            &begun.result as &[Option<&str>],
            &begun.error as &[Option<&str>],
            &facts.entry,
            &facts.seq,
            &facts.kind as &[&str],
            &facts.step_seq as &[Option<i32>],
            &facts.data as &[Option<&str>],
            entries.lowest,
            entries.highest,
        )
        .fetch_all(executor)
        .await?;
        Ok(rows)
    }
}
