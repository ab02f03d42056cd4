//! Runs and all that is theirs lie in partitions by month, and nothing rests on these being there.

use engine::transition::MonthMade;
use engine::{Connect, Engine, EngineError};
use futures_util::future::join_all;
use longhaul_tests::database::TestDatabase;
use longhaul_tests::world::{PATIENCE, World};
use rehearsal::{Answer, Rule, Script};
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;
use worker::Functions;

const TABLES: [&str; 8] = [
    "run",
    "step",
    "attempt",
    "event",
    "request",
    "signal",
    "approval",
    "late_result",
];

/// A month, counted from this one, with the name that its partitions bear.
async fn month(connection: &mut PgConnection, months: i32) -> String {
    sqlx::query_scalar("select to_char(now() at time zone 'UTC' + make_interval(months => $1), 'YYYY_MM')")
        .bind(months)
        .fetch_one(connection)
        .await
        .unwrap()
}

async fn run_sql(connection: &mut PgConnection, sql: &str) {
    let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

async fn number(connection: &mut PgConnection, sql: &str) -> i64 {
    let number = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(connection).await;
    number.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// Months and outcomes, as the function tells them.
async fn make(connection: &mut PgConnection, arguments: &str) -> Vec<(String, String)> {
    let sql = format!("select to_char(month, 'YYYY_MM'), outcome from longhaul.make_partitions({arguments})");
    let rows = sqlx::query_as(AssertSqlSafe(sql.as_str())).fetch_all(connection).await;
    rows.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// A waiting run with a row in every table, as if it had been started so many months from now.
async fn run_of_month(connection: &mut PgConnection, months: i32) -> Uuid {
    let id: Uuid = sqlx::query_scalar(
        "select encode(
            substring(uuid_send(longhaul.first_run_id(now() + make_interval(months => $1))) for 6)
            || substring(uuid_send(longhaul.new_run_id()) from 7), 'hex')::uuid",
    )
    .bind(months)
    .fetch_one(&mut *connection)
    .await
    .unwrap();
    let version = "00000000-0000-4000-8000-00000000000a";
    let rows = format!(
        "insert into longhaul.agent_version (id, tenant, name, version, definition, digest, functions)
         values ('{version}', 'default', 'old', 1, '{{}}', '', '{{}}') on conflict do nothing;
         insert into longhaul.run (
             id, tenant, requester, labels, kind, agent, agent_version_id, functions, queue, priority, state,
             waiting_for, fence, wakes, event_seq, input)
         values (
             '{id}', 'default', 'r', '{{}}', 'agent', 'old', '{version}', '{{}}', 'default', 100, 'waiting', 'approval',
             1, 1, 2, '\"{id}\"');
         insert into longhaul.event (run_id, seq, kind, fence)
         values ('{id}', 1, 'run.started', 0), ('{id}', 2, 'run.parked', 1);
         insert into longhaul.step (
             run_id, seq, turn, call_index, kind, name, state, effect, key, attempt, attempts_max, maybe_applied,
             worker_id, fence, created_at, budget_from, request_digest)
         values ('{id}', 1, 1, 0, 'model', 'm', 'unknown', 'read_only', 'k', 2, 3, true, '{version}', 1, now(), now(), '');
         insert into longhaul.attempt (run_id, step_seq, attempt, worker_id, fence, started_at)
         values ('{id}', 1, 1, '{version}', 1, now());
         insert into longhaul.request (run_id, wake, kind, actor) values ('{id}', 1, 'pause', 'p');
         insert into longhaul.signal (run_id, name, wake, id, sender, payload) values ('{id}', 'go', 1, 'i', 's', '1');
         insert into longhaul.approval (run_id, step_seq, attempt, fence, reason, verbs, summary)
         values ('{id}', 1, 2, 1, 'retries_exhausted', '{{approve}}', 'Shall it?');
         insert into longhaul.late_result (run_id, step_seq, attempt, worker_id, fence, outcome)
         values ('{id}', 1, 1, '{version}', 1, '1')"
    );
    // Who comes to a default partition in the very moment in which its month is made is refused, and comes again.
    while let Err(refused) = sqlx::raw_sql(AssertSqlSafe(rows.as_str()))
        .execute(&mut *connection)
        .await
    {
        assert!(EngineError::from(refused).is_transient(), "{rows}");
    }
    id
}

/// Everything that is kept of a run, as text.
async fn kept(connection: &mut PgConnection, id: Uuid) -> Vec<String> {
    let mut kept = Vec::new();
    for table in TABLES {
        let key = if table == "run" { "id" } else { "run_id" };
        let sql = format!("select t::text from longhaul.{table} as t where {key} = '{id}' order by t::text");
        let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql.as_str()))
            .fetch_all(&mut *connection)
            .await
            .unwrap();
        assert!(!rows.is_empty(), "{table} has nothing of {id}");
        kept.extend(rows);
    }
    kept
}

