//! Does an operation on the engine and on the model, and says where their answers differ.

use super::memory::{Memory, Refusal};
use super::operation::{ChildWish, ClaimWish, Deed, Hold, NAMES, Operation, Sort, Wish};
use super::rows::{RunRow, Tables, beginning};
use super::write;
use crate::stage::Stage;
use chrono::TimeDelta;
use engine::query::{Poller, Wanted};
use engine::recorder::Recorder;
use engine::{
    Claim, ClaimRuns, Clock, Engine, EngineError, Fence, LiveLease, OnParentEnd, Reach, Registration, RunId,
    SendSignal, StartChild, StartRun, Which, WorkerId,
};
use proptest::test_runner::TestCaseError;
use std::fmt::Debug;
use std::time::Duration;
use uuid::Uuid;

/// In seconds of the fixed clock.
const LEASE_SECONDS: i64 = 100;
const LEASE: Duration = Duration::from_secs(100);
const WORKFLOW: &str = "errand";
pub(super) type Held = Result<(), TestCaseError>;

/// The engine and the model, which have gone through the same.
pub(super) struct Pair<'a> {
    stage: &'a Stage,
    pub(super) engine: Engine,
    pub(super) recorder: &'a Recorder,
    clock: Clock,
    pub(super) memory: Memory,
    workers: Vec<WorkerId>,
}

/// The answers are the same.
pub(super) fn same<T: Debug + PartialEq>(model: T, engine: T) -> Held {
    if model == engine {
        return Ok(());
    }
    Err(TestCaseError::fail(format!(
        "the model answers  {model:?}\nthe engine answers {engine:?}"
    )))
}

/// Refusals are part of the contract, failures are not.
pub(super) fn code<T>(answer: Result<T, EngineError>) -> Result<T, String> {
    answer.map_err(|error| match error {
        EngineError::Refused { code, .. } => code,
        EngineError::Schema(_)
        | EngineError::InvalidUrl
        | EngineError::Unavailable(_)
        | EngineError::Database(_)
        | EngineError::Unreadable(_) => format!("{error}: {}", error.said_by_server().unwrap_or_default()),
    })
}

fn expected<T>(answer: Result<T, Refusal>) -> Result<T, String> {
    answer.map_err(str::to_owned)
}

impl<'a> Pair<'a> {
    pub(super) async fn new(stage: &'a Stage, recorder: &'a Recorder) -> Self {
        Tables::clear(&stage.pool).await;
        let clock = Clock::fixed(beginning());
        let mut pair = Self {
            stage,
            engine: stage.engine.with_clock(clock.clone()),
            recorder,
            clock,
            memory: Memory::default(),
            workers: Vec::new(),
        };
        for _ in 0..2 {
            let worker = pair.register().await;
            pair.workers.push(worker);
        }
        pair
    }

