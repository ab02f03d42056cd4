//! The database of `longhaul dev`: a private server in the state folder, or one that is there already.

use super::state::StateFolder;
use crate::database::connect;
use crate::failure::{Exit, Failure, of_engine};
use engine::{Connect, Engine, EngineError};
use launcher::{Durability, LauncherError, Server, ServerOptions};
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

/// A server whose launcher was killed stops by itself, but takes its time.
const IN_USE_TRIES: u32 = 6;
const IN_USE_PAUSE: Duration = Duration::from_millis(500);

/// A server of ours, or somebody's.
pub(super) struct Database {
    url: String,
    folder: PathBuf,
    server: Option<Server>,
}

impl Database {
    /// The one that was typed, or a private server on the folder.
    pub(super) async fn start(typed: Option<String>, state: &StateFolder) -> Result<Self, Failure> {
        let folder = state.path().to_owned();
        if let Some(url) = typed {
            return Ok(Self {
                url,
                folder,
                server: None,
            });
        }
        let port = state
            .last_port()
            .filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
        let options = ServerOptions {
            state_dir: folder.clone(),
            durability: Durability::Durable,
            port,
            settings: Vec::new(),
        };
        let starting = tokio::task::spawn_blocking(move || launch(&options));
        let server = starting
            .await
            .map_err(|error| Failure::new(Exit::Failed, "failed", error.to_string()))?;
        let server = server.map_err(|error| not_started(&error, state))?;
        Ok(Self {
            url: server.url("longhaul"),
            folder,
            server: Some(server),
        })
    }

    /// A connection on a schema of this release. Ours is brought up to it; somebody's only where there is none yet.
    pub(super) async fn prepare(&self, state: &StateFolder) -> Result<Engine, Failure> {
        let lone = connect(&self.url)
            .await
            .map_err(|failure| self.not_let_in(failure, state))?;
        let prepared = async {
            if self.server.is_some() || !lone.has_schema().await? {
                engine::schema::migrate(&self.url).await?;
            }
            lone.check_schema().await
        };
        let prepared = prepared.await;
        lone.close().await;
        prepared.map_err(|error| self.not_prepared(&error))?;
        Engine::connect(&Connect::new(self.url.as_str(), "longhaul dev"))
            .await
            .map_err(|error| of_engine(&error))
    }

    /// A server of ours lets us in unless its password is another than the file says.
    fn not_let_in(&self, failure: Failure, state: &StateFolder) -> Failure {
        if self.server.is_none() || failure.code != "connection_refused" {
            return failure;
        }
        let told = if failure.message.contains("password authentication failed") {
            "postgres/password is not the one that the data was made with".to_owned()
        } else {
            failure.message
        };
        damaged(
            state,
            format!("the database in {} cannot be used: {told}", state.shown()),
        )
    }

    fn not_prepared(&self, error: &EngineError) -> Failure {
        let failure = of_engine(error);
        match error {
            EngineError::Schema(_) if self.server.is_some() => Failure {
                message: format!(
                    "{} is the state folder of another release: {}",
                    self.folder.display(),
                    failure.message
                ),
                ..failure
            }
            .hint("start the release that made it, or begin anew in another folder: --state FOLDER"),
            EngineError::Schema(_)
            | EngineError::Refused { .. }
            | EngineError::InvalidUrl
            | EngineError::Unavailable(_)
            | EngineError::Database(_)
            | EngineError::Unreadable(_) => failure,
        }
    }

    /// Its address, with the password.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Whether it is in the folder, and ends with us.
    pub(super) const fn is_private(&self) -> bool {
        self.server.is_some()
    }

    /// That the server has ended by itself, if it has.
    pub(super) fn has_died(&mut self) -> Option<Failure> {
        let server = self.server.as_mut()?;
        if !server.has_ended() {
            return None;
        }
        let message = format!(
            "Postgres ended although nobody asked it to; its log is {}",
            server.log_file().display()
        );
        let failure = Failure::new(Exit::Unreachable, "postgres_died", message);
        let again = format!(
            "start {} dev again: what was recorded is still there, and runs go on",
            crate::output::program()
        );
        Some(failure.hint(again))
    }

