//! Looks that begin where the last one had come to.

use crate::stage::{LEASE, Stage, register};
use chrono::TimeDelta;
use engine::{ClaimRuns, Claimed, Reach, RunId, Which, WorkerId};
use sqlx::{AssertSqlSafe, Connection};

const RUNS: usize = 1_000;

async fn claim(stage: &Stage, worker: WorkerId, reach: &Reach) -> Vec<Claimed> {
    let wanted = ClaimRuns {
        worker,
        batch: 100,
        queues: &["default".to_owned()],
        kinds: &["agent".to_owned()],
        functions: &[],
        which: Which::Ordinary,
        reach,
    };
    stage.engine.claim_runs(wanted).await.expect("the claim is answered")
}

fn runs(claimed: &[Claimed]) -> Vec<RunId> {
    claimed.iter().map(|run| run.claim.run).collect()
}

/// Pages that a claim which finds nothing looks at, from a place on in a lane.
async fn pages(stage: &Stage, worker: WorkerId, lane: &str) -> i64 {
    let sql = include_str!("../../../engine/src/transition/claim_runs.sql");
    let mut connection = stage.database.connect().await;
    let mut transaction = connection.begin().await.expect("a transaction");
    let given = format!(
        "'{}', 100, '{{default}}', '{{agent}}', '{{}}', null, 0, 1, {lane}",
        worker.0
    );
    let prepare = format!(
        "set local plan_cache_mode = force_generic_plan; set local enable_seqscan = off; prepare a_claim as {sql}"
    );
    sqlx::raw_sql(AssertSqlSafe(prepare))
        .execute(&mut *transaction)
        .await
        .expect("it is prepared");
    let explain = format!("explain (analyze, buffers, format json) execute a_claim({given})");
    let plan: serde_json::Value = sqlx::query_scalar(AssertSqlSafe(explain))
        .fetch_one(&mut *transaction)
        .await
        .expect("it is explained");
    let plan = &plan[0]["Plan"];
    assert_eq!(plan["Actual Rows"].as_f64(), Some(0.0), "{plan}");
    ["Shared Hit Blocks", "Shared Read Blocks"]
        .iter()
        .filter_map(|count| plan[*count].as_i64())
        .sum()
}

#[tokio::test]
async fn a_claim_passes_over_what_was_claimed_while_somebody_reads_an_old_snapshot() {
    let stage = Stage::new().await;
    let worker = register(&stage.engine, LEASE).await;
    let mut reader = stage.database.connect().await;
    sqlx::raw_sql("begin isolation level repeatable read; select count(*) from longhaul.run")
        .execute(&mut reader)
        .await
        .expect("a snapshot");
    let starts: Vec<_> = (0..RUNS)
        .map(|_| engine::StartRun::new(crate::stage::AGENT, "{}"))
        .collect();
    stage.engine.start_runs("default", &starts).await.expect("they start");

    let mut reach = Reach::default();
    let mut last = None;
    let mut count = 0;
    loop {
        let claimed = claim(&stage, worker, &reach).await;
        reach.claimed(&claimed);
        count += claimed.len();
        match claimed.into_iter().next_back() {
            Some(claimed) => last = Some(claimed),
            None => break,
        }
    }
    assert_eq!(count, RUNS, "none is passed over that is due");

    let last = last.expect("some were claimed");
    let whole = pages(
        &stage,
        worker,
        "'{-1}', '{1001}', '{1970-01-01}', array[gen_random_uuid()]",
    )
    .await;
    let from = format!(
        "'{{100}}', '{{100}}', array['{}'::timestamptz], array['{}'::uuid]",
        last.due, last.claim.run
    );
    let part = pages(&stage, worker, &from).await;
    assert!(whole > 500 && part < 50, "{part} pages instead of {whole}");
}

#[tokio::test]
async fn what_is_out_of_one_looks_reach_a_look_at_everything_finds() {
    let stage = Stage::new().await;
    let worker = register(&stage.engine, LEASE).await;
    let mut reach = Reach::default();
    let first = stage.start().await;
    let claimed = claim(&stage, worker, &reach).await;
    assert_eq!(runs(&claimed), [first]);
    reach.claimed(&claimed);
    reach.drained(stage.now().await);

    let next = stage.start().await;
    let long_ago = stage.now().await - TimeDelta::hours(1);
    let late = stage.start_with(|start| start.due_at = Some(long_ago)).await;
    let urgent = stage.start_with(|start| start.priority = 1).await;

    assert_eq!(runs(&claim(&stage, worker, &reach).await), [next]);
    assert_eq!(runs(&claim(&stage, worker, Reach::everything()).await), [urgent, late]);
}
