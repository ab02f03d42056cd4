//! One private server: made, started, stopped, killed, started again.

use std::{
    fs::{self, File},
    io::Write,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::{
    LauncherError, PostgresBinaries,
    home::{Home, random_bytes, temporary_dir},
    process::{processes, send, wait_until},
    watchdog::{Watchdog, Watched},
};

/// The role that owns everything, and the name of the database that is there from the start.
const ROLE: &str = "longhaul";

/// Recovery after a crash comes before "ready"; a minute of it is more than a private server should ever need.
const READY_LIMIT: Duration = Duration::from_secs(120);
/// A fast shutdown writes a checkpoint; after this it is killed and recovers at the next start.
const STOP_LIMIT: Duration = Duration::from_secs(15);
/// What `SIGKILL` leaves behind is gone in milliseconds.
const GONE_LIMIT: Duration = Duration::from_secs(10);
/// How long a folder may stay locked by a server whose launcher has just died.
const UNLOCK_TRIES: u32 = 20;
const UNLOCK_PAUSE: Duration = Duration::from_millis(100);

/// Below the range from which systems hand out ports for outgoing connections: nobody else lands on the port
/// while the server is down between two lives.
const PORTS: std::ops::Range<u16> = 12_000..32_000;
const PORT_TRIES: u32 = 64;

/// Safe for data that lives as long as the test does, and much faster.
const FAST: [(&str, &str); 6] = [
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("max_connections", "300"),
];

/// Whether data survives a crash of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Postgres' own settings, and a password: for data that somebody wants back.
    Durable,
    /// No waiting for the disk, no password: for tests. Survives a killed server, not a lost machine.
    Fast,
}

/// Settings for a server whose speed is measured: no checkpoint falls into a window, and nothing is read from the disk.
pub fn measured_settings() -> Vec<(String, String)> {
    let settings = [
        ("shared_buffers", "1GB"),
        ("max_wal_size", "16GB"),
        ("checkpoint_timeout", "30min"),
        ("max_connections", "200"),
        ("log_checkpoints", "off"),
    ];
    let owned = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    owned.to_vec()
}

/// What a server is to be.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Holds everything of this server; made if missing, reused if it holds a server's data.
    pub state_dir: PathBuf,
    /// Decides settings at each start, and at the first start whether there is a password.
    pub durability: Durability,
    /// A port to insist on; a free one is found otherwise.
    pub port: Option<u16>,
    /// More settings, as for `postgres -c name=value`; they win over those of `durability`.
    pub settings: Vec<(String, String)>,
}

/// A private server on 127.0.0.1. Dropping it stops it; it also stops when this process dies in any other way.
#[derive(Debug)]
pub struct Server {
    binaries: PostgresBinaries,
    options: ServerOptions,
    home: Home,
    password: Option<String>,
    port: u16,
    running: Option<Running>,
    // Last, so that the folder outlives the server.
    temporary: Option<TempDir>,
}

// The fields drop in this order: the watchdog must be called off before anybody reaps the server.
#[derive(Debug)]
struct Running {
    watchdog: Watchdog,
    postmaster: Child,
}

impl Server {
    /// Starts a server on `options.state_dir`, making its data folder first if there is none.
    pub fn start(options: ServerOptions) -> Result<Self, LauncherError> {
        Self::launch(options, None)
    }

    /// Starts a server in a temporary folder that goes away with it.
    pub fn start_temporary(durability: Durability) -> Result<Self, LauncherError> {
        Self::start_temporary_with(durability, Vec::new())
    }

    /// The same with more settings, as for `postgres -c name=value`; they win over those of `durability`.
    pub fn start_temporary_with(
        durability: Durability,
        settings: Vec<(String, String)>,
    ) -> Result<Self, LauncherError> {
        let dir = temporary_dir()?;
        let options = ServerOptions {
            state_dir: dir.path().to_owned(),
            durability,
            port: None,
            settings,
        };
        Self::launch(options, Some(dir))
    }