/// The suffixes of the partitions that hold a run's rows.
async fn places(connection: &mut PgConnection, id: Uuid) -> Vec<String> {
    let mut places = Vec::new();
    for table in TABLES {
        let key = if table == "run" { "id" } else { "run_id" };
        let sql = format!(
            "select distinct substring(relname from length('{table}_') + 1) from longhaul.{table}
             join pg_class on pg_class.oid = {table}.tableoid where {key} = '{id}'"
        );
        let found: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql.as_str()))
            .fetch_all(&mut *connection)
            .await
            .unwrap();
        places.extend(found);
    }
    places.sort();
    places.dedup();
    places
}

#[tokio::test]
async fn a_migrated_database_has_this_month_and_those_ahead_and_all_that_holds_of_runs_holds_there() {
    let database = TestDatabase::new().await;
    let mut connection = database.connect().await;

    assert_eq!(make(&mut connection, "").await, [], "nothing is missing");
    for months in 0..=2 {
        let month = month(&mut connection, months).await;
        for table in TABLES {
            let attached = format!(
                "select count(*) from pg_inherits where inhrelid = to_regclass('longhaul.{table}_{month}')
                   and inhparent = 'longhaul.{table}'::regclass"
            );
            assert_eq!(number(&mut connection, &attached).await, 1, "{table}_{month}");
        }
    }

    // Eight tables, with the same for each of their four partitions.
    let of_partitions = |what: &str| {
        format!(
            "select count(*) from (
                select parent.oid, child.oid, {what}
                from pg_class as parent
                join pg_inherits on pg_inherits.inhparent = parent.oid
                join pg_class as child on child.oid = pg_inherits.inhrelid
                where parent.relnamespace = 'longhaul'::regnamespace and parent.relkind = 'p'
            ) as partition (parent, child, differs) where differs"
        )
    };
    let all = of_partitions("true");
    assert_eq!(number(&mut connection, &all).await, 32);
    let loose = of_partitions("parent.relname = 'run' and child.reloptions is distinct from '{fillfactor=80}'");
    assert_eq!(number(&mut connection, &loose).await, 0, "a run is updated in place");
    let full = of_partitions("parent.relname = 'step' and child.reloptions is distinct from '{fillfactor=65}'");
    assert_eq!(number(&mut connection, &full).await, 0, "a step ends on its page");
    let columns = "select array_agg((attname, attcompression, attnotnull, attstorage)::text order by attname)
                   from pg_attribute where attnum > 0 and attrelid =";
    let other = of_partitions(&format!("({columns} parent.oid) <> ({columns} child.oid)"));
    assert_eq!(number(&mut connection, &other).await, 0, "columns are compressed alike");
    let checks = "select array_agg(pg_get_constraintdef(oid) order by conname) from pg_constraint
                  where contype = 'c' and conrelid =";
    let lax = of_partitions(&format!("({checks} parent.oid) is distinct from ({checks} child.oid)"));
    assert_eq!(number(&mut connection, &lax).await, 0, "the same is refused");
    let indexes = "select array_agg(replace(indexrelid::regclass::text, relname, '')
                                     order by replace(indexrelid::regclass::text, relname, ''))
                   from pg_index join pg_class as t on t.oid = indrelid where indrelid =";
    let unnamed = of_partitions(&format!(
        "({} parent.oid) <> ({} child.oid)",
        indexes.replace("relname", "t.relname"),
        indexes.replace("relname", "t.relname")
    ));
    assert_eq!(number(&mut connection, &unnamed).await, 0, "indexes are named alike");
}

