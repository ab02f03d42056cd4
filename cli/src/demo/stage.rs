//! What the demo needs, started and removed again: a database, a model, a payments service, two workers, a folder.
//!
//! Every process holds the reading end of a pipe whose writing end only we have, and ends with it: nothing outlives a
//! demo that was itself killed.

use super::lost_reply;
use crate::database;
use crate::dev::example::{FILES, SCRIPT};
use anyhow::{Context, anyhow, bail};
use engine::{ApplyAgent, Connect, Engine, RunId, StartRun};
use launcher::{Durability, Server};
use rehearsal::payments::{Record, read_ledger};
use rehearsal::{Rehearsal, Script};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// Short, so that the takeover is quick to watch.
pub(super) const LEASE_SECONDS: u32 = 2;
/// Longer than anybody waits: the worker that asked first never hears the answer.
const HOLD_MS: &str = "600000";
/// No process of ours needs longer to say that it is there.
const READY_LIMIT: Duration = Duration::from_secs(20);
/// The end of a log that is shown when something failed.
const LOG_LINES_MAX: usize = 12;
/// Names no environment of the demo's processes passes on: theirs is made here.
const OWN_VARIABLES: &str = "LONGHAUL_";

/// What is wanted.
#[derive(Debug)]
pub(super) struct Plan {
    /// The real model.
    pub(super) live: bool,
    /// A database that is there already.
    pub(super) database_url: Option<String>,
}

/// A worker process.
#[derive(Debug)]
pub(super) struct WorkerProcess {
    /// Shown in the journal.
    pub(super) name: String,
    /// Its number, for `kill`.
    pub(super) pid: u32,
    process: Child,
}

/// Everything that was started. Fields drop in this order: the database goes after those who use it.
pub(super) struct Stage {
    plan: Plan,
    pub(super) tenant: String,
    pub(super) workers: Vec<WorkerProcess>,
    payments: Option<(Child, String)>,
    rehearsal: Option<Rehearsal>,
    engine: Option<Engine>,
    url: Option<String>,
    server: Option<Server>,
    folder: TempDir,
}

impl Stage {
    /// An empty folder.
    pub(super) fn new(plan: Plan) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("longhaul-demo-")
            .tempdir()
            .context("could not make a temporary folder")?;
        // In somebody's own database the demo keeps to a corner of its own.
        let tenant = match plan.database_url {
            Some(_) => format!("demo-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]),
            None => "default".to_owned(),
        };
        Ok(Self {
            plan,
            tenant,
            workers: Vec::new(),
            payments: None,
            rehearsal: None,
            engine: None,
            url: None,
            server: None,
            folder,
        })
    }

    /// Starts a private server, or takes the one that was named; with our schema in either case.
    pub(super) async fn prepare_database(&mut self) -> anyhow::Result<()> {
        let url = match &self.plan.database_url {
            Some(url) => url.clone(),
            None => {
                let started = tokio::task::spawn_blocking(|| Server::start_temporary(Durability::Fast)).await?;
                self.server.insert(started?).url("longhaul")
            }
        };
        let engine = database::connect(&url).await?;
        if !engine.has_schema().await? {
            engine::schema::migrate(&url).await?;
        }
        engine.check_schema().await?;
        // A few connections more: the story asks several things at once.
        let connect = Connect {
            connections_max: 4,
            ..Connect::new(url.as_str(), "longhaul demo")
        };
        self.engine = Some(Engine::connect(&connect).await?);
        engine.close().await;
        self.url = Some(url);
        Ok(())
    }

    /// The demo's connection.
    pub(super) fn engine(&self) -> anyhow::Result<&Engine> {
        self.engine
            .as_ref()
            .ok_or_else(|| anyhow!("the database is not prepared"))
    }

    /// The database's address, for people.
    pub(super) fn shown_url(&self) -> String {
        database::without_password(self.url.as_deref().unwrap_or_default())
    }

    /// Whether the database is ours, and goes with us.
    pub(super) fn is_private(&self) -> bool {
        self.server.is_some()
    }

    /// The port of a private server.
    pub(super) fn port(&self) -> Option<u16> {
        self.server.as_ref().map(Server::port)
    }

    /// Starts the scripted model, in this process, and the payments service, in one of its own.
    pub(super) async fn start_world(&mut self) -> anyhow::Result<u32> {
        for (name, text) in FILES {
            fs::write(self.folder.path().join(name), text).with_context(|| format!("could not write {name}"))?;
        }
        if !self.plan.live {
            let script = format!("{SCRIPT}\n{}", lost_reply::script());
            self.rehearsal = Some(Rehearsal::start(Script::from_toml(&script)?).await?);
        }
        let mut command = self.command("payments")?;
        command.arg("--ledger").arg(self.ledger_file());
        command.args([
            "--hold-ms",
            HOLD_MS,
            "--lose-order",
            lost_reply::ORDER,
            "--end-with-stdin",
        ]);
        let mut process = command
            .stdout(Stdio::piped())
            .spawn()
            .context("could not start payments")?;
        let output = process.stdout.take().ok_or_else(|| anyhow!("payments has no output"))?;
        let mut lines = BufReader::new(output).lines();
        let told = tokio::time::timeout(READY_LIMIT, lines.next_line()).await;
        let Ok(Ok(Some(url))) = told else {
            bail!("the payments service did not start");
        };
        let pid = process.id().unwrap_or_default();
        self.payments = Some((process, url));
        Ok(pid)
    }

