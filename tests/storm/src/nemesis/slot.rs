//! A place for a worker: one process after another, each under a name of its own.
//!
//! All that is done to a worker goes through here, so that what is written down is what was done. Start at
//! [`Slot::tend`] and [`Slot::strike`].

use super::aim::{Aim, Aims};
use super::journal::{Journal, deed, give_up};
use super::process::Process;
use super::schedule::LEASE;
use super::session::Replies;
use crate::record::Deed;
use nix::sys::signal::Signal;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};

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
    pub(super) replies: Replies,
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
    is_wanted: bool,
}

impl Slot {
    pub(super) fn new(number: usize, setup: Arc<Setup>, doors: Doors, journal: Arc<Journal>) -> Self {
        let life = Life {
            name: format!("storm-{number}-0"),
            generation: 0,
            replies: Replies::default(),
        };
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
                life: Arc::new(life),
                process: None,
                is_stopped: false,
                is_wanted: false,
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

    /// A process is there and runs.
    pub(super) fn is_able(&self) -> bool {
        let state = self.state();
        state.process.is_some() && !state.is_stopped
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
            state.process = None;
            state.is_stopped = false;
            let ended = deed(Deed::WorkerEnded).to(&state.life.name);
            self.journal.write(ended.saying(status.to_string()));
            return false;
        }
        if state.process.is_none() && state.is_wanted {
            self.start(&mut state).unwrap_or_else(|error| give_up(&error));
        }
        true
    }

    fn start(&self, state: &mut State) -> anyhow::Result<()> {
        let generation = state.life.generation + 1;
        let name = format!("storm-{}-{generation}", self.number);
        let lease = LEASE.as_secs().to_string();
        let mut command = Command::new(&self.setup.program);
        command
            .args([
                "worker",
                "--name",
                &name,
                "--lease-seconds",
                &lease,
                "--poll-seconds",
                "1",
            ])
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
        state.life = Arc::new(Life {
            name: name.clone(),
            generation,
            replies: Replies::default(),
        });
        let started = deed(Deed::WorkerStarted).to(&name);
        let log = self.setup.folder.join("logs").join(format!("{name}.log"));
        state.process = Some(Process::start(&mut command, &log)?);
        state.is_stopped = false;
        self.journal.write(started);
        Ok(())
    }

    /// Kills the worker that came into a window, unless the aim was taken elsewhere or the worker is gone.
    pub(super) fn strike(&self, life: &Life, aim: &Aim) -> bool {
        let mut state = self.state();
        if state.life.generation != life.generation || state.process.is_none() || !aim.take() {
            return false;
        }
        if let Some(mut process) = state.process.take() {
            process.kill();
        }
        state.is_stopped = false;
        let killed = deed(Deed::WorkerKilled).to(&state.life.name);
        self.journal.write(killed.within(aim.window));
        self.emptied.notify_one();
        true
    }

    /// Kills the worker wherever it is.
    pub(super) fn kill(&self, why: &str) -> bool {
        let mut state = self.state();
        let Some(mut process) = state.process.take() else {
            return false;
        };
        process.kill();
        state.is_stopped = false;
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
