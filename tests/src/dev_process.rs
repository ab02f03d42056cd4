//! A real `longhaul dev`, and commands beside it, in a folder of their own.

use crate::process::under_test;
use crate::world::PATIENCE;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

/// Variables of whoever runs the tests that would change what these processes do.
const FOREIGN_VARIABLES: [&str; 2] = ["DATABASE_URL", "ANTHROPIC_API_KEY"];

/// Between two looks.
const LOOK_PERIOD: Duration = Duration::from_millis(10);

/// A folder in which things are typed.
pub struct Desk {
    folder: tempfile::TempDir,
}

/// A `longhaul dev`. Killed when dropped.
pub struct DevProcess {
    child: Child,
    log: PathBuf,
    /// What it printed when it was ready.
    pub ready: Value,
}

impl Desk {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    /// Where.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// `longhaul` with these words, without settings of whoever runs the tests.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(under_test());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            let is_ours = name.starts_with("LONGHAUL_") && name != "LONGHAUL_PG_BIN";
            if is_ours || FOREIGN_VARIABLES.contains(&name.as_ref()) {
                command.env_remove(name.as_ref());
            }
        }
        command.args(words).current_dir(self.path()).stdin(Stdio::null());
        command
    }

    /// What it prints, and how it ends.
    pub fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("longhaul runs")
    }

    /// What it prints; it ends well.
    pub fn said(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {told}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// The error that it tells, and how it ends.
    pub fn refused(&self, words: &[&str]) -> (Value, Option<i32>) {
        let words = [words, &["--json"]].concat();
        let output = self.run(&words);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let last = told.lines().last().unwrap_or_default();
        let error = serde_json::from_str::<Value>(last).unwrap_or_else(|_| panic!("{words:?} was not refused: {told}"));
        (error["error"].clone(), output.status.code())
    }

    /// Starts `longhaul dev` here, and waits until it is ready.
    pub fn dev(&self, words: &[&str]) -> DevProcess {
        let log = self.path().join("dev.log");
        let printed = self.path().join("dev.json");
        let typed = [&["dev", "--json", "--listen", "127.0.0.1:0"], words].concat();
        let child = self
            .command(&typed)
            .stdout(File::create(&printed).expect("a file"))
            .stderr(File::create(&log).expect("a log"))
            .spawn()
            .expect("longhaul dev starts");
        let mut dev = DevProcess {
            child,
            log,
            ready: Value::Null,
        };
        dev.until("it is ready", |dev| {
            let text = std::fs::read_to_string(&printed).unwrap_or_default();
            dev.ready = serde_json::from_str(&text).unwrap_or_default();
            !dev.ready.is_null()
        });
        dev
    }

    /// The process number of the private server.
    pub fn postgres(&self) -> i32 {
        let lock = self.path().join(".longhaul/postgres/data/postmaster.pid");
        let text = std::fs::read_to_string(lock).expect("a server runs");
        let first = text.lines().next().unwrap_or_default();
        first.parse().expect("a process number")
    }
}

impl Default for Desk {
    fn default() -> Self {
        Self::new()
    }
}

impl DevProcess {
    fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let seen = eventually(|| {
            let ended = self.child.try_wait().expect("its state");
            holds(self).then_some(()).or_else(|| {
                assert!(ended.is_none(), "{what}: it ended with {ended:?}\n{}", self.log());
                None
            })
        });
        assert!(seen.is_some(), "{what}: not within {PATIENCE:?}\n{}", self.log());
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM, and its end.
    pub fn stop(&mut self) -> ExitStatus {
        let pid = i32::try_from(self.child.id()).expect("a process number");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("the signal is sent");
        self.ended()
    }

    /// SIGKILL.
    pub fn kill_9(&mut self) {
        self.child.kill().expect("it is killed");
        self.child.wait().expect("it is gone");
    }

    /// Its end.
    pub fn ended(&mut self) -> ExitStatus {
        let ended = eventually(|| self.child.try_wait().expect("its state"));
        ended.unwrap_or_else(|| panic!("it does not end:\n{}", self.log()))
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for DevProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a process is there; one that nobody has reaped yet is not.
pub fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

/// Waits until it is gone.
pub fn gone(pid: i32) {
    let is_gone = eventually(|| (!is_alive(pid)).then_some(()));
    assert!(is_gone.is_some(), "process {pid} is still there");
}

/// What is there at last, looked for often and not for ever.
fn eventually<Seen>(mut look: impl FnMut() -> Option<Seen>) -> Option<Seen> {
    let tries = PATIENCE.as_millis() / LOOK_PERIOD.as_millis();
    for _ in 0..tries {
        if let Some(seen) = look() {
            return Some(seen);
        }
        std::thread::sleep(LOOK_PERIOD);
    }
    look()
}
