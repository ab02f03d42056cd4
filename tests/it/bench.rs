//! `longhaul bench`: it prints what it promises, and leaves a database as it found it.

use longhaul_tests::database::TestDatabase;
use longhaul_tests::dev_process::Desk;
use serde_json::Value;

/// What is promised of every measurement.
const COSTS: [&str; 4] = [
    "worker_cpu_seconds_per_1000",
    "wal_bytes_per_1000",
    "table_bytes_per_1000",
    "statements_per_1000",
];
const PARTS: [&str; 14] = [
    "floor.alone",
    "floor.single",
    "floor.batch",
    "w1.idempotent",
    "w1.once",
    "w1.large",
    "w2.idle",
    "w3.alone",
    "w4.single",
    "w4.bulk",
    "w5.tools",
    "w5.answer",
    "w6.long",
    "w6.sleepers",
];
const FIGURES: [&str; 23] = [
    "floor.alone_p50_ms",
    "floor.alone_p99_ms",
    "floor.single_per_second",
    "floor.single_p50_ms",
    "floor.single_p99_ms",
    "floor.batch_per_second",
    "w1.steps_per_second",
    "w1.once_steps_per_second",
    "w1.large_steps_per_second",
    "w2.start_p50_ms",
    "w2.start_p99_ms",
    "w2.recorded_p50_ms",
    "w2.recorded_p99_ms",
    "w3.step_ms",
    "w4.single_per_second",
    "w4.single_p50_ms",
    "w4.single_p99_ms",
    "w4.bulk_per_second",
    "w5.turns_per_second",
    "w5.steps_per_second",
    "w5.answers_per_second",
    "w6.woken_p50_ms",
    "w6.memory_mb",
];
const RATIOS: [&str; 9] = [
    "w1.steps_per_second",
    "w3.step_ms",
    "w4.single_per_second",
    "w4.single_p50_ms",
    "w4.single_p99_ms",
    "w4.bulk_per_second",
    "w5.turns_per_second",
    "w5.steps_per_second",
    "w5.answers_per_second",
];

fn positive(told: &Value, key: &str) {
    let value = told[key].as_f64().unwrap_or_default();
    assert!(value > 0.0, "{key} is {value}: {told:#}");
}

#[tokio::test]
async fn a_bench_prints_every_figure_and_leaves_nothing_behind() {
    let database = TestDatabase::new().await;
    let desk = Desk::new();
    let told = desk.said(&[
        "bench",
        "--seconds",
        "1",
        "--json",
        "--only",
        "floor,w1,w2,w3,w4,w5,w6",
        "--history",
        "60",
        "--hold-xmin",
        "--database-url",
        &database.url,
    ]);
    let told: Value = serde_json::from_str(&told).expect("JSON");
    for key in FIGURES {
        positive(&told, key);
    }
    for key in RATIOS {
        positive(&told["floor_ratio"], key);
    }
    for part in PARTS {
        for cost in COSTS {
            positive(&told, &format!("{part}.{cost}"));
        }
        // The server is not the bench's own.
        assert_eq!(told[format!("{part}.postgres_cpu_seconds_per_1000")], Value::Null);
    }

    let pool = database.pool().await;
    for table in [
        "run",
        "run_key",
        "step",
        "attempt",
        "event",
        "agent",
        "agent_version",
        "worker",
    ] {
        let sql = format!("select count(*) from longhaul.{table}");
        let rows: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(&pool)
            .await
            .expect("it is counted");
        assert_eq!(rows, 0, "{table}");
    }
    let floor: Option<String> = sqlx::query_scalar("select to_regnamespace('longhaul_bench')::text")
        .fetch_one(&pool)
        .await
        .expect("it is looked for");
    assert_eq!(floor, None);
}

#[test]
fn a_bench_on_a_server_of_its_own_knows_what_postgres_used_and_asks_no_variable_for_a_database() {
    let desk = Desk::new();
    let output = desk
        .command(&["bench", "--seconds", "1", "--json", "--only", "floor"])
        .env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nowhere")
        .output()
        .expect("longhaul runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(told["about"]["private_server"], true);
    assert!(told.get("w4.single_per_second").is_none(), "{told:#}");
    positive(&told, "floor.single.postgres_cpu_seconds_per_1000");
}
