//! A victim's process, which does not outlive us.

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

/// A shell that kills the process with this number once nobody holds the other end of its input. A stopped process
/// would not notice the end of an input of its own.
const GUARD: &str = r#"trap '' INT TERM HUP; read -r _; kill -9 "$1""#;

/// Killed when dropped, and when we die in any other way.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    guard: Child,
}

impl Process {
    /// Starts it, with its output appended to a file.
    pub(super) fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let file = File::options().create(true).append(true).open(log);
        let file = file.with_context(|| format!("cannot write {}", log.display()))?;
        let child = command
            // What is typed at a terminal is for the conductor.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let guard = Command::new("/bin/sh")
            .args(["-c", GUARD, "storm-guard"])
            .arg(child.id().to_string())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start /bin/sh")?;
        Ok(Self { child, guard })
    }

    /// SIGKILL, and its end awaited, which takes no more than the kernel needs.
    pub(super) fn kill(&mut self) {
        // Its guard is called off in between: until then we may die, and after that the number may be another's.
        let _gone = self.child.kill();
        self.call_off();
        let _reaped = self.child.wait();
    }

    pub(super) fn signal(&self, signal: Signal) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _gone = kill(Pid::from_raw(pid), signal);
        }
    }

    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().ok().flatten();
        if status.is_some() {
            self.call_off();
        }
        status
    }

    /// Before anybody else can be given the number of the process.
    fn call_off(&mut self) {
        let _gone = self.guard.kill();
        let _reaped = self.guard.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
