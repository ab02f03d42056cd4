//! The demo's acts, told as they happen. Start at [`play`].

use super::Manner;
use super::judge::{Evidence, Verdict, judge};
use super::lost_reply;
use super::stage::{LEASE_SECONDS, Stage};
use crate::command::watch::is_settled;
use crate::dev::example::FILES;
use crate::output::{self, style};
use crate::show;
use anyhow::bail;
use engine::RunId;
use engine::query::{AttemptRow, EventRow, RunDetail};
use rehearsal::payments::Record;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Between two looks.
const PERIOD: Duration = Duration::from_millis(20);
/// A real model thinks for longer than a script.
const PATIENCE: Duration = Duration::from_secs(60);
const PATIENCE_LIVE: Duration = Duration::from_secs(300);
/// More of one message is not needed to follow the story.
const MESSAGE_LINES_MAX: usize = 6;
/// Events of one look.
const EVENTS_MAX: i64 = 200;

/// How it went.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) run: RunId,
    pub(super) verdict: Verdict,
}

/// Tells, or is silent where only JSON is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Teller {
    silent: bool,
}

impl Teller {
    pub(super) fn say(self, text: impl std::fmt::Display) {
        if !self.silent {
            output::line(text);
        }
    }

    pub(super) fn act(self, number: u8, text: impl std::fmt::Display) {
        self.say(format!("{}  {text}", style::bold(number)));
    }

    pub(super) fn heading(self, text: &str) {
        self.say(format!("\n{}", style::bold(text)));
    }
}

/// Plays it all, and waits at the end for whoever wants to look around.
pub(super) async fn play(stage: &mut Stage, manner: Manner) -> anyhow::Result<Outcome> {
    let teller = Teller { silent: manner.json };
    teller.say(format!(
        "{}\n",
        style::bold("Longhaul: one agent run that survives kill -9, and one whose reply is lost")
    ));
    let run = set_up(stage, manner, teller).await?;
    let patience = if manner.live { PATIENCE_LIVE } else { PATIENCE };
    let mut watched = Watched {
        run,
        cursor: 0,
        killed: None,
        patience,
    };
    watched.until(stage, teller, Until::MoneyLeft).await?;
    let mut killed_at = None;
    if let Some(paid) = stage.ledger()?.first() {
        kill(stage, &mut watched, teller, paid).await?;
        killed_at = Some(Instant::now());
    }
    let run_row = watched.until(stage, teller, Until::Settled).await?;
    let after = killed_at.map(|at| format!(", {:.1} s after the kill", at.elapsed().as_secs_f64()));
    let state = show::run::coloured(&run_row.state, &show::run::state(&run_row));
    teller.say("");
    teller.act(6, format!("The run: {state}{}.", after.unwrap_or_default()));

    let engine = stage.engine()?;
    let evidence = Evidence {
        journal: engine.journal(run).await?,
        transcript: engine.transcript(run).await?,
        ledger: stage.ledger()?,
        run: run_row,
    };
    let mut verdict = judge(&evidence);
    tell_evidence(teller, &evidence);
    verdict.checks.extend(lost_reply::play(stage, teller, watched).await?);
    tell_verdict(teller, &verdict);
    look_around(stage, manner, run).await?;
    Ok(Outcome { run, verdict })
}

async fn set_up(stage: &mut Stage, manner: Manner, teller: Teller) -> anyhow::Result<RunId> {
    stage.prepare_database().await?;
    match stage.port() {
        Some(port) => teller.act(
            1,
            format!("A private Postgres on port {port}, with Longhaul's schema. It goes when the demo ends."),
        ),
        None => teller.act(
            1,
            format!(
                "The database {}, in a tenant and a queue of our own: {}.",
                stage.shown_url(),
                stage.tenant
            ),
        ),
    }
    let payments = stage.start_world().await?;
    let model = if manner.live {
        "The real model"
    } else {
        "A model that plays a script (no key, no cost)"
    };
    teller.act(
        2,
        format!("{model}, and a payments service that keeps its own books (process {payments})."),
    );
    stage.start_workers()?;
    let workers: Vec<String> = stage
        .workers
        .iter()
        .map(|worker| format!("{} (process {})", worker.name, worker.pid))
        .collect();
    teller.act(
        3,
        format!(
            "Two workers that know nothing of each other: {}.",
            workers.join(" and ")
        ),
    );
    let input = json!({
        "order_id": "ORD-1007", "reason": "the teapot arrived with a broken spout", "requested_on": "2026-11-14",
    });
    let (version, run) = stage.start_run(FILES[0].1, input.to_string()).await?;
    teller.act(
        4,
        format!("The agent refund-desk, version {version}, gets a request: a teapot arrived broken, EUR 42.50."),
    );
    teller.say(format!("   run {run}\n"));
    Ok(run)
}

