//! `longhaul run start|list|show|signal|cancel|pause|resume`.

use super::{input, watch};
use crate::args::{Global, ListRuns, SignalRun, StartRun as Args, State, Steer};
use crate::database::open;
use crate::failure::Exit;
use crate::output::{self, style};
use crate::show;
use engine::query::{RunDetail, RunsWanted, Undrivable};
use engine::{Cancelled, Engine, EngineError, RunId, SendSignal, StartRun};
use serde_json::{Value, json};

/// Signals, and children, of one run that are shown to people in one go.
const ROWS_MAX: i64 = 200;
/// Events of one run that are shown as JSON in one go.
const EVENTS_MAX: i64 = 10_000;

pub(crate) async fn start(global: &Global, args: Args) -> anyhow::Result<Exit> {
    let (input, history) = (input::input(&args)?, input::history(&args)?);
    let start = StartRun {
        queue: args.queue,
        priority: args.priority,
        requester: args.requester,
        tenant: global.tenant.clone(),
        labels: args.labels.into_iter().collect(),
        idempotency_key: args.key,
        history,
        ..match args.workflow {
            Some(workflow) => StartRun::workflow(workflow, input),
            None => StartRun::new(args.agent.unwrap_or_default(), input),
        }
    };
    let engine = open(global).await?;
    let started = engine.start_run(&start).await?;
    if global.json {
        output::json_line(&json!({"run_id": started.run, "created": started.created}));
    } else {
        output::line(started.run);
        if !started.created {
            output::note("this key had started the run before");
        }
    }
    if args.watch {
        return watch::follow(&engine, started.run, global).await;
    }
    Ok(Exit::Ok)
}

pub(crate) async fn list(global: &Global, args: ListRuns) -> anyhow::Result<Exit> {
    let engine = open(global).await?;
    let wanted = RunsWanted {
        state: args.state.map(|state| State::as_str(state).to_owned()),
        agent: args.agent,
        workflow: args.workflow,
        requester: args.requester,
        labels: args.labels.into_iter().collect(),
        created_from: None,
        created_before: None,
        before: args.before,
        rows: args.limit,
        ..RunsWanted::of(global.tenant.as_str())
    };
    let runs = engine.run_list(&wanted).await?;
    if global.json {
        output::json(&json!({"runs": runs}));
        return Ok(Exit::Ok);
    }
    if runs.is_empty() {
        output::note("no runs");
        return Ok(Exit::Ok);
    }
    output::line(show::run::list(&runs));
    if let Some(last) = runs.last().filter(|_| i64::try_from(runs.len()) == Ok(wanted.rows)) {
        output::note(style::dim(format!("older ones: --before {}", last.id)));
    }
    Ok(Exit::Ok)
}

pub(crate) async fn show(global: &Global, run: RunId) -> anyhow::Result<Exit> {
    let engine = open(global).await?;
    if global.json {
        output::json(&everything(&engine, run).await?);
        return Ok(Exit::Ok);
    }
    let detail = engine.run_detail(run).await?;
    let journal = engine.journal(run).await?;
    let undrivable = why_undrivable(&engine, &detail).await?;
    let signals = engine.received_signals(run, 0, ROWS_MAX).await?;
    let children = engine.children(run, None, ROWS_MAX).await?;
    output::line(show::run::head(&detail, undrivable.as_ref()));
    if show::workflow(&detail.kind).is_some() {
        output::line(format!("\n{}", style::bold("Input")));
        output::line(show::conversation::payload(
            &detail.input,
            show::conversation::LINES_MAX,
        ));
    } else {
        let messages = engine.transcript(run).await?;
        output::line(format!("\n{}", style::bold("Conversation")));
        output::line(show::conversation::of(&messages, show::conversation::LINES_MAX));
    }
    if journal.is_empty() {
        output::line(format!("\n{}", style::bold("Journal: no step yet")));
    } else {
        output::line(format!("\n{}", style::bold("Journal")));
        output::line(show::journal::of(&detail, &journal));
    }
    if !signals.is_empty() {
        output::line(format!("\n{}", style::bold("Signals")));
        output::line(show::signals::of(&signals));
        tell_cut(signals.len(), "signals");
    }
    if !children.is_empty() {
        output::line(format!("\n{}", style::bold("Children")));
        output::line(show::run::list(&children));
        tell_cut(children.len(), "children");
    }
    let asked = super::inbox::open_of(&engine, &detail).await?;
    if !asked.is_empty() {
        output::line(format!("\n{}", style::bold("Somebody is asked")));
        output::line(show::inbox::of_run(&asked));
    }
    if let Some(end) = show::run::end(&detail) {
        output::line(format!("\n{end}"));
    }
    Ok(Exit::Ok)
}

