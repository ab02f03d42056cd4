//! Where the tests' Postgres comes from.
//!
//! In this order: `LONGHAUL_TEST_DATABASE_URL`, a private server from binaries on this machine, a container.
//! `LONGHAUL_TEST_POSTGRES` = `url`, `binaries` or `container` forces one way.

use std::{
    env,
    sync::{Arc, Weak},
};

use launcher::{Durability, Server};
use tokio::sync::Mutex;

use super::container::Container;

const URL_VARIABLE: &str = "LONGHAUL_TEST_DATABASE_URL";
const WAY_VARIABLE: &str = "LONGHAUL_TEST_POSTGRES";

/// A server on which tests make their databases.
#[derive(Debug)]
pub(super) struct TestServer {
    maintenance_url: String,
    held: Held,
}

#[derive(Debug)]
#[expect(dead_code, reason = "held for what dropping it ends")]
enum Held {
    Nothing,
    Private(Server),
    Container(Container),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Url,
    Binaries,
    Container,
}

/// The one server of this process.
enum Shared {
    None,
    /// Lives as long as the process, and its watchdog ends it then.
    Forever(Arc<TestServer>),
    /// Nothing would end it with the process, so it lives as long as somebody uses it.
    WhileUsed(Weak<TestServer>),
}

static SHARED: Mutex<Shared> = Mutex::const_new(Shared::None);

impl TestServer {
    /// One that somebody else keeps.
    pub(super) fn elsewhere(maintenance_url: &str) -> Self {
        Self {
            maintenance_url: maintenance_url.to_owned(),
            held: Held::Nothing,
        }
    }

    /// A database in which to say `create database`.
    pub(super) fn maintenance_url(&self) -> &str {
        &self.maintenance_url
    }
}

/// The server of this process, started by the first test that asks.
pub(super) async fn shared() -> Arc<TestServer> {
    let mut shared = SHARED.lock().await;
    let running = match &*shared {
        Shared::None => None,
        Shared::Forever(server) => Some(Arc::clone(server)),
        Shared::WhileUsed(server) => server.upgrade(),
    };
    if let Some(server) = running {
        return server;
    }
    let server = Arc::new(start().await);
    *shared = match server.held {
        Held::Nothing | Held::Private(_) => Shared::Forever(Arc::clone(&server)),
        Held::Container(_) => Shared::WhileUsed(Arc::downgrade(&server)),
    };
    server
}

async fn start() -> TestServer {
    let mut refusals = Vec::new();
    for way in ways(env::var(WAY_VARIABLE).ok().as_deref()) {
        match start_by(way).await {
            Ok(server) => return server,
            Err(reason) => refusals.push(format!("  {way:?}: {}", reason.replace('\n', "\n    "))),
        }
    }
    panic!("{}", no_postgres(&refusals));
}

/// The ways to try.
pub(super) fn ways(forced: Option<&str>) -> Vec<Way> {
    match forced {
        None | Some("") => vec![Way::Url, Way::Binaries, Way::Container],
        Some("url") => vec![Way::Url],
        Some("binaries") => vec![Way::Binaries],
        Some("container") => vec![Way::Container],
        Some(other) => panic!("{WAY_VARIABLE} is {other}; it can be url, binaries or container"),
    }
}

async fn start_by(way: Way) -> Result<TestServer, String> {
    match way {
        Way::Url => match env::var(URL_VARIABLE) {
            Ok(url) if !url.is_empty() => Ok(TestServer::elsewhere(&url)),
            Ok(_) | Err(_) => Err(format!("{URL_VARIABLE} is not set")),
        },
        Way::Binaries => {
            let started = tokio::task::spawn_blocking(|| Server::start_temporary(Durability::Fast)).await;
            let server = started
                .expect("starting a server does not panic")
                .map_err(|error| error.to_string())?;
            Ok(TestServer {
                maintenance_url: server.url("postgres"),
                held: Held::Private(server),
            })
        }
        Way::Container => {
            let container = Container::start().await?;
            Ok(TestServer {
                maintenance_url: container.url().to_owned(),
                held: Held::Container(container),
            })
        }
    }
}

pub(super) fn no_postgres(refusals: &[String]) -> String {
    format!(
        "no Postgres for the tests. Any one of these gives one:\n  \
         {URL_VARIABLE}=postgres://user:password@host/database (a role that may create databases)\n  \
         server binaries on this machine: apt-get install postgresql, or brew install postgresql@17, or LONGHAUL_PG_BIN=folder\n  \
         a Docker engine that answers (image postgres:17-alpine)\n\
         What was tried:\n{}",
        refusals.join("\n")
    )
}