    /// Does it to both, and compares answers and tables.
    pub(super) async fn act(&mut self, operation: &Operation) -> Held {
        self.memory.begin();
        self.advance(1);
        self.all_free().await;
        match operation {
            Operation::Start(wishes) => self.start(wishes).await?,
            Operation::StartChild { parent, wish } => self.start_child(*parent, wish).await?,
            Operation::Claim(wish) => self.claim(wish).await?,
            Operation::Write { way, entries } => {
                let transitions = write::transitions(self, entries);
                write::write(self, *way, transitions).await?;
            }
            Operation::Release { hold, why } => {
                if let Some(claim) = self.claim_of(*hold) {
                    let last = self.memory.last_event(claim.run.0);
                    let released = self.engine.release_run(&claim, last, *why).await;
                    same(Ok(self.memory.release(&claim, *why)), code(released))?;
                }
            }
            Operation::Wake => {
                let woken = code(self.engine.wake_runs(Reach::everything()).await)
                    .map(|woken| sorted(woken.into_iter().map(|run| run.0)));
                same(Ok(self.memory.wake_ripe()), woken)?;
            }
            Operation::Reclaim => {
                let reclaimed = code(self.engine.reclaim_runs().await).map(|reclaimed| {
                    let workers = reclaimed.workers.into_iter().map(|(worker, _)| worker.0);
                    (sorted(workers), sorted(reclaimed.runs.into_iter().map(|run| run.0)))
                });
                same(Ok(self.memory.reclaim()), reclaimed)?;
            }
            Operation::Sweep => same(Ok(self.memory.sweep()), code(self.engine.sweep_children().await))?,
            Operation::Advance { seconds } => self.advance(*seconds),
            Operation::Worker { slot, deed } => self.worker(*slot, *deed).await?,
            Operation::Ask { hold, taken, most } => self.ask(*hold, (*taken, *most)).await?,
            Operation::CancelChildren(_)
            | Operation::Send(_)
            | Operation::Cancel { .. }
            | Operation::Pause(_)
            | Operation::Resume(_) => self.ask_of(operation).await?,
        }
        let differences = self.memory.tables.differences(&Tables::read(&self.stage.pool).await);
        if differences.is_empty() {
            return Ok(());
        }
        Err(TestCaseError::fail(differences))
    }

    /// Postgres tells of a refusal a moment before it lets go of what was locked, and much passes over what is.
    async fn all_free(&self) {
        for table in ["run", "worker"] {
            let locking = format!("select from longhaul.{table} for no key update");
            let free = sqlx::query(sqlx::AssertSqlSafe(locking))
                .execute(&self.stage.pool)
                .await;
            free.expect("nobody holds anything");
        }
    }

    fn advance(&mut self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
        self.memory.now += seconds;
    }

    /// The run that is meant, if there is any.
    pub(super) fn pick(&self, run: usize) -> Option<Uuid> {
        let started = &self.memory.started;
        let back = run.checked_rem(started.len())?;
        started.get(started.len() - 1 - back).copied()
    }

    /// The right to write that is meant, whether it is one or not.
    pub(super) fn claim_of(&self, hold: Hold) -> Option<Claim> {
        self.claim_among(hold, |_| true)
    }

    /// The same, where runs that are held are preferred if they are like this.
    fn claim_among(&self, hold: Hold, preferred: impl Fn(&RunRow) -> bool) -> Option<Claim> {
        let held: Vec<&RunRow> = self
            .memory
            .tables
            .run
            .iter()
            .filter(|run| run.worker_id.is_some() && preferred(run))
            .collect();
        let run = match hold.run.checked_rem(held.len()) {
            Some(back) if hold.held => held[held.len() - 1 - back],
            _ => self.memory.run(self.pick(hold.run)?),
        };
        Some(Claim {
            run: RunId(run.id),
            fence: Fence(run.fence - i64::from(hold.stale)),
            worker: run.worker_id.map_or(self.workers[0], WorkerId),
        })
    }

    fn target(&self, of: Hold) -> Option<Uuid> {
        self.claim_of(of).map(|claim| claim.run.0)
    }

    async fn start(&mut self, wishes: &[Wish]) -> Held {
        let starts: Vec<StartRun> = wishes.iter().map(|wish| self.start_of(wish)).collect();
        if let [start] = starts.as_slice() {
            let started = code(self.engine.start_run(start).await);
            let id = started
                .as_ref()
                .map_or_else(|_| Uuid::now_v7(), |started| started.run.0);
            return same(expected(self.memory.start(start, id)), started);
        }
        let started = self.engine.start_runs("default", &starts).await;
        let ids: Vec<Uuid> = match &started {
            Ok(started) => started.iter().map(|started| started.run.0).collect(),
            Err(_) => starts.iter().map(|_| Uuid::now_v7()).collect(),
        };
        let started = started.map_err(|refused| (refused.item.unwrap_or(usize::MAX), refused.error.code().to_owned()));
        let model = self.memory.start_all(&starts, &ids);
        same(model.map_err(|(item, code)| (item, code.to_owned())), started)
    }