    /// Stops the server, if it is ours. What it holds stays.
    pub(super) async fn stop(self) {
        // Stopping a server waits for it.
        let _ = tokio::task::spawn_blocking(move || drop(self.server)).await;
    }
}

/// What Postgres says of a folder that it may not use, or of a disk that is full.
const UNUSABLE: [&str; 5] = [
    "No space left on device",
    "Disk quota exceeded",
    "Permission denied",
    "Read-only file system",
    "has wrong ownership",
];
/// What it says of data that something else than Postgres has touched.
const DAMAGED: [&str; 8] = [
    "is not a valid data directory",
    "checkpoint record",
    "pg_control",
    "could not open file",
    "could not open directory",
    "could not read file",
    "does not exist",
    "contains errors",
];

fn says_any(output: &str, words: &[&str]) -> bool {
    words.iter().any(|word| output.contains(word))
}

fn damaged(state: &StateFolder, told: String) -> Failure {
    Failure::new(Exit::Failed, "state_folder_damaged", told).hint(format!(
        "put {} back from a copy; or remove it if its data is not needed, or begin anew in another folder: --state \
         FOLDER",
        state.shown()
    ))
}

fn launch(options: &ServerOptions) -> Result<Server, LauncherError> {
    let mut tries = 1;
    loop {
        match Server::start(options.clone()) {
            Err(LauncherError::InUse { .. }) if tries < IN_USE_TRIES => {
                tries += 1;
                std::thread::sleep(IN_USE_PAUSE);
            }
            started => return started,
        }
    }
}

fn not_started(error: &LauncherError, state: &StateFolder) -> Failure {
    let shown = state.shown();
    match error {
        LauncherError::OtherVersion { made_by, found, .. } => Failure::new(
            Exit::Schema,
            "other_postgres",
            format!("the data in {shown} was made by PostgreSQL {made_by}, and the programs found here are of PostgreSQL {found}"),
        )
        .hint(format!(
            "set LONGHAUL_PG_BIN to the folder that holds initdb and postgres of PostgreSQL {made_by}, or begin anew \
             in another folder: --state FOLDER"
        )),
        LauncherError::InUse { .. } => Failure::new(
            Exit::Refused,
            "state_folder_in_use",
            format!("a Postgres server still runs on {shown}, without a longhaul dev"),
        )
        .hint("one whose longhaul dev was killed ends within seconds: try again; or stop it by the process number in postgres/data/postmaster.pid"),
        LauncherError::Prepare { path, source } => super::state::unusable(path, source),
        LauncherError::Damaged { .. } => damaged(state, error.to_string()),
        LauncherError::Initialise { output } | LauncherError::Start { output, .. } if says_any(output, &UNUSABLE) => {
            Failure::new(Exit::Failed, "state_folder_unusable", format!("could not use {shown}: {error}"))
                .hint(super::state::UNUSABLE_HINT)
        }
        LauncherError::Start { output, .. } if output.contains("bogus data in lock file") => {
            damaged(state, error.to_string()).hint(format!(
                "its lock file is no Postgres server's: remove {shown}/postgres/data/postmaster.pid if none runs there"
            ))
        }
        LauncherError::Start { output, .. } if says_any(output, &DAMAGED) => damaged(state, error.to_string()),
        LauncherError::NotFound
        | LauncherError::NotPostgres { .. }
        | LauncherError::NoUnprivilegedUser
        | LauncherError::UserWithoutName { .. }
        | LauncherError::Run { .. }
        | LauncherError::Initialise { .. }
        | LauncherError::Start { .. }
        | LauncherError::NotReady { .. }
        | LauncherError::NoPort(_)
        | LauncherError::StillAlive { .. } => crate::failure::of_launcher(error),
    }
}
