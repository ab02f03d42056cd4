//! The whole storm: starts the parts, lets them rage for a while, waits for quiet, and has it judged.
//!
//! Owns the other processes and the folder that all of them write to. Each of them ends when its standard input does,
//! so nothing outlives this one. Does no harm itself and judges nothing. Start at [`conduct`].

mod agent;
mod part;
mod planted;
mod progress;
mod script;
mod shown;
#[cfg(test)]
mod tests;

use crate::orders::one_line;
use crate::plan::{self, Plan};
use crate::{dump, record};
use anyhow::{Context, anyhow, bail};
use part::{Part, Parts};
use progress::Progress;
use rehearsal::Rehearsal;
use serde::Deserialize;
use sqlx::{Connection, Executor, PgConnection};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, timeout};

/// Runs that have not ended and wait for no person, nor for a run that does.
pub(crate) const OPEN_RUNS: &str = "
    select count(*)
    from longhaul_audit.run
    where state not in ('succeeded', 'failed', 'cancelled')
      and (state <> 'waiting' or waiting_for is distinct from 'approval')
      and (state <> 'waiting' or waiting_for is distinct from 'child' or not exists (
          select from longhaul_audit.run as child
          where child.parent_id = run.run_id
            and child.state = 'waiting'
            and child.waiting_for = 'approval'))";

/// What transactions of workflows write to: an application's table, which forbids nothing.
const SALES: &str = "create table storm_sale (run text not null, item text not null)";

/// What an application writes beside what it asks for, in one transaction.
const RECEIPTS: &str =
    "create table storm_receipt (id text primary key, asked text not null, run text not null, of text)";

/// A private Postgres is made, migrated and served, on a machine that may be busy.
const PREPARED_WITHIN: Duration = Duration::from_secs(120);

/// Faults that are under way come to their end, and one worker starts.
const QUIET_WITHIN: Duration = Duration::from_secs(60);

/// After that all that is open ends; on a machine that others want too, so many times later.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// The dump of a long storm.
const DUMPED_WITHIN: Duration = Duration::from_secs(120);

const JUDGED_WITHIN: Duration = Duration::from_secs(300);

const TELL_EVERY: Duration = Duration::from_secs(10);

/// Neither a verdict of the judge nor a mistake in the options.
const BROKEN: u8 = 3;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How long the faults last
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
    /// Decides the plan; a random one by default
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// A part of the plan: another number is another storm
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) workers: u16,
    /// The `longhaul` command
    #[arg(long)]
    pub(crate) program: PathBuf,
    /// A fault planted in workers, by its name
    #[arg(long = "break")]
    pub(crate) planted: Option<String>,
}

/// Whatever comes of it, its last line says it, and the exit status the same.
pub(crate) async fn conduct(options: Options) -> ExitCode {
    // Short enough to be typed again.
    let seed = options.seed.unwrap_or_else(|| u64::from(fastrand::u32(..)));
    println!("storm: seed {seed}; the same again: {}", again(&options, seed));
    match staged(&options, seed).await {
        // The judge has had the last word.
        Ok(verdict) => verdict,
        Err(error) => {
            let why = one_line(&format!("{error:#}"));
            println!("storm: BROKEN · seed {seed} · {why}");
            ExitCode::from(BROKEN)
        }
    }
}

/// Leaves no part behind.
async fn staged(options: &Options, seed: u64) -> anyhow::Result<ExitCode> {
    let interrupted = interruption()?;
    let stage = Stage::make(options, seed)?;
    println!("storm: all is written to {}", stage.folder.display());
    let mut parts = Parts::default();
    let ended = tokio::select! {
        // What has ended can be interrupted no more.
        biased;
        ended = storm(options, &stage, &mut parts) => ended,
        signal = interrupted => Err(anyhow!("interrupted by {signal}")),
    };
    // What they fail at now is not why the storm ended.
    parts.end().await;
    stage.clear(matches!(ended, Ok(ExitCode::SUCCESS)));
    ended
}

/// From here on these signals end nothing by themselves.
fn interruption() -> anyhow::Result<impl Future<Output = &'static str>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => "Ctrl-C",
            _ = terminate.recv() => "SIGTERM",
            _ = hangup.recv() => "SIGHUP",
        }
    })
}

fn again(options: &Options, seed: u64) -> String {
    let planted = options.planted.iter().map(|name| format!(" --break {name}"));
    format!(
        "cargo xtask storm --seed {seed} --seconds {} --workers {}{}",
        options.seconds,
        options.workers,
        planted.collect::<String>()
    )
}