    fn start_of(&self, wish: &Wish) -> StartRun {
        let (kind, agent) = names(wish.of);
        let at = |seconds: i64| beginning() + TimeDelta::seconds(self.memory.now + seconds);
        StartRun {
            kind: kind.to_owned(),
            agent: agent.unwrap_or_default().to_owned(),
            queue: if wish.elsewhere { "other" } else { "default" }.to_owned(),
            priority: if wish.urgent { 50 } else { 100 },
            due_at: wish.due.map(at),
            deadline_at: wish.deadline.map(at),
            requester: Some("ann".to_owned()),
            idempotency_key: wish.key.map(|key| format!("key {key}")),
            ..StartRun::new("", wish.input.to_string())
        }
    }

    async fn start_child(&mut self, parent: Hold, wish: &ChildWish) -> Held {
        let Some(claim) = self.claim_of(parent) else {
            return Ok(());
        };
        let (kind, agent) = names(wish.of);
        let child = StartChild {
            key: format!("{} {}", claim.run, wish.key),
            kind: kind.to_owned(),
            agent: agent.map(str::to_owned),
            input: wish.input.to_string(),
            queue: None,
            priority: None,
            labels: [].into(),
            on_parent_end: if wish.abandoned {
                OnParentEnd::Abandon
            } else {
                OnParentEnd::Cancel
            },
        };
        let started = code(self.engine.start_child(&claim, &child).await).map(|run| run.0);
        let id = started.clone().unwrap_or_else(|_| Uuid::now_v7());
        same(expected(self.memory.start_child(&claim, &child, id)), started)
    }

    async fn claim(&mut self, wish: &ClaimWish) -> Held {
        if wish.alive && !self.memory.is_live(self.workers[wish.slot].0) {
            self.workers[wish.slot] = self.register().await;
        }
        let (queues, kinds, functions) = capabilities(wish);
        let mut wanted = ClaimRuns {
            worker: self.workers[wish.slot],
            batch: wish.batch,
            queues: &queues,
            kinds: &kinds,
            functions: &functions,
            which: Which::Ordinary,
            reach: Reach::everything(),
        };
        if wish.suspects
            && let Some(crashes) = self.memory.suspects(&wanted).0.first()
        {
            wanted.which = Which::Suspects { crashes: *crashes };
        }
        let claimed = code(self.engine.claim_runs(wanted.clone()).await);
        let claimed = claimed.map(|claimed| {
            let told = claimed.into_iter().map(|run| {
                let is_asked = run.cancel_requested;
                let counts = (run.event_seq, run.wakes, run.crashes, run.resumed_fence.0);
                (run.claim, counts, is_asked, run.parent, run.input)
            });
            told.collect::<Vec<_>>()
        });
        let model = self.memory.claim(&wanted).into_iter().map(|run| {
            let claim = Claim {
                run: RunId(run.id),
                fence: Fence(run.fence),
                worker: wanted.worker,
            };
            let counts = (run.event_seq, run.wakes, run.crashes, run.resumed_fence);
            let is_asked = run.cancel_requested_at.is_some();
            (claim, counts, is_asked, run.parent_id.map(RunId), run.input.to_string())
        });
        same(Ok(model.collect()), claimed)
    }

    async fn register(&mut self) -> WorkerId {
        let worker = Registration {
            id: WorkerId::new(),
            name: "by hand".to_owned(),
            kinds: vec!["agent".to_owned(), WORKFLOW.to_owned()],
            functions: vec!["cut".to_owned()],
            queues: vec!["default".to_owned(), "other".to_owned()],
        };
        let registered = self.engine.register_worker(&worker, LEASE).await;
        registered.expect("a worker registers");
        self.memory.register(worker.id.0, LEASE_SECONDS);
        worker.id
    }

