//! `cargo xtask test`: all tests of the workspace, against one private Postgres server.

use std::{
    env,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::bail;
use launcher::{Durability, Server};

use crate::{
    command::{cargo, run},
    workspace,
};

const URL_VARIABLE: &str = "LONGHAUL_TEST_DATABASE_URL";
const WAY_VARIABLE: &str = "LONGHAUL_TEST_POSTGRES";

/// Builds once, starts one server for all test processes, and ends with the runner's own closing lines and status.
pub(crate) fn test(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let root = workspace::root()?;
    // Programs and tests in one build: the features of the workspace are the same for both, and nothing is built twice.
    // Tests that start a `longhaul` process find it in the target folder.
    if !run(cargo(&root).args(["build", "--workspace", "--bins", "--tests"]))?.success() {
        bail!("the build failed");
    }

    let mut runner = runner(&root);
    runner.args(arguments);
    let server = start_server()?;
    if let Some(server) = &server {
        runner
            .env(URL_VARIABLE, server.url("postgres"))
            .env(WAY_VARIABLE, "url");
    }
    let status = run(&mut runner)?;
    drop(server);
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from))
}

/// nextest where it is installed, else cargo's own runner.
fn runner(root: &Path) -> Command {
    let has_nextest = cargo(root)
        .args(["nextest", "--version"])
        .output()
        .is_ok_and(|output| output.status.success());
    let mut runner = cargo(root);
    if has_nextest {
        runner.args(["nextest", "run", "--workspace"]);
    } else {
        runner.args(["test", "--workspace", "--no-fail-fast"]);
    }
    runner
}

/// The server that all tests share, unless the caller has said where Postgres is to come from.
fn start_server() -> anyhow::Result<Option<Server>> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    let way = set(WAY_VARIABLE);
    let wanted = match way.as_deref().and_then(|way| way.to_str()) {
        Some("binaries") => true,
        Some(_) => false,
        None => set(URL_VARIABLE).is_none(),
    };
    if !wanted {
        return Ok(None);
    }
    match Server::start_temporary(Durability::Fast) {
        Ok(server) => Ok(Some(server)),
        Err(error) if way.is_some() => Err(error.into()),
        Err(error) => {
            eprintln!("no private Postgres for all tests, so each finds its own way to one: {error}");
            Ok(None)
        }
    }
}
