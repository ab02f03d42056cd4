//! Everything that one program has brought into being: found, counted, and ended together.
//!
//! A process belongs to the program's family when it is in the group that the program leads, or when its environment
//! names the program's scratch folder: so a process that left the group with `setsid` is found too. One that left the
//! group and emptied its environment as well is not. Where there is no `/proc`, the family is the group.

use super::environment::SCRATCH;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How often the family is looked for again until nobody of it is left. Each round kills all that it finds; only
/// processes that leave the group faster than they are found need more than a few.
const ROUNDS_MAX: u32 = 50;

/// How old a list of all processes may be for a look. All programs of a worker share it: making one takes milliseconds.
const LIST_AGE_MAX: Duration = Duration::from_millis(50);

/// The list that was made last.
static LATEST: Mutex<Option<(Instant, Arc<[Stat]>)>> = Mutex::new(None);

/// A process and when it started: a number alone may pass to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Id {
    pub(super) process: i32,
    /// In ticks since the machine's start.
    started: u64,
}

impl Id {
    /// Whether the number still is this process's.
    pub(super) fn is_there(self) -> bool {
        stat(self.process).is_some_and(|stat| stat.id == self)
    }

    /// Memory that is its own and present, shared memory included; files that it maps not.
    pub(super) fn memory_bytes(self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process)).unwrap_or_default();
        let kib = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok())
                .unwrap_or(0)
        };
        (kib("RssAnon:") + kib("RssShmem:")) * 1024
    }
}

/// The processes of one program.
#[derive(Debug)]
pub(super) struct Family {
    leader: Option<Pid>,
    /// Nobody older belongs to it.
    since: u64,
    /// As it stands in a member's environment.
    mark: Vec<u8>,
    /// What is known of those outside of the group, by their environment.
    known: Mutex<HashMap<Id, bool>>,
    /// Those that the last look found.
    met: Mutex<HashSet<Id>>,
    /// Its numbers may have passed to others.
    has_ended: AtomicBool,
}

impl Family {
    /// The family of a process that has just started, and that has this folder for itself. No process and number 0 and 1
    /// lead none: those would name the worker's own group, or everybody.
    pub(super) fn led_by(process: Option<u32>, scratch: &Path) -> Self {
        let leader = process.and_then(|id| i32::try_from(id).ok()).filter(|id| *id > 1);
        let since = leader.and_then(stat).map_or(0, |stat| stat.id.started);
        Self {
            leader: leader.map(Pid::from_raw),
            since,
            mark: format!("{SCRATCH}={}", scratch.display()).into_bytes(),
            known: Mutex::default(),
            met: Mutex::default(),
            has_ended: AtomicBool::new(false),
        }
    }

    /// Everybody who lives, as far as the list that all programs share tells, and whether this look is the first to meet
    /// them.
    pub(super) fn look(&self) -> Vec<(Id, bool)> {
        let members = self.members_of(&latest_list());
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *met, members.iter().copied().collect());
        let is_new = |id: &Id| !before.contains(id);
        members.into_iter().map(|id| (id, is_new(&id))).collect()
    }

    /// Asks everybody to end.
    pub(super) fn ask_to_end(&self) {
        self.signal_group(Signal::SIGTERM);
        for id in self.members() {
            if !self.is_in_group(id) {
                signal(id, Signal::SIGTERM);
            }
        }
    }

    /// Kills everybody, and whoever they bring into being meanwhile.
    pub(super) fn kill(&self) {
        if self.has_ended.load(Ordering::Acquire) {
            return;
        }
        self.signal_group(Signal::SIGKILL);
        for round in 0..ROUNDS_MAX {
            let members = self.members();
            if members.is_empty() {
                self.has_ended.store(true, Ordering::Release);
                return;
            }
            for id in members {
                signal(id, Signal::SIGKILL);
            }
            if round > 0 {
                // What was killed takes a moment to be gone.
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    fn signal_group(&self, signal: Signal) {
        if let Some(leader) = self.leader {
            // Fails when nobody is left, which is what is wanted.
            let _ = killpg(leader, signal);
        }
    }

    fn is_in_group(&self, id: Id) -> bool {
        stat(id.process).is_some_and(|stat| stat.id == id && self.leads(&stat))
    }

    fn leads(&self, stat: &Stat) -> bool {
        self.leader.is_some_and(|leader| leader.as_raw() == stat.group)
    }

    /// Everybody who lives at this instant.
    fn members(&self) -> Vec<Id> {
        self.members_of(&list())
    }

    fn members_of(&self, list: &[Stat]) -> Vec<Id> {
        if self.leader.is_none() {
            return Vec::new();
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() > 4 * list.len() {
            // Most of them are long gone.
            let living: HashSet<Id> = list.iter().map(|stat| stat.id).collect();
            known.retain(|id, _| living.contains(id));
        }
        list.iter()
            .filter(|stat| !stat.is_dead && stat.id.started >= self.since)
            .filter(|stat| self.leads(stat) || self.is_marked(stat.id, &mut known))
            .map(|stat| stat.id)
            .collect()
    }

    /// Whether its environment has the mark. A process that is just becoming another program has none yet.
    fn is_marked(&self, id: Id, known: &mut HashMap<Id, bool>) -> bool {
        if let Some(is_marked) = known.get(&id) {
            return *is_marked;
        }
        let environment = fs::read(format!("/proc/{}/environ", id.process)).unwrap_or_default();
        let is_marked = environment.split(|byte| *byte == 0).any(|line| line == self.mark);
        if !environment.is_empty() {
            known.insert(id, is_marked);
        }
        is_marked
    }
}

/// What `/proc` says of a process.
struct Stat {
    id: Id,
    group: i32,
    is_dead: bool,
}

/// All processes of the machine.
fn list() -> Vec<Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?))
        .collect()
}

/// The same, perhaps made for another program a moment ago.
fn latest_list() -> Arc<[Stat]> {
    let mut latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((made, list)) = latest.as_ref()
        && made.elapsed() < LIST_AGE_MAX
    {
        return Arc::clone(list);
    }
    let made = Instant::now();
    let list: Arc<[Stat]> = list().into();
    *latest = Some((made, Arc::clone(&list)));
    list
}

/// Nothing where there is no such process.
fn stat(process: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The program's name stands in parentheses and may hold anything; the state follows it.
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    let group = fields.nth(1)?.parse().ok()?;
    let started = fields.nth(16)?.parse().ok()?;
    Some(Stat {
        id: Id { process, started },
        group,
        is_dead: matches!(state, "Z" | "X" | "x"),
    })
}

/// Signals just this process: between the look and the signal its number may have passed to another.
#[cfg(target_os = "linux")]
fn signal(id: Id, which: Signal) {
    use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};
    let which = if which == Signal::SIGTERM {
        rustix::process::Signal::TERM
    } else {
        rustix::process::Signal::KILL
    };
    let handle = Pid::from_raw(id.process).and_then(|process| pidfd_open(process, PidfdFlags::empty()).ok());
    if let Some(handle) = handle
        && id.is_there()
    {
        let _ = pidfd_send_signal(&handle, which);
    }
}

#[cfg(not(target_os = "linux"))]
fn signal(id: Id, which: Signal) {
    let _ = nix::sys::signal::kill(Pid::from_raw(id.process), which);
}