#[tokio::test]
async fn a_run_of_a_month_without_partitions_is_kept_by_default_and_moved_whole_when_its_month_is_made() {
    let database = TestDatabase::new().await;
    let mut connection = database.connect().await;
    let old = run_of_month(&mut connection, -20).await;
    let ahead = run_of_month(&mut connection, 5).await;
    let mut before = kept(&mut connection, old).await;
    before.extend(kept(&mut connection, ahead).await);
    assert_eq!(places(&mut connection, old).await, ["default"]);
    assert_eq!(places(&mut connection, ahead).await, ["default"]);

    let first = make(&mut connection, "").await;
    let second = make(&mut connection, "5").await;

    let old_month = month(&mut connection, -20).await;
    let ahead_month = month(&mut connection, 5).await;
    assert_eq!(first, [(old_month.clone(), "made".to_owned())]);
    assert_eq!(second.len(), 3, "{second:?}");
    assert_eq!(places(&mut connection, old).await, [old_month]);
    assert_eq!(places(&mut connection, ahead).await, [ahead_month]);
    let mut after = kept(&mut connection, old).await;
    after.extend(kept(&mut connection, ahead).await);
    assert_eq!(after, before);
    assert_eq!(make(&mut connection, "5").await, []);
    // They are run on like any other.
    let state: String = sqlx::query_scalar("select longhaul.cancel_run($1)")
        .bind(old)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(state, "cancelled");
}

#[tokio::test]
async fn twenty_who_make_months_at_once_beside_writers_make_each_once_and_lose_nothing() {
    let database = TestDatabase::new().await;
    let writers = (0..4).map(async |_| {
        let mut connection = database.connect().await;
        let mut written = Vec::new();
        for _ in 0..25 {
            written.push(run_of_month(&mut connection, 4).await);
        }
        written
    });
    let callers = (0..20).map(async |_| {
        let mut connection = database.connect().await;
        make(&mut connection, "6").await
    });

    let (written, told) = tokio::join!(join_all(writers), join_all(callers));

    let mut connection = database.connect().await;
    for (month, outcome) in told.concat() {
        assert!(["made", "busy"].contains(&outcome.as_str()), "{month}: {outcome}");
    }
    // Where writers were in everybody's way, the next call is alone.
    make(&mut connection, "6").await;
    assert_eq!(make(&mut connection, "6").await, []);
    let month = month(&mut connection, 4).await;
    let written = written.concat();
    assert_eq!(written.len(), 100);
    for id in written {
        assert_eq!(places(&mut connection, id).await, [month.as_str()]);
        assert_eq!(kept(&mut connection, id).await.len(), 9);
    }
}

#[tokio::test]
async fn who_meets_somebody_at_a_default_partition_waits_a_moment_and_leaves_nothing_half_made() {
    let database = TestDatabase::new().await;
    let mut reader = database.connect().await;
    let mut connection = database.connect().await;
    run_sql(&mut reader, "begin; select from longhaul.event_default").await;

    let told = make(&mut connection, "3").await;
    let month = month(&mut connection, 3).await;
    let made = format!("select count(*) from pg_class where relname like '%{month}'");

    assert_eq!(told, [(month.clone(), "busy".to_owned())]);
    assert_eq!(number(&mut connection, &made).await, 0);
    run_sql(&mut reader, "rollback").await;
    assert_eq!(make(&mut connection, "3").await, [(month, "made".to_owned())]);
}

#[tokio::test]
async fn more_rows_than_allowed_are_left_where_they_are() {
    let database = TestDatabase::new().await;
    let mut connection = database.connect().await;
    let id = run_of_month(&mut connection, 3).await;
    let month = month(&mut connection, 3).await;

    let told = make(&mut connection, "3, 8").await;
    assert_eq!(told, [(month.clone(), "too_many_rows".to_owned())]);
    assert_eq!(places(&mut connection, id).await, ["default"]);

    assert_eq!(make(&mut connection, "3, 9").await, [(month, "made".to_owned())]);
}

#[tokio::test]
async fn a_role_that_may_only_write_is_told_so_and_its_runs_are_caught_by_default() {
    let database = TestDatabase::new().await;
    let mut connection = database.connect().await;
    // In a transaction: roles are the server's, not the database's.
    run_sql(
        &mut connection,
        "begin; create role longhaul_test_writer; grant usage on schema longhaul to longhaul_test_writer;
         grant select, insert, update on longhaul.run, longhaul.step, longhaul.attempt, longhaul.event, longhaul.request, longhaul.signal,
         longhaul.approval, longhaul.late_result,
             longhaul.agent_version, longhaul.cell to longhaul_test_writer;
         set local role longhaul_test_writer",
    )
    .await;

    assert_eq!(
        make(&mut connection, "").await,
        [],
        "nothing is missing, and nothing is asked for"
    );
    let told = make(&mut connection, "3").await;
    let id = run_of_month(&mut connection, 3).await;

    let month = month(&mut connection, 3).await;
    assert_eq!(told, [(month, "not_permitted".to_owned())]);
    assert_eq!(places(&mut connection, id).await, ["default"]);
    run_sql(&mut connection, "rollback").await;
}

