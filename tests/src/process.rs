//! Real worker processes, which are really killed.

use crate::world::{PATIENCE, World};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// A `longhaul worker` process. Killed when dropped.
pub struct WorkerProcess {
    child: Child,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

/// How a worker process is started.
pub struct Start<'a> {
    /// Shown in the journal.
    pub name: &'a str,
    /// Where it kills itself: `name` or `name:n`.
    pub crash_point: Option<&'a str>,
    /// Where it stops itself, until SIGCONT: `name` or `name:n`.
    pub stop_point: Option<&'a str>,
    /// Where it starts; commands of agents are found from here.
    pub working_dir: Option<&'a Path>,
    /// How long others wait for it once it is gone.
    pub lease_seconds: &'a str,
    /// Besides name, lease and a poll of 1 s.
    pub arguments: &'a [&'a str],
}

impl<'a> Start<'a> {
    /// A worker of that name with a lease of 2 s that does not crash by itself.
    pub const fn named(name: &'a str) -> Self {
        Self {
            name,
            crash_point: None,
            stop_point: None,
            working_dir: None,
            lease_seconds: "2",
            arguments: &[],
        }
    }

    /// The same, killing itself at this point. Its lease is 1 s: nobody is there to take its run before it is gone, and
    /// whoever comes then does not wait long.
    #[must_use]
    pub const fn dying_at(mut self, crash_point: &'a str) -> Self {
        self.crash_point = Some(crash_point);
        self.lease_seconds = "1";
        self
    }
}

impl WorkerProcess {
    /// Starts one in this world.
    pub fn start(world: &World, start: &Start<'_>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("worker.log");
        let output = File::create(&log).expect("a log file");
        let mut command = Command::new(under_test());
        command
            .args([
                "worker",
                "--name",
                start.name,
                "--lease-seconds",
                start.lease_seconds,
                "--poll-seconds",
                "1",
            ])
            .args(start.arguments)
            .current_dir(start.working_dir.unwrap_or_else(|| Path::new("/")))
            .env("LONGHAUL_DATABASE_URL", &world.database.url)
            .env("LONGHAUL_MODEL_URL", world.rehearsal.base_url())
            .env("LONGHAUL_MODEL_KEY", "test-key-not-secret")
            .env("LONGHAUL_LOG", "info")
            .env_remove("LONGHAUL_CRASH_POINT")
            .env_remove("LONGHAUL_STOP_POINT")
            .env_remove("LONGHAUL_BREAK")
            .envs(&world.environment)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a log file"))
            .stderr(output);
        if let Some(point) = start.crash_point {
            command.env("LONGHAUL_CRASH_POINT", point);
        }
        if let Some(point) = start.stop_point {
            command.env("LONGHAUL_STOP_POINT", point);
        }
        let child = command.spawn().expect("the worker starts");
        Self {
            child,
            log,
            _folder: folder,
        }
    }

    /// SIGKILL, and its end awaited.
    pub fn kill_9(&mut self) {
        self.child.kill().expect("the worker is killed");
        self.child.wait().expect("the worker is gone");
    }

    /// Any signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the signal is sent");
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"))
    }

    /// Its end.
    pub async fn exited(&mut self) -> ExitStatus {
        let waiting = async {
            loop {
                if let Some(status) = self.child.try_wait().expect("the worker's state") {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(status) => status,
            Err(_) => panic!("the worker does not exit; its log:\n{}", self.log()),
        }
    }

    /// Its end by SIGKILL: it came to its crash point.
    pub async fn died(&mut self) {
        let status = self.exited().await;
        let killed = status.signal() == Some(Signal::SIGKILL as i32);
        assert!(killed, "the worker ended with {status}; its log:\n{}", self.log());
    }

    /// SIGTERM, and its end in good order awaited.
    pub async fn drain(&mut self) {
        self.signal(Signal::SIGTERM);
        let status = self.exited().await;
        assert!(
            status.success(),
            "a drained worker ended with {status}; its log:\n{}",
            self.log()
        );
    }

    /// Once it has stopped itself, or was stopped.
    pub async fn stopped(&self) {
        let is_stopped = || {
            let seen = waitpid(self.pid(), Some(WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED));
            matches!(seen, Ok(WaitStatus::Stopped(..)))
        };
        let waiting = async {
            while !is_stopped() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let stopped = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(stopped.is_ok(), "the worker does not stop; its log:\n{}", self.log());
    }

    /// SIGSTOP, and its standstill awaited: a signal takes a moment, in which a process may still take a reply and record
    /// it.
    pub async fn halt(&self) {
        self.signal(Signal::SIGSTOP);
        self.stopped().await;
    }

    /// Once it has logged this.
    pub async fn logged(&self, text: &str) {
        let waiting = async {
            while !self.log().contains(text) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let logged = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(
            logged.is_ok(),
            "the worker does not log {text:?}; its log:\n{}",
            self.log()
        );
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            // A failed test shows what its workers said.
            #[expect(clippy::print_stderr, reason = "the test runner shows it beside the failure")]
            {
                eprintln!("--- worker log {}\n{}", self.log.display(), self.log());
            }
        }
    }
}

/// The `longhaul` command with crash points, built beside the tests.
pub fn under_test() -> PathBuf {
    let mut folder = std::env::current_exe().expect("the test's own path");
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    let binary = folder.join("longhaul-under-test");
    assert!(
        binary.exists(),
        "{} is missing: run `cargo xtask test`, or `cargo build -p longhaul-tests` first",
        binary.display()
    );
    binary
}
