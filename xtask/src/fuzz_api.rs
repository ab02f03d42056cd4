//! `cargo xtask fuzz-api`: has schemathesis try the HTTP door against its own OpenAPI document.
//!
//! A private Postgres, the door on loopback, and schemathesis from PyPI in an environment of its own below `target/`.

use std::{
    env,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
};

use anyhow::{Context, bail};
use launcher::{Durability, Server};

use crate::{
    command::{cargo, read, run},
    workspace,
};

/// Known to work; a newer one may find more.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";
const TOKEN: &str = "fuzz-token-not-secret";
/// Cases for each operation and each way of trying it: about 5,000 in all.
const EXAMPLES: &str = "280";

/// The door's process; it ends when its standard input does.
struct Door {
    process: Child,
    url: String,
}

pub(crate) fn fuzz_api(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let root = workspace::root()?;
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let tool = install(&target)?;
    if !run(cargo(&root).args(["build", "--package", "longhaul-tests", "--bin", "api-under-test"]))?.success() {
        bail!("the build failed");
    }
    let server = Server::start_temporary(Durability::Fast)?;
    let door = Door::open(&target, &server.url("longhaul"))?;
    let mut fuzz = Command::new(tool);
    fuzz.current_dir(&target)
        .arg("--config-file")
        .arg(root.join("tests/schemathesis.toml"))
        .args(["run", &format!("{}/openapi.json", door.url)])
        .args(["--header", &format!("Authorization: Bearer {TOKEN}")])
        .args(["--max-examples", EXAMPLES])
        .args(arguments)
        // Nothing stands between it and the door.
        .env("NO_PROXY", "127.0.0.1")
        .env("SCHEMATHESIS_HOOKS", "schemathesis_hooks")
        .env("PYTHONPATH", root.join("tests"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let status = run(&mut fuzz)?;
    drop(door);
    drop(server);
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The tool's path, installed if it is not there yet.
fn install(target: &Path) -> anyhow::Result<PathBuf> {
    let home = target.join("schemathesis");
    let tool = home.join("bin/schemathesis");
    let wanted = SCHEMATHESIS.rsplit('=').next().unwrap_or_default();
    if tool.exists() && read(Command::new(&tool).arg("--version")).is_ok_and(|version| version.contains(wanted)) {
        return Ok(tool);
    }
    println!("installing {SCHEMATHESIS} into {}", home.display());
    read(Command::new("python3").args(["-m", "venv"]).arg(&home)).context("python3 with venv is needed")?;
    read(Command::new(home.join("bin/pip")).args(["install", "--quiet", SCHEMATHESIS]))
        .context("schemathesis could not be installed from PyPI")?;
    Ok(tool)
}

impl Door {
    fn open(target: &Path, database_url: &str) -> anyhow::Result<Self> {
        let mut process = Command::new(target.join("debug/api-under-test"))
            .args([database_url, TOKEN])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("the door did not start")?;
        let mut url = String::new();
        let output = process.stdout.take().context("the door has no output")?;
        BufReader::new(output).read_line(&mut url)?;
        if url.trim().is_empty() {
            bail!("the door ended before it listened");
        }
        Ok(Self {
            process,
            url: url.trim().to_owned(),
        })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
