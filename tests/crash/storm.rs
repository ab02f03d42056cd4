//! Many runs, two workers, and kill -9 at random instants.

use crate::desk::{Declared, Desk, Setting, refund, refund_of, within};
use crate::random::Random;
use longhaul_tests::process::{Start, WorkerProcess};
use rehearsal::{Answer, Rule, Script};
use std::collections::BTreeMap;
use std::time::Duration;

const RUNS: usize = 200;
const REFUNDS_PER_RUN: usize = 3;
const STEPS_PER_RUN: i64 = 6;
const KILLS: usize = 5;
/// Far beyond what a busy machine needs.
const STORM_LIMIT: Duration = Duration::from_secs(90);

/// Two refunds at once, one more, then the answer.
fn three_refunds() -> Script {
    let two = refund("{{input.order}}-a").call("refund", refund_of("{{input.order}}-b"));
    Script::new()
        .rule(Rule::on_turn(1).answers(two))
        .rule(Rule::on_turn(2).answers(refund("{{input.order}}-c")))
        .rule(Rule::on_turn(3).answers(Answer::text("Refunded {{input.order}}.")))
}

#[tokio::test]
async fn two_hundred_runs_survive_five_kills_and_every_refund_is_made_once() {
    let mut random = Random::seeded();
    let seed = random.0;
    let setting = Setting {
        script: three_refunds(),
        ..Setting::of(Declared::Idempotent)
    };
    let desk = setting.open().await;
    for number in 0..RUNS {
        desk.start(&format!("ORD-{number}")).await;
    }

    let mut workers = ["A", "B"].map(|name| start(&desk, name));
    for arrivals in instants(&mut random) {
        let what = format!("{arrivals} refunds arrive; seed {seed}");
        within(&what, desk.payments.wait_for_arrivals(arrivals)).await;
        let victim = random.below(workers.len());
        workers[victim].kill_9();
        workers[victim] = start(&desk, ["A", "B"][victim]);
    }
    let ended = tokio::time::timeout(STORM_LIMIT, all_have_ended(&desk)).await;

    // Those that have not ended are told by name.
    every_run_is_whole(&desk, seed).await;
    ended.expect("every run that is whole has ended");
    every_refund_was_made_once(&desk, seed);
    some_were_taken_over(&desk, seed).await;
}

fn start(desk: &Desk, name: &str) -> WorkerProcess {
    WorkerProcess::start(&desk.world, &Start::named(name))
}

/// When to kill, told by how many refunds have arrived by then. Other runs are anywhere on their way at that instant.
fn instants(random: &mut Random) -> Vec<usize> {
    let last = RUNS * REFUNDS_PER_RUN * 9 / 10;
    let mut instants: Vec<_> = (0..KILLS).map(|_| 1 + random.below(last)).collect();
    instants.sort_unstable();
    instants
}

async fn all_have_ended(desk: &Desk) {
    let pool = desk.world.database.pool().await;
    loop {
        let open: i64 = sqlx::query_scalar("select count(*) from longhaul.run where ended_at is null")
            .fetch_one(&pool)
            .await
            .expect("runs are counted");
        if open == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The payments service's own word.
fn every_refund_was_made_once(desk: &Desk, seed: u64) {
    let mut applied: BTreeMap<String, usize> = BTreeMap::new();
    let mut key_of: BTreeMap<String, String> = BTreeMap::new();
    for record in desk.payments.ledger() {
        let key = record.key.expect("every refund has a key");
        *applied.entry(key.clone()).or_default() += usize::from(record.applied);
        let first = key_of.entry(record.order_id.clone()).or_insert_with(|| key.clone());
        assert_eq!(*first, key, "{} came under two keys; seed {seed}", record.order_id);
    }
    assert_eq!(key_of.len(), RUNS * REFUNDS_PER_RUN, "orders; seed {seed}");
    assert_eq!(applied.len(), RUNS * REFUNDS_PER_RUN, "keys; seed {seed}");
    assert!(applied.values().all(|count| *count == 1), "{applied:?}; seed {seed}");
}

/// It was a storm: runs lost the worker that held them.
async fn some_were_taken_over(desk: &Desk, seed: u64) {
    let pool = desk.world.database.pool().await;
    let taken_over: i64 = sqlx::query_scalar("select count(*) from longhaul.event where kind = 'run.reclaimed'")
        .fetch_one(&pool)
        .await
        .expect("events are counted");
    assert!(
        taken_over > 0,
        "no worker held anything when it was killed; seed {seed}"
    );
}

async fn every_run_is_whole(desk: &Desk, seed: u64) {
    let pool = desk.world.database.pool().await;
    let broken: Vec<String> = sqlx::query_scalar(
        "select format('run %s: %s with %s of %s steps done, %s events of which the last is %s', run.id, run.state,
             step.done, step.total, event.total, event.last)
         from longhaul.run
         cross join lateral (
             select count(*) filter (where step.state = 'succeeded') as done, count(*) as total
             from longhaul.step
             where step.run_id = run.id) as step
         cross join lateral (
             select count(*) as total, max(event.seq) as last
             from longhaul.event
             where event.run_id = run.id) as event
         where run.state <> 'succeeded'
            or step.done <> $1
            or step.total <> $1
            or event.total <> event.last
            or event.last <> run.event_seq",
    )
    .bind(STEPS_PER_RUN)
    .fetch_all(&pool)
    .await
    .expect("runs are read");
    assert!(broken.is_empty(), "{broken:#?}; seed {seed}");
}