    /// Starts the two workers.
    pub(super) fn start_workers(&mut self) -> anyhow::Result<()> {
        for name in ["worker A", "worker B"] {
            let mut command = self.command("worker")?;
            command.args(["--name", name, "--queue", &self.tenant, "--end-with-stdin"]);
            command.args(["--lease-seconds", &LEASE_SECONDS.to_string(), "--poll-seconds", "1"]);
            command.env("LONGHAUL_DATABASE_URL", self.url.as_deref().unwrap_or_default());
            let payments = self.payments.as_ref().map(|(_, url)| url.as_str());
            command.env("PAYMENTS_URL", payments.unwrap_or_default());
            command.env("PAYMENTS_TOKEN", "a-token-of-the-demo");
            if let Some(rehearsal) = &self.rehearsal {
                command.env("LONGHAUL_MODEL_URL", rehearsal.base_url());
                command.env("LONGHAUL_MODEL_KEY", "no-key-is-needed-here");
            }
            let process = command
                .stdout(Stdio::null())
                .spawn()
                .context("could not start a worker")?;
            self.workers.push(WorkerProcess {
                name: name.to_owned(),
                pid: process.id().unwrap_or_default(),
                process,
            });
        }
        Ok(())
    }

    /// One of our own commands, in the folder and on the leash, in an environment without settings of the person's.
    fn command(&self, name: &str) -> anyhow::Result<Command> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join(format!("{name}.log")))
            .context("could not open a log")?;
        let mut command = Command::new(std::env::current_exe().context("could not find our own program")?);
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with(OWN_VARIABLES) {
                command.env_remove(variable);
            }
        }
        if !self.plan.live {
            command.env_remove("ANTHROPIC_API_KEY");
        }
        // A proxy that the person has set knows nothing of our loopback.
        let direct = std::env::var("NO_PROXY").unwrap_or_default();
        command.env("NO_PROXY", format!("{direct},127.0.0.1"));
        command
            .arg(name)
            .current_dir(self.folder.path())
            // A terminal's ^C reaches us, not them.
            .process_group(0)
            .kill_on_drop(true)
            .stdin(Stdio::piped())
            .stderr(log);
        Ok(command)
    }

    /// Applies the agent of that file and starts a run of it.
    pub(super) async fn start_run(&self, file: &str, input: String) -> anyhow::Result<(i32, RunId)> {
        let readout = agent::definition::read(file).map_err(|mistakes| {
            let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            anyhow!("the example agent is wrong: {}", told.join("; "))
        })?;
        let applied = self
            .engine()?
            .apply_agent(ApplyAgent {
                tenant: &self.tenant,
                name: &readout.agent.name,
                definition: &agent::definition::digest_text(&readout.agent),
                functions: &readout.agent.functions(),
            })
            .await?;
        let start = StartRun {
            tenant: self.tenant.clone(),
            queue: self.tenant.clone(),
            requester: Some("Elena Petrova".to_owned()),
            ..StartRun::new(readout.agent.name, input)
        };
        Ok((applied.version, self.engine()?.start_run(&start).await?.run))
    }

    /// Every refund that arrived at the payments service, by its own ledger.
    pub(super) fn ledger(&self) -> anyhow::Result<Vec<Record>> {
        Ok(read_ledger(&self.ledger_file())?)
    }

    fn ledger_file(&self) -> PathBuf {
        self.folder.path().join("payments-ledger.jsonl")
    }

    /// Kills a worker with SIGKILL; its process number.
    pub(super) async fn kill(&mut self, name: &str) -> anyhow::Result<u32> {
        let worker = self.workers.iter_mut().find(|worker| worker.name == name);
        let worker = worker.ok_or_else(|| anyhow!("there is no process of {name:?}"))?;
        worker
            .process
            .kill()
            .await
            .with_context(|| format!("could not kill {name}"))?;
        Ok(worker.pid)
    }

    /// A process that ended although nobody asked it to.
    pub(super) fn check_alive(&mut self, killed: Option<&str>) -> anyhow::Result<()> {
        for worker in self
            .workers
            .iter_mut()
            .filter(|worker| Some(worker.name.as_str()) != killed)
        {
            if let Some(status) = worker.process.try_wait()? {
                bail!("{} ended: {status}", worker.name);
            }
        }
        Ok(())
    }

    /// The ends of the logs.
    pub(super) fn logs(&self) -> String {
        let mut told = String::new();
        for name in ["payments", "worker"] {
            let text = fs::read_to_string(self.folder.path().join(format!("{name}.log"))).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let end = &lines[lines.len().saturating_sub(LOG_LINES_MAX)..];
            if !end.is_empty() {
                told.push_str(&format!("-- the end of {name}.log\n{}\n", end.join("\n")));
            }
        }
        told
    }

    /// Ends every process and removes every file; what is gone already does not matter.
    pub(super) async fn clear_away(mut self) {
        for worker in &mut self.workers {
            let _ = worker.process.kill().await;
        }
        if let Some((process, _)) = &mut self.payments {
            let _ = process.kill().await;
        }
        if let Some(rehearsal) = self.rehearsal.take() {
            rehearsal.stop().await;
        }
        if let Some(engine) = self.engine.take() {
            engine.close().await;
        }
        let server = self.server.take();
        // Stopping a server waits for it.
        let _ = tokio::task::spawn_blocking(move || drop(server)).await;
    }
}