async fn kill(stage: &mut Stage, watched: &mut Watched, teller: Teller, paid: &Record) -> anyhow::Result<()> {
    let holder = stage.engine()?.run_detail(watched.run).await?.worker;
    let Some(name) = holder.or_else(|| paid.worker.clone()) else {
        bail!("nobody holds the run while its refund is out");
    };
    teller.say("");
    teller.act(
        5,
        format!(
            "The payments service has paid {}; its answer is still out. Now:\n",
            euros(paid.amount_cents)
        ),
    );
    let pid = stage.kill(&name).await?;
    watched.killed = Some(name.clone());
    teller.say(format!("     {}", style::red(format!("kill -9 {pid}    {name}"))));
    teller.say("\n   Was the customer paid? The one who asked is gone, and never heard the answer.");
    teller.say(format!(
        "   The other worker sees a lease of {LEASE_SECONDS} s run out, and carries on from what was recorded.\n"
    ));
    Ok(())
}

/// A run that is followed.
pub(super) struct Watched {
    run: RunId,
    cursor: i32,
    killed: Option<String>,
    patience: Duration,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// A refund arrived at the payments service; or the run is over without one.
    MoneyLeft,
    /// The run ended, or waits for a person.
    Settled,
}

impl Watched {
    /// Another run, from its beginning.
    pub(super) fn next(self, run: RunId) -> Self {
        Self { run, cursor: 0, ..self }
    }