    fn launch(options: ServerOptions, temporary: Option<TempDir>) -> Result<Self, LauncherError> {
        let binaries = PostgresBinaries::find()?;
        let home = Home::open(&options.state_dir)?;
        if home.has_data()? {
            home.check_data()?;
        } else {
            initialise(&binaries, &home, options.durability)?;
        }
        let password = home.password()?;
        let mut server = Self {
            binaries,
            options,
            home,
            password,
            port: 0,
            running: None,
            temporary,
        };
        server.run()?;
        if server.options.durability == Durability::Durable && server.home.is_unsynced() {
            sync_in_background(&server.binaries, &server.home);
        }
        Ok(server)
    }

    /// The URL of a database of this server. The database `longhaul` is there from the start.
    pub fn url(&self, database: &str) -> String {
        let password = self
            .password
            .as_deref()
            .map(|password| format!(":{password}"))
            .unwrap_or_default();
        format!("postgres://{ROLE}{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// The port on 127.0.0.1; it stays the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.postmaster.id())
    }

    /// Whether the server has ended without [`Server::stop`]: killed by somebody, or broken.
    pub fn has_ended(&mut self) -> bool {
        let ended = self
            .running
            .as_mut()
            .is_none_or(|running| has_ended(&mut running.postmaster));
        if ended {
            // Its process number may be another's by now: nobody watches it any more.
            self.running = None;
        }
        ended
    }

    /// What the server writes about itself since its last start.
    pub fn log_file(&self) -> PathBuf {
        self.home.log()
    }

    /// Ends all connections and stops the server; kills it if it takes too long. Without effect when it is stopped.
    pub fn stop(&mut self) -> Result<(), LauncherError> {
        let Some(running) = self.running.take() else {
            return Ok(());
        };
        let Running {
            watchdog,
            mut postmaster,
        } = running;
        send(postmaster.id(), Signal::SIGINT);
        drop(watchdog);
        if wait_until(STOP_LIMIT, || has_ended(&mut postmaster)) {
            Ok(())
        } else {
            kill_all(postmaster, None)
        }
    }

    /// Kills the server and all its processes with `SIGKILL`, as a crash would, and waits until they are gone.
    pub fn kill_9(&mut self) -> Result<(), LauncherError> {
        let Some(Running { watchdog, postmaster }) = self.running.take() else {
            return Ok(());
        };
        kill_all(postmaster, Some(watchdog))
    }

    /// Starts the server again on the same data and the same port, after stopping it if it runs.
    pub fn restart(&mut self) -> Result<(), LauncherError> {
        self.stop()?;
        self.options.port = Some(self.port);
        self.run()
    }

    fn run(&mut self) -> Result<(), LauncherError> {
        let mut tries = 0;
        loop {
            self.port = self.options.port.map_or_else(free_port, Ok)?;
            let outcome = self.run_once();
            tries += 1;
            match outcome {
                Err(LauncherError::InUse { .. }) if tries < UNLOCK_TRIES => std::thread::sleep(UNLOCK_PAUSE),
                // Somebody took the free port in the meantime.
                Err(LauncherError::Start { ref output, .. })
                    if self.options.port.is_none() && output.contains("Address already in use") && tries < 5 => {}
                other => return other,
            }
        }
    }

    fn run_once(&mut self) -> Result<(), LauncherError> {
        let log_file = self.home.log();
        let log = File::create(&log_file).map_err(LauncherError::prepare(&log_file))?;
        let errors = log.try_clone().map_err(LauncherError::prepare(&log_file))?;
        let program = self.binaries.dir().join("postgres");
        let postmaster = self
            .postgres_command(&program)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(LauncherError::run(&program))?;
        let watched = Watched {
            pid: postmaster.id(),
            data: &self.home.data(),
            remove: self.temporary.as_ref().map(TempDir::path),
        };
        let watchdog = match Watchdog::start(self.home.owner, &watched) {
            Ok(watchdog) => watchdog,
            Err(error) => {
                kill_all(postmaster, None)?;
                return Err(error);
            }
        };
        self.wait_until_ready(Running { watchdog, postmaster })
    }

    fn postgres_command(&self, program: &Path) -> Command {
        let mut command = self.home.owner.command(program);
        command
            .arg("-D")
            .arg(self.home.data())
            .args(["-p", &self.port.to_string()]);
        // Without a socket file there is no limit on the length of the path, and nobody else's folder to write to.
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
        command.args(["-c", "logging_collector=off", "-c", "log_destination=stderr"]);
        let fast: &[_] = match self.options.durability {
            Durability::Fast => &FAST,
            Durability::Durable => &[],
        };
        for (name, value) in fast {
            command.args(["-c", &format!("{name}={value}")]);
        }
        for (name, value) in &self.options.settings {
            command.args(["-c", &format!("{name}={value}")]);
        }
        command
    }

    fn wait_until_ready(&mut self, mut running: Running) -> Result<(), LauncherError> {
        let lock_file = self.home.data().join("postmaster.pid");
        let mut ended = false;
        let ready = wait_until(READY_LIMIT, || {
            ended = has_ended(&mut running.postmaster);
            ended || says_ready(&lock_file, running.postmaster.id())
        });
        if ready && !ended {
            self.running = Some(running);
            return Ok(());
        }
        let output = end_of(&self.home.log());
        if !ended {
            let Running { watchdog, postmaster } = running;
            kill_all(postmaster, Some(watchdog))?;
            return Err(LauncherError::NotReady {
                limit: READY_LIMIT,
                output,
                log: self.home.log(),
            });
        }
        if output.contains("lock file \"postmaster.pid\" already exists") || output.contains("is still in use") {
            return Err(LauncherError::InUse {
                state_dir: self.options.state_dir.clone(),
            });
        }
        let log = self.home.log();
        Err(other_version(&output).unwrap_or(LauncherError::Start { output, log }))
    }
}

/// `… initialized by PostgreSQL version 14, which is not compatible with this version 15.8 (…)`
fn other_version(output: &str) -> Option<LauncherError> {
    let (_, told) = output.split_once("initialized by PostgreSQL version ")?;
    let (made_by, told) = told.split_once(',')?;
    let (_, found) = told.split_once("this version ")?;
    let found = found.split([' ', '.', '\n']).next().unwrap_or_default();
    Some(LauncherError::OtherVersion {
        made_by: made_by.to_owned(),
        found: found.to_owned(),
    })
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nobody is left to tell; what would not die by SIGKILL is out of anybody's hands.
        let _stopped = self.stop();
    }
}

