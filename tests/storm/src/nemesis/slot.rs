//! A place for a worker: one process after another, each under a name of its own.
//!
//! All that is done to a worker goes through here, so that what is written down is what was done. Start at
//! [`Slot::tend`] and [`Slot::strike`].

use super::aim::{Aim, Aims};
use super::journal::{Journal, deed, give_up};
use super::process::Process;
use super::schedule::{DRAIN, DRAINED_WITHIN, LEASE};
use super::session::Replies;
use crate::machine;
use crate::record::Deed;
use anyhow::anyhow;
use nix::sys::signal::Signal;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// A worker that lives no longer has not begun.
const START: Duration = Duration::from_secs(5);
/// So many in a row: no worker will ever begin.
const STILLBORN_MAX: u32 = 3;
/// Of a log, they say why.
const LAST_LINES: usize = 4;

/// What all workers are started with.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) program: PathBuf,
    pub(super) folder: PathBuf,
    pub(super) model_url: String,
    pub(super) planted: Option<String>,
}

/// One process start.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) name: String,
    generation: u64,
    started: Instant,
    /// It has asked for its database: by then it knows what to do with a signal.
    pub(super) has_spoken: AtomicBool,
    pub(super) replies: Replies,
}

impl Life {
    fn new(slot: usize, generation: u64) -> Self {
        Self {
            name: format!("storm-{slot}-{generation}"),
            generation,
            started: Instant::now(),
            has_spoken: AtomicBool::new(false),
            replies: Replies::default(),
        }
    }

    pub(super) fn age(&self) -> Duration {
        self.started.elapsed()
    }
}

/// What a worker is given in place of the real addresses.
#[derive(Debug, Clone)]
pub(super) struct Doors {
    pub(super) database_url: String,
    pub(super) ledger_url: String,
}

/// Whether notifications are kept from the worker.
#[derive(Debug, Default)]
pub(super) struct Silence {
    is_on: AtomicBool,
    lost: AtomicU64,
}

impl Silence {
    /// False: it was silent already.
    pub(super) fn begin(&self) -> bool {
        !self.is_on.swap(true, Ordering::SeqCst)
    }

    /// How many were lost, where there was silence.
    pub(super) fn end(&self) -> Option<u64> {
        let was_on = self.is_on.swap(false, Ordering::SeqCst);
        was_on.then(|| self.lost.swap(0, Ordering::SeqCst))
    }

    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::SeqCst)
    }

    pub(super) fn lose(&self) {
        self.lost.fetch_add(1, Ordering::SeqCst);
    }
}

pub(super) struct Slot {
    pub(super) number: usize,
    setup: Arc<Setup>,
    doors: Doors,
    journal: Arc<Journal>,
    pub(super) aims: Aims,
    pub(super) silence: Silence,
    /// Every connection to the database is reset when this changes.
    pub(super) database_cut: watch::Sender<()>,
    /// Every connection to the tools is reset when this changes.
    pub(super) tools_cut: watch::Sender<()>,
    /// A worker records something: there is work.
    pub(super) work_seen: Arc<Notify>,
    /// Told when the worker was killed.
    pub(super) emptied: Notify,
    state: Mutex<State>,
}

struct State {
    life: Arc<Life>,
    process: Option<Process>,
    is_stopped: bool,
    /// Since when it is to end.
    draining: Option<Instant>,
    is_wanted: bool,
    /// How many in a row ended by themselves at their very start.
    stillborn: u32,
}

impl State {
    /// The process, which is killed when it is dropped.
    fn vacate(&mut self) -> Option<Process> {
        self.is_stopped = false;
        self.draining = None;
        self.process.take()
    }
}

impl Slot {
    pub(super) fn new(number: usize, setup: Arc<Setup>, doors: Doors, journal: Arc<Journal>) -> Self {
        Self {
            number,
            setup,
            doors,
            journal,
            aims: Aims::default(),
            silence: Silence::default(),
            database_cut: watch::Sender::new(()),
            tools_cut: watch::Sender::new(()),
            work_seen: Arc::default(),
            emptied: Notify::new(),
            state: Mutex::new(State {
                life: Arc::new(Life::new(number, 0)),
                process: None,
                is_stopped: false,
                draining: None,
                is_wanted: false,
                stillborn: 0,
            }),
        }
    }

