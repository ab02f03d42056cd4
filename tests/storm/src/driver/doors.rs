//! Asking once, through one door, within a time limit.
//!
//! What comes back is one of three things: done, refused for good, or nobody knows. Start at [`Doors::ask`].

use super::Options;
use super::person::Open;
use crate::plan::{Kind, SIGNAL};
use crate::record::{Asked, Decision, Door, Outcome};
use serde_json::Value;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

/// The agent and the workflow that all runs are of.
const NAME: &str = "storm";

/// Who cancels, pauses and resumes.
const ACTOR: &str = "storm";

/// A request to the API or the database takes milliseconds, unless something is broken.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A process has to start first, on a machine that has much to do.
const COMMAND_WITHIN: Duration = Duration::from_secs(15);

const CONNECTIONS_MAX: u32 = 16;

/// Commands at once; each is a process.
const COMMANDS_MAX: usize = 4;

/// The oldest questions that are open.
const INBOX: &str = "
    select
        approval.id::text as id, approval.run_id::text as run, run.input ->> 'run' as number, step.key
    from longhaul.approval
    join longhaul.run on run.id = approval.run_id
    left join longhaul.step on step.run_id = approval.run_id and step.seq = approval.step_seq
    where approval.state = 'open'
    order by approval.opened_at
    limit 500";

/// What is asked of the product.
#[derive(Debug, Clone)]
pub(super) enum Request {
    Start {
        key: String,
        kind: Kind,
        /// A JSON text.
        input: String,
    },
    Cancel(String),
    Pause(String),
    Resume(String),
    Signal {
        run: String,
        id: String,
        /// Among those of the run, from 0; its payload.
        place: u64,
    },
    /// A person's word.
    Decide {
        run: String,
        decision: Decision,
        /// A JSON text.
        result: Option<String>,
    },
}

/// The application's own row that a request over SQL writes beside what it asks for, in one transaction.
#[derive(Debug, Clone)]
pub(super) struct Receipt {
    pub(super) id: String,
    /// The transaction is rolled back when all is done.
    pub(super) withdrawn: bool,
}

impl Request {
    pub(super) const fn asked(&self) -> Asked {
        match self {
            Self::Start { .. } => Asked::Start,
            Self::Cancel(_) => Asked::Cancel,
            Self::Pause(_) => Asked::Pause,
            Self::Resume(_) => Asked::Resume,
            Self::Signal { .. } => Asked::Signal,
            Self::Decide { .. } => Asked::Decide,
        }
    }

    /// The run that it is about, where there is one already.
    const fn run(&self) -> Option<&String> {
        match self {
            Self::Start { .. } => None,
            Self::Cancel(run)
            | Self::Pause(run)
            | Self::Resume(run)
            | Self::Signal { run, .. }
            | Self::Decide { run, .. } => Some(run),
        }
    }

    pub(super) const fn place(&self) -> Option<u64> {
        match self {
            Self::Signal { place, .. } => Some(*place),
            Self::Start { .. } | Self::Cancel(_) | Self::Pause(_) | Self::Resume(_) | Self::Decide { .. } => None,
        }
    }

    pub(super) const fn decision(&self) -> Option<&Decision> {
        match self {
            Self::Decide { decision, .. } => Some(decision),
            Self::Start { .. } | Self::Cancel(_) | Self::Pause(_) | Self::Resume(_) | Self::Signal { .. } => None,
        }
    }

    /// What tells it from others about the same run.
    const fn of(&self) -> Option<&String> {
        match self {
            Self::Signal { id, .. } => Some(id),
            Self::Decide { decision, .. } => Some(&decision.approval),
            Self::Start { .. } | Self::Cancel(_) | Self::Pause(_) | Self::Resume(_) => None,
        }
    }
}

pub(super) struct Doors {
    client: reqwest::Client,
    api_url: String,
    ledger_url: String,
    database: PgPool,
    database_url: String,
    program: PathBuf,
    commands: tokio::sync::Semaphore,
}

impl Doors {
    /// Connects to nothing yet: a door may be shut at any time.
    pub(super) fn open(options: &Options) -> anyhow::Result<Self> {
        let connect: PgConnectOptions = options.database_url.parse()?;
        let database = PgPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(ANSWER_WITHIN)
            .connect_lazy_with(connect.application_name("storm driver"));
        Ok(Self {
            client: reqwest::Client::builder().no_proxy().timeout(ANSWER_WITHIN).build()?,
            api_url: options.api_url.clone(),
            ledger_url: options.ledger_url.clone(),
            database,
            database_url: options.database_url.clone(),
            program: options.program.clone(),
            commands: tokio::sync::Semaphore::new(COMMANDS_MAX),
        })
    }

    /// How many runs have not ended and do not wait for a person; nothing while the database is away.
    pub(super) async fn open_runs(&self) -> Option<u64> {
        let count = sqlx::query_scalar::<_, i64>(crate::conduct::OPEN_RUNS).fetch_one(&self.database);
        let count = tokio::time::timeout(ANSWER_WITHIN, count).await.ok()?.ok()?;
        u64::try_from(count).ok()
    }