/// Makes a data folder beside its final place and moves it there once it is whole.
fn initialise(binaries: &PostgresBinaries, home: &Home, durability: Durability) -> Result<(), LauncherError> {
    let making = home.data_in_the_making();
    if making.exists() {
        fs::remove_dir_all(&making).map_err(LauncherError::prepare(&making))?;
    }
    let program = binaries.dir().join("initdb");
    let mut initdb = home.owner.command(&program);
    initdb
        .args(["-U", ROLE, "-E", "UTF8", "--no-locale", "--no-sync"])
        .arg("-D")
        .arg(&making);
    match durability {
        Durability::Durable => {
            initdb
                .args(["-A", "scram-sha-256"])
                .arg("--pwfile")
                .arg(home.make_password()?);
        }
        Durability::Fast => {
            home.forget_password()?;
            initdb.args(["-A", "trust"]);
        }
    }
    let output = initdb
        .stdin(Stdio::null())
        .output()
        .map_err(LauncherError::run(&program))?;
    succeeded(&output)?;

    let program = binaries.dir().join("postgres");
    let mut single = home.owner.command(&program);
    single.args(["--single", "-F", "-D"]).arg(&making).arg("postgres");
    single
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = single.spawn().map_err(LauncherError::run(&program))?;
    if let Some(mut input) = child.stdin.take() {
        writeln!(input, "create database {ROLE};").map_err(LauncherError::run(&program))?;
    }
    succeeded(&child.wait_with_output().map_err(LauncherError::run(&program))?)?;

    if durability == Durability::Durable {
        home.mark_unsynced()?;
    }
    let data = home.data();
    fs::rename(&making, &data).map_err(LauncherError::prepare(&data))
}

