//! The HTTP door on a database of its own, with an agent, a workflow, a few runs and a worker, for tools that try it from outside.
//!
//! `api-under-test DATABASE_URL TOKEN` prints the door's address and serves until its standard input ends.

use api::{Access, Api, ApiOptions};
use engine::{ApplyAgent, Connect, Engine, StartRun};
use rehearsal::{Rehearsal, Script};
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;
use worker::{Config, Context, Environment, ModelEndpoint, Worker, WorkflowError};

const AGENT: &str = r#"
name = "greeter"
system = "Greet."

[model]
name = "rehearsed"
max_tokens = 100
"#;

const SCRIPT: &str = r#"
[[rule]]
name = "greet"
answer.text = "Good day."
"#;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(token)) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: api-under-test DATABASE_URL TOKEN");
    };
    engine::schema::migrate(&url).await?;
    let connect = Connect::new(&url, "api under test");
    let engine = Engine::connect(&connect).await?;
    furnish(&engine).await?;
    let rehearsal = Rehearsal::start(Script::from_toml(SCRIPT)?).await?;
    let endpoint = ModelEndpoint {
        base_url: rehearsal.base_url(),
        api_key: Some("test-key-not-secret".to_owned().into()),
    };
    let config = Config::new("worker A", endpoint, Environment::of_process());
    let shutdown = CancellationToken::new();
    let worker = Worker::builder(connect.clone(), config)
        .workflow("greet", greet)
        .build();
    let working = tokio::spawn(worker.run(shutdown.clone()));
    let options = ApiOptions::new("127.0.0.1:0".parse()?, Access::Token(token.into()));
    let api = Api::bind(engine, connect, options).await?;
    say(&format!("http://{}", api.address()));
    let serving = tokio::spawn(api.run(shutdown.clone()));
    let mut rest = Vec::new();
    tokio::io::stdin().read_to_end(&mut rest).await?;
    shutdown.cancel();
    serving.await?;
    working.await??;
    Ok(())
}

async fn greet(ctx: Context, input: Value) -> Result<Value, WorkflowError> {
    let said = ctx.step("say", input, async |_, input: Value| Ok(input)).idempotent();
    said.await.map_err(WorkflowError::from)
}

/// Two versions of an agent, and runs in several states.
async fn furnish(engine: &Engine) -> anyhow::Result<()> {
    // The second is the one that the examples of the document start.
    let files = [
        AGENT.replace("Greet.", "Greet warmly."),
        AGENT.replace("greeter", "refund-desk"),
        AGENT.to_owned(),
    ];
    for file in files {
        let read = agent::definition::read(&file).map_err(|mistakes| anyhow::anyhow!("{mistakes:?}"))?;
        let agent = read.agent;
        engine
            .apply_agent(ApplyAgent {
                tenant: "default",
                name: &agent.name,
                definition: &agent::definition::digest_text(&agent),
                functions: &agent.functions(),
            })
            .await?;
    }
    engine.start_run(&StartRun::workflow("greet", r#""Ada""#)).await?;
    for queue in ["default", "nobody takes from here"] {
        let start = StartRun {
            queue: queue.to_owned(),
            ..StartRun::new("greeter", "{}")
        };
        engine.start_run(&start).await?;
        let cancelled = engine.start_run(&start).await?;
        let _ = engine.cancel_run(cancelled.run, None, None).await;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "whoever started it waits for the address")]
fn say(line: &str) {
    println!("{line}");
}
