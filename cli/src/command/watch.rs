//! `longhaul run watch`: follows a run's events by cursor.

use super::run::as_json;
use crate::args::Global;
use crate::database::{open, url};
use crate::failure::Exit;
use crate::output::{self, style};
use crate::show;
use engine::query::{AttemptRow, EventRow, RunDetail};
use engine::waker::{EventHint, EventWaker};
use engine::{Connect, Engine, EngineError, RunId};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;
use tracing::debug;

/// Between two looks that no hint asked for: a run may end without one, and hints may be lost.
const PERIOD: Duration = Duration::from_secs(1);
/// The same where there are no hints at all, as behind a pooler.
const PERIOD_WITHOUT_HINTS: Duration = Duration::from_millis(250);
/// Between two looks while the database is away.
const AWAY_PERIOD: Duration = Duration::from_secs(1);
/// A worker that is there takes a run sooner; longer than this nobody watches an empty screen without asking why.
const STILL_LIMIT: Duration = Duration::from_secs(2);
/// Events of one look.
const EVENTS_MAX: i64 = 500;

pub(crate) async fn run(global: &Global, run: RunId) -> anyhow::Result<Exit> {
    let engine = open(global).await?;
    follow(&engine, run, global).await
}

/// Follows until the run ends, waits for a person, or nobody reads any more. Done only where the run succeeded.
pub(crate) async fn follow(engine: &Engine, run: RunId, global: &Global) -> anyhow::Result<Exit> {
    let json = global.json;
    // Listening comes before the first look, so that nothing falls between them.
    let mut hints = Hints::listen(Connect::new(url(global)?, "longhaul run watch"), run).await;
    let mut cursor = 0;
    let mut is_away = false;
    let mut still = Still::new();
    while !output::is_gone() {
        let look = match look(engine, run, cursor).await {
            Err(error) if error.is_transient() => {
                if !is_away {
                    output::note(style::dim("the database does not answer, waiting for it"));
                }
                is_away = true;
                tokio::time::sleep(AWAY_PERIOD).await;
                continue;
            }
            looked => looked?,
        };
        is_away = false;
        for event in &look.events {
            cursor = event.seq;
            if json {
                output::json_line(&json!({"event": event}));
            } else {
                output::line(show::events::line(event, &look.journal));
            }
        }
        let is_whole = look.events.len() < usize::try_from(EVENTS_MAX).unwrap_or(usize::MAX);
        if is_whole && is_settled(&look.detail) {
            return Ok(tell_end(&look.detail, json));
        }
        if is_whole {
            if !json {
                still.look(engine, &look).await;
            }
            hints.next().await;
        }
    }
    Ok(Exit::Ok)
}

/// Tells why nothing happens, once until something does.
struct Still {
    since: Instant,
    is_told: bool,
}

impl Still {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            is_told: false,
        }
    }

    async fn look(&mut self, engine: &Engine, look: &Look) {
        if !look.events.is_empty() {
            *self = Self::new();
        }
        if self.is_told || self.since.elapsed() < STILL_LIMIT {
            return;
        }
        self.is_told = true;
        let detail = &look.detail;
        // What cannot be told now is told by `run show`.
        let undrivable = super::run::why_undrivable(engine, detail).await.unwrap_or_default();
        let state = show::run::state_with(detail, undrivable.as_ref());
        if detail.state != "running" {
            output::note(style::dim(state));
        }
    }
}

/// When to look again: at once when something new was announced, else by and by.
struct Hints {
    connect: Connect,
    run: RunId,
    waker: Option<EventWaker>,
}

impl Hints {
    async fn listen(connect: Connect, run: RunId) -> Self {
        let mut hints = Self {
            connect,
            run,
            waker: None,
        };
        hints.listen_again().await;
        hints
    }

    async fn listen_again(&mut self) {
        match EventWaker::listen(&self.connect).await {
            Ok(waker) => self.waker = Some(waker),
            Err(error) => debug!("no hints, looking often instead: {error}"),
        }
    }

    async fn next(&mut self) {
        let Some(waker) = &mut self.waker else {
            tokio::time::sleep(PERIOD_WITHOUT_HINTS).await;
            return;
        };
        let hinted = async {
            loop {
                match waker.hint().await {
                    Ok(EventHint::Runs(runs)) if !runs.contains(&self.run) => {}
                    Ok(EventHint::Runs(_) | EventHint::Missed) => return true,
                    Err(_) => return false,
                }
            }
        };
        if let Ok(false) = tokio::time::timeout(PERIOD, hinted).await {
            self.waker = None;
            tokio::time::sleep(PERIOD_WITHOUT_HINTS).await;
            self.listen_again().await;
        }
    }
}

struct Look {
    detail: RunDetail,
    events: Vec<EventRow>,
    journal: Vec<AttemptRow>,
}

/// The run first: what led to the state seen is then among the events.
async fn look(engine: &Engine, run: RunId, cursor: i32) -> Result<Look, EngineError> {
    let detail = engine.run_detail(run).await?;
    let events = engine.events(run, cursor, EVENTS_MAX).await?;
    let journal = if events.iter().any(|event| event.step_seq.is_some()) {
        engine.journal(run).await?
    } else {
        Vec::new()
    };
    Ok(Look {
        detail,
        events,
        journal,
    })
}

/// Whether nothing more happens by itself.
pub(crate) fn is_settled(run: &RunDetail) -> bool {
    run.ended_at.is_some() || run.waiting_for.as_deref() == Some("approval")
}

fn tell_end(run: &RunDetail, json: bool) -> Exit {
    if json {
        output::json_line(&json!({"run": as_json(run)}));
    } else {
        output::line(show::run::coloured(&run.state, &show::run::state(run)));
        if let Some(end) = show::run::end(run) {
            output::line(end);
        }
    }
    if run.state == "succeeded" {
        Exit::Ok
    } else {
        Exit::Failed
    }
}
