//! One identity of a worker: from its registration to its drain, or to the loss of its lease.
//!
//! Owns the main loop ([`Session::run`]), the drivers' tasks and the keeper of the lease.

use crate::cache::forget;
use crate::config::Config;
use crate::crash_point::crash_point;
use crate::drive::{AGENT, Held, Shared, Suspicion, drive};
use crate::lease::{DatabaseClock, Keeper, Lease, before_asking};
use crate::outlook::{Look, Outlook};
use crate::partitions::make_ahead;
use crate::worker::chain;
use engine::query::Poller;
use engine::transition::Control;
use engine::waker::{Hint, Waker};
use engine::{
    Attention, Claim, ClaimRuns, Claimed, Connect, Engine, EngineError, Reach, Registration, Release, RunId, Which,
    WorkerId, limits,
};
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// After the database failed to answer.
const AWAY_PERIOD: Duration = Duration::from_secs(1);
/// How long after a claim whose answer was lost its statement may still be on its way.
const UNHEARD_MAX: Duration = Duration::from_secs(60);
/// Timers that fall due within this are one wake-up.
const SOONEST_POLL: Duration = Duration::from_millis(5);
/// While one claim follows the other: a claim that a single driver's end would call for waits so long for others' ends.
const CLAIM_PATIENCE: Duration = Duration::from_millis(2);
/// … unless this share of all places is free.
const CLAIM_SHARE: usize = 8;
/// While one claim follows the other: only a look finds what is to be woken or taken back.
const FLOWING_POLL: Duration = Duration::from_secs(1);
/// After a driver is done, where the last claim had left nothing: what else ends meanwhile is one look.
const SETTLED_POLL: Duration = Duration::from_millis(20);

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// In good order.
    Drained,
    /// Its lease was over.
    LeaseLost,
}

/// Which runs the worker drives beside each other.
enum Company {
    Ordinary,
    /// Suspects wait: runs in hand are given back, and none is claimed.
    Leaving,
    /// A few suspects, until each has recorded a result or is done.
    Suspects {
        cleared: mpsc::Receiver<Infallible>,
    },
}

/// What happens to a session.
enum Event {
    /// Something may be due for this worker.
    Due,
    /// It is time to look at everything.
    Poll,
    /// A driver is done.
    Finished(Result<(Id, ()), JoinError>),
    /// Runs want attention.
    Attention(Vec<Attention>),
    /// The suspects have recorded results, or are done.
    Cleared,
    LeaseLost,
    Shutdown,
}

pub(crate) struct Session {
    id: WorkerId,
    config: Config,
    shared: Arc<Shared>,
    kinds: Vec<String>,
    functions: Vec<String>,
    lease: Lease,
    drain: CancellationToken,
    /// Cancelled to make room for suspects; made anew for the runs after them.
    room: CancellationToken,
    company: Company,
    /// What other workers were told of it.
    said_clearing: bool,
    drivers: JoinSet<()>,
    /// What each task drives, and how to tell it of a change.
    driven: HashMap<Id, (Claim, watch::Sender<Control>)>,
    held: Arc<AtomicUsize>,
    due: Arc<Notify>,
    /// Whether the last claim took as many runs as it could: there may be more.
    is_flowing: bool,
    /// When the next claim is made, while few places are free.
    claim_at: Option<Instant>,
    attention: mpsc::Receiver<Vec<Attention>>,
    next_poll: Instant,
    polls: Outlook,
    claims: Outlook,
    /// Until then runs are looked for that it may have claimed without hearing of it.
    unheard_until: Option<Instant>,
    /// Makes the keeper ask at once.
    hurry: Arc<Notify>,
    /// The keeper, the listener and the maker of partitions end with the session.
    helpers: JoinSet<()>,
}

