//! Which database, and the way to it.

use crate::args::Global;
use crate::failure::{Exit, Failure, of_engine};
use crate::output::MASK;
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
        Failure::usage("no_database", "no database is named").hint(format!(
            "start {} dev in this folder; or give --database-url postgres://user:password@host:port/database, or set \
             LONGHAUL_DATABASE_URL",
            crate::output::program()
        ))
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

/// What is shown of an address that cannot be taken apart: anything in it may be a password.
const UNREADABLE: &str = "(an address that cannot be read)";

/// Parameters whose values are no secrets. Any other may be one, now or in a later driver.
const OPEN_PARAMETERS: [&str; 11] = [
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "application_name",
    "connect_timeout",
    "options",
];

/// An address that may be shown.
pub(crate) fn without_password(url: &str) -> String {
    shown(url).unwrap_or_else(|| UNREADABLE.to_owned())
}

/// None where it is not certain which part is the password.
fn shown(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let is_known = matches!(scheme, "postgres" | "postgresql");
    if !is_known || url.contains(|sign: char| sign.is_control() || sign.is_whitespace()) {
        return None;
    }
    let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
    let (place, query) = rest
        .split_once('?')
        .map_or((rest, None), |(place, query)| (place, Some(query)));
    let authority_ends = place.find('/').unwrap_or(place.len());
    let (authority, path) = place.split_at(authority_ends);
    let (user, host) = match authority.rsplit_once('@') {
        Some((login, host)) => (format!("{}@", login.split(':').next().unwrap_or_default()), host),
        None => (String::new(), authority),
    };
    // Behind the host these are a password that has a slash in it.
    if !has_port_or_none(host) || path.contains('@') {
        return None;
    }
    let parameters: Vec<String> = query
        .into_iter()
        .flat_map(|query| query.split('&'))
        .map(parameter)
        .collect();
    let query = match parameters.as_slice() {
        [] => String::new(),
        parameters => format!("?{}", parameters.join("&")),
    };
    Some(format!("{scheme}://{user}{host}{path}{query}"))
}

/// Whether a number is all that follows the host.
fn has_port_or_none(host: &str) -> bool {
    let behind = match host.strip_prefix('[') {
        Some(address) => address.split_once(']').map(|(_, behind)| behind),
        None => Some(host.find(':').map_or("", |at| &host[at..])),
    };
    match behind.map(|behind| behind.strip_prefix(':').ok_or(behind)) {
        Some(Ok(port)) => port.is_empty() || port.parse::<u16>().is_ok(),
        Some(Err(behind)) => behind.is_empty(),
        None => false,
    }
}

fn parameter(parameter: &str) -> String {
    match parameter.split_once('=') {
        Some((name, _)) if OPEN_PARAMETERS.contains(&name) => parameter.to_owned(),
        Some((name, _)) => format!("{name}={MASK}"),
        None => MASK.to_owned(),
    }
}

#[cfg(test)]
mod tests;
