//! Which database, and the way to it.

use crate::args::Global;
use crate::failure::{Exit, Failure, of_engine};
use crate::settings::{Found, Origin};
use engine::{Connect, Engine, EngineError};

/// A command needs few connections.
const CONNECTIONS_MAX: u32 = 2;

/// The address that is in force, and where it comes from.
pub(crate) fn found(global: &Global) -> Option<Found> {
    let typed = global.database_url.clone().map(|value| Found {
        value,
        origin: Origin::Option("--database-url"),
    });
    typed.or_else(|| global.settings.find("database_url")).or_else(|| {
        let folder = crate::dev::folder(&global.settings);
        Some(Found {
            value: crate::dev::running(&folder)?,
            origin: Origin::Dev(folder),
        })
    })
}

/// The address that is in force.
pub(crate) fn url(global: &Global) -> Result<String, Failure> {
    found(global).map(|found| found.value).ok_or_else(|| {
        Failure::usage("no_database", "no database is named").hint(
            "start longhaul dev in this folder; or give --database-url postgres://user:password@host:port/database, \
             or set LONGHAUL_DATABASE_URL",
        )
    })
}

/// Connects, and refuses a schema that this program does not know.
pub(crate) async fn open(global: &Global) -> Result<Engine, Failure> {
    let url = url(global)?;
    let engine = connect(&url).await?;
    engine.check_schema().await.map_err(|error| of_engine(&error))?;
    Ok(engine)
}

/// Connects.
pub(crate) async fn connect(url: &str) -> Result<Engine, Failure> {
    let connect = Connect {
        connections_max: CONNECTIONS_MAX,
        ..Connect::new(url, "longhaul")
    };
    Engine::connect(&connect)
        .await
        .map_err(|error| not_connected(&error, url))
}

/// Why there is no connection, and to what.
pub(crate) fn not_connected(error: &EngineError, url: &str) -> Failure {
    let failure = of_engine(error);
    match error {
        EngineError::Unavailable(_) => failure.hint(format!(
            "see whether the server runs, and whether this is the right address: {}",
            without_password(url)
        )),
        EngineError::Database(_) => Failure::new(
            Exit::Unreachable,
            "connection_refused",
            failure.message.replacen(
                "the database refused a statement",
                "the database refuses the connection",
                1,
            ),
        )
        .hint(format!(
            "see whether this is the right address: {}",
            without_password(url)
        )),
        EngineError::Refused { .. } | EngineError::Schema(_) | EngineError::InvalidUrl | EngineError::Unreadable(_) => {
            failure
        }
    }
}

/// An address that may be shown.
pub(crate) fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let host_ends = rest.find('/').unwrap_or(rest.len());
    match rest[..host_ends].rsplit_once('@') {
        Some((login, _)) => {
            let user = login.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}{}", &rest[login.len()..])
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests;