impl Session {
    /// Registers a new identity and starts keeping its lease.
    pub(crate) async fn open(connect: &Connect, config: &Config, shared: Arc<Shared>) -> Result<Self, EngineError> {
        let id = WorkerId::new();
        let kinds: Vec<String> = std::iter::once(AGENT.to_owned())
            .chain(shared.workflows.names().cloned())
            .collect();
        let functions = shared.tools.functions().names();
        let asked = before_asking();
        let registration = Registration {
            id,
            name: config.name.clone(),
            kinds: kinds.clone(),
            functions: functions.clone(),
            queues: config.queues.clone(),
        };
        shared.engine.register_worker(&registration, config.lease).await?;
        let lease = Lease::new(asked, config.lease);
        let (due, hurry) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let held = Arc::new(AtomicUsize::new(0));
        let (attention_sender, attention) = mpsc::channel(16);
        let mut helpers = JoinSet::new();
        // The lease has a connection of its own: no amount of work may keep it waiting.
        let lone = Connect {
            connections_max: 1,
            ..connect.clone()
        };
        let keeper = Keeper {
            engine: Engine::connect(&lone).await?,
            worker: id,
            duration: config.lease,
            idle_period: config.poll,
            lease: lease.clone(),
            hurry: Arc::clone(&hurry),
            held: Arc::clone(&held),
            attention: attention_sender,
        };
        helpers.spawn(keeper.keep());
        helpers.spawn(make_ahead(shared.engine.clone(), id));
        helpers.spawn(forget(shared.engine.clone(), id));
        if config.notifications {
            let queues = config.queues.clone();
            let listening = Listening {
                id,
                queues,
                due: Arc::clone(&due),
                hurry: Arc::clone(&hurry),
            };
            helpers.spawn(listen(connect.clone(), listening));
        }
        info!(worker.id = %id, worker.name = %config.name, "worker {} is ready", config.name);
        Ok(Self {
            id,
            config: config.clone(),
            shared,
            kinds,
            functions,
            lease,
            drain: CancellationToken::new(),
            room: CancellationToken::new(),
            company: Company::Ordinary,
            said_clearing: false,
            drivers: JoinSet::new(),
            driven: HashMap::new(),
            held,
            due,
            is_flowing: false,
            claim_at: None,
            attention,
            next_poll: Instant::now(),
            polls: Outlook::new(config.poll),
            claims: Outlook::new(config.poll),
            unheard_until: None,
            hurry,
            helpers,
        })
    }

    /// The main loop.
    pub(crate) async fn run(mut self, shutdown: &CancellationToken) -> Ended {
        loop {
            match self.next_event(shutdown).await {
                Event::Due => self.take_due().await,
                Event::Poll => self.look_and_take().await,
                Event::Finished(done) => self.settle(done).await,
                Event::Attention(runs) => self.pass_on(&runs),
                Event::Cleared => self.take_company(),
                Event::LeaseLost => return self.let_go().await,
                Event::Shutdown => return self.drain().await,
            }
        }
    }

    async fn next_event(&mut self, shutdown: &CancellationToken) -> Event {
        let has_room = match &self.company {
            Company::Ordinary => self.drivers.len() < self.config.runs_max,
            Company::Leaving => self.drivers.is_empty(),
            Company::Suspects { .. } => false,
        };
        let cleared = async {
            match &mut self.company {
                // Nothing is ever sent: it ends when the last sender is dropped.
                Company::Suspects { cleared } => cleared.recv().await.is_none(),
                Company::Ordinary | Company::Leaving => std::future::pending().await,
            }
        };
        let claim_at = self.claim_at.filter(|_| has_room);
        tokio::select! {
            biased;
            () = self.lease.lost.cancelled() => Event::LeaseLost,
            () = shutdown.cancelled() => Event::Shutdown,
            Some(done) = self.drivers.join_next_with_id() => Event::Finished(done),
            Some(runs) = self.attention.recv() => Event::Attention(runs),
            _ = cleared => Event::Cleared,
            () = self.due.notified(), if has_room => Event::Due,
            () = tokio::time::sleep_until(claim_at.unwrap_or(self.next_poll)), if claim_at.is_some() => Event::Due,
            () = tokio::time::sleep_until(self.next_poll) => Event::Poll,
        }
    }

    /// Claims at once: while runs come in, asking first whether there are any would double the statements. Where there
    /// were none, something else may be to be done.
    async fn take_due(&mut self) {
        let is_late = self.next_poll <= Instant::now();
        if !is_late
            && matches!(self.company, Company::Ordinary)
            && matches!(self.claim(self.claims.look(Instant::now())).await, Ok(true))
        {
            return;
        }
        self.look_and_take().await;
    }

