//! The processes of a storm: each is told things on its standard input, and ends when that does.

use anyhow::{Context, anyhow, bail};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// Orderly: the nemesis stops a database. Who takes longer is killed.
const ENDED_WITHIN: Duration = Duration::from_secs(30);

pub(super) struct Part {
    name: &'static str,
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Part {
    pub(super) fn start(name: &'static str, mut command: Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C is for the conductor; the parts end in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("the {name} did not start"))?;
        let input = child.stdin.take().context("a part has an input")?;
        let output = child.stdout.take().context("a part has an output")?;
        Ok(Self {
            name,
            child,
            input,
            lines: BufReader::new(output).lines(),
        })
    }

    pub(super) async fn tell(&mut self, word: &str) -> anyhow::Result<()> {
        let told = self.input.write_all(format!("{word}\n").as_bytes()).await;
        told.with_context(|| format!("the {} does not listen", self.name))
    }

    /// The next line that it says.
    pub(super) async fn line(&mut self) -> anyhow::Result<String> {
        let line = self.lines.next_line().await?;
        line.with_context(|| format!("the {} ended too early", self.name))
    }

    /// Waits for its end, and wants it to be a good one.
    pub(super) async fn ended_well(&mut self) -> anyhow::Result<()> {
        let status = self.child.wait().await?;
        if !status.success() {
            bail!("the {} failed: {status}", self.name);
        }
        Ok(())
    }

    /// Waits for an end that nobody asked for, and says so.
    async fn unexpected_end(&mut self) -> anyhow::Error {
        match self.child.wait().await {
            Ok(status) => anyhow!("the {} ended by itself: {status}", self.name),
            Err(error) => anyhow!(error).context(format!("the {} cannot be waited for", self.name)),
        }
    }

    async fn end(mut self) {
        drop(self.input);
        if timeout(ENDED_WITHIN, self.child.wait()).await.is_err() {
            eprintln!("storm: the {} did not end and was killed", self.name);
            let _ = self.child.kill().await;
        }
    }
}

/// All that run, so that they can be ended whatever happens.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) ledger: Option<Part>,
    pub(super) nemesis: Option<Part>,
    pub(super) driver: Option<Part>,
}

impl Parts {
    pub(super) fn nemesis(&mut self) -> anyhow::Result<&mut Part> {
        self.nemesis.as_mut().context("the nemesis runs")
    }

    /// The nemesis and the driver.
    pub(super) fn both(&mut self) -> anyhow::Result<(&mut Part, &mut Part)> {
        let nemesis = self.nemesis.as_mut().context("the nemesis runs")?;
        Ok((nemesis, self.driver.as_mut().context("the driver runs")?))
    }

    /// Waits until any of them ends by itself, and says which.
    pub(super) async fn unexpected_end(&mut self) -> anyhow::Error {
        let (Some(ledger), Some(nemesis), Some(driver)) = (&mut self.ledger, &mut self.nemesis, &mut self.driver)
        else {
            return anyhow!("a part was never started");
        };
        tokio::select! {
            ended = ledger.unexpected_end() => ended,
            ended = nemesis.unexpected_end() => ended,
            ended = driver.unexpected_end() => ended,
        }
    }

    /// Ends all, those who ask before those who answer.
    pub(super) async fn end(&mut self) {
        let parts = [self.driver.take(), self.nemesis.take(), self.ledger.take()];
        for part in parts.into_iter().flatten() {
            part.end().await;
        }
    }
}