    /// Tells what happens until it has come to that.
    pub(super) async fn until(&mut self, stage: &mut Stage, teller: Teller, until: Until) -> anyhow::Result<RunDetail> {
        let began = Instant::now();
        loop {
            let detail = stage.engine()?.run_detail(self.run).await?;
            let is_done = is_settled(&detail) || (until == Until::MoneyLeft && !stage.ledger()?.is_empty());
            self.tell_events(stage, teller).await?;
            if is_done {
                return Ok(detail);
            }
            stage.check_alive(self.killed.as_deref())?;
            if began.elapsed() > self.patience {
                let state = show::run::state(&detail);
                bail!(
                    "nothing more came of run {} within {} s: {state}",
                    self.run,
                    self.patience.as_secs()
                );
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    async fn tell_events(&mut self, stage: &Stage, teller: Teller) -> anyhow::Result<()> {
        let engine = stage.engine()?;
        let events = engine.events(self.run, self.cursor, EVENTS_MAX).await?;
        if events.is_empty() {
            return Ok(());
        }
        let journal = engine.journal(self.run).await?;
        for event in &events {
            self.cursor = event.seq;
            if let Some(told) = in_words(event, &journal) {
                let worker = event.worker.as_deref().unwrap_or_default();
                teller.say(format!("   {} {worker:<9} {told}", style::dim(show::clock(event.at))));
            }
        }
        Ok(())
    }
}

/// What a newcomer wants to know of an event.
fn in_words(event: &EventRow, journal: &[AttemptRow]) -> Option<String> {
    let step = event.step_seq.and_then(|seq| journal.iter().find(|row| row.seq == seq));
    let attempt = event
        .data
        .as_ref()
        .and_then(|data| data.0.get("attempt"))
        .and_then(Value::as_i64);
    match (event.kind.as_str(), step) {
        ("run.claimed", _) => Some("takes the run".to_owned()),
        ("run.reclaimed", _) => Some(style::yellow("lost the run: its lease is over")),
        ("step.started", Some(step)) => {
            let what = match step.kind.as_str() {
                "model" => format!(
                    "step {}: asks the model, turn {}",
                    step.seq,
                    step.turn.unwrap_or_default()
                ),
                "probe" => format!("step {}: {} is asked what became of it", step.seq, step.name),
                _ => format!("step {}: {}", step.seq, step.name),
            };
            Some(match attempt {
                Some(2..) => style::yellow(format!("{what} again, under the same key")),
                Some(_) | None => what,
            })
        }
        ("step.unknown", Some(step)) => Some(style::red(format!(
            "step {}: no reply came: nobody here knows whether it happened",
            step.seq
        ))),
        ("step.retry_scheduled" | "step.failed", Some(step)) => {
            let error = step.error.as_ref().map(|error| show::error_text(&error.0));
            Some(style::red(format!(
                "step {}: {}",
                step.seq,
                error.unwrap_or_else(|| event.kind.clone())
            )))
        }
        ("run.succeeded" | "run.failed" | "run.parked", _) => Some(event.kind.replace('.', " ")),
        _ => None,
    }
}

fn tell_evidence(teller: Teller, evidence: &Evidence) {
    teller.heading("The conversation");
    teller.say(show::conversation::of(&evidence.transcript, MESSAGE_LINES_MAX));
    teller.heading("The journal: one row per attempt; the attempt that was cut is the killed worker's");
    teller.say(show::journal::of(&evidence.run, &evidence.journal));
    teller.heading("The payments service's own ledger");
    teller.say(ledger(&evidence.ledger));
}

pub(super) fn ledger(records: &[Record]) -> String {
    let mut rows = show::table(&[
        "arrival",
        "sent by",
        "idempotency key",
        "order",
        "what became of it",
        "refund",
    ]);
    for record in records {
        let what = match (record.applied, &record.refund_id) {
            (true, _) => format!("{} paid", euros(record.amount_cents)),
            (false, Some(_)) => "known key: answered again, nothing paid".to_owned(),
            (false, None) => "turned away".to_owned(),
        };
        rows.add_row(vec![
            record.arrival.to_string(),
            record.worker.clone().unwrap_or_default(),
            record.key.clone().unwrap_or_else(|| "none".to_owned()),
            record.order_id.clone(),
            what,
            record.refund_id.clone().unwrap_or_default(),
        ]);
    }
    show::trimmed(&rows)
}

fn tell_verdict(teller: Teller, verdict: &Verdict) {
    teller.heading("What had to hold");
    for check in &verdict.checks {
        let mark = if check.held {
            style::green("yes")
        } else {
            style::red("NO ")
        };
        teller.say(format!(
            "  {mark}  {} {}",
            check.promise,
            style::dim(format!("({})", check.seen))
        ));
    }
}

/// Whether anybody can still ask the database once the demo has told everything.
const fn stays_to_be_seen(is_unattended: bool, is_private: bool) -> bool {
    !(is_unattended && is_private)
}

/// The SQL that shows the same and, for whoever wants it, the time to try it.
async fn look_around(stage: &Stage, manner: Manner, run: RunId) -> anyhow::Result<()> {
    let teller = Teller { silent: manner.json };
    if !stays_to_be_seen(manner.unattended, stage.is_private()) {
        teller.say("");
        teller.say(style::dim(
            "To look around in its database, start the demo on a terminal and without --yes: it then stays until you press Enter.",
        ));
        return Ok(());
    }
    teller.heading("The same in SQL");
    teller.say(format!("  psql {}\n", stage.shown_url()));
    let transcript = format!(
        "select position, role, tool, text from longhaul_audit.transcript where run_id = '{run}' order by position;"
    );
    let statements = format!("{}\n\n{transcript}", show::sql::journal(run));
    for line in statements.lines() {
        teller.say(format!("  {line}").trim_end());
    }
    teller.say("");
    if manner.unattended {
        teller.say(style::dim(format!(
            "The run stays in your database, in the tenant {}.",
            stage.tenant
        )));
        return Ok(());
    }
    let program = std::env::current_exe()?;
    teller.say(format!(
        "  or: {} run show {run} --database-url {}\n",
        program.display(),
        stage.shown_url()
    ));
    teller.say(style::bold(
        "Everything is still running: try it in another terminal. Enter removes it all.",
    ));
    enter().await;
    Ok(())
}

/// Waits for a line, or the end of standard input.
async fn enter() {
    let (pressed, wait) = oneshot::channel();
    // A thread of its own: it may go on waiting after a Ctrl-C without holding up our end.
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_line(&mut String::new());
        let _ = pressed.send(());
    });
    let _ = wait.await;
}

pub(super) fn euros(cents: i64) -> String {
    format!("EUR {}.{:02}", cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_is_gone_is_not_offered() {
        assert!(!stays_to_be_seen(true, true));
        assert!(stays_to_be_seen(true, false));
        assert!(stays_to_be_seen(false, true));
    }
}