/// Where more than these are, nobody looks for one of them on a screen.
fn tell_cut(shown: usize, what: &str) {
    if i64::try_from(shown) == Ok(ROWS_MAX) {
        output::line(style::dim(format!(
            "the first {ROWS_MAX} {what}; --json has all of them"
        )));
    }
}

async fn everything(engine: &Engine, run: RunId) -> Result<Value, EngineError> {
    let detail = engine.run_detail(run).await?;
    Ok(json!({
        "run": as_json(&detail),
        "undrivable": why_undrivable(engine, &detail).await?,
        "transcript": engine.transcript(run).await?,
        "journal": engine.journal(run).await?,
        "signals": engine.received_signals(run, 0, i64::MAX).await?,
        "children": engine.children(run, None, i64::MAX).await?,
        "approvals": super::inbox::open_of(engine, &detail).await?,
        "events": engine.events(run, 0, EVENTS_MAX).await?,
    }))
}

/// Why no live worker can drive it, where that is what it waits for.
pub(crate) async fn why_undrivable(engine: &Engine, run: &RunDetail) -> Result<Option<Undrivable>, EngineError> {
    if run.drivable || run.state != "queued" || run.paused_at.is_some() {
        return Ok(None);
    }
    engine.undrivable(run.id).await.map(Some)
}

/// A run's row with its payloads as JSON, not as text that holds JSON.
pub(crate) fn as_json(detail: &RunDetail) -> Value {
    let mut row = json!(detail);
    for name in ["input", "result", "error"] {
        if let Some(text) = row[name].as_str()
            && let Ok(payload) = serde_json::from_str(text)
        {
            row[name] = payload;
        }
    }
    row
}

pub(crate) async fn signal(global: &Global, args: SignalRun) -> anyhow::Result<Exit> {
    let payload = input::payload(&args)?;
    let engine = open(global).await?;
    let signal = SendSignal {
        run: args.run,
        name: args.name,
        payload,
        id: args.id,
        sender: args.by,
    };
    let sent = engine.send_signal(&signal).await?;
    if global.json {
        output::json_line(&json!({"run_id": args.run, "id": sent.id, "created": sent.created}));
    } else {
        output::line(show::in_line(&sent.id));
        if !sent.created {
            output::note("this signal had been sent before");
        }
    }
    Ok(Exit::Ok)
}

pub(crate) async fn cancel(global: &Global, args: Steer, spare_children: bool) -> anyhow::Result<Exit> {
    let engine = open(global).await?;
    let (run, reason, by) = (args.run, args.reason.as_deref(), args.by.as_deref());
    let cancelled = if spare_children {
        engine.cancel_run_alone(run, reason, by).await?
    } else {
        engine.cancel_run(run, reason, by).await?
    };
    let (state, told) = match cancelled {
        Cancelled::Now => ("cancelled", "cancelled"),
        Cancelled::Requested => (
            "running",
            "asked to end: its worker ends it once calls on their way are recorded",
        ),
    };
    if global.json {
        output::json(&json!({"run_id": args.run, "state": state}));
    } else {
        output::line(told);
    }
    Ok(Exit::Ok)
}

pub(crate) async fn resume(global: &Global, args: Steer) -> anyhow::Result<Exit> {
    let engine = open(global).await?;
    engine
        .resume_run(args.run, args.reason.as_deref(), args.by.as_deref())
        .await?;
    tell_state(&engine, global, args.run).await
}

pub(crate) async fn pause(global: &Global, args: Steer) -> anyhow::Result<Exit> {
    let engine = open(global).await?;
    engine
        .pause_run(args.run, args.reason.as_deref(), args.by.as_deref())
        .await?;
    tell_state(&engine, global, args.run).await
}

async fn tell_state(engine: &Engine, global: &Global, run: RunId) -> anyhow::Result<Exit> {
    let detail = engine.run_detail(run).await?;
    if global.json {
        let paused = detail.paused_at.is_some();
        output::json(&json!({"run_id": run, "state": detail.state, "paused": paused}));
    } else {
        let undrivable = why_undrivable(engine, &detail).await?;
        output::line(show::run::state_with(&detail, undrivable.as_ref()));
    }
    Ok(Exit::Ok)
}
