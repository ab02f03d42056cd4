//! `longhaul breaker list|show|reset|open`.

use crate::args::{BreakerCommand, Global, OpenBreaker as OpenArgs, ResetBreaker};
use crate::database::open;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::show;
use engine::query::BreakerRow;
use engine::{Engine, OpenBreaker};
use serde_json::json;

/// Changes that are shown of one breaker.
const CHANGES_MAX: i64 = 50;

pub(crate) async fn run(global: &Global, command: BreakerCommand) -> anyhow::Result<Exit> {
    match command {
        BreakerCommand::List => list(global).await,
        BreakerCommand::Show { name } => show(global, &name).await,
        BreakerCommand::Reset(args) => reset(global, args).await,
        BreakerCommand::Open(args) => open_by_hand(global, args).await,
    }
}

async fn list(global: &Global) -> anyhow::Result<Exit> {
    let breakers = open(global).await?.breakers(&global.tenant, None).await?;
    if global.json {
        output::json(&json!({"breakers": breakers}));
    } else if breakers.is_empty() {
        output::note("no call has failed: every breaker is closed");
    } else {
        output::line(show::breaker::list(&breakers));
    }
    Ok(Exit::Ok)
}

async fn show(global: &Global, name: &str) -> anyhow::Result<Exit> {
    let engine = open(global).await?;
    told(global, &engine, name).await
}

async fn reset(global: &Global, args: ResetBreaker) -> anyhow::Result<Exit> {
    let engine = open(global).await?;
    let breaker = (global.tenant.as_str(), args.name.as_str());
    engine
        .reset_breaker(breaker, args.reason.as_deref(), args.by.as_deref())
        .await?;
    told(global, &engine, &args.name).await
}

async fn open_by_hand(global: &Global, args: OpenArgs) -> anyhow::Result<Exit> {
    let engine = open(global).await?;
    let wanted = OpenBreaker {
        scope: args.how.name.clone(),
        tenant: global.tenant.clone(),
        seconds: args.seconds,
        reason: args.how.reason,
        actor: args.how.by,
    };
    engine.open_breaker(&wanted).await?;
    told(global, &engine, &args.how.name).await
}

/// Says how a breaker is.
async fn told(global: &Global, engine: &Engine, name: &str) -> anyhow::Result<Exit> {
    let breaker = found(global, engine, name).await?;
    let changes = engine.breaker_changes(&global.tenant, name, CHANGES_MAX).await?;
    if global.json {
        output::json(&json!({"breaker": breaker, "changes": changes}));
    } else {
        output::line(show::breaker::whole(&breaker, &changes));
    }
    Ok(Exit::Ok)
}

async fn found(global: &Global, engine: &Engine, name: &str) -> anyhow::Result<BreakerRow> {
    let found = engine.breakers(&global.tenant, Some(name)).await?.pop();
    found.ok_or_else(|| {
        Failure::new(
            Exit::Refused,
            "no_such_breaker",
            format!("there is no breaker {name:?}"),
        )
        .hint(format!(
            "a breaker is there from the first failure on: {} breaker list",
            output::program()
        ))
        .into()
    })
}
