//! Two agents draft, a person chooses, and only then is anything published: `cargo run --example two-drafts`.
//!
//! The agents are children of a workflow, and the person's word is a signal. Everything runs on a private Postgres, and a
//! rehearsed model answers: no key, no network.

#![expect(clippy::print_stdout, reason = "an example speaks to whoever runs it")]

use engine::query::RunDetail;
use engine::{ApplyAgent, Connect, Engine, RunId, SendSignal, StartRun};
use launcher::{Durability, Server};
use rehearsal::{Answer, Rehearsal, Rule, Script};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use worker::{Config, Context, Environment, FunctionError, ModelEndpoint, StepCall, Worker, WorkflowError};

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Clone, Serialize, Deserialize)]
struct Choice {
    draft: usize,
    by: String,
}

/// The workflow: it may be killed anywhere, wait for a week, and go on elsewhere.
async fn two_drafts(ctx: Context, topic: String) -> Result<String, WorkflowError> {
    let drafts = ctx
        .parallel("draft", ["optimist", "sceptic"], |ctx, agent| {
            let topic = topic.clone();
            async move { ctx.run_agent(agent, topic).await }
        })
        .await;
    let drafts = drafts.into_iter().collect::<Result<Vec<String>, _>>()?;
    let Some(choice) = ctx.wait_signal::<Choice>("choice", WEEK).await? else {
        return Err(WorkflowError::new("nobody_chose", "a week went by without a choice"));
    };
    let Some(draft) = drafts.get(choice.draft) else {
        return Err(WorkflowError::new(
            "no_such_draft",
            format!("there are {} drafts", drafts.len()),
        ));
    };
    // At most once: if nobody can say whether it was published, a person is asked.
    ctx.step("publish", draft.clone(), publish).await?;
    Ok(format!("{} chose: {draft}", choice.by))
}

async fn publish(_: StepCall, draft: String) -> Result<(), FunctionError> {
    println!("published: {draft}");
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = tokio::task::spawn_blocking(|| Server::start_temporary(Durability::Fast)).await??;
    engine::schema::migrate(&server.url("longhaul")).await?;
    let connect = Connect::new(server.url("longhaul"), "two-drafts");
    let engine = Engine::connect(&connect).await?;
    let says = |who: &str, draft: &str| Rule::always().system_contains(who).answers(Answer::text(draft));
    let script = Script::new().rule(says("optimist", "It will be sunny."));
    let model = Rehearsal::start(script.rule(says("sceptic", "It will rain."))).await?;
    for file in [include_str!("optimist.toml"), include_str!("sceptic.toml")] {
        apply(&engine, file).await?;
    }

    let endpoint = ModelEndpoint {
        base_url: model.base_url(),
        api_key: Some("rehearsed".to_owned().into()),
    };
    let config = Config::new("worker A", endpoint, Environment::of([].into()));
    let shutdown = CancellationToken::new();
    let worker = Worker::builder(connect, config).workflow("two-drafts", two_drafts);
    let working = tokio::spawn(worker.build().run(shutdown.clone()));

    let start = StartRun::workflow("two-drafts", json!("the picnic").to_string());
    let run = engine.start_run(&start).await?.run;
    until(&engine, run, |run| run.waiting_for.as_deref() == Some("signal")).await?;
    println!("run {run} waits for a choice and holds no worker");
    // From anywhere: longhaul run signal RUN choice '{"draft": 1, "by": "Ann"}'
    let choice = SendSignal {
        run,
        name: "choice".to_owned(),
        payload: json!({"draft": 1, "by": "Ann"}).to_string(),
        id: None,
        sender: Some("ann".to_owned()),
    };
    engine.send_signal(&choice).await?;
    let ended = until(&engine, run, |run| run.ended_at.is_some()).await?;
    shutdown.cancel();
    working.await??;
    anyhow::ensure!(ended.state == "succeeded", "the run {}: {:?}", ended.state, ended.error);
    println!("{}", ended.result.unwrap_or_default());
    Ok(())
}

async fn apply(engine: &Engine, file: &str) -> anyhow::Result<()> {
    let agent = agent::definition::read(file)
        .map_err(|mistakes| anyhow::anyhow!("{mistakes:?}"))?
        .agent;
    let apply = ApplyAgent {
        tenant: "default",
        name: &agent.name,
        definition: &agent::definition::digest_text(&agent),
        functions: &agent.functions(),
    };
    engine.apply_agent(apply).await?;
    Ok(())
}

async fn until(engine: &Engine, run: RunId, met: impl Fn(&RunDetail) -> bool) -> anyhow::Result<RunDetail> {
    loop {
        let detail = engine.run_detail(run).await?;
        if met(&detail) {
            return Ok(detail);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
