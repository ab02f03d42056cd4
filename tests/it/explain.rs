//! The hot statements use their indexes, whatever has piled up behind them.

use longhaul_tests::database::TestDatabase;
use sqlx::{AssertSqlSafe, PgConnection};

/// A hot statement and what its plan must name.
struct Hot {
    name: &'static str,
    sql: &'static str,
    /// The parameters, as `explain execute` takes them.
    given: &'static str,
    indexes: &'static [&'static str],
}

/// A worker that holds runs.
const HOLDER: &str = "'00000000-0000-4000-8000-000000000001'";

const HOT: [Hot; 14] = [
    Hot {
        name: "claim_runs",
        sql: include_str!("../../engine/src/transition/claim_runs.sql"),
        given: "$holder, 20, '{default}', '{agent}', '{}', null, 0, 1, '{100}', '{100}', '{2026-01-01}', array[$run]::uuid[]",
        indexes: &["run_claim_idx", "run_pkey"],
    },
    Hot {
        name: "poll",
        sql: include_str!("../../engine/src/query/poll.sql"),
        given: "'{default}', '{agent}', '{}', null, $holder, 1.0, '{100}', '{100}', '{2026-01-01}', array[$run]::uuid[], null",
        indexes: &["run_claim_idx", "run_due_idx", "run_wake_idx", "run_held_idx", "run_ends_children_idx", "worker_open_idx"],
    },
    Hot {
        name: "wake_runs",
        sql: include_str!("../../engine/src/transition/wake_runs.sql"),
        given: "100, null, null",
        indexes: &["run_wake_idx", "run_pkey"],
    },
    Hot {
        name: "lock_abandoned_runs",
        sql: include_str!("../../engine/src/transition/lock_abandoned_runs.sql"),
        given: "100",
        indexes: &["run_held_idx"],
    },
    Hot {
        name: "extend_lease",
        sql: include_str!("../../engine/src/transition/extend_lease.sql"),
        given: "$holder, 15000, null",
        indexes: &["run_attention_idx"],
    },
    Hot {
        name: "record",
        sql: include_str!("../../engine/src/transition/record.sql"),
        given: "array[$run]::uuid[], '{1}', array[$holder]::uuid[], '{t}', '{t}', '{null}', '{null}', '{null}', '{null}', '{null}', '{null}', '{null}', '{null}',
                null, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
                '{1}', '{1}', '{succeeded}', '{1}', '{3}', '{f}', '{null}', '{null}', '{null}', '{null}', '{f}',
                '{1}', '{9}', '{step.succeeded}', '{1}', '{null}', $run, $run",
        indexes: &["run_pkey", "step_pkey"],
    },
    Hot {
        name: "record_fresh",
        sql: include_str!("../../engine/src/transition/record_fresh.sql"),
        given: "array[$run]::uuid[], '{1}', array[$holder]::uuid[], '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
                null, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
                '{1}', '{9}', '{step.succeeded}', '{1}', '{}', $run, $run",
        indexes: &["run_pkey"],
    },
    Hot {
        name: "tasks",
        sql: include_str!("../../engine/src/query/tasks.sql"),
        given: "$run",
        indexes: &["step_pkey"],
    },
    Hot {
        name: "look",
        sql: include_str!("../../engine/src/query/look.sql"),
        given: "$run, 1",
        indexes: &["run_pkey", "event_pkey"],
    },
    Hot {
        name: "lock_run",
        sql: include_str!("../../engine/src/transition/lock_run.sql"),
        given: "$run, 1",
        indexes: &["run_pkey"],
    },
    Hot {
        name: "release_run",
        sql: include_str!("../../engine/src/transition/release_run.sql"),
        given: "$run, 1, 8, $holder, 'shutdown', null, 0, 5",
        indexes: &["run_pkey"],
    },
    Hot {
        name: "reclaim_runs",
        sql: include_str!("../../engine/src/transition/reclaim_runs.sql"),
        given: "array[$run]::uuid[], null, 5",
        indexes: &["run_pkey", "event_pkey"],
    },
    Hot {
        name: "steps",
        sql: include_str!("../../engine/src/query/steps.sql"),
        given: "$run",
        indexes: &["step_pkey"],
    },
    Hot {
        name: "new_events",
        sql: include_str!("../../engine/src/query/new_events.sql"),
        given: "array[$run, $holder]::uuid[], '{0,0}', 128",
        indexes: &["event_pkey"],
    },
];

