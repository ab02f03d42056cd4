//! What the tables of runs hold, as the database says it and as the model has it.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use sqlx::PgPool;
use std::fmt::{Debug, Write};
use uuid::Uuid;

/// The fixed clock's beginning: long after the database's, so that the two are never taken for each other.
pub(super) fn beginning() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(365 * 130)
}

/// Seconds after [`beginning`]. What is before that is by the database's clock: later ones are greater, and nobody can
/// tell them beforehand, so all are equal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Time(pub(super) i64);

/// Below it times are by the database's clock.
const BY_DATABASE: i64 = -1_000_000;

impl Time {
    /// An instant of the database's clock, by the count of transactions until then.
    pub(super) const fn by_database(transaction: i64) -> Self {
        Self(BY_DATABASE * 1000 + transaction)
    }

    /// So many seconds later.
    pub(super) const fn plus(self, seconds: i64) -> Self {
        Self(self.0 + seconds)
    }

    pub(super) fn of(at: DateTime<Utc>) -> Self {
        Self((at - beginning()).num_seconds())
    }
}

impl PartialEq for Time {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || (self.0 < BY_DATABASE && other.0 < BY_DATABASE)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DateTime::<Utc>::deserialize(deserializer).map(Self::of)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct RunRow {
    pub(super) id: Uuid,
    pub(super) kind: String,
    pub(super) agent: Option<String>,
    pub(super) functions: Vec<String>,
    pub(super) queue: String,
    pub(super) priority: i32,
    pub(super) state: String,
    pub(super) waiting_for: Option<String>,
    pub(super) wait_reason: Option<String>,
    pub(super) due_at: Option<Time>,
    pub(super) deadline_at: Option<Time>,
    pub(super) worker_id: Option<Uuid>,
    pub(super) fence: i64,
    pub(super) wakes: i64,
    pub(super) event_seq: i32,
    pub(super) crashes: i32,
    pub(super) resumed_fence: i64,
    pub(super) paused_at: Option<Time>,
    pub(super) paused_by: Option<String>,
    pub(super) pause_reason: Option<String>,
    pub(super) cancel_requested_at: Option<Time>,
    pub(super) cancel_requested_by: Option<String>,
    pub(super) cancel_reason: Option<String>,
    pub(super) parent_id: Option<Uuid>,
    pub(super) tree_id: Option<Uuid>,
    pub(super) depth: i32,
    pub(super) on_parent_end: Option<String>,
    pub(super) ends_children: bool,
    pub(super) started_at: Option<Time>,
    pub(super) ended_at: Option<Time>,
    pub(super) input: Value,
    pub(super) result: Option<Value>,
    pub(super) error: Option<Value>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct StepRow {
    pub(super) run_id: Uuid,
    pub(super) seq: i32,
    pub(super) turn: Option<i32>,
    pub(super) call_index: Option<i32>,
    pub(super) identity: Option<String>,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) call_id: Option<String>,
    pub(super) state: String,
    pub(super) effect: String,
    pub(super) key: String,
    pub(super) attempt: i32,
    pub(super) attempts_max: i32,
    pub(super) maybe_applied: bool,
    pub(super) replaces_seq: Option<i32>,
    pub(super) worker_id: Uuid,
    pub(super) fence: i64,
    pub(super) due_at: Option<Time>,
    pub(super) created_at: Time,
    pub(super) budget_from: Time,
    pub(super) attempt_started_at: Option<Time>,
    pub(super) attempt_ended_at: Option<Time>,
    pub(super) ended_at: Option<Time>,
    pub(super) request: Option<Value>,
    pub(super) result: Option<Value>,
    pub(super) error: Option<Value>,
    pub(super) evidence: Option<Value>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct AttemptRow {
    pub(super) run_id: Uuid,
    pub(super) step_seq: i32,
    pub(super) attempt: i32,
    pub(super) worker_id: Uuid,
    pub(super) fence: i64,
    pub(super) started_at: Option<Time>,
    pub(super) ended_at: Option<Time>,
    pub(super) error: Option<Value>,
    pub(super) evidence: Option<Value>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct EventRow {
    pub(super) run_id: Uuid,
    pub(super) seq: i32,
    pub(super) kind: String,
    pub(super) step_seq: Option<i32>,
    pub(super) worker_id: Option<Uuid>,
    pub(super) fence: i64,
    pub(super) at: Time,
    pub(super) data: Option<Value>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct RequestRow {
    pub(super) run_id: Uuid,
    pub(super) wake: i64,
    pub(super) kind: String,
    pub(super) actor: String,
    pub(super) reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct SignalRow {
    pub(super) run_id: Uuid,
    pub(super) wake: i64,
    pub(super) name: String,
    pub(super) id: String,
    pub(super) sender: String,
    pub(super) payload: Value,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct WorkerRow {
    pub(super) id: Uuid,
    pub(super) lease_expires_at: Time,
    pub(super) clearing: bool,
    pub(super) closed_at: Option<Time>,
}

/// All that the operations of a case could have changed.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Tables {
    pub(super) run: Vec<RunRow>,
    pub(super) step: Vec<StepRow>,
    pub(super) attempt: Vec<AttemptRow>,
    pub(super) event: Vec<EventRow>,
    pub(super) request: Vec<RequestRow>,
    pub(super) signal: Vec<SignalRow>,
    pub(super) worker: Vec<WorkerRow>,
    /// Which runs have keys.
    pub(super) run_key: Vec<Uuid>,
}

impl Tables {
    /// What the database holds, all tables in one snapshot.
    pub(super) async fn read(pool: &PgPool) -> Self {
        let rows: String = sqlx::query_scalar(
            "select json_build_object(
                'run', (select coalesce(json_agg(kept), '[]') from longhaul.run as kept),
                'step', (select coalesce(json_agg(kept), '[]') from longhaul.step as kept),
                'attempt', (select coalesce(json_agg(kept), '[]') from longhaul.attempt as kept),
                'event', (select coalesce(json_agg(kept), '[]') from longhaul.event as kept),
                'request', (select coalesce(json_agg(kept), '[]') from longhaul.request as kept),
                'signal', (select coalesce(json_agg(kept), '[]') from longhaul.signal as kept),
                'worker', (select coalesce(json_agg(kept), '[]') from longhaul.worker as kept),
                'run_key', (select coalesce(json_agg(run_key.run_id), '[]') from longhaul.run_key))::text",
        )
        .fetch_one(pool)
        .await
        .expect("the tables are read");
        let tables: Self = serde_json::from_str(&rows).expect("rows have their shapes");
        tables.sorted()
    }

    /// Forgets everything: the next case begins.
    pub(super) async fn clear(pool: &PgPool) {
        sqlx::raw_sql(
            "delete from longhaul.run; delete from longhaul.step; delete from longhaul.attempt;
             delete from longhaul.event; delete from longhaul.request; delete from longhaul.signal;
             delete from longhaul.approval; delete from longhaul.late_result;
             delete from longhaul.worker; delete from longhaul.run_key;",
        )
        .execute(pool)
        .await
        .expect("the tables are cleared");
    }

    fn sorted(mut self) -> Self {
        self.run.sort_by_key(|row| row.id);
        self.step.sort_by_key(|row| (row.run_id, row.seq));
        self.attempt.sort_by_key(|row| (row.run_id, row.step_seq, row.attempt));
        self.event.sort_by_key(|row| (row.run_id, row.seq));
        self.request.sort_by_key(|row| (row.run_id, row.wake));
        self.signal.sort_by_key(|row| (row.run_id, row.wake));
        self.worker.sort_by_key(|row| row.id);
        self.run_key.sort();
        self
    }

    /// Where they differ, for people; empty where they do not. `self` is the model's.
    pub(super) fn differences(&self, database: &Self) -> String {
        let model = self.clone().sorted();
        let mut told = String::new();
        compare(&mut told, "run", (&model.run, &database.run));
        compare(&mut told, "step", (&model.step, &database.step));
        compare(&mut told, "attempt", (&model.attempt, &database.attempt));
        compare(&mut told, "event", (&model.event, &database.event));
        compare(&mut told, "request", (&model.request, &database.request));
        compare(&mut told, "signal", (&model.signal, &database.signal));
        compare(&mut told, "worker", (&model.worker, &database.worker));
        compare(&mut told, "run_key", (&model.run_key, &database.run_key));
        told
    }
}

fn compare<T: Debug + PartialEq>(told: &mut String, table: &str, (model, database): (&[T], &[T])) {
    if model == database {
        return;
    }
    let missing = model.iter().filter(|row| !database.contains(row));
    for row in missing {
        let _ = writeln!(told, "the model has in {table}:    {row:?}");
    }
    let surplus = database.iter().filter(|row| !model.contains(row));
    for row in surplus {
        let _ = writeln!(told, "the database has in {table}: {row:?}");
    }
    let _ = writeln!(
        told,
        "{table}: {} rows in the model, {} in the database",
        model.len(),
        database.len()
    );
}