    /// What is asked of people; nothing while the database is away.
    pub(super) async fn inbox(&self) -> Vec<Open> {
        let open = sqlx::query_as::<_, Open>(INBOX).fetch_all(&self.database);
        let open = tokio::time::timeout(ANSWER_WITHIN, open).await;
        open.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// What the world says of a key; nothing while it does not answer.
    pub(super) async fn look(&self, key: &str) -> Option<Value> {
        let asked = self.client.post(format!("{}/look", self.ledger_url));
        let asked = asked.body(serde_json::json!({ "key": key }).to_string());
        let told = asked.send().await.ok()?.text().await.ok()?;
        serde_json::from_str(&told).ok()
    }

    /// Asks once.
    pub(super) async fn ask(&self, door: Door, request: &Request, receipt: &Receipt) -> Outcome {
        match door {
            Door::Http => self.ask_http(request).await,
            Door::CommandLine => self.ask_command(request).await,
            Door::Sql => self.ask_sql(request, receipt).await,
        }
    }

    async fn ask_http(&self, request: &Request) -> Outcome {
        let steer = |verb, run| self.client.post(format!("{}/v1/runs/{run}/{verb}", self.api_url));
        let wanted = match request {
            Request::Start { key, kind, input } => self
                .client
                .post(format!("{}/v1/runs", self.api_url))
                .header("Idempotency-Key", key)
                .header("Content-Type", "application/json")
                .body(format!(r#"{{"{}":"{NAME}","input":{input}}}"#, named(*kind))),
            Request::Cancel(run) => steer("cancel", run),
            Request::Pause(run) => steer("pause", run),
            Request::Resume(run) => steer("resume", run),
            Request::Signal { run, id, place } => steer("signals", run)
                .header("Idempotency-Key", id)
                .header("Content-Type", "application/json")
                .body(format!(r#"{{"name":"{SIGNAL}","payload":{place},"sender":"{ACTOR}"}}"#)),
            Request::Decide { decision, result, .. } => {
                let Decision { approval, verb } = decision;
                let result = result.iter().map(|result| format!(r#","result":{result}"#));
                let result = result.collect::<String>();
                self.client
                    .post(format!("{}/v1/approvals/{approval}/decision", self.api_url))
                    .header("Content-Type", "application/json")
                    .body(format!(r#"{{"verb":"{verb}","actor":"{ACTOR}"{result}}}"#))
            }
        };
        let answered = async {
            let response = wanted.send().await?;
            let status = response.status().as_u16();
            Ok((status, response.text().await?))
        };
        match answered.await {
            Ok((status, body)) => of_response(request, status, &body),
            Err(error) => Outcome::Indeterminate(without_addresses(&error)),
        }
    }

    async fn ask_command(&self, request: &Request) -> Outcome {
        // Waiting for a place is not waiting for an answer, so the time limit begins after it.
        let Ok(_place) = self.commands.acquire().await else {
            return Outcome::Indeterminate("no more commands".to_owned());
        };
        let mut command = tokio::process::Command::new(&self.program);
        match request {
            Request::Start { key, kind, input } => {
                command.args(["run", "start"]).args(match kind {
                    Kind::Agent => &[NAME][..],
                    Kind::Workflow => &["--workflow", NAME],
                });
                command.args(["--input", input, "--key", key])
            }
            Request::Cancel(run) => command.args(["run", "cancel", run, "--by", ACTOR]),
            Request::Pause(run) => command.args(["run", "pause", run, "--by", ACTOR]),
            Request::Resume(run) => command.args(["run", "resume", run, "--by", ACTOR]),
            Request::Signal { run, id, place } => command.args([
                "run",
                "signal",
                run,
                SIGNAL,
                &place.to_string(),
                "--id",
                id,
                "--by",
                ACTOR,
            ]),
            Request::Decide { decision, result, .. } => {
                let verb = decision.verb.replace('_', "-");
                command.args(["inbox", &verb, &decision.approval, "--by", ACTOR]);
                command.args(result.iter().flat_map(|result| ["--result", result.as_str()]))
            }
        };
        command
            .args(["--json", "--database-url", &self.database_url])
            .stdin(Stdio::null())
            .kill_on_drop(true);
        match tokio::time::timeout(COMMAND_WITHIN, command.output()).await {
            Ok(Ok(output)) => of_command(request, &output),
            Ok(Err(error)) => Outcome::Indeterminate(format!("not started: {error}")),
            Err(_) => Outcome::Indeterminate("no answer in time".to_owned()),
        }
    }

    async fn ask_sql(&self, request: &Request, receipt: &Receipt) -> Outcome {
        let asked = self.ask_within(request, receipt);
        match tokio::time::timeout(ANSWER_WITHIN, asked).await {
            Ok(Ok(run)) if receipt.withdrawn => Outcome::RolledBack(run),
            Ok(Ok(run)) => Outcome::Acknowledged(run),
            Ok(Err(error)) => of_sql(&error),
            Err(_) => Outcome::Indeterminate("no answer in time".to_owned()),
        }
    }

    /// Asks in a transaction of the application's, which writes a row of its own beside.
    async fn ask_within(&self, request: &Request, receipt: &Receipt) -> sqlx::Result<String> {
        let mut transaction = self.database.begin().await?;
        let run = of_request(request).fetch_one(&mut *transaction).await?;
        sqlx::query("insert into storm_receipt (id, asked, run, of) values ($1, $2, $3, $4)")
            .bind(&receipt.id)
            .bind(crate::record::name(&request.asked()))
            .bind(&run)
            .bind(request.of())
            .execute(&mut *transaction)
            .await?;
        if receipt.withdrawn {
            transaction.rollback().await?;
        } else {
            transaction.commit().await?;
        }
        Ok(run)
    }
}

type Query<'q> = sqlx::query::QueryScalar<'q, sqlx::Postgres, String, sqlx::postgres::PgArguments>;

fn of_request(request: &Request) -> Query<'_> {
    fn steer<'q>(statement: &'static str, run: &'q String) -> Query<'q> {
        sqlx::query_scalar::<_, String>(statement).bind(run).bind(ACTOR)
    }
    match request {
        Request::Start { key, kind, input } => {
            let start = match kind {
                Kind::Agent => {
                    "select run_id::text
                         from longhaul.start_run(agent => $1, input => $2::text::json, idempotency_key => $3)"
                }
                Kind::Workflow => {
                    "select run_id::text
                         from longhaul.start_run(kind => $1, input => $2::text::json, idempotency_key => $3)"
                }
            };
            sqlx::query_scalar::<_, String>(start).bind(NAME).bind(input).bind(key)
        }
        Request::Cancel(run) => steer(
            "select $1::text from longhaul.cancel_run(run_id => $1::text::uuid, actor => $2)",
            run,
        ),
        Request::Pause(run) => steer(
            "select $1::text from longhaul.pause_run(run_id => $1::text::uuid, actor => $2)",
            run,
        ),
        Request::Resume(run) => steer(
            "select $1::text from longhaul.resume_run(run_id => $1::text::uuid, actor => $2)",
            run,
        ),
        Request::Signal { run, id, place } => steer(
            "select $1::text from longhaul.send_signal(
                     run_id => $1::text::uuid, sender => $2, name => $3, signal_id => $4, payload => $5::text::json)",
            run,
        )
        .bind(SIGNAL)
        .bind(id)
        .bind(place.to_string()),
        Request::Decide { run, decision, result } => steer(
            "select $1::text from longhaul.decide_approval(
                     approval_id => $3::text::uuid, actor => $2, verb => $4, result => $5::text::json)",
            run,
        )
        .bind(&decision.approval)
        .bind(&decision.verb)
        .bind(result),
    }
}

/// How the API calls what a run is of.
const fn named(kind: Kind) -> &'static str {
    match kind {
        Kind::Agent => "agent",
        Kind::Workflow => "workflow",
    }
}

/// What an answer of the API means.
pub(super) fn of_response(request: &Request, status: u16, body: &str) -> Outcome {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let code = body["code"].as_str().unwrap_or("no code");
    let run = match request {
        // The answer's id is the signal's own.
        Request::Signal { run, id, .. } => (body["id"] == **id).then_some(run.as_str()),
        // It tells the run's state.
        Request::Decide { run, .. } => Some(run.as_str()),
        Request::Start { .. } | Request::Cancel(_) | Request::Pause(_) | Request::Resume(_) => body["id"].as_str(),
    };
    match (status, run) {
        (200..300, Some(run)) => Outcome::Acknowledged(run.to_owned()),
        (408 | 429, _) => Outcome::Indeterminate(format!("{status} {code}")),
        (400..500, _) => Outcome::Refused(code.to_owned()),
        _ => Outcome::Indeterminate(format!("{status} {code}")),
    }
}

/// What a command's end means.
pub(super) fn of_command(request: &Request, output: &Output) -> Outcome {
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let error: Value = serde_json::from_slice(&output.stderr).unwrap_or_default();
    let code = error["error"]["code"].as_str().unwrap_or("no code");
    match (output.status.code(), request.run()) {
        (Some(0), Some(run)) => Outcome::Acknowledged(run.clone()),
        (Some(0), None) => match told["run_id"].as_str() {
            Some(run) => Outcome::Acknowledged(run.to_owned()),
            None => Outcome::Indeterminate("done, without a run's id".to_owned()),
        },
        // Usage, and what is refused: asking again would be told the same.
        (Some(2 | 3), _) => Outcome::Refused(code.to_owned()),
        (Some(_), _) => Outcome::Indeterminate(format!("{}, {code}", output.status)),
        (None, _) => Outcome::Indeterminate(output.status.to_string()),
    }
}

/// What an error of the database means.
fn of_sql(error: &sqlx::Error) -> Outcome {
    let refused = error
        .as_database_error()
        .filter(|error| error.code().is_some_and(|code| code.starts_with("LH4")));
    match refused {
        Some(refused) => Outcome::Refused(refused.constraint().unwrap_or("no code").to_owned()),
        None => Outcome::Indeterminate(error.to_string()),
    }
}

/// The innermost cause: the outer ones repeat the address.
fn without_addresses(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