    async fn worker(&mut self, slot: usize, deed: Deed) -> Held {
        let worker = self.workers[slot];
        match deed {
            Deed::Die => {
                self.workers[slot] = self.register().await;
                Ok(())
            }
            Deed::Extend => {
                let mut lease = code(self.engine.extend_lease(worker, LEASE).await);
                if let Ok(LiveLease::Extended(told)) = &mut lease {
                    told.sort_by_key(|told| told.run);
                }
                same(Ok(self.memory.extend(worker, LEASE_SECONDS)), lease)
            }
            Deed::Close => {
                self.memory.close(worker.0);
                same(Ok(()), code(self.engine.close_worker(worker).await))
            }
            Deed::Clear(clearing) => {
                self.memory.clear(worker.0, clearing);
                same(Ok(()), code(self.engine.set_clearing(worker, clearing).await))
            }
        }
    }

    /// Requests of people, programs and other runs.
    async fn ask_of(&mut self, operation: &Operation) -> Held {
        match operation {
            Operation::CancelChildren(hold) => {
                let has_children = |above: &RunRow| {
                    let mut runs = self.memory.tables.run.iter();
                    runs.any(|run| run.parent_id == Some(above.id) && run.ended_at.is_none())
                };
                let Some(claim) = self.claim_among(*hold, has_children) else {
                    return Ok(());
                };
                let is_held = self.memory.control(&claim).is_some();
                if is_held {
                    let by = format!("run {}", claim.run);
                    self.memory.cancel_children(claim.run.0, (&by, Some("the end")));
                }
                same(Ok(is_held), code(self.engine.cancel_children(&claim, "the end").await))
            }
            Operation::Send(telling) => {
                let Some(run) = self.target(telling.to) else {
                    return Ok(());
                };
                let signal = SendSignal {
                    run: RunId(run),
                    name: NAMES[telling.name].to_owned(),
                    payload: telling.payload.to_string(),
                    id: telling.id.map(|id| format!("signal {id}")),
                    sender: Some("ann".to_owned()),
                };
                let sent = code(self.engine.send_signal(&signal).await);
                let id = sent.as_ref().map_or("", |sent| sent.id.as_str());
                same(expected(self.memory.send(&signal, id)), sent)
            }
            Operation::Cancel { of, children } => {
                let Some(run) = self.target(*of) else {
                    return Ok(());
                };
                let cancelled = self.cancel(RunId(run), *children).await;
                same(
                    expected(self.memory.cancel(run, *children, ("ann", Some("why")))),
                    cancelled,
                )
            }
            Operation::Pause(of) => {
                let Some(run) = self.target(*of) else {
                    return Ok(());
                };
                let paused = self.engine.pause_run(RunId(run), Some("a while"), Some("ann")).await;
                same(expected(self.memory.pause(run, "a while")), code(paused))
            }
            Operation::Resume(of) => {
                let Some(run) = self.target(*of) else {
                    return Ok(());
                };
                let resumed = self.engine.resume_run(RunId(run), None, Some("ann")).await;
                same(expected(self.memory.resume(run)), code(resumed))
            }
            Operation::Start(_)
            | Operation::StartChild { .. }
            | Operation::Claim(_)
            | Operation::Write { .. }
            | Operation::Release { .. }
            | Operation::Advance { .. }
            | Operation::Wake
            | Operation::Reclaim
            | Operation::Sweep
            | Operation::Worker { .. }
            | Operation::Ask { .. } => Ok(()),
        }
    }

    async fn cancel(&self, run: RunId, children: bool) -> Result<engine::Cancelled, String> {
        code(if children {
            self.engine.cancel_run(run, Some("why"), Some("ann")).await
        } else {
            self.engine.cancel_run_alone(run, Some("why"), Some("ann")).await
        })
    }