/// What the nemesis says once the victims stand.
#[derive(Debug, Deserialize)]
struct Victims {
    database_url: String,
    api_url: String,
    #[serde(default)]
    ledger_url: String,
}

/// What all parts are given.
struct Stage {
    seed: u64,
    folder: PathBuf,
    /// Copies within the folder, so that a build meanwhile does not change them.
    program: PathBuf,
    own: PathBuf,
}

async fn storm(options: &Options, stage: &Stage, parts: &mut Parts) -> anyhow::Result<ExitCode> {
    if let Some(fault) = &options.planted {
        planted::check(&stage.program, &stage.folder, fault).await?;
    }
    let model = Rehearsal::start(script::of(&Plan::of(stage.seed))).await;
    let model = model.context("the model did not start")?;
    let victims = timeout(PREPARED_WITHIN, stage.prepare(options, &model, parts)).await;
    let victims = victims.context("the victims were not ready in time")??;
    let progress = Progress::new(&stage.folder, &victims.database_url)?;
    let settled = rage(options, stage, parts, (&victims, &progress)).await?;
    println!("storm: the faults are over; {}", progress.line().await);
    let within = SETTLED_WITHIN.mul_f64(progress.machine().slowness);
    let open = tokio::select! {
        open = progress.settle(within) => open,
        ended = parts.unexpected_end() => return Err(ended),
    };

    let dumped = timeout(
        DUMPED_WITHIN,
        dump::dump(&victims.database_url, &stage.folder.join("dump")),
    )
    .await;
    dumped.context("the dump took too long")?.context("the dump failed")?;
    println!("storm: settled; {}", progress.line().await);
    // The judge knows the laws; these are promises that it cannot see broken.
    let mut beside: Vec<anyhow::Error> = [settled, open].into_iter().filter_map(Result::err).collect();
    beside.extend(parts.end().await);
    shown::write(&model.asked(), &stage.folder)?;
    let machine = progress.machine();
    fs::write(stage.folder.join("machine.json"), serde_json::to_string(&machine)?)?;
    model.stop().await;
    let verdict = timeout(JUDGED_WITHIN, stage.judge(&beside)).await;
    verdict.context("the judge hangs")?
}

/// The faults and the runs, until both have been told to end and have ended. The inner error is one of the driver,
/// which is told after all else.
async fn rage(
    options: &Options,
    stage: &Stage,
    parts: &mut Parts,
    (victims, progress): (&Victims, &Progress),
) -> anyhow::Result<anyhow::Result<()>> {
    parts.nemesis()?.tell("begin").await?;
    parts.driver = Some(stage.driver(victims)?);
    let begun = Instant::now();
    let seconds = Duration::from_secs(options.seconds);
    while begun.elapsed() < seconds {
        let pause = TELL_EVERY.min(seconds.saturating_sub(begun.elapsed()));
        tokio::select! {
            ended = parts.unexpected_end() => return Err(ended),
            () = sleep(pause) => (),
        }
        println!("{:>6} s  {}", begun.elapsed().as_secs(), progress.line().await);
    }
    parts.driver()?.tell("stop").await?;
    parts.nemesis()?.tell("quiet").await?;
    let word = timeout(QUIET_WITHIN, parts.word_of_nemesis()).await;
    let word = word.context("the nemesis does not come to rest")??;
    if word != "quiet" {
        bail!("the nemesis said {word:?} in place of quiet");
    }
    let within = SETTLED_WITHIN.mul_f64(progress.machine().slowness);
    let settled = timeout(within, parts.end_of_driver()).await;
    settled.unwrap_or_else(|_| Ok(Err(anyhow!("the driver still asks for what nobody tells it"))))
}

impl Stage {
    fn make(options: &Options, seed: u64) -> anyhow::Result<Self> {
        let own = std::env::current_exe()?;
        let folder = target(&own).unwrap_or_else(std::env::temp_dir).join("storm");
        let folder = folder.join(format!("{seed}-{}", record::now() / 1_000_000));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let folder = folder.canonicalize()?;
        let copied = |from: &Path, name| {
            let to = folder.join(name);
            let copied = fs::copy(from, &to);
            copied.with_context(|| format!("cannot copy {}", from.display()))?;
            anyhow::Ok(to)
        };
        let program = copied(&options.program, "longhaul-under-test")?;
        let own = copied(&own, "longhaul-storm")?;
        Ok(Self {
            seed,
            folder,
            program,
            own,
        })
    }