/// Thirty-eight thousand runs that have ended, some with their journals, and a backlog beside them. They lie in this
/// month and the four before.
const FILL: &str = "
    insert into longhaul.agent_version (id, tenant, name, version, definition, digest, functions)
    values ('00000000-0000-4000-8000-00000000000a', 'default', 'a', 1, '{}', '', '{}');
    insert into longhaul.worker (id, name, kinds, functions, queues, lease_expires_at, closed_at)
    select
        ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'w', '{agent}', '{}', '{default}',
        now() + interval '1 min', case when n > 3 then now() end
    from generate_series(1, 500) as n;
    insert into longhaul.run (
        id, tenant, requester, labels, kind, agent, agent_version_id, functions, queue, priority, state, waiting_for,
        due_at, worker_id, fence, event_seq, ended_at, input)
    select
        aged.id, 'default', 'r', '{}', 'agent', 'a', '00000000-0000-4000-8000-00000000000a', '{}',
        'default', 100, kind.state, case kind.state when 'waiting' then 'timer' end,
        case when kind.state in ('queued', 'waiting') then now() + (n % 7 - 3) * interval '1 hour' end,
        case kind.state when 'running' then '00000000-0000-4000-8000-000000000001'::uuid end,
        1, 8, case kind.state when 'succeeded' then now() end, '{}'
    from generate_series(1, 41200) as n
    cross join lateral (
        select case when n <= 38000 then 'succeeded' when n <= 40000 then 'queued'
                    when n <= 41000 then 'waiting' else 'running' end as state
    ) as kind
    cross join lateral (
        select encode(
            substring(uuid_send(longhaul.first_run_id(now() - n % 5 * interval '1 month')) for 6)
            || substring(uuid_send(longhaul.new_run_id()) from 7), 'hex')::uuid as id
    ) as aged;
    insert into longhaul.event (run_id, seq, kind, fence)
    select run.id, n, 'step.succeeded', 1 from longhaul.run cross join generate_series(1, 8) as n where run.id in (select id from longhaul.run where ended_at is not null order by right(id::text, 12) limit 3000);
    insert into longhaul.step (
        run_id, seq, turn, call_index, kind, name, state, effect, key, attempt, attempts_max, maybe_applied, worker_id,
        fence, created_at, budget_from, ended_at, request_digest)
    select
        run.id, n, n, 0, 'model', 'm', 'succeeded', 'read_only', 'k', 1, 3, false,
        '00000000-0000-4000-8000-000000000001', 1, now(), now(), now(), ''
    from longhaul.run cross join generate_series(1, 4) as n
    where run.id in (select id from longhaul.run where ended_at is not null order by right(id::text, 12) limit 3000)";

/// As autovacuum does: it passes partitions by that have nothing in them, and knows nothing of a partitioned table.
const ANALYZE: &str = "
    do $$
    declare
        filled regclass;
    begin
        for filled in
            select pg_class.oid
            from pg_class
            join pg_namespace on pg_namespace.oid = pg_class.relnamespace
            where pg_namespace.nspname = 'longhaul' and pg_class.relkind = 'r' and pg_relation_size(pg_class.oid) > 0
        loop
            execute format('analyze %s', filled);
        end loop;
    end
    $$";

/// Tables and partitions of runs that have something in them.
const FILLED: &str = "
    select distinct pg_class.relname::text
    from pg_class
    join pg_inherits on pg_inherits.inhrelid = pg_class.oid
    where pg_class.relnamespace = 'longhaul'::regnamespace and pg_class.relkind = 'r'
      and pg_class.relname not like '%_default' and pg_relation_size(pg_class.oid) > 0";