#[tokio::test]
async fn a_dropped_month_leaves_the_others_working_and_the_audit_readable() {
    let database = TestDatabase::new().await;
    let mut connection = database.connect().await;
    let gone = run_of_month(&mut connection, -3).await;
    let left = run_of_month(&mut connection, -2).await;
    make(&mut connection, "").await;

    let month = month(&mut connection, -3).await;
    for table in TABLES {
        run_sql(&mut connection, &format!("drop table longhaul.{table}_{month}")).await;
    }

    let runs: Vec<Uuid> = sqlx::query_scalar("select run_id from longhaul_audit.run")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!(runs, [left]);
    for (view, rows) in [
        ("step", 1),
        ("attempt", 2),
        ("event", 2),
        ("request", 1),
        ("transcript", 1),
    ] {
        let of = |id| format!("select count(*) from longhaul_audit.{view} where run_id = '{id}'");
        assert_eq!(number(&mut connection, &of(left)).await, rows, "{view}");
        assert_eq!(number(&mut connection, &of(gone)).await, 0, "{view}");
    }
    // Its month is not made again by looking.
    assert_eq!(make(&mut connection, "").await, []);
    let state: String = sqlx::query_scalar("select longhaul.resume_run($1)")
        .bind(left)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(state, "queued");
}

#[tokio::test]
async fn a_key_finds_its_run_and_refuses_another_input_whatever_month_that_run_is_of() {
    let database = TestDatabase::new().await;
    let mut connection = database.connect().await;
    let old = run_of_month(&mut connection, -4).await;
    let start = format!(
        "insert into longhaul.agent (tenant, name, version_id) select 'default', 'old', id from longhaul.agent_version;
         insert into longhaul.run_key (tenant, key_digest, run_id) values ('default', longhaul.digest('once'), '{old}')"
    );
    run_sql(&mut connection, &start).await;
    let again = async |connection: &mut PgConnection, input: String| {
        sqlx::query_as(
            "select run_id, created from longhaul.start_run('old', $1::text::json, idempotency_key => 'once')",
        )
        .bind(input)
        .fetch_one(connection)
        .await
    };

    for _moved in [false, true] {
        let found: (Uuid, bool) = again(&mut connection, format!("\"{old}\"")).await.unwrap();
        assert_eq!(found, (old, false));
        let refused: Result<(Uuid, bool), sqlx::Error> = again(&mut connection, "1".to_owned()).await;
        let refused = refused.unwrap_err();
        let code = refused.as_database_error().and_then(|error| error.constraint());
        assert_eq!(code, Some("key_reused"), "{refused}");
        make(&mut connection, "").await;
    }
    assert_eq!(places(&mut connection, old).await, [month(&mut connection, -4).await]);
    let twice = format!("insert into longhaul.event (run_id, seq, kind, fence) values ('{old}', 1, 'k', 0)");
    let refused = sqlx::raw_sql(AssertSqlSafe(twice.as_str()))
        .execute(&mut connection)
        .await;
    assert!(
        refused.unwrap_err().to_string().contains("event_"),
        "an event's number is taken once"
    );
}

#[tokio::test]
async fn a_worker_makes_the_months_that_are_missing() {
    let world = World::new(Script::new().rule(Rule::always().answers(Answer::text("done")))).await;
    let mut connection = world.database.connect().await;
    let last = month(&mut connection, 2).await;
    for table in TABLES {
        run_sql(&mut connection, &format!("drop table longhaul.{table}_{last}")).await;
    }

    let worker = world.worker(world.config("maker"), Functions::default());
    let there = format!("select (to_regclass('longhaul.request_{last}') is not null)::int::bigint");
    tokio::time::timeout(PATIENCE, async {
        while number(&mut connection, &there).await == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the month is made");
    worker.drain().await;
}

#[tokio::test]
async fn the_engine_tells_each_month_that_was_missing_once() {
    let database = TestDatabase::new().await;
    let mut connection = database.connect().await;
    let engine = Engine::connect(&Connect::new(&database.url, "test")).await.unwrap();
    run_of_month(&mut connection, -1).await;

    let told = engine.make_partitions().await.unwrap();
    let again = engine.make_partitions().await.unwrap();

    let told: Vec<(String, MonthMade)> = told
        .into_iter()
        .map(|(month, made)| (month.format("%Y_%m").to_string(), made))
        .collect();
    assert_eq!(told, [(month(&mut connection, -1).await, MonthMade::Made)]);
    assert_eq!(again, []);
}
