//! Whether a fault is planted: a storm over a whole program would say that the judge is blind.

use anyhow::{Context, bail};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

/// It is the first thing that a worker says.
const SAID_WITHIN: Duration = Duration::from_secs(10);

/// Nobody listens there; a worker says that it is broken before it asks for its database.
const NO_DATABASE: &str = "postgres://storm@127.0.0.1:1/none";

/// Starts a worker for a moment, and wants it to say that it is broken.
pub(super) async fn check(program: &Path, folder: &Path, fault: &str) -> anyhow::Result<()> {
    let mut worker = Command::new(program)
        .args(["worker", "--name", "storm-planted"])
        .current_dir(folder)
        .env("LONGHAUL_DATABASE_URL", NO_DATABASE)
        .env("LONGHAUL_MODEL_KEY", "test-key-not-secret")
        .env("LONGHAUL_LOG", "info")
        .env("LONGHAUL_BREAK", fault)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .context("the program does not start")?;
    let told = worker.stderr.take().context("a worker has a log")?;
    let said = timeout(SAID_WITHIN, says(told, fault)).await;
    let _ = worker.kill().await;
    said.unwrap_or_else(|_| {
        bail!("no worker says that it is broken by {fault:?}: the program is built without planted faults")
    })
}

/// Reads until it says so, or to its end.
async fn says(log: impl AsyncRead + Unpin, fault: &str) -> anyhow::Result<()> {
    let wanted = format!("LONGHAUL_BREAK={fault}");
    let mut lines = BufReader::new(log).lines();
    let mut last = String::new();
    while let Some(line) = lines.next_line().await? {
        if line.contains("broken on purpose") && line.trim_end().ends_with(&wanted) {
            return Ok(());
        }
        last = line;
    }
    bail!("no worker can be broken by {fault:?}: {last}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_worker_is_broken_if_it_says_so() {
        let line = "WARN this worker is broken on purpose: LONGHAUL_BREAK=key-by-attempt\n";
        let told = |log: &'static str, fault: &'static str| says(log.as_bytes(), fault);
        assert!(told(line, "key-by-attempt").await.is_ok());
        assert!(told(line, "key").await.is_err());
        let unknown = told("ERROR LONGHAUL_BREAK=key is no planted fault\n", "key").await;
        assert!(unknown.unwrap_err().to_string().ends_with("is no planted fault"));
    }
}