    /// Wakes, takes back and claims what is due, and learns when to look again.
    async fn look_and_take(&mut self) {
        let next = self.upkeep_and_claim().await.unwrap_or_else(|error| {
            warn!(worker.id = %self.id, error = %chain(&error), "the database does not answer, claiming nothing");
            AWAY_PERIOD
        });
        self.next_poll = Instant::now() + next;
    }

    async fn upkeep_and_claim(&mut self) -> Result<Duration, EngineError> {
        self.say_company().await?;
        self.give_back_unheard().await?;
        let engine = self.shared.engine.clone();
        let look = self.polls.look(Instant::now());
        let poller = Poller {
            worker: self.id,
            queues: &self.config.queues,
            kinds: &self.kinds,
            functions: &self.functions,
            reach: &look.reach,
        };
        let poll = engine.poll(poller).await?;
        let longest = match self.is_flowing || self.unheard_until.is_some() {
            true => self.config.poll.min(FLOWING_POLL),
            false => self.config.poll,
        };
        let unseen = self.polls.looked(&look, Instant::now());
        let longest = unseen.map_or(longest, |unseen| unseen.min(longest));
        let mut next = poll.next_due.map_or(longest, |due| due.min(longest));
        if poll.wakeable {
            let woken = engine.wake_runs(&look.reach).await?;
            if !woken.is_empty() {
                crash_point!("run.woken");
                // There may be more than one batch.
                next = SOONEST_POLL;
                self.shared.announcer.tell(woken);
            }
        } else {
            self.polls.reach.rung(poll.now);
        }
        if poll.reclaimable {
            let reclaimed = engine.reclaim_runs().await?;
            for (worker, name) in &reclaimed.workers {
                warn!(worker.id = %worker, worker.name = %name, "worker {name} is gone, taking back what it held");
            }
            self.shared.announcer.tell(reclaimed.runs);
        }
        if poll.tendable {
            self.shared.engine.tend_gates().await?;
        }
        if poll.sweepable {
            // What is left behind now is somebody else's just now, and is tried again before long.
            next = match engine.sweep_children().await? {
                0 => next.min(FLOWING_POLL),
                _ => SOONEST_POLL,
            };
            crash_point!("children.swept");
        }
        if self.drivers.is_empty() && self.claim_suspects(poll.suspect_crashes).await? {
            return Ok(next.max(SOONEST_POLL));
        }
        if poll.neglected && matches!(self.company, Company::Ordinary) && !self.drivers.is_empty() {
            self.leave_company().await?;
        }
        if poll.wakeable || poll.reclaimable || poll.claimable {
            self.claim(look).await?;
        } else {
            self.polls.reach.drained(poll.now);
            self.claims.reach.drained(poll.now);
        }
        Ok(next.max(SOONEST_POLL))
    }

    /// Claims as many runs as there is room for; whether there were any.
    async fn claim(&mut self, look: Look) -> Result<bool, EngineError> {
        self.claim_at = None;
        let room = match &self.company {
            Company::Ordinary => self.config.runs_max.saturating_sub(self.drivers.len()),
            Company::Leaving | Company::Suspects { .. } => 0,
        };
        if room == 0 {
            return Ok(false);
        }
        let wanted = room.min(limits::CLAIM_BATCH_MAX as usize);
        let claimed = self.claim_runs((Which::Ordinary, &look.reach), wanted).await?;
        let any = !claimed.is_empty();
        self.is_flowing = claimed.len() == wanted;
        for outlook in [&mut self.claims, &mut self.polls] {
            outlook.reach.claimed(&claimed);
            if let Some(last) = claimed.last().filter(|_| !self.is_flowing) {
                outlook.reach.drained(last.now);
            }
        }
        if self.is_flowing {
            self.due.notify_one();
        }
        let now = Instant::now();
        if let Some(unseen) = self.claims.looked(&look, now) {
            self.next_poll = self.next_poll.min(now + unseen.max(SOONEST_POLL));
        }
        for run in claimed {
            self.start(run, None);
        }
        Ok(any)
    }

    /// Claims a few suspects with so many crashes behind them, if any are due; nothing else is driven now. Whether there
    /// were any.
    async fn claim_suspects(&mut self, crashes: Option<i32>) -> Result<bool, EngineError> {
        let claimed = match crashes {
            Some(crashes) => {
                self.claim_runs((Which::Suspects { crashes }, Reach::everything()), self.config.runs_max)
                    .await?
            }
            None => Vec::new(),
        };
        let any = !claimed.is_empty();
        self.company = Company::Ordinary;
        if any {
            let (suspicion, cleared) = mpsc::channel(1);
            for run in claimed {
                self.start(run, Some(suspicion.clone()));
            }
            self.company = Company::Suspects { cleared };
        }
        self.say_company().await?;
        Ok(any)
    }

