//! kill -9 of workers that drive a workflow: while its steps are out, between two of them, and while it sleeps.
//!
//! Each call of a step leaves a line in a file, which is what the world outside saw; the rows say what was recorded.

use crate::desk::within;
use crate::random::Random;
use engine::{RunId, StartRun};
use longhaul_tests::process::{Start, WorkerProcess};
use longhaul_tests::world::World;
use nix::sys::signal::Signal;
use rehearsal::{Answer, Rule, Script};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;
use tempfile::TempDir;

/// A world without a model, the file that steps leave lines in, and the gate that some of them wait at.
struct Errands {
    world: World,
    folder: TempDir,
    /// Bytes and lines of the file, as far as it was read.
    counted: Mutex<(u64, usize)>,
}

impl Errands {
    async fn new() -> Self {
        let script = Script::new().rule(Rule::always().answers(Answer::text("Nobody asks.")));
        Self {
            world: World::new(script).await,
            folder: tempfile::tempdir().expect("a folder"),
            counted: Mutex::default(),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A step that is done at once.
    fn call(name: &str, effect: &str) -> Value {
        json!({"name": name, "effect": effect})
    }

    /// A step that answers when the gate is open.
    fn held(&self, name: &str, effect: &str) -> Value {
        json!({"name": name, "effect": effect, "gate": self.file("gate")})
    }

    fn open_the_gate(&self) {
        std::fs::write(self.file("gate"), "").expect("the gate opens");
    }

    /// Starts a run of these turns, with a sleep of so long between them.
    async fn start(&self, turns: Value, nap_ms: u64) -> RunId {
        let input = json!({"ledger": self.file("ledger"), "turns": turns, "nap_ms": nap_ms});
        let start = StartRun::workflow("errand", input.to_string());
        self.world.engine.start_run(&start).await.expect("the run starts").run
    }

    /// What the world saw: a key for each call.
    fn seen(&self) -> Vec<String> {
        lines(&self.file("ledger"))
    }

    async fn seen_so_many(&self, count: usize) {
        let waiting = async {
            while self.calls() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within(&format!("{count} calls arrive"), waiting).await;
    }

    /// How many calls the world saw. Reads what has come since the last time.
    fn calls(&self) -> usize {
        let mut counted = self.counted.lock().expect("nobody panicked");
        let new = || -> std::io::Result<Vec<u8>> {
            let mut file = std::fs::File::open(self.file("ledger"))?;
            let mut new = Vec::new();
            file.seek(SeekFrom::Start(counted.0))?;
            file.read_to_end(&mut new)?;
            Ok(new)
        };
        // Not there before the first of them.
        let new = new().unwrap_or_default();
        counted.0 += new.len() as u64;
        counted.1 += new.iter().filter(|byte| **byte == b'\n').count();
        // Each has one before it, too.
        counted.1 / 2
    }

    /// Ends like this, with dense events.
    async fn ends_as(&self, run: RunId, state: &str, reason: Option<&str>) {
        let ended = self.world.settled(run).await;
        assert_eq!(ended.state, state, "{ended:#?}");
        assert_eq!(ended.wait_reason.as_deref(), reason, "{ended:#?}");
        self.world.events(run).await;
    }

    /// The state of each step by its identity; of several rows of one identity, all.
    async fn steps(&self, run: RunId) -> Value {
        let states = "
            select coalesce(jsonb_object_agg(step.identity, step.states), '{}')
            from (
                select identity, string_agg(state, ', ' order by seq) as states
                from longhaul.step
                where run_id = $1
                group by identity) as step";
        self.world.sql(states, run).await
    }
}

fn lines(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.is_empty());
    lines.map(ToOwned::to_owned).collect()
}

fn worker(errands: &Errands, name: &str) -> WorkerProcess {
    WorkerProcess::start(&errands.world, &Start::named(name))
}

/// One worker is killed when so many calls have arrived; then the gate opens, and another one goes on.
async fn killed_after(errands: &Errands, calls: usize) -> WorkerProcess {
    let mut doomed = worker(errands, "doomed");
    errands.seen_so_many(calls).await;
    doomed.kill_9();
    errands.open_the_gate();
    worker(errands, "heir")
}

#[tokio::test]
async fn an_idempotent_step_that_was_out_is_made_again_under_its_key() {
    let errands = Errands::new().await;
    let run = errands.start(json!([[errands.held("pay", "idempotent")]]), 0).await;

    let _heir = killed_after(&errands, 1).await;

    errands.ends_as(run, "succeeded", None).await;
    let key = format!("{run}-turn#1[0]/pay#1");
    assert_eq!(errands.seen(), [key.clone(), key]);
    assert_eq!(errands.steps(run).await, json!({"turn#1[0]/pay#1": "succeeded"}));
}

#[tokio::test]
async fn an_at_most_once_step_that_was_out_is_left_unknown_and_its_run_waits() {
    let errands = Errands::new().await;
    let turns = json!([
        [errands.held("pay", "at_most_once")],
        [Errands::call("tell", "idempotent")]
    ]);
    let run = errands.start(turns, 0).await;

    let _heir = killed_after(&errands, 1).await;

    errands.ends_as(run, "waiting", Some("unknown_outcome")).await;
    assert_eq!(errands.seen(), [format!("{run}-turn#1[0]/pay#1")]);
    assert_eq!(errands.steps(run).await, json!({"turn#1[0]/pay#1": "unknown"}));
}

#[tokio::test]
async fn an_at_most_once_step_that_was_about_to_be_made_counts_as_made() {
    let errands = Errands::new().await;
    let run = errands.start(json!([[Errands::call("pay", "at_most_once")]]), 0).await;
    let dying = Start::named("doomed").dying_at("task.intent_committed");
    WorkerProcess::start(&errands.world, &dying).died().await;

    let _heir = worker(&errands, "heir");

    errands.ends_as(run, "waiting", Some("unknown_outcome")).await;
    assert_eq!(errands.seen(), [""; 0]);
}

#[tokio::test]
async fn a_doubt_that_was_recorded_is_put_before_a_person_by_whoever_takes_the_run() {
    let errands = Errands::new().await;
    let panics = json!({"name": "tell", "effect": "idempotent", "panics": true});
    let run = errands.start(json!([[panics]]), 0).await;
    let dying = Start::named("doomed").dying_at("task.recorded");
    WorkerProcess::start(&errands.world, &dying).died().await;

    let _heir = worker(&errands, "heir");

    errands.ends_as(run, "waiting", Some("retries_exhausted")).await;
    assert_eq!(errands.seen(), [format!("{run}-turn#1[0]/tell#1")]);
}

#[tokio::test]
async fn a_step_that_was_recorded_is_not_made_again() {
    for effect in ["read_only", "idempotent", "at_most_once"] {
        let errands = Errands::new().await;
        let turns = json!([[Errands::call("first", effect)], [Errands::call("second", effect)]]);
        let run = errands.start(turns, 0).await;
        let dying = Start::named("doomed").dying_at("task.recorded");
        WorkerProcess::start(&errands.world, &dying).died().await;
        let first = format!("{run}-turn#1[0]/first#1");
        assert_eq!(errands.seen(), std::slice::from_ref(&first), "{effect}");

        let _heir = worker(&errands, "heir");

        // The intent of the second may have been committed with the first one's result: then nobody knows of it.
        if effect == "at_most_once" {
            errands.ends_as(run, "waiting", Some("unknown_outcome")).await;
            assert_eq!(errands.seen(), [first]);
        } else {
            errands.ends_as(run, "succeeded", None).await;
            assert_eq!(errands.seen(), [first, format!("{run}-turn#2[0]/second#1")]);
        }
    }
}

#[tokio::test]
async fn a_workflow_that_sleeps_goes_on_at_its_time_though_its_worker_died() {
    let errands = Errands::new().await;
    let turns = json!([
        [Errands::call("before", "idempotent")],
        [Errands::call("after", "idempotent")]
    ]);
    let run = errands.start(turns, 2600).await;
    let mut doomed = worker(&errands, "doomed");
    errands
        .world
        .until(run, "the run sleeps", |run| run.waiting_for.as_deref() == Some("timer"))
        .await;
    doomed.kill_9();

    let _heir = worker(&errands, "heir");

    errands.ends_as(run, "succeeded", None).await;
    let keys = ["turn#1[0]/before#1", "turn#2[0]/after#1"];
    assert_eq!(errands.seen(), keys.map(|identity| format!("{run}-{identity}")));
    let woken_at_its_time = "
        select to_jsonb(step.ended_at >= (event.data ->> 'due_at')::timestamptz)
        from longhaul.step
        join longhaul.event on event.run_id = step.run_id and event.step_seq = step.seq
        where step.run_id = $1
          and step.kind = 'timer'
          and event.kind = 'step.started'";
    assert_eq!(errands.world.sql(woken_at_its_time, run).await, json!(true));
    let events = errands.world.events(run).await;
    assert!(!events.contains(&"run.reclaimed".to_owned()), "{events:?}");
}

#[tokio::test]
async fn of_two_branches_that_were_out_each_is_taken_up_by_its_effect() {
    let errands = Errands::new().await;
    let both = json!([[errands.held("tell", "idempotent"), errands.held("ask", "read_only")]]);
    let run = errands.start(both, 0).await;
    let _heir = killed_after(&errands, 2).await;
    errands.ends_as(run, "succeeded", None).await;
    let (tell, ask) = (format!("{run}-turn#1[0]/tell#1"), format!("{run}-turn#1[1]/ask#1"));
    let mut seen = errands.seen();
    seen.sort();
    assert_eq!(seen, [tell.clone(), tell, ask.clone(), ask]);

    let errands = Errands::new().await;
    let one = json!([[errands.held("tell", "idempotent"), errands.held("pay", "at_most_once")]]);
    let run = errands.start(one, 0).await;
    let _heir = killed_after(&errands, 2).await;
    errands.ends_as(run, "waiting", Some("unknown_outcome")).await;
    let (tell, pay) = (format!("{run}-turn#1[0]/tell#1"), format!("{run}-turn#1[1]/pay#1"));
    let mut seen = errands.seen();
    seen.sort();
    assert_eq!(seen, [tell.clone(), tell, pay]);
    assert_eq!(
        errands.steps(run).await,
        json!({"turn#1[0]/tell#1": "succeeded", "turn#1[1]/pay#1": "unknown"})
    );
}

#[tokio::test]
async fn a_doubt_is_kept_through_a_pause_and_nothing_is_sent_again() {
    let errands = Errands::new().await;
    let tell = json!({
        "name": "tell",
        "effect": "idempotent",
        "gate": errands.file("gate"),
        "refusal": errands.file("refusal"),
    });
    let run = errands
        .start(json!([[tell, errands.held("pay", "at_most_once")]]), 0)
        .await;
    let mut doomed = worker(&errands, "doomed");
    errands.seen_so_many(2).await;
    doomed.kill_9();
    errands.open_the_gate();
    let stopping = Start {
        stop_point: Some("task.recording"),
        ..Start::named("heir")
    };
    let heir = WorkerProcess::start(&errands.world, &stopping);
    heir.stopped().await;
    let engine = &errands.world.engine;
    engine.pause_run(run, None, None).await.expect("it is paused");
    heir.signal(Signal::SIGCONT);
    errands
        .world
        .until(run, "it is given back", |run| {
            run.worker.is_none() && run.state == "queued"
        })
        .await;
    std::fs::write(errands.file("refusal"), "").expect("a refusal");

    engine.resume_run(run, None, None).await.expect("it goes on");

    errands.ends_as(run, "waiting", Some("unknown_outcome")).await;
    // Telling is refused, or was not tried again before its run came before a person.
    let doubts = "
        select jsonb_agg(jsonb_build_array(name, maybe_applied, state in ('waiting', 'unknown')) order by name)
        from longhaul.step
        where run_id = $1";
    assert_eq!(
        errands.world.sql(doubts, run).await,
        json!([["pay", true, true], ["tell", true, true]])
    );
    let refused = engine
        .resume_run(run, None, None)
        .await
        .expect_err("a person has to look");
    assert_eq!(refused.code(), "unknown_outcome");
    let mut seen = errands.seen();
    seen.sort();
    assert_eq!(
        seen,
        [format!("{run}-turn#1[0]/tell#1"), format!("{run}-turn#1[1]/pay#1")]
    );
}

/// Kills where `LONGHAUL_KILLS` says nothing else.
const KILLS: usize = 12;
/// For each kill, so that there is work at the last one.
const RUNS_PER_KILL: usize = 17;
const STEPS_PER_RUN: usize = 10;

fn kills_wanted() -> usize {
    match std::env::var("LONGHAUL_KILLS") {
        Ok(kills) => kills.parse().expect("LONGHAUL_KILLS is a number"),
        Err(_) => KILLS,
    }
}

#[tokio::test]
async fn kills_while_batches_are_in_flight_lose_no_step_and_record_none_twice() {
    let kills = kills_wanted();
    // Far beyond what a busy machine needs.
    let limit = Duration::from_secs(90) + Duration::from_secs(1) * u32::try_from(kills).expect("not so many");
    let mut random = Random::seeded();
    let seed = random.0;
    let errands = Errands::new().await;
    let turns: Vec<Value> = (0..STEPS_PER_RUN)
        .map(|_| json!([Errands::call("step", "idempotent")]))
        .collect();
    let mut runs = Vec::new();
    for _ in 0..kills * RUNS_PER_KILL {
        runs.push(errands.start(json!(turns), 0).await);
    }

    let mut workers = ["A", "B"].map(|name| worker(&errands, name));
    let last = runs.len() * STEPS_PER_RUN * 9 / 10;
    let mut instants: Vec<_> = (0..kills).map(|_| 1 + random.below(last)).collect();
    instants.sort_unstable();
    for calls in instants {
        errands.seen_so_many(calls).await;
        let victim = random.below(workers.len());
        workers[victim].kill_9();
        workers[victim] = worker(&errands, ["A", "B"][victim]);
    }
    let ended = tokio::time::timeout(limit, all_have_ended(&errands)).await;

    // Those that have not ended are told by name.
    every_step_has_one_row(&errands, seed).await;
    ended.expect("every run that is whole has ended");
    every_step_was_made(&errands, &runs, (kills, seed));
    no_step_that_was_acknowledged_is_lost(&errands, seed);
}

/// A step is asked for once the one before it is committed: from then on nobody has a reason to make that one again.
fn no_step_that_was_acknowledged_is_lost(errands: &Errands, seed: u64) {
    let mut newest: BTreeMap<String, usize> = BTreeMap::new();
    for key in errands.seen() {
        // Not of what a kill cut short.
        let Some((run, turn)) = key.strip_suffix("[0]/step#1").and_then(|key| key.split_once("-turn#")) else {
            continue;
        };
        let turn: usize = turn.parse().expect("a turn");
        let newest = newest.entry(run.to_owned()).or_default();
        assert!(turn >= *newest, "{key} was made again after turn {newest}; seed {seed}");
        *newest = turn;
    }
}

async fn all_have_ended(errands: &Errands) {
    let pool = errands.world.database.pool().await;
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

/// Rows by identity, and events by number.
async fn every_step_has_one_row(errands: &Errands, seed: u64) {
    let pool = errands.world.database.pool().await;
    let broken: Vec<String> = sqlx::query_scalar(
        "select format('run %s: %s, %s of %s rows done, %s identities, %s events of which the last is %s', run.id,
             run.state, step.done, step.total, step.identities, event.total, event.last)
         from longhaul.run
         cross join lateral (
             select count(*) filter (where step.state = 'succeeded' and step.attempt = 1) as done, count(*) as total,
                 count(distinct step.identity) as identities
             from longhaul.step
             where step.run_id = run.id) as step
         cross join lateral (
             select count(*) as total, max(event.seq) as last,
                 count(*) filter (where event.kind = 'step.succeeded') as done
             from longhaul.event
             where event.run_id = run.id) as event
         where run.state <> 'succeeded'
            or (step.done, step.total, step.identities, event.done) <> ($1, $1, $1, $1)
            or event.total <> event.last
            or event.last <> run.event_seq",
    )
    .bind(i64::try_from(STEPS_PER_RUN).expect("a small number"))
    .fetch_all(&pool)
    .await
    .expect("runs are read");
    assert!(broken.is_empty(), "{broken:#?}; seed {seed}");
    let taken_over: i64 = sqlx::query_scalar("select count(*) from longhaul.event where kind = 'run.reclaimed'")
        .fetch_one(&pool)
        .await
        .expect("events are counted");
    assert!(
        taken_over > 0,
        "no worker held anything when it was killed; seed {seed}"
    );
}

/// The file's own word: each step under its one key, and again only where its worker was lost.
fn every_step_was_made(errands: &Errands, runs: &[RunId], (kills, seed): (usize, u64)) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for key in errands.seen() {
        *seen.entry(key).or_default() += 1;
    }
    let due: BTreeSet<String> = runs
        .iter()
        .flat_map(|run| (1..=STEPS_PER_RUN).map(move |turn| format!("{run}-turn#{turn}[0]/step#1")))
        .collect();
    let missing: Vec<&String> = due.iter().filter(|key| !seen.contains_key(*key)).collect();
    assert!(missing.is_empty(), "never made: {missing:?}; seed {seed}");
    // What a kill cut short is the beginning of one that is due.
    let is_due = |key: &String| due.range(key.clone()..).next().is_some_and(|due| due.starts_with(key));
    let strange: Vec<&String> = seen.keys().filter(|key| !is_due(key)).collect();
    assert!(strange.is_empty(), "nobody asked for {strange:?}; seed {seed}");
    let cut = seen.keys().filter(|key| !due.contains(*key)).count();
    assert!(cut <= kills, "{cut} lines are cut short; seed {seed}");
    let often = seen.iter().filter(|(_, count)| **count > 1 + kills);
    assert_eq!(often.count(), 0, "{seen:?}; seed {seed}");
}