async fn run_sql(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(connection)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// The plan's lines, for parameters as given or for any.
async fn plan(connection: &mut PgConnection, hot: &Hot, mode: &str) -> String {
    let run: uuid::Uuid = sqlx::query_scalar("select id from longhaul.run where state = 'running' limit 1")
        .fetch_one(&mut *connection)
        .await
        .expect("a run is there");
    let given = hot
        .given
        .replace("$holder", HOLDER)
        .replace("$run", &format!("'{run}'"));
    run_sql(connection, &format!("set plan_cache_mode = {mode}")).await;
    let explain = format!("explain execute {}({given})", hot.name);
    let lines: Vec<String> = sqlx::query_scalar(AssertSqlSafe(explain.as_str()))
        .fetch_all(connection)
        .await
        .unwrap_or_else(|error| panic!("{explain}: {error}"));
    lines.join("\n")
}

#[tokio::test]
async fn hot_statements_use_their_indexes_with_a_long_history_behind_them() {
    let database = TestDatabase::new().await;
    let mut connection = database.connect().await;
    run_sql(&mut connection, FILL).await;
    run_sql(&mut connection, "select longhaul.make_partitions(rows_max => 1000000)").await;
    run_sql(&mut connection, ANALYZE).await;
    let filled: Vec<String> = sqlx::query_scalar(FILLED)
        .fetch_all(&mut connection)
        .await
        .expect("tables are listed");
    assert!(filled.len() >= 15, "five months of runs, steps and events: {filled:?}");
    let mut complaints = Vec::new();
    for hot in &HOT {
        run_sql(&mut connection, &format!("prepare {} as {}", hot.name, hot.sql)).await;
        for mode in ["force_custom_plan", "force_generic_plan"] {
            let plan = plan(&mut connection, hot, mode).await;
            for index in hot.indexes.iter().filter(|index| !is_used(&plan, index)) {
                complaints.push(format!("{}, {mode}: {index} is not used:\n{plan}", hot.name));
            }
            for table in filled.iter().filter(|table| is_read_whole(&plan, table)) {
                complaints.push(format!("{}, {mode}: all of {table} is read:\n{plan}", hot.name));
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n\n"));
}

/// What the engine sets for its connections.
const SETTINGS: &str = "
    set plan_cache_mode = force_generic_plan; set jit = off;
    set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off";

/// A plan is made at a statement's first use, when a new database is empty, and kept while its tables fill.
#[tokio::test]
async fn plans_made_while_the_tables_were_empty_find_rows_by_key_all_the_same() {
    let database = TestDatabase::new().await;
    let mut connection = database.connect().await;
    run_sql(&mut connection, SETTINGS).await;
    let run = format!("'{}'", uuid::Uuid::nil());
    let mut complaints = Vec::new();
    for hot in &HOT {
        run_sql(&mut connection, &format!("prepare {} as {}", hot.name, hot.sql)).await;
        let given = hot.given.replace("$holder", HOLDER).replace("$run", &run);
        let explain = format!("explain execute {}({given})", hot.name);
        let lines: Vec<String> = sqlx::query_scalar(AssertSqlSafe(explain.as_str()))
            .fetch_all(&mut connection)
            .await
            .unwrap_or_else(|error| panic!("{explain}: {error}"));
        let plan = lines.join("\n");
        for index in hot.indexes.iter().filter(|index| !is_used(&plan, index)) {
            complaints.push(format!("{}: {index} is not used:\n{plan}", hot.name));
        }
        if ["run", "step", "event", "attempt"]
            .iter()
            .any(|table| plan.contains(&format!("Seq Scan on {table}_")))
        {
            complaints.push(format!("{}: a table that grows is read whole:\n{plan}", hot.name));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n\n"));
}

/// Whether a plan names the index of a partition, such as `run_2026_11_claim_idx` for `run_claim_idx`, or an index itself.
fn is_used(plan: &str, index: &str) -> bool {
    let (table, rest) = index.split_once('_').expect("an index is named after its table");
    plan.split_whitespace()
        .any(|word| word == index || of_partition(word, table).is_some_and(|after| after == rest))
}

/// Whether a plan reads all of a table or partition that is not empty.
fn is_read_whole(plan: &str, table: &str) -> bool {
    plan.lines()
        .filter_map(|line| line.split_once("Seq Scan on "))
        .any(|(_, scanned)| scanned.split_whitespace().next() == Some(table))
}

/// What follows the month, or `default`, in the name of what belongs to a partition of the table.
fn of_partition<'name>(name: &'name str, table: &str) -> Option<&'name str> {
    let month = name.strip_prefix(table)?.strip_prefix('_')?;
    let numbers = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match month.splitn(3, '_').collect::<Vec<_>>()[..] {
        ["default", ..] => month.strip_prefix("default_"),
        [year, number, after] if numbers(year) && numbers(number) => Some(after),
        _ => None,
    }
}