    /// The same, telling of work through the one that all slots share.
    pub(super) fn telling(mut self, work_seen: &Arc<Notify>) -> Self {
        self.work_seen = Arc::clone(work_seen);
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Resets all connections of one kind. False: there are none.
    pub(super) fn cut(&self, connections: &watch::Sender<()>, done: Deed) -> bool {
        let count = connections.receiver_count();
        if count > 0 {
            let cut = deed(done).to(&self.life().name);
            connections.send_replace(());
            self.journal.write(cut.saying(format!("{count} connections")));
        }
        count > 0
    }

    /// The process that is there, or was last.
    pub(super) fn life(&self) -> Arc<Life> {
        Arc::clone(&self.state().life)
    }

    /// A process is there and runs, and is not about to end.
    pub(super) fn is_able(&self) -> bool {
        let state = self.state();
        state.process.is_some() && !state.is_stopped && state.draining.is_none()
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.state().is_stopped
    }

    /// From now on a worker is to be here.
    pub(super) fn want(&self) {
        self.state().is_wanted = true;
        self.emptied.notify_one();
    }

    /// Sees that a worker is here, if one is to be. False: it had ended by itself.
    pub(super) fn tend(&self) -> bool {
        let mut state = self.state();
        if let Some(status) = state.process.as_mut().and_then(Process::ended) {
            return self.ended(&mut state, status);
        }
        let patience = DRAINED_WITHIN.mul_f64(machine::load().map_or(1.0, machine::slowness));
        let is_overdue = |since: Instant| since.elapsed() > patience;
        if state.draining.is_some_and(is_overdue) {
            drop(state.vacate());
            let why = format!("not within {} s of SIGTERM, and was killed", patience.as_secs());
            self.journal
                .write(deed(Deed::WorkerEnded).to(&state.life.name).saying(why));
        }
        if state.process.is_none() && state.is_wanted {
            self.start(&mut state).unwrap_or_else(|error| give_up(&error));
        }
        true
    }

    /// False: nobody had told it to, or it was no good end.
    fn ended(&self, state: &mut State, status: ExitStatus) -> bool {
        let life = Arc::clone(&state.life);
        let draining = state.draining;
        drop(state.vacate());
        if let Some(since) = draining {
            let took = format!("after {:.1} s", since.elapsed().as_secs_f64());
            let (is_good, told) = if status.success() {
                (true, deed(Deed::WorkerDrained).saying(took))
            } else {
                (
                    false,
                    deed(Deed::WorkerEnded).saying(format!("{took} of SIGTERM: {status}")),
                )
            };
            self.journal.write(told.to(&life.name));
            return is_good;
        }
        let ended = deed(Deed::WorkerEnded).to(&life.name);
        self.journal.write(ended.saying(status.to_string()));
        state.stillborn = if life.age() < START { state.stillborn + 1 } else { 0 };
        if state.stillborn >= STILLBORN_MAX {
            let log = end_of_log(&self.log(&life.name));
            give_up(&anyhow!(
                "{} ended at its very start ({status}), the third in a row: {log}",
                life.name
            ));
        }
        false
    }

    fn log(&self, worker: &str) -> PathBuf {
        self.setup.folder.join("logs").join(format!("{worker}.log"))
    }

    /// Asks the worker to end. False: there is none, or none that would understand.
    pub(super) fn drain(&self) -> bool {
        let mut state = self.state();
        let is_free = !state.is_stopped && state.draining.is_none() && state.life.has_spoken.load(Ordering::SeqCst);
        let Some(process) = state.process.as_ref().filter(|_| is_free) else {
            return false;
        };
        process.signal(Signal::SIGTERM);
        state.draining = Some(Instant::now());
        true
    }

    fn start(&self, state: &mut State) -> anyhow::Result<()> {
        let generation = state.life.generation + 1;
        let life = Life::new(self.number, generation);
        let lease = LEASE.as_secs().to_string();
        let drain = DRAIN.as_secs().to_string();
        let mut command = Command::new(&self.setup.program);
        command
            .args(["worker", "--name", &life.name, "--poll-seconds", "1"])
            .args(["--lease-seconds", &lease, "--drain-seconds", &drain])
            .current_dir(&self.setup.folder)
            .env("LONGHAUL_DATABASE_URL", &self.doors.database_url)
            .env("LONGHAUL_MODEL_URL", &self.setup.model_url)
            .env("LONGHAUL_MODEL_KEY", "test-key-not-secret")
            .env("LONGHAUL_LOG", "info")
            .env("LEDGER_URL", &self.doors.ledger_url)
            .env_remove("LONGHAUL_CRASH_POINT")
            .env_remove("LONGHAUL_STOP_POINT")
            .env_remove("LONGHAUL_BREAK");
        if let Some(planted) = &self.setup.planted {
            command.env("LONGHAUL_BREAK", planted);
        }
        // It is there before its first connection is.
        state.life = Arc::new(life);
        let name = &state.life.name;
        let started = deed(Deed::WorkerStarted).to(name);
        state.process = Some(Process::start(&mut command, &self.log(name))?);
        self.journal.write(started);
        Ok(())
    }

    /// Kills the worker that came into a window, unless the aim was taken elsewhere or the worker is gone.
    pub(super) fn strike(&self, life: &Life, aim: &Aim) -> bool {
        let mut state = self.state();
        if state.life.generation != life.generation || state.process.is_none() || !aim.take() {
            return false;
        }
        drop(state.vacate());
        let killed = deed(Deed::WorkerKilled).to(&state.life.name);
        self.journal.write(killed.within(aim.window));
        self.emptied.notify_one();
        true
    }

    /// Kills the worker wherever it is.
    pub(super) fn kill(&self, why: &str) -> bool {
        let mut state = self.state();
        let Some(process) = state.vacate() else {
            return false;
        };
        drop(process);
        let killed = deed(Deed::WorkerKilled).to(&state.life.name);
        self.journal.write(killed.saying(why));
        self.emptied.notify_one();
        true
    }

    /// Kills it for good.
    pub(super) fn clear(&self) {
        self.state().is_wanted = false;
        self.kill("the storm is over");
    }

    /// The life that was stopped.
    pub(super) fn stop(&self) -> Option<Arc<Life>> {
        let mut state = self.state();
        let process = state.process.as_ref().filter(|_| !state.is_stopped)?;
        process.signal(Signal::SIGSTOP);
        state.is_stopped = true;
        self.journal.write(deed(Deed::WorkerStopped).to(&state.life.name));
        Some(Arc::clone(&state.life))
    }

    /// Lets it go on, where it has not been killed since.
    pub(super) fn go_on(&self, life: &Life) {
        let mut state = self.state();
        if state.life.generation != life.generation || !state.is_stopped {
            return;
        }
        let continued = deed(Deed::WorkerContinued).to(&state.life.name);
        if let Some(process) = &state.process {
            process.signal(Signal::SIGCONT);
        }
        state.is_stopped = false;
        self.journal.write(continued);
    }
}

/// What a process said last.
fn end_of_log(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}