    /// Gives back what was claimed by a statement whose answer was lost: nobody else would ever take it up.
    async fn give_back_unheard(&mut self) -> Result<(), EngineError> {
        let Some(until) = self.unheard_until else {
            return Ok(());
        };
        let looked_at = Instant::now();
        let driven: Vec<RunId> = self.driven.values().map(|(claim, _)| claim.run).collect();
        let engine = &self.shared.engine;
        for (claim, event_seq) in engine.undriven(self.id, &driven).await? {
            warn!(run.id = %claim.run, "run {} was claimed and the answer was lost, giving it back", claim.run);
            engine.release_run(&claim, event_seq, Release::Unheard).await?;
        }
        if looked_at > until {
            self.unheard_until = None;
        }
        Ok(())
    }

    async fn claim_runs(&mut self, (which, reach): (Which, &Reach), most: usize) -> Result<Vec<Claimed>, EngineError> {
        let wanted = ClaimRuns {
            worker: self.id,
            batch: u32::try_from(most).unwrap_or(u32::MAX),
            queues: &self.config.queues,
            kinds: &self.kinds,
            functions: &self.functions,
            which,
            reach,
        };
        let answer = self.shared.engine.claim_runs(wanted).await;
        if answer.is_err() {
            self.unheard_until = Some(Instant::now() + UNHEARD_MAX);
        }
        let claimed = answer?;
        if !claimed.is_empty() {
            crash_point!("run.claimed");
            self.shared.announcer.tell(claimed.iter().map(|run| run.claim.run));
        }
        Ok(claimed)
    }

    /// Gives back what is in hand, in good order, so that suspects can be driven here.
    async fn leave_company(&mut self) -> Result<(), EngineError> {
        info!(worker.id = %self.id, runs = self.drivers.len(), "making room for runs that may have killed their workers");
        self.company = Company::Leaving;
        // Others are to know before anything is given back.
        self.say_company().await?;
        std::mem::take(&mut self.room).cancel();
        Ok(())
    }

    /// The suspects are cleared, or done.
    fn take_company(&mut self) {
        self.company = Company::Ordinary;
        self.due.notify_one();
    }

    /// Tells other workers, if they do not know.
    async fn say_company(&mut self) -> Result<(), EngineError> {
        let clearing = !matches!(self.company, Company::Ordinary);
        if clearing != self.said_clearing {
            self.shared.engine.set_clearing(self.id, clearing).await?;
            self.said_clearing = clearing;
        }
        Ok(())
    }

    fn start(&mut self, claimed: Claimed, suspicion: Option<Suspicion>) {
        let (sender, control) = watch::channel(Control {
            wakes: claimed.wakes,
            cancel_requested: claimed.cancel_requested,
            paused: false,
        });
        let claim = claimed.claim;
        let held = Held {
            clock: DatabaseClock::told(claimed.now),
            claimed,
            lease: self.lease.clone(),
            control,
            drain: self.drain.clone(),
            room: self.room.clone(),
            suspicion,
        };
        let task = self.drivers.spawn(drive(Arc::clone(&self.shared), held));
        self.driven.insert(task.id(), (claim, sender));
        if self.held.swap(self.drivers.len(), Ordering::Relaxed) == 0 {
            // From now on the keeper asks more often.
            self.hurry.notify_one();
        }
    }