    /// Starts the world outside and the victims, and applies the agent.
    async fn prepare(&self, options: &Options, model: &Rehearsal, parts: &mut Parts) -> anyhow::Result<Victims> {
        // Not the same number: from its conduct nobody could tell the plan.
        let ledger_seed = plan::random(self.seed, "ledger", 0).u64(..);
        let ledger = self.part("ledger", &["ledger", "--seed", &ledger_seed.to_string()])?;
        let ledger_url = parts.ledger.insert(ledger).line().await?;
        let mut arguments = vec![
            "nemesis".to_owned(),
            "--seed".to_owned(),
            self.seed.to_string(),
            "--workers".to_owned(),
            options.workers.to_string(),
            "--ledger-url".to_owned(),
            ledger_url.clone(),
            "--model-url".to_owned(),
            model.base_url(),
            "--program".to_owned(),
            self.program.display().to_string(),
        ];
        if let Some(planted) = &options.planted {
            arguments.extend(["--planted".to_owned(), planted.clone()]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let nemesis = self.part("nemesis", &arguments)?;
        let line = parts.nemesis.insert(nemesis).line().await?;
        let victims: Victims = serde_json::from_str(&line).with_context(|| format!("the nemesis said {line:?}"))?;
        self.apply_agent(&victims.database_url).await?;
        let mut database = PgConnection::connect(&victims.database_url).await?;
        for table in [SALES, RECEIPTS] {
            let made = database.execute(table).await;
            made.context("cannot make the application's tables")?;
        }
        Ok(Victims { ledger_url, ..victims })
    }

    async fn apply_agent(&self, database_url: &str) -> anyhow::Result<()> {
        let file = self.folder.join("agent.toml");
        fs::write(&file, agent::toml(&self.own))?;
        let applied = tokio::process::Command::new(&self.program)
            .args(["agent", "apply"])
            .arg(&file)
            .args(["--database-url", database_url])
            .kill_on_drop(true)
            .output()
            .await?;
        if !applied.status.success() {
            bail!(
                "the agent could not be applied: {}",
                String::from_utf8_lossy(&applied.stderr)
            );
        }
        Ok(())
    }

    fn driver(&self, victims: &Victims) -> anyhow::Result<Part> {
        let program = self.program.display().to_string();
        let arguments = [
            "drive",
            "--seed",
            &self.seed.to_string(),
            "--database-url",
            &victims.database_url,
            "--api-url",
            &victims.api_url,
            "--ledger-url",
            &victims.ledger_url,
            "--program",
            &program,
        ];
        self.part("driver", &arguments)
    }

    fn part(&self, name: &'static str, arguments: &[&str]) -> anyhow::Result<Part> {
        let mut command = tokio::process::Command::new(&self.own);
        command.args(arguments).arg("--folder").arg(&self.folder);
        Part::start(name, command)
    }

    /// The copies are large, and so is the database; only a storm that did not hold is looked into.
    fn clear(&self, held: bool) {
        let _ = fs::remove_file(&self.program);
        let _ = fs::remove_file(&self.own);
        if held {
            let _ = fs::remove_dir_all(self.folder.join("postgres"));
        }
    }

    /// Has it judged, and tells the verdict once it is the last word.
    async fn judge(&self, beside: &[anyhow::Error]) -> anyhow::Result<ExitCode> {
        let mut judge = tokio::process::Command::new(&self.own)
            .args(["judge", "--seed", &self.seed.to_string(), "--folder"])
            .arg(&self.folder)
            .args(beside.iter().map(|wrong| format!("--beside={wrong:#}")))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("the judge did not start")?;
        let told = judge.stdout.take().context("the judge has an output")?;
        let mut lines = BufReader::new(told).lines();
        let mut last = None;
        while let Some(line) = lines.next_line().await? {
            if let Some(before) = last.replace(line) {
                println!("{before}");
            }
        }
        let status = judge.wait().await?;
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        match (code, last) {
            (Some(code), Some(verdict)) if verdict.starts_with("storm: ") => {
                println!("{verdict}");
                Ok(ExitCode::from(code))
            }
            _ => bail!("the judge came to no verdict: {status}"),
        }
    }
}

/// Cargo's folder, if this program lies in one.
fn target(own: &Path) -> Option<PathBuf> {
    let mut above = own.ancestors();
    let target = above.find(|folder| folder.join("CACHEDIR.TAG").exists())?;
    Some(target.to_owned())
}
