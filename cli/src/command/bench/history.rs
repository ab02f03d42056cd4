//! Old runs, recorded as a worker would record them: no table of the schema is known here.

use super::{Bench, HISTORY_TENANT, NAME, interrupted};
use crate::failure::{Exit, Failure};
use crate::output::Progress;
use engine::{
    ClaimRuns, Claimed, Ending, EventWrite, LiveLease, Place, Reach, Recorded, Registration, StartRun, StepBegin,
    StepWrites, Then, Transition, Which, WorkerId, payload,
};
use std::time::Duration;

const QUEUE: &str = "longhaul-bench-history";
const AGENT: &str = "bench-history";
/// Never driven.
const FILE: &str = r#"
name = "bench-history"
system = "You are the past."
[model]
name = "claude-sonnet-5-5"
max_tokens = 64
"#;
/// Runs started, and then ended, before the next.
const ROUND: u64 = 500;
/// Runs claimed and recorded by one statement.
const BATCH: u32 = 50;
/// Extended before each round.
const LEASE: Duration = Duration::from_secs(60);
/// Steps of an old run.
const STEPS: i32 = 3;

/// Adds so many runs that have ended.
pub(super) async fn fill(bench: &Bench, runs: u64) -> anyhow::Result<()> {
    let engine = bench.ground.engine();
    bench.ground.apply(HISTORY_TENANT, FILE).await?;
    let worker = Registration {
        id: WorkerId(uuid::Uuid::new_v4()),
        name: NAME.to_owned(),
        kinds: vec!["agent".to_owned()],
        functions: Vec::new(),
        queues: vec![QUEUE.to_owned()],
    };
    engine.register_worker(&worker, LEASE).await?;
    let filled = fill_all(bench, &worker, runs).await;
    engine.close_worker(worker.id).await?;
    filled?;
    bench.ground.settle().await
}

async fn fill_all(bench: &Bench, worker: &Registration, runs: u64) -> anyhow::Result<()> {
    let engine = bench.ground.engine();
    let start = StartRun {
        queue: QUEUE.to_owned(),
        tenant: HISTORY_TENANT.to_owned(),
        ..StartRun::new(AGENT, "{}")
    };
    let progress = Progress::of(runs, "old runs");
    let mut left = runs;
    while left > 0 {
        if bench.shutdown.is_cancelled() {
            return Err(interrupted().into());
        }
        if engine.extend_lease(worker.id, LEASE).await? == LiveLease::Lost {
            return Err(lost().into());
        }
        let round = left.min(ROUND);
        let starts = vec![start.clone(); usize::try_from(round)?];
        let started = engine.start_runs(HISTORY_TENANT, &starts).await;
        started.map_err(|refused| refused.error)?;
        end_all(bench, worker).await?;
        progress.advance(round);
        left -= round;
    }
    Ok(())
}

async fn end_all(bench: &Bench, worker: &Registration) -> anyhow::Result<()> {
    let engine = bench.ground.engine();
    loop {
        let wanted = ClaimRuns {
            worker: worker.id,
            batch: BATCH,
            queues: &worker.queues,
            kinds: &worker.kinds,
            functions: &worker.functions,
            which: Which::Ordinary,
            reach: Reach::everything(),
        };
        let claimed = engine.claim_runs(wanted).await?;
        if claimed.is_empty() {
            return Ok(());
        }
        let ended: Vec<Transition> = claimed.iter().map(ended).collect();
        let recorded = engine.record_batch(&ended.iter().collect::<Vec<_>>()).await?;
        if !recorded
            .iter()
            .all(|recorded| matches!(recorded, Some(Recorded::Now(_))))
        {
            return Err(lost().into());
        }
    }
}

fn lost() -> Failure {
    let message = "old runs could not be recorded: this machine is too slow, or another bench uses the database";
    Failure::new(Exit::Failed, "failed", message)
}

/// All steps of a run and its end, at once.
fn ended(claimed: &Claimed) -> Transition {
    let seqs = 1..=STEPS;
    let events = seqs.clone().map(|seq| EventWrite {
        seq: claimed.event_seq + seq,
        kind: "step.succeeded",
        step_seq: Some(seq),
        data: None,
    });
    let end = EventWrite {
        seq: claimed.event_seq + STEPS + 1,
        kind: "run.succeeded",
        step_seq: None,
        data: None,
    };
    Transition {
        claim: claimed.claim,
        parent: None,
        writes: StepWrites {
            begun: seqs.map(|seq| step(claimed, seq)).collect(),
            events: events.chain([end]).collect(),
            has_result: true,
            ..StepWrites::default()
        },
        then: Then::End(Ending::Succeeded(r#"{"text":"long ago"}"#.to_owned())),
    }
}

fn step(claimed: &Claimed, seq: i32) -> StepBegin {
    StepBegin {
        seq,
        place: Place::Turn {
            turn: seq,
            call_index: 0,
        },
        kind: "model",
        name: "claude-sonnet-5-5".to_owned(),
        call_id: None,
        state: "succeeded",
        effect: "read_only",
        key: format!("{}-{seq}", claimed.claim.run),
        attempt: 1,
        attempts_max: 1,
        maybe_applied: false,
        due_at: None,
        replaces_seq: None,
        request_digest: payload::digest("{}"),
        request: None,
        result: Some(r#"{"content":[{"type":"text","text":"long ago"}]}"#.to_owned()),
        error: None,
    }
}
