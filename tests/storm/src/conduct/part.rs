//! The processes of a storm: each is told things on its standard input, and ends when that does. One that fails says why
//! in its last line.

use crate::orders::FAILED;
use anyhow::{Context, anyhow, bail};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// Orderly: the nemesis stops a database. Who takes longer is killed.
const ENDED_WITHIN: Duration = Duration::from_secs(30);

/// What it said before it ended is there already.
const HEARD_WITHIN: Duration = Duration::from_secs(1);

pub(super) struct Part {
    name: &'static str,
    child: Child,
    /// Closed, it is to end.
    input: Option<ChildStdin>,
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
        let input = child.stdin.take();
        let output = child.stdout.take().context("a part has an output")?;
        Ok(Self {
            name,
            child,
            input,
            lines: BufReader::new(output).lines(),
        })
    }

    pub(super) async fn tell(&mut self, word: &str) -> anyhow::Result<()> {
        let input = self.input.as_mut().context("a part has an input")?;
        let told = input.write_all(format!("{word}\n").as_bytes()).await;
        told.with_context(|| format!("the {} does not listen", self.name))
    }

    /// The next line that it says.
    pub(super) async fn line(&mut self) -> anyhow::Result<String> {
        let line = self.lines.next_line().await?;
        let line = line.with_context(|| format!("the {} ended too early", self.name))?;
        match line.strip_prefix(FAILED) {
            Some(why) => bail!("the {} failed: {why}", self.name),
            None => Ok(line),
        }
    }

    /// Waits for its end, and wants it to be a good one.
    async fn ended_well(&mut self) -> anyhow::Result<()> {
        let status = self.child.wait().await?;
        if status.success() {
            return Ok(());
        }
        Err(self.end_of(status).await)
    }

    /// Waits for an end that nobody asked for, and says so.
    async fn unexpected_end(&mut self) -> anyhow::Error {
        match self.child.wait().await {
            Ok(status) if status.success() => anyhow!("the {} ended by itself: {status}", self.name),
            Ok(status) => self.end_of(status).await,
            Err(error) => anyhow!(error).context(format!("the {} cannot be waited for", self.name)),
        }
    }

    /// Why it failed: in its own words, if it had any.
    async fn end_of(&mut self, status: ExitStatus) -> anyhow::Error {
        let told = async {
            while let Ok(Some(line)) = self.lines.next_line().await {
                if let Some(why) = line.strip_prefix(FAILED) {
                    return Some(why.to_owned());
                }
            }
            None
        };
        match timeout(HEARD_WITHIN, told).await.ok().flatten() {
            Some(why) => anyhow!("the {} failed: {why}", self.name),
            None => anyhow!("the {} failed: {status}", self.name),
        }
    }

    /// Asks it to end, and wants the end to be a good one.
    async fn end(&mut self) -> anyhow::Result<()> {
        self.input = None;
        let ended = timeout(ENDED_WITHIN, self.ended_well()).await;
        if let Ok(ended) = ended {
            return ended;
        }
        let _ = self.child.kill().await;
        bail!("the {} did not end and was killed", self.name)
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

    pub(super) fn driver(&mut self) -> anyhow::Result<&mut Part> {
        self.driver.as_mut().context("the driver runs")
    }

    /// Waits until any of them ends by itself, and says which.
    pub(super) async fn unexpected_end(&mut self) -> anyhow::Error {
        tokio::select! {
            ended = unexpected_end(&mut self.ledger) => ended,
            ended = unexpected_end(&mut self.nemesis) => ended,
            ended = unexpected_end(&mut self.driver) => ended,
        }
    }

    /// The next line of the nemesis, while the world outside is there.
    pub(super) async fn word_of_nemesis(&mut self) -> anyhow::Result<String> {
        let nemesis = self.nemesis.as_mut().context("the nemesis runs")?;
        tokio::select! {
            word = nemesis.line() => word,
            ended = unexpected_end(&mut self.ledger) => Err(ended),
        }
    }

    /// Waits for the driver's end, while the others are there. The inner error is the driver's own.
    pub(super) async fn end_of_driver(&mut self) -> anyhow::Result<anyhow::Result<()>> {
        let driver = self.driver.as_mut().context("the driver runs")?;
        let ended = tokio::select! {
            ended = driver.ended_well() => ended,
            ended = unexpected_end(&mut self.ledger) => return Err(ended),
            ended = unexpected_end(&mut self.nemesis) => return Err(ended),
        };
        self.driver = None;
        Ok(ended)
    }

    /// Ends all, those who ask before those who answer, and tells which ends were no good ones.
    pub(super) async fn end(&mut self) -> Vec<anyhow::Error> {
        let parts = [self.driver.take(), self.nemesis.take(), self.ledger.take()];
        let mut failed = Vec::new();
        for mut part in parts.into_iter().flatten() {
            failed.extend(part.end().await.err());
        }
        failed
    }
}

/// Never, where it does not run.
async fn unexpected_end(part: &mut Option<Part>) -> anyhow::Error {
    match part {
        Some(part) => part.unexpected_end().await,
        None => std::future::pending().await,
    }
}
