//! A dump of a real database, read again.

use super::good::SEED;
use crate::dump::dump;
use crate::judge::history::History;
use crate::judge::row::{EventKind, RunState, StepKind};
use crate::plan::Kind;
use launcher::{Durability, Server, ServerOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::path::Path;
use uuid::Uuid;

/// A run with a bit of everything that a dump holds.
const CONTENT: &str = r#"
    insert into longhaul.worker (id, name, kinds, functions, queues, lease_expires_at)
    values ('00000000-0000-0000-0000-0000000000a1', 'storm-1-1', '{agent}', '{}', '{default}', now());

    insert into longhaul.agent_version (id, tenant, name, version, definition, digest, functions)
    values ('00000000-0000-0000-0000-0000000000b1', 'default', 'storm', 1, '{}', '', '{}');
    insert into longhaul.agent (tenant, name, version_id)
    values ('default', 'storm', '00000000-0000-0000-0000-0000000000b1');
    select longhaul.start_run(agent => 'storm', input => '{"run":"17","shape":"shape-01"}');

    insert into longhaul.step (
        run_id, seq, turn, call_index, kind, name, call_id, state, effect, key, attempt, attempts_max, maybe_applied,
        worker_id, fence, created_at, budget_from, attempt_started_at, request_digest, request)
    select
        run.id, place.seq, 1, place.seq - 1, 'tool', 'http_idempotent', 'call', 'running', 'idempotent', 'key', 2, 20,
        false, '00000000-0000-0000-0000-0000000000a1', 1, now(), now(), now(), '', place.request
    from longhaul.run
    cross join (values
        (1, '{"kind":"http","body":"{\"effect\":\"r17-t1-c0\"}"}'::json),
        (2, '{"kind":"command","stdin":"{\"effect\":\"r17-t1-c1\"}"}'),
        (3, '{"kind":"function","input":"{\"effect\":\"r17-t1-c2\"}"}'),
        (4, null)) as place (seq, request);
    insert into longhaul.step (
        run_id, seq, identity, kind, name, state, effect, key, attempt, attempts_max, maybe_applied,
        worker_id, fence, created_at, budget_from, attempt_started_at, request_digest, request)
    select
        run.id, 5, 'turn#1[0]/http_idempotent#1', 'task', 'http_idempotent', 'waiting', 'idempotent', 'other', 2, 20,
        false, '00000000-0000-0000-0000-0000000000a1', 1, now(), now(), now(), '', '{"effect":"r17-t1-c4"}'
    from longhaul.run;
    update longhaul.step set result = '"done"' where seq = 5;
    insert into longhaul.attempt (run_id, step_seq, attempt, worker_id, fence, started_at)
    select step.run_id, step.seq, 1, step.worker_id, 1, now() from longhaul.step;
    insert into longhaul.event (run_id, seq, kind, fence, data)
    select run.id, 2, 'run.parked', 1, '{"for":"timer","until":"2026-01-01T00:00:00.000001+00:00"}' from longhaul.run;
    insert into longhaul.signal (run_id, name, wake, id, sender, payload)
    select run.id, 'go', 7, 'a-signal', 'storm', '{"k": 1}' from longhaul.run;
    create table storm_sale (run text not null, item text not null);
    create table storm_receipt (id text primary key, asked text not null, run text not null, of text);
    insert into storm_receipt select 'a-receipt', 'signal', run.id::text, 'a-signal' from longhaul.run;
    insert into longhaul.approval (run_id, step_seq, attempt, fence, reason, verbs, summary, settles_at)
    select run.id, 1, 2, 1, 'unknown_outcome', '{happened}', 'Did it?', now() from longhaul.run;
    insert into storm_sale values ('17', 't1');
    insert into longhaul.step (
        run_id, seq, identity, kind, name, state, effect, key, attempt, attempts_max, maybe_applied,
        worker_id, fence, created_at, budget_from, attempt_started_at, ended_at, request_digest, request, result)
    select
        run.id, place.seq, place.seq::text, place.kind, place.kind, 'succeeded', place.effect, 'key', 1, 1, false,
        '00000000-0000-0000-0000-0000000000a1', 1, now(), now(), now(), now(), '', place.request, place.result
    from longhaul.run
    cross join (values
        (6, 'signal', 'read_only', null::json, '{"wake":7,"id":"a-signal","sender":"storm","payload":{"k": 1}}'::json),
        (7, 'child', 'transactional', '{"kind":"storm"}', '{"run_id":"00000000-0000-0000-0000-0000000000c1"}'),
        (8, 'child', 'read_only', '{"run_id":"00000000-0000-0000-0000-0000000000c1"}', '2'),
        (9, 'task', 'transactional', '"t1"', 'null')) as place (seq, kind, effect, request, result);
    insert into longhaul.request (run_id, wake, kind, actor) select run.id, 1, 'pause', 'somebody' from longhaul.run;
"#;

async fn database(folder: &Path) -> (Server, PgConnection) {
    let options = ServerOptions {
        state_dir: folder.join("postgres"),
        durability: Durability::Fast,
        port: None,
        settings: Vec::new(),
    };
    let server = tokio::task::spawn_blocking(|| Server::start(options))
        .await
        .unwrap()
        .unwrap();
    let mut connection = PgConnection::connect(&server.url("longhaul")).await.unwrap();
    migrate(&mut connection).await;
    sqlx::raw_sql(CONTENT).execute(&mut connection).await.unwrap();
    (server, connection)
}

async fn migrate(connection: &mut PgConnection) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    for file in files {
        let sql = std::fs::read_to_string(file).unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut *connection)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_dump_holds_what_the_judge_reads() {
    let folder = tempfile::tempdir().unwrap();
    let (server, mut connection) = database(folder.path()).await;

    dump(&server.url("longhaul"), &folder.path().join("dump"))
        .await
        .unwrap();
    for name in ["ledger", "driver", "nemesis", "model"] {
        std::fs::write(folder.path().join(format!("{name}.jsonl")), "").unwrap();
    }
    std::fs::write(folder.path().join("machine.json"), r#"{"slowness":1.0}"#).unwrap();
    let history = History::read(folder.path(), SEED).unwrap();

    let run = history.runs.values().next().unwrap();
    assert_eq!((run.number, run.row.state), (Some(17), RunState::Queued));
    let asked: Vec<_> = run.steps.iter().map(|step| step.asks_for()).collect();
    let named = |call: usize| Some(format!("r17-t1-c{call}"));
    assert_eq!(asked[..5], [named(0), named(1), named(2), None, named(4)]);
    let kinds: Vec<StepKind> = run.steps[5..].iter().map(|step| step.kind).collect();
    let expected = [StepKind::Signal, StepKind::Start, StepKind::Join, StepKind::Transaction];
    assert_eq!(kinds, expected);
    let took = run.steps[5].took().unwrap();
    let signal = &run.signals[0];
    assert_eq!((took.wake, &took.id), (signal.wake, &signal.id));
    assert_eq!(took.payload.to_string(), r#"{"k":1}"#);
    let child = Some(Uuid::from_u128(0xc1));
    assert_eq!((run.steps[6].child(), run.steps[7].child()), (child, child));
    assert_eq!(run.steps[8].input.as_deref(), Some(r#""t1""#));
    assert_eq!(
        (history.sales[0].run.as_str(), history.sales[0].item.as_str()),
        ("17", "t1")
    );
    assert_eq!(run.row.kind, Kind::Agent);
    assert_eq!(run.attempts.len(), 14, "those in the steps' own rows too");
    assert_eq!(run.requests.len(), 1);
    assert_eq!(run.steps[4].result.as_deref(), Some(r#""done""#));
    let parked = run.events.iter().find(|event| event.kind == EventKind::Parked).unwrap();
    assert_eq!(parked.until, Some(1_767_225_600_000_001));
    assert_eq!(parked.parked_for.as_deref(), Some("timer"));
    let now = sqlx::query_scalar::<_, i64>("select (extract(epoch from clock_timestamp()) * 1000000)::bigint");
    let now = now.fetch_one(&mut connection).await.unwrap();
    assert!((history.ended..history.ended + 60_000_000).contains(&now));
    assert_eq!(history.workers.len(), 1);
    assert_eq!(history.receipts[0].of.as_deref(), Some("a-signal"));
    assert_eq!(
        (run.approvals[0].step_seq, run.approvals[0].state.as_str()),
        (Some(1), "open")
    );
}
