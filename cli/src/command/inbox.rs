//! `longhaul inbox list|show|happened|did-not-happen|probe-again|give-up|approve|reject`.

use super::input;
use super::run::why_undrivable;
use crate::args::{Decision, Global, Happened, InboxCommand, ListApprovals};
use crate::database::open;
use crate::failure::{Exit, Failure};
use crate::output::{self, style};
use crate::show;
use engine::query::{ApprovalDetail, ApprovalRow, ApprovalsWanted, RunDetail};
use engine::{Decide, Engine, EngineError};
use serde_json::json;
use uuid::Uuid;

pub(crate) async fn run(global: &Global, command: InboxCommand) -> anyhow::Result<Exit> {
    match command {
        InboxCommand::List(args) => list(global, args).await,
        InboxCommand::Show { approval } => show(global, approval).await,
        InboxCommand::Happened(args) => happened(global, args).await,
        InboxCommand::DidNotHappen(args) => decide(global, "did_not_happen", args, None).await,
        InboxCommand::ProbeAgain(args) => decide(global, "probe_again", args, None).await,
        InboxCommand::GiveUp(args) => decide(global, "give_up", args, None).await,
        InboxCommand::Approve(args) => decide(global, "approve", args, None).await,
        InboxCommand::Reject(args) => decide(global, "reject", args, None).await,
    }
}

async fn list(global: &Global, args: ListApprovals) -> anyhow::Result<Exit> {
    let engine = open(global).await?;
    let before = match args.before {
        None => None,
        Some(id) => Some((found(&engine, id).await?.opened_at, id)),
    };
    let wanted = ApprovalsWanted {
        tenant: global.tenant.clone(),
        state: args.state.as_str().map(str::to_owned),
        run: args.run,
        before,
        rows: args.limit,
    };
    let approvals = engine.approvals(&wanted).await?;
    if global.json {
        output::json(&json!({"approvals": approvals}));
        return Ok(Exit::Ok);
    }
    let Some(last) = approvals.last() else {
        output::note("nobody is asked anything");
        return Ok(Exit::Ok);
    };
    output::line(show::inbox::list(&approvals, args.state.as_str() == Some("open")));
    if i64::try_from(approvals.len()) == Ok(wanted.rows) {
        output::note(style::dim(format!("older ones: --before {}", last.id)));
    }
    output::note(style::dim(format!(
        "all about one of them: {} inbox show APPROVAL",
        output::program()
    )));
    Ok(Exit::Ok)
}

async fn show(global: &Global, id: Uuid) -> anyhow::Result<Exit> {
    let engine = open(global).await?;
    let approval = found(&engine, id).await?;
    if global.json {
        output::line(show::inbox::indented(&serde_json::to_string(&approval)?));
    } else {
        output::line(show::inbox::whole(&approval));
    }
    Ok(Exit::Ok)
}

async fn happened(global: &Global, args: Happened) -> anyhow::Result<Exit> {
    let result = input::told_result(&args)?;
    decide(global, "happened", args.decision, result).await
}

async fn decide(global: &Global, verb: &str, args: Decision, result: Option<String>) -> anyhow::Result<Exit> {
    let engine = open(global).await?;
    let decision = Decide {
        approval: args.approval,
        verb: verb.to_owned(),
        words: args.words,
        result,
        actor: args.by,
    };
    let state = engine.decide_approval(&decision).await?;
    let about = found(&engine, args.approval).await?;
    if global.json {
        output::json(&json!({
            "approval_id": args.approval, "verb": verb, "run_id": about.run_id, "run_state": state,
        }));
        return Ok(Exit::Ok);
    }
    let detail = engine.run_detail(about.run_id).await?;
    let undrivable = why_undrivable(&engine, &detail).await?;
    output::line(format!(
        "decided; run {} is {}",
        about.run_id,
        show::run::state_with(&detail, undrivable.as_ref())
    ));
    Ok(Exit::Ok)
}

/// What is still asked about a run.
pub(super) async fn open_of(engine: &Engine, run: &RunDetail) -> Result<Vec<ApprovalRow>, EngineError> {
    let wanted = ApprovalsWanted {
        tenant: run.tenant.clone(),
        state: Some("open".to_owned()),
        run: Some(run.id),
        before: None,
        rows: engine::limits::PAGE_ROWS_MAX,
    };
    engine.approvals(&wanted).await
}

async fn found(engine: &Engine, id: Uuid) -> anyhow::Result<ApprovalDetail> {
    engine.approval(id).await?.ok_or_else(|| {
        Failure::new(
            Exit::Refused,
            "no_such_approval",
            format!("approval {id} does not exist"),
        )
        .hint(format!("{} inbox list shows what is asked", output::program()))
        .into()
    })
}
