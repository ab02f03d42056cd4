//! Real worker processes, which are really killed.

use crate::world::{PATIENCE, World};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
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
    /// Where it starts; commands of agents are found from here.
    pub working_dir: Option<&'a Path>,
    /// Besides a lease of 2 s and a poll of 1 s.
    pub arguments: &'a [&'a str],
}

impl<'a> Start<'a> {
    /// A worker of that name that does not crash by itself.
    pub const fn named(name: &'a str) -> Self {
        Self {
            name,
            crash_point: None,
            working_dir: None,
            arguments: &[],
        }
    }

    /// The same, killing itself at this point.
    #[must_use]
    pub const fn dying_at(mut self, crash_point: &'a str) -> Self {
        self.crash_point = Some(crash_point);
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
            .args(["worker", "--name", start.name, "--lease-seconds", "2", "--poll-seconds", "1"])
            .args(start.arguments)
            .current_dir(start.working_dir.unwrap_or_else(|| Path::new("/")))
            .env("LONGHAUL_DATABASE_URL", &world.database.url)
            .env("LONGHAUL_MODEL_URL", world.rehearsal.base_url())
            .env("LONGHAUL_MODEL_KEY", "test-key-not-secret")
            .env("LONGHAUL_LOG", "info")
            .env_remove("LONGHAUL_CRASH_POINT")
            .envs(&world.environment)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a log file"))
            .stderr(output);
        if let Some(point) = start.crash_point {
            command.env("LONGHAUL_CRASH_POINT", point);
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
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("the signal is sent");
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
