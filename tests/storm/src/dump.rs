//! A plain dump of the database, for the judge.
//!
//! The base tables as they are, in one snapshot, and of them what the laws need. Times are microseconds since 1970.

use anyhow::Context;
use futures_util::TryStreamExt;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};
use std::path::Path;
use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};

/// Each file's name, and the select whose rows it holds.
const TABLES: [(&str, &str); 11] = [
    (
        "taken",
        "select (extract(epoch from clock_timestamp()) * 1000000)::bigint as at",
    ),
    (
        "worker",
        "select
             id, name,
             (extract(epoch from started_at) * 1000000)::bigint as started_at,
             (extract(epoch from lease_expires_at) * 1000000)::bigint as lease_expires_at,
             (extract(epoch from closed_at) * 1000000)::bigint as closed_at
         from longhaul.worker
         order by started_at, id",
    ),
    (
        "run",
        "select
             id, kind, input ->> 'run' as number, state, waiting_for, wait_reason, worker_id, fence, event_seq, crashes,
             error, left(result::text, 4096) as result, parent_id, on_parent_end,
             (extract(epoch from due_at) * 1000000)::bigint as due_at,
             (extract(epoch from paused_at) * 1000000)::bigint as paused_at,
             (extract(epoch from cancel_requested_at) * 1000000)::bigint as cancel_requested_at,
             (extract(epoch from created_at) * 1000000)::bigint as created_at,
             (extract(epoch from started_at) * 1000000)::bigint as started_at,
             (extract(epoch from ended_at) * 1000000)::bigint as ended_at
         from longhaul.run
         order by id",
    ),
    (
        "step",
        "select
             run_id, seq, turn, call_index, identity,
             case when kind = 'child' and effect = 'transactional' then 'start'
                  when kind = 'child' then 'join'
                  when effect = 'transactional' then 'transaction'
                  else kind end as kind,
             name, state,
             -- What the database vouches for asks for nothing in the world.
             case effect when 'transactional' then 'read_only' else effect end as effect,
             key, attempt, attempts_max, maybe_applied, replaces_seq, worker_id, fence,
             error ->> 'code' as error_code,
             case kind when 'tool' then coalesce(request ->> 'body', request ->> 'stdin', request ->> 'input')
                       when 'task' then request::text
                       when 'child' then request::text end as input,
             case when kind in ('tool', 'task', 'signal', 'child') then left(result::text, 4096) end as result,
             (extract(epoch from attempt_started_at) * 1000000)::bigint as attempt_started_at,
             (extract(epoch from attempt_ended_at) * 1000000)::bigint as attempt_ended_at,
             (extract(epoch from ended_at) * 1000000)::bigint as ended_at
         from longhaul.step
         order by run_id, seq",
    ),
    (
        "attempt",
        "select
             run_id, step_seq, attempt, worker_id, fence,
             (extract(epoch from started_at) * 1000000)::bigint as started_at
         from longhaul.attempt
         order by run_id, step_seq, attempt",
    ),
    (
        "event",
        "select
             run_id, seq, kind, step_seq, worker_id, fence,
             (extract(epoch from at) * 1000000)::bigint as at,
             (data ->> 'attempt')::integer as attempt,
             (data ->> 'crashes')::integer as crashes,
             (data ->> 'quarantined')::boolean as quarantined,
             data ->> 'why' as why,
             data ->> 'from' as came_from,
             data ->> 'for' as parked_for,
             (extract(epoch from (data ->> 'until')::timestamptz) * 1000000)::bigint as until,
             data ->> 'by' as by,
             data ->> 'verb' as verb,
             (extract(epoch from (data ->> 'due_at')::timestamptz) * 1000000)::bigint as due_at
         from longhaul.event
         order by run_id, seq",
    ),
    (
        "request",
        "select run_id, wake, kind, (extract(epoch from at) * 1000000)::bigint as at
         from longhaul.request
         order by run_id, wake",
    ),
    (
        "signal",
        "select run_id, name, wake, id, payload::text as payload from longhaul.signal order by run_id, wake",
    ),
    ("sale", "select run, item from storm_sale order by run, item"),
    ("receipt", "select id, asked, run, of from storm_receipt order by id"),
    (
        "approval",
        "select
             run_id, id, step_seq, attempt, state, verb,
             (extract(epoch from settles_at) * 1000000)::bigint as settles_at,
             (extract(epoch from decided_at) * 1000000)::bigint as decided_at
         from longhaul.approval
         order by run_id, opened_at, id",
    ),
];

/// Writes `run`, `step`, `attempt`, `event`, `request`, `signal`, `sale`, `receipt`, `approval` and `worker` to `folder`, one JSON line a row, and in `taken`
/// when that was.
pub(crate) async fn dump(database_url: &str, folder: &Path) -> anyhow::Result<()> {
    tokio::fs::create_dir_all(folder)
        .await
        .with_context(|| format!("cannot make {}", folder.display()))?;
    let mut database = PgConnection::connect(database_url)
        .await
        .context("cannot reach the database to dump it")?;
    // One snapshot: a worker may still be at work.
    database
        .execute("begin isolation level repeatable read read only")
        .await?;
    for (name, select) in TABLES {
        write_rows(&mut database, select, &folder.join(format!("{name}.jsonl")))
            .await
            .with_context(|| format!("cannot dump {name}"))?;
    }
    database.execute("commit").await?;
    Ok(database.close().await?)
}

async fn write_rows(database: &mut PgConnection, select: &str, path: &Path) -> anyhow::Result<()> {
    let mut file = BufWriter::new(File::create(path).await?);
    let rows = format!("select row_to_json(dumped)::text from ({select}) as dumped");
    let mut rows = sqlx::query_scalar::<_, String>(AssertSqlSafe(rows)).fetch(database);
    while let Some(row) = rows.try_next().await? {
        file.write_all(row.as_bytes()).await?;
        file.write_all(b"\n").await?;
    }
    Ok(file.flush().await?)
}
