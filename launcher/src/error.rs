//! What can go wrong between "a Postgres is wanted" and "it answers".

use std::{io, path::PathBuf, time::Duration};

/// Why there is no private Postgres server.
#[derive(Debug, thiserror::Error)]
pub enum LauncherError {
    /// Nowhere on this machine are there server binaries.
    #[error(
        "no Postgres server binaries found on this machine; any one of these helps:\n  \
         apt-get install postgresql                                  (Debian, Ubuntu)\n  \
         dnf install postgresql-server                               (Fedora, RHEL)\n  \
         brew install postgresql@17                                  (macOS)\n  \
         LONGHAUL_PG_BIN=/folder/with/initdb                         (binaries kept elsewhere)\n  \
         docker run -d -e POSTGRES_PASSWORD=longhaul -p 5432:5432 postgres:17-alpine\n    \
         and then --database-url postgres://postgres:longhaul@127.0.0.1:5432/postgres\n  \
         --database-url postgres://user:password@host/database       (a server you already have)"
    )]
    NotFound,
    /// The folder that the environment names holds no server.
    #[error("LONGHAUL_PG_BIN is {}, which does not hold both initdb and postgres", dir.display())]
    NotPostgres {
        /// The folder named by `LONGHAUL_PG_BIN`.
        dir: PathBuf,
    },
    /// Postgres refuses to run as root, and there is no user to become.
    #[error("running as root, and there is neither a postgres nor a nobody user to run the server as")]
    NoUnprivilegedUser,
    /// `initdb` wants a name for the user it runs as.
    #[error(
        "user id {uid} has no name on this machine, and Postgres wants one; use --database-url with a running server"
    )]
    UserWithoutName {
        /// The effective user id.
        uid: u32,
    },
    /// A file or folder of the server could not be made, read or given away.
    #[error("could not prepare {}", path.display())]
    Prepare {
        /// What was being prepared.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program could not be run at all.
    #[error("could not run {}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// `initdb`, or the making of the first database, failed.
    #[error("could not initialise the data folder: {}", decisive(output))]
    Initialise {
        /// What the program wrote.
        output: String,
    },
    /// The server ended before it was ready.
    #[error("the server ended before it was ready: {}; its log is {}", decisive(output), log.display())]
    Start {
        /// The end of the server's log.
        output: String,
        /// The log.
        log: PathBuf,
    },
    /// The data folder lacks what every data folder has.
    #[error("{} is not whole: {missing} is missing", data.display())]
    Damaged {
        /// The data folder.
        data: PathBuf,
        /// What is not there.
        missing: &'static str,
    },
    /// The data is of another major version of Postgres.
    #[error("the data was made by PostgreSQL {made_by}, and the programs found are of PostgreSQL {found}")]
    OtherVersion {
        /// Which release made the data.
        made_by: String,
        /// Which release the programs are of.
        found: String,
    },
    /// Another server runs on this folder.
    #[error("another Postgres server already runs on {}", state_dir.display())]
    InUse {
        /// The folder.
        state_dir: PathBuf,
    },
    /// The server runs but did not become ready in time.
    #[error("the server was not ready after {limit:?}: {}; its log is {}", decisive(output), log.display())]
    NotReady {
        /// How long it was given.
        limit: Duration,
        /// The end of the server's log.
        output: String,
        /// The log.
        log: PathBuf,
    },
    /// No port of this machine is free.
    #[error("found no free port on 127.0.0.1")]
    NoPort(#[source] io::Error),
    /// The server did not go away, not even by `SIGKILL`.
    #[error("processes of the server are still alive {limit:?} after SIGKILL")]
    StillAlive {
        /// How long they were given.
        limit: Duration,
    },
}

impl LauncherError {
    pub(crate) fn prepare(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Prepare { path, source }
    }

    pub(crate) fn run(program: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let program = program.into();
        move |source| Self::Run { program, source }
    }
}

/// The line that says why: the last complaint, else the last line.
fn decisive(output: &str) -> &str {
    let complains = |line: &&str| {
        ["FATAL:", "PANIC:", "ERROR:", "error:"]
            .iter()
            .any(|word| line.contains(word))
    };
    let mut lines = output.lines().rev().filter(|line| !line.trim().is_empty());
    let last = lines.clone().next().unwrap_or("it said nothing");
    lines.find(complains).unwrap_or(last).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_of_a_log_says_why() {
        let log = "LOG:  starting\nFATAL:  bogus data in lock file\nLOG:  database system is shut down\n\n";
        assert_eq!(decisive(log), "FATAL:  bogus data in lock file");
        assert_eq!(decisive("LOG:  one\nLOG:  two\n"), "LOG:  two");
        assert_eq!(decisive(""), "it said nothing");
    }
}