/// Brings what `initdb` wrote to the disk while the server already serves. What is lost with the machine before that is
/// the first seconds of a new database.
fn sync_in_background(binaries: &PostgresBinaries, home: &Home) {
    let mut sync = home.owner.command(&binaries.dir().join("initdb"));
    sync.arg("--sync-only").arg("-D").arg(home.data());
    sync.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let home = home.clone();
    std::thread::spawn(move || {
        // What did not succeed is tried again at the next start.
        if sync.status().is_ok_and(|status| status.success()) {
            home.mark_synced();
        }
    });
}

fn succeeded(output: &Output) -> Result<(), LauncherError> {
    let written = String::from_utf8_lossy(&output.stderr);
    // The single-user server goes on after an error, and ends well.
    if output.status.success() && !written.contains("ERROR:") {
        return Ok(());
    }
    Err(LauncherError::Initialise {
        output: written.trim().to_owned(),
    })
}

/// The eighth line of the lock file says "ready"; the first says whether it is about this server or about one that crashed.
fn says_ready(lock_file: &Path, pid: u32) -> bool {
    let Ok(text) = fs::read_to_string(lock_file) else {
        return false;
    };
    let mut lines = text.lines().map(str::trim);
    lines.next() == Some(&pid.to_string()) && lines.nth(6) == Some("ready")
}

fn has_ended(postmaster: &mut Child) -> bool {
    matches!(postmaster.try_wait(), Ok(Some(_)) | Err(_))
}

/// Freezes the server so that it forks no more, then kills it with all its children. Its watchdog is called off between
/// the signals and the reaping: until then we may die, and after that the process number may be another's.
fn kill_all(mut postmaster: Child, watchdog: Option<Watchdog>) -> Result<(), LauncherError> {
    let pid = postmaster.id();
    send(pid, Signal::SIGSTOP);
    let frozen = || {
        processes()
            .iter()
            .any(|process| process.pid == pid && (process.state == 'T' || !process.is_alive()))
    };
    wait_until(GONE_LIMIT, frozen);
    let children: Vec<u32> = processes()
        .iter()
        .filter(|process| process.parent == pid)
        .map(|child| child.pid)
        .collect();
    // Itself last: a server that lost its children can still be shut down by its watchdog.
    for child in &children {
        send(*child, Signal::SIGKILL);
    }
    send(pid, Signal::SIGKILL);
    drop(watchdog);
    let _reaped = postmaster.wait();
    let gone = || {
        !processes()
            .iter()
            .any(|process| children.contains(&process.pid) && process.is_alive())
    };
    if wait_until(GONE_LIMIT, gone) {
        Ok(())
    } else {
        Err(LauncherError::StillAlive { limit: GONE_LIMIT })
    }
}

fn free_port() -> Result<u16, LauncherError> {
    let span = PORTS.end - PORTS.start;
    for _ in 0..PORT_TRIES {
        let random = random_bytes(2).map_err(LauncherError::NoPort)?;
        let offset = random
            .iter()
            .fold(0_u16, |number, byte| (number << 8) | u16::from(*byte))
            % span;
        let port = PORTS.start + offset;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    let any = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    any.map(|address| address.port()).map_err(LauncherError::NoPort)
}

/// The last lines of a log, enough to say why a server did not start.
fn end_of(log: &Path) -> String {
    let text = fs::read(log)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines
        .iter()
        .skip(lines.len().saturating_sub(12))
        .copied()
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests;
