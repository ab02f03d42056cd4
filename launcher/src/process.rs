//! Looking at processes and waiting for them, with a limit.

use std::{fs, process::Command, thread, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const POLL: Duration = Duration::from_millis(5);

/// Asks again and again until `done` says yes or `limit` has passed; says whether it did.
pub(crate) fn wait_until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let polls = limit.as_millis() / POLL.as_millis();
    for _ in 0..polls {
        if done() {
            return true;
        }
        thread::sleep(POLL);
    }
    done()
}

/// Sends a signal; a process that is already gone is no error.
pub(crate) fn send(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid) {
        let _gone = kill(Pid::from_raw(pid), signal);
    }
}

/// One line of the process table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    pub(crate) state: char,
}

impl Process {
    /// A zombie holds nothing any more; only its parent has not looked yet.
    pub(crate) fn is_alive(self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }
}

/// The process table: from `/proc`, or from `ps` where there is none.
pub(crate) fn processes() -> Vec<Process> {
    let from_proc: Vec<Process> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| parse_stat(&fs::read_to_string(entry.path().join("stat")).ok()?))
        .collect();
    if !from_proc.is_empty() {
        return from_proc;
    }
    let listing = Command::new("ps").args(["-axo", "pid=,ppid=,state="]).output();
    let text = listing
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    text.lines().filter_map(parse_ps).collect()
}

/// `123 (name, which may hold anything) S 1 …`
fn parse_stat(stat: &str) -> Option<Process> {
    let pid = stat.split(' ').next()?.parse().ok()?;
    let mut rest = stat.rsplit_once(") ")?.1.split(' ');
    Some(Process {
        state: rest.next()?.chars().next()?,
        parent: rest.next()?.parse().ok()?,
        pid,
    })
}

fn parse_ps(line: &str) -> Option<Process> {
    let mut words = line.split_whitespace();
    Some(Process {
        pid: words.next()?.parse().ok()?,
        parent: words.next()?.parse().ok()?,
        state: words.next()?.chars().next()?,
    })
}

#[cfg(test)]
mod tests;
