//! `longhaul api`.

use crate::args::{Api as Args, Global};
use crate::database::{self, not_connected};
use crate::failure::{Exit, Failure, of_engine};
use crate::signals;
use api::{Access, Api, ApiError, ApiOptions};
use engine::{Connect, Engine, EngineError};
use secrecy::SecretString;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Between two tries to reach a database that is away.
const AWAY_PERIOD: Duration = Duration::from_secs(1);
/// A token is a line, not a file.
const TOKEN_BYTES_MAX: usize = 4096;

pub(crate) async fn run(global: &Global, args: Args) -> anyhow::Result<Exit> {
    let access = access(global, &args)?;
    let url = database::url(global)?;
    let shutdown = CancellationToken::new();
    signals::cancel_on_signal(shutdown.clone())?;
    let connect = Connect::new(url.as_str(), "longhaul api");
    let Some(engine) = connected(&connect, &shutdown).await? else {
        return Ok(Exit::Ok);
    };
    let options = ApiOptions {
        tenant: global.tenant.clone(),
        ..ApiOptions::new(args.listen, access)
    };
    let api = Api::bind(engine.clone(), connect, options).await;
    api.map_err(|error| not_listening(&error))?.run(shutdown).await;
    engine.close().await;
    Ok(Exit::Ok)
}

/// A connection on a schema that is known, waited for as a worker does. None: it is time to stop.
async fn connected(connect: &Connect, shutdown: &CancellationToken) -> Result<Option<Engine>, Failure> {
    loop {
        let opened = async {
            let engine = Engine::connect(connect).await?;
            engine.check_schema().await?;
            Ok::<_, EngineError>(engine)
        };
        match opened.await {
            Ok(engine) => return Ok(Some(engine)),
            Err(error) if error.is_transient() => {
                warn!(
                    "the database does not answer, trying again: {}",
                    of_engine(&error).message
                );
            }
            Err(error @ EngineError::Database(_)) => return Err(not_connected(&error, &connect.url)),
            Err(error) => return Err(of_engine(&error)),
        }
        tokio::select! {
            () = tokio::time::sleep(AWAY_PERIOD) => {}
            () = shutdown.cancelled() => return Ok(None),
        }
    }
}

/// Who is let in. Without a token nobody listens beyond this machine.
fn access(global: &Global, args: &Args) -> Result<Access, Failure> {
    let token = match &args.token_file {
        // Typed or set as a variable of its own: the file says more than a token that happens to be set.
        Some(file) => Some(read_token(file)?),
        None => global.settings.value("api_token"),
    };
    if args.insecure_no_token {
        if !args.listen.ip().is_loopback() {
            let message = format!("--insecure-no-token is for loopback only, and {} is not", args.listen);
            return Err(Failure::usage("token_required", message).hint(WANTED));
        }
        return Ok(Access::AllowAnyone);
    }
    match token
        .map(|token| token.trim().to_owned())
        .filter(|token| !token.is_empty())
    {
        Some(token) => Ok(Access::Token(SecretString::from(token))),
        None => Err(
            Failure::usage("token_required", "the API is not served without a token")
                .hint(format!("{WANTED}; for a machine of your own: --insecure-no-token")),
        ),
    }
}

const WANTED: &str = "set LONGHAUL_API_TOKEN, or give --token-file (openssl rand -hex 32 makes a token)";

fn read_token(file: &Path) -> Result<String, Failure> {
    let unusable = |why: String| Failure::usage("unreadable_file", format!("could not read {}: {why}", file.display()));
    let read = super::input::read_bytes(file, TOKEN_BYTES_MAX).map_err(|error| unusable(error.to_string()))?;
    let token = String::from_utf8(read.bytes).map_err(|_| unusable("it is not text".to_owned()))?;
    let token = token.trim();
    if read.is_cut || token.is_empty() || token.contains(char::is_whitespace) {
        return Err(unusable("it holds no token: one word on one line".to_owned()));
    }
    Ok(token.to_owned())
}

/// Why the address cannot be listened at.
pub(crate) fn not_listening(error: &ApiError) -> Failure {
    match error {
        ApiError::Listen { address, source } => cannot_listen(*address, source),
        ApiError::EmptyToken => Failure::usage("token_required", "the API's token is empty").hint(WANTED),
    }
}

/// The same for any listener.
pub(crate) fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> Failure {
    let (told, hint) = if error.kind() == ErrorKind::AddrInUse {
        let port = address.port();
        (
            format!("{address} is in use"),
            format!(
                "stop who holds it (ss -ltnp 'sport = :{port}' names it), or take any free port: --listen {}:0",
                address.ip()
            ),
        )
    } else {
        (
            format!("could not listen at {address}: {error}"),
            "--listen takes an address of this machine and a port above 1023, such as 127.0.0.1:7700".to_owned(),
        )
    };
    Failure::new(Exit::Failed, "cannot_listen", told).hint(hint)
}