    async fn ask(&mut self, hold: Hold, (taken, most): (i64, usize)) -> Held {
        self.ask_for_work().await?;
        let Some(claim) = self.claim_of(hold) else {
            return Ok(());
        };
        let look = code(self.engine.look(&claim).await);
        let last = self.memory.last_event(claim.run.0);
        let known = self.memory.control(&claim);
        same(
            Ok(known.map(|control| (control, last))),
            look.map(|look| look.map(|look| (look.control, look.event_seq))),
        )?;

        let wanted = NAMES.map(|name| Wanted {
            name: name.to_owned(),
            taken,
            most,
        });
        let came = code(self.engine.signals(&claim, &wanted).await);
        let came = came.map(|rows| rows.into_iter().map(|row| (row.wake, row.id)).collect::<Vec<_>>());
        let mut model = Vec::new();
        for name in NAMES {
            let sent = self.memory.tables.signal.iter();
            let sent = sent.filter(|row| row.run_id == claim.run.0 && row.name == name && row.wake > taken);
            let mut sent: Vec<_> = sent.map(|row| (row.wake, row.id.clone())).collect();
            sent.sort();
            model.extend(sent.into_iter().take(most));
        }
        model.sort();
        same(Ok(model), came)?;

        let runs: Vec<RunId> = self.memory.started.iter().copied().map(RunId).collect();
        let ended = code(self.engine.ended_children(&runs).await);
        let ended = ended.map(|rows| sorted(rows.into_iter().map(|row| (row.run.0, row.state))));
        let model = self.memory.tables.run.iter().filter(|run| run.ended_at.is_some());
        same(Ok(sorted(model.map(|run| (run.id, run.state.clone())))), ended)
    }

    async fn ask_for_work(&self) -> Held {
        let wish = ClaimWish {
            slot: 0,
            alive: false,
            batch: 1,
            suspects: false,
            everywhere: true,
            workflows: true,
            functions: true,
        };
        let (queues, kinds, functions) = capabilities(&wish);
        let poller = Poller {
            worker: self.workers[0],
            queues: &queues,
            kinds: &kinds,
            functions: &functions,
            reach: Reach::everything(),
        };
        let wanted = ClaimRuns {
            worker: self.workers[0],
            batch: 1,
            queues: &queues,
            kinds: &kinds,
            functions: &functions,
            which: Which::Ordinary,
            reach: Reach::everything(),
        };
        let poll = self.engine.poll(poller).await.expect("the poll is answered");
        let next = poll
            .next_due
            .map(|next| i64::try_from(next.as_secs()).unwrap_or(i64::MAX));
        same(
            self.memory.poll(&wanted),
            (poll.wakeable, poll.reclaimable, poll.claimable, next),
        )?;
        same(!self.memory.sweepable().is_empty(), poll.sweepable)?;
        let (crashes, neglected) = self.memory.suspects(&wanted);
        same(neglected, poll.neglected)?;
        match poll.suspect_crashes {
            None => same(Vec::new(), crashes),
            Some(told) => same(true, crashes.contains(&told)),
        }
    }
}

fn names(of: Sort) -> (&'static str, Option<&'static str>) {
    match of {
        Sort::Agent => ("agent", Some(crate::stage::AGENT)),
        Sort::Surgeon => ("agent", Some("surgeon")),
        Sort::Workflow => (WORKFLOW, None),
        Sort::Unknown { agent: true } => ("agent", Some("stranger")),
        Sort::Unknown { agent: false } => ("nobodys", None),
    }
}

fn capabilities(wish: &ClaimWish) -> (Vec<String>, Vec<String>, Vec<String>) {
    let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    let queues: &[&str] = if wish.everywhere {
        &["default", "other"]
    } else {
        &["default"]
    };
    let kinds: &[&str] = if wish.workflows {
        &["agent", WORKFLOW]
    } else {
        &["agent"]
    };
    let functions: &[&str] = if wish.functions { &["cut"] } else { &[] };
    (owned(queues), owned(kinds), owned(functions))
}

fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.collect();
    items.sort_unstable();
    items
}
