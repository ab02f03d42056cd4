//! Where a bench works: a private server, or a database that somebody named. Left as it was found.

use super::meters::Meters;
use super::{HISTORY_TENANT, NAME, TENANT};
use crate::database;
use crate::failure::{Exit, Failure};
use agent::definition::{digest_text, read};
use engine::bench_floor::{Floor, Meter, Snapshot, remove_traces};
use engine::{ApplyAgent, Connect, Engine, StartRun};
use launcher::{Durability, PostgresBinaries, Server};
use std::path::Path;

/// What counts statements, where this Postgres came with it.
const COUNTS_STATEMENTS: &str = "pg_stat_statements";

/// A database.
pub(super) struct Ground {
    server: Option<Server>,
    url: String,
    engine: Engine,
}

impl Ground {
    /// The database that was typed, or a private server; with our schema in either case.
    pub(super) async fn prepare(typed: Option<String>) -> anyhow::Result<Self> {
        let server = match typed {
            Some(_) => None,
            None => Some(tokio::task::spawn_blocking(launch).await??),
        };
        let url = match (&server, typed) {
            (_, Some(url)) => url,
            (Some(server), None) => server.url("longhaul"),
            (None, None) => return Err(Failure::new(Exit::Failed, "no_postgres", "there is no database").into()),
        };
        let lone = database::connect(&url).await?;
        if server.is_some() || !lone.has_schema().await? {
            engine::schema::migrate(&url).await?;
        }
        let known = lone.check_schema().await;
        lone.close().await;
        known?;
        let connect = Connect::new(url.as_str(), NAME);
        if server.is_some() && counts_statements().is_some() {
            Meter::count_from_now_on(&connect).await?;
        }
        Ok(Self {
            engine: Engine::connect(&connect).await?,
            server,
            url,
        })
    }

    pub(super) const fn is_private(&self) -> bool {
        self.server.is_some()
    }

    pub(super) const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// How to reach it.
    pub(super) fn address(&self) -> Connect {
        Connect::new(self.url.as_str(), NAME)
    }

    /// A client of its own.
    pub(super) async fn connect(&self, connections: usize) -> anyhow::Result<Engine> {
        let connect = Connect {
            connections_max: u32::try_from(connections)?,
            ..self.address()
        };
        Ok(Engine::connect(&connect).await?)
    }

    pub(super) async fn floor(&self) -> anyhow::Result<Floor> {
        Ok(Floor::prepare(&self.address()).await?)
    }

    pub(super) async fn meter(&self) -> anyhow::Result<Meter> {
        Ok(Meter::open(&self.address()).await?)
    }

    pub(super) async fn meters(&self) -> anyhow::Result<Meters> {
        let server = self.server.as_ref().and_then(Server::pid);
        Ok(Meters::new(self.meter().await?, server))
    }

    /// After much was written. Somebody's server does that by itself.
    pub(super) async fn settle(&self) -> anyhow::Result<()> {
        if self.is_private() {
            self.meter().await?.settle().await?;
        }
        Ok(())
    }

    pub(super) async fn snapshot(&self) -> anyhow::Result<Snapshot> {
        Ok(Snapshot::take(&self.address()).await?)
    }

    /// Stores the agent of a file's text.
    pub(super) async fn apply(&self, tenant: &str, file: &str) -> anyhow::Result<()> {
        let readout = read(file).map_err(|mistakes| {
            let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            anyhow::anyhow!("an agent of the bench cannot be read: {}", told.join("; "))
        })?;
        let agent = readout.agent;
        let stored = ApplyAgent {
            tenant,
            name: &agent.name,
            definition: &digest_text(&agent),
            functions: &agent.functions(),
        };
        self.engine.apply_agent(stored).await?;
        Ok(())
    }

    /// A run of the bench.
    #[expect(clippy::unused_self, reason = "runs are started where their agents were applied")]
    pub(super) fn start(&self, agent: &str, queue: &str) -> StartRun {
        StartRun {
            queue: queue.to_owned(),
            tenant: TENANT.to_owned(),
            ..StartRun::new(agent, "{}")
        }
    }

    /// A run of a workflow, in a queue of the workflow's name.
    #[expect(clippy::unused_self, reason = "as runs of agents are started")]
    pub(super) fn start_workflow(&self, kind: &str) -> StartRun {
        StartRun {
            queue: kind.to_owned(),
            tenant: TENANT.to_owned(),
            ..StartRun::workflow(kind, "{}")
        }
    }

    /// Deletes what a bench has left, this one or one that was killed. A private server goes as a whole.
    pub(super) async fn tidy(&self) -> anyhow::Result<()> {
        if self.is_private() {
            return Ok(());
        }
        remove_traces(&self.address(), &[TENANT, HISTORY_TENANT], NAME).await?;
        self.floor().await?.remove().await?;
        Ok(())
    }

    pub(super) async fn leave(self) -> anyhow::Result<()> {
        let tidied = self.tidy().await;
        self.engine.close().await;
        // Stopping a server waits for it.
        let _ = tokio::task::spawn_blocking(move || drop(self.server)).await;
        tidied
    }
}

fn launch() -> Result<Server, Failure> {
    let mut settings = launcher::measured_settings();
    if let Some(library) = counts_statements() {
        settings.push(("shared_preload_libraries".to_owned(), library.to_owned()));
    }
    Server::start_temporary_with(Durability::Durable, settings).map_err(|error| crate::failure::of_launcher(&error))
}

/// A server that is told to load what is not there does not start.
fn counts_statements() -> Option<&'static str> {
    let programs = PostgresBinaries::find().ok()?;
    let parent = programs.dir().parent()?;
    let is_there = |folder: &Path| {
        ["so", "dylib"]
            .iter()
            .any(|ending| folder.join(COUNTS_STATEMENTS).with_extension(ending).exists())
    };
    let folders = [
        parent.join("lib"),
        parent.join("lib/postgresql"),
        parent.join("lib64/pgsql"),
    ];
    folders
        .iter()
        .any(|folder| is_there(folder))
        .then_some(COUNTS_STATEMENTS)
}