    /// A driver that panics gives its run back.
    async fn settle(&mut self, done: Result<(Id, ()), JoinError>) {
        let id = match &done {
            Ok((id, ())) => *id,
            Err(broken) => broken.id(),
        };
        let driven = self.driven.remove(&id);
        self.held.store(self.drivers.len(), Ordering::Relaxed);
        if let (Err(broken), Some((claim, _))) = (done, driven) {
            error!(run.id = %claim.run, error = %broken, "the driver of run {} broke, giving the run back", claim.run);
            let (shared, lease) = (Arc::clone(&self.shared), self.lease.clone());
            self.helpers
                .spawn(async move { give_back_broken(&shared, &claim, &lease).await });
        }
        // There is room again.
        let room = self.config.runs_max.saturating_sub(self.drivers.len());
        if !matches!(self.company, Company::Ordinary) || (self.is_flowing && room * CLAIM_SHARE >= self.config.runs_max)
        {
            self.due.notify_one();
        } else if self.is_flowing {
            self.claim_at.get_or_insert(Instant::now() + CLAIM_PATIENCE);
        } else {
            self.next_poll = self.next_poll.min(Instant::now() + SETTLED_POLL);
        }
    }

    fn pass_on(&self, runs: &[Attention]) {
        let known: HashMap<RunId, Control> = runs
            .iter()
            .map(|attention| (attention.run, attention.control))
            .collect();
        for (claim, sender) in self.driven.values() {
            if let Some(control) = known.get(&claim.run) {
                sender.send_if_modified(|current| std::mem::replace(current, *control) != *control);
            }
        }
    }

    /// No new claim; drivers finish or give back what they have in hand.
    async fn drain(mut self) -> Ended {
        info!(worker.id = %self.id, runs = self.drivers.len(), "draining");
        crash_point!("worker.draining");
        self.drain.cancel();
        loop {
            tokio::select! {
                biased;
                () = self.lease.lost.cancelled() => {
                    // Calls that may not be repeated are within their own limits; their results are still offered.
                    while self.drivers.join_next().await.is_some() {}
                    return Ended::Drained;
                }
                done = self.drivers.join_next_with_id() => match done {
                    Some(done) => self.settle(done).await,
                    None => break,
                },
                Some(runs) = self.attention.recv() => self.pass_on(&runs),
            }
        }
        if let Err(error) = self.shared.engine.close_worker(self.id).await {
            warn!(worker.id = %self.id, error = %chain(&error), "could not say goodbye; the lease will run out by itself");
        }
        info!(worker.id = %self.id, "drained");
        Ended::Drained
    }

    /// The lease is over: drivers have cut what may be repeated; those that still wait for a call that may not be
    /// repeated offer its result under the old fence, beside whatever comes next.
    async fn let_go(mut self) -> Ended {
        let mut drivers = std::mem::take(&mut self.drivers);
        tokio::spawn(async move { while drivers.join_next().await.is_some() {} });
        Ended::LeaseLost
    }
}

/// Gives back a run whose driver broke, however long the database is away: this worker lives, so nobody would reclaim
/// it. What the driver had recorded stands; the number of the last event is in the database.
pub(crate) async fn give_back_broken(shared: &Shared, claim: &Claim, lease: &Lease) {
    while !lease.lost.is_cancelled() {
        let given_back = async {
            match shared.engine.look(claim).await? {
                Some(look) => {
                    shared
                        .engine
                        .release_run(claim, look.event_seq, Release::DriverBroke)
                        .await
                }
                None => Ok(false),
            }
        };
        match given_back.await {
            Ok(_) => break,
            Err(error) => {
                warn!(run.id = %claim.run, error = %chain(&error), "the run could not be given back, trying again");
                tokio::time::sleep(AWAY_PERIOD).await;
            }
        }
    }
    shared.announcer.tell([claim.run]);
}

struct Listening {
    id: WorkerId,
    queues: Vec<String>,
    due: Arc<Notify>,
    hurry: Arc<Notify>,
}

/// Turns notifications into a look at the database. A lost connection is made anew; the poll covers the time between.
async fn listen(connect: Connect, listening: Listening) {
    loop {
        match Waker::listen(&connect).await {
            Ok(mut waker) => loop {
                match waker.hint().await {
                    Ok(Hint::Due(queue)) if listening.queues.contains(&queue) => listening.due.notify_one(),
                    Ok(Hint::Changed(worker)) if worker == listening.id => listening.hurry.notify_one(),
                    Ok(Hint::Due(_) | Hint::Changed(_)) => {}
                    Ok(Hint::Missed) => {
                        listening.due.notify_one();
                        listening.hurry.notify_one();
                    }
                    Err(_) => break,
                }
            },
            Err(error) => warn!(error = %chain(&error), "cannot listen for notifications, polling meanwhile"),
        }
        tokio::time::sleep(AWAY_PERIOD).await;
    }
}
