//! `longhaul health`: asks a running API or worker how it is. Small enough for a container's health check.

use crate::args::{Global, Health as Args};
use crate::failure::{Exit, Failure};
use crate::output;
use serde_json::{Value, json};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Less than a health check's own limit.
const TIMEOUT: Duration = Duration::from_secs(2);
/// An answer is a line.
const ANSWER_BYTES_MAX: u64 = 16 * 1024;

pub(crate) async fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let asked = tokio::time::timeout(TIMEOUT, ask(args)).await;
    let asked = asked.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")));
    let answer = asked.map_err(|error| {
        let message = format!("nothing answers at {}: {error}", args.address);
        Failure::new(Exit::Failed, "not_healthy", message)
    })?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let is_well = head.split(' ').nth(1) == Some("200");
    if !is_well {
        let told: Option<Value> = serde_json::from_str(body).ok();
        let reason = told
            .as_ref()
            .and_then(|told| told["reason"].as_str().or(told["detail"].as_str()));
        let status = head.lines().next().unwrap_or_default();
        let message = format!("{} is not ready: {}", args.address, reason.unwrap_or(status));
        return Err(Failure::new(Exit::Failed, "not_healthy", message).into());
    }
    if global.json {
        output::json_line(&json!({"status": "ok"}));
    } else {
        output::line("ok");
    }
    Ok(Exit::Ok)
}

async fn ask(args: &Args) -> io::Result<String> {
    let path = if args.live { "/healthz" } else { "/readyz" };
    let mut stream = TcpStream::connect(args.address).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        args.address
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
