//! Tools that are one SQL statement: what is sent, what comes back, and what a refusal means.
//!
//! A `read_only` one runs here, on a database that the worker's configuration names. A `transactional` one runs where its
//! result is recorded, in the engine's own database: its driver begins and commits. Start at [`Databases::read`].

use super::limit::Limit;
use super::{Attempt, Call};
use crate::tool::Environment;
use crate::tool::output::{clean, head};
use agent::definition::SqlTool;
use agent::tool::{OUTPUT_BYTES_MAX, sql};
use agent::{AttemptOutcome, ErrorClass, StepError, ToolOutcome};
use engine::Connect;
use engine::statement::{self, Bounds, Rows, Statement, StatementError};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Connections of this worker to one database at the same time; other calls wait, within their own time.
const CONNECTIONS_MAX: usize = 4;

/// How much of what a server says is quoted.
const MESSAGE_BYTES_MAX: usize = 2 * 1024;

/// Room for what stands around the rows.
const FRAME_BYTES: usize = 1024;

/// A stored request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) tool: &'a SqlTool,
    pub(crate) statement: &'a str,
    pub(crate) parameters: &'a BTreeMap<String, Option<String>>,
}

impl Request<'_> {
    /// As the engine takes it.
    pub(crate) fn statement(&self) -> Result<Statement, StepError> {
        let parsed = sql::parse(self.statement).map_err(|error| {
            let message = format!("the stored statement cannot be read: {error}");
            StepError::new(ErrorClass::Permanent, "bad_template", message).fatal()
        })?;
        let parameters = parsed
            .fields
            .iter()
            .map(|name| self.parameters.get(name).cloned().flatten());
        Ok(Statement {
            parameters: parameters.collect(),
            returns_rows: parsed.returns_rows(),
            pieces: parsed.pieces,
        })
    }

    pub(crate) const fn bounds(&self) -> Bounds {
        Bounds {
            rows_max: self.tool.row_limit,
            bytes_max: OUTPUT_BYTES_MAX - FRAME_BYTES - self.tool.row_limit as usize,
            to_the_end: self.tool.database.is_none(),
        }
    }
}

/// What the model is told of rows: JSON text, in which every number has the digits that the database gave it.
pub(crate) fn told(rows: &Rows, (source, began): (&str, Instant)) -> ToolOutcome {
    let count = rows.written.unwrap_or(rows.rows.len() as u64);
    let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let metadata = json!({ "source": source, "query_time_ms": took });
    let body = rows.rows.join(",");
    let truncated = rows.truncated;
    let mut notes = Vec::new();
    let mut note = String::new();
    if truncated {
        let cut = format!("cut: {count} rows shown, and there are more");
        note = format!(r#","note":{}"#, json!(cut));
        notes.push(cut);
    }
    let content = format!(
        r#"{{"status":"success","count":{count},"truncated":{truncated}{note},"rows":[{body}],"metadata":{metadata}}}"#
    );
    ToolOutcome {
        content,
        is_error: false,
        notes,
        label: None,
    }
}

/// Databases that the worker's configuration names.
#[derive(Debug, Clone, Default)]
pub struct Databases(BTreeMap<String, Database>);

#[derive(Clone)]
struct Database {
    /// `postgres://…`, or `env:NAME`.
    url: String,
    places: Arc<Semaphore>,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Database(..)")
    }
}

impl Databases {
    /// By their names; each is a URL, or `env:NAME` for the variable that holds it.
    pub fn new(urls: &BTreeMap<String, String>) -> Self {
        let databases = urls.iter().map(|(name, url)| {
            let database = Database {
                url: url.clone(),
                places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            };
            (name.clone(), database)
        });
        Self(databases.collect())
    }

    /// Makes one attempt of a tool that reads.
    pub(super) async fn read(&self, environment: &Environment, call: &Call<'_>, request: Request<'_>) -> Attempt {
        let name = request.tool.database.as_deref().unwrap_or_default();
        let (database, url, statement) = match self.find(environment, name, request) {
            Ok(found) => found,
            Err(error) => return Attempt::not_sent(error),
        };
        let mut limit = Limit::of(call);
        let connect = Connect::new(url, format!("longhaul tool {}", call.tool.name));
        let began = Instant::now();
        let reading = async {
            let place = database.places.acquire().await;
            let left = call.limit.timeout.saturating_sub(began.elapsed());
            let read = statement::read_elsewhere(&connect, left, (&statement, request.bounds())).await;
            drop(place);
            read
        };
        let read = limit.within(reading).await;
        let mut evidence = json!({ "kind": "sql", "database": name });
        let outcome = match read {
            Some(Ok(rows)) => {
                add_evidence(&mut evidence, &rows);
                AttemptOutcome::Done(told(&rows, (name, began)))
            }
            Some(Err(error)) => {
                note_state(&mut evidence, &error);
                not_applied(judge(&error, (name, &limit)))
            }
            None => not_applied(limit.expired()),
        };
        evidence["limit"] = limit.evidence();
        Attempt { outcome, evidence }
    }

    fn find(
        &self,
        environment: &Environment,
        name: &str,
        request: Request<'_>,
    ) -> Result<(&Database, String, Statement), StepError> {
        let Some(database) = self.0.get(name) else {
            let message = format!("this worker's configuration names no database {name}");
            let suggestion = format!(
                "add [databases.{name}] with its url to the settings file of the worker, restart it, and resume the run"
            );
            let error = StepError::new(ErrorClass::Permanent, "missing_database", message);
            return Err(error.suggest(suggestion).fatal());
        };
        let url = match database.url.strip_prefix("env:") {
            None => database.url.clone(),
            Some(variable) => environment.get(variable).ok_or_else(|| {
                let message = format!("the environment variable {variable} is not set in the worker");
                let suggestion = format!(
                    "set {variable}, which the database {name} is configured by, where the worker is started, restart it, and resume the run"
                );
                let error = StepError::new(ErrorClass::Permanent, "missing_secret", message);
                error.suggest(suggestion).fatal()
            })?,
        };
        Ok((database, url, request.statement()?))
    }
}

/// What was read, for people.
pub(crate) fn add_evidence(evidence: &mut Value, rows: &Rows) {
    evidence["rows"] = json!(rows.written.unwrap_or(rows.rows.len() as u64));
    if rows.truncated {
        evidence["truncated"] = json!(true);
    }
}

/// What the database called its refusal, for people.
pub(crate) fn note_state(evidence: &mut Value, error: &StatementError) {
    if let StatementError::Refused { state, .. } = error {
        evidence["sqlstate"] = json!(state);
    }
}

/// A statement that could only read has done nothing.
const fn not_applied(error: StepError) -> AttemptOutcome<ToolOutcome> {
    AttemptOutcome::NotApplied {
        error,
        retry_after: None,
    }
}

/// What a failure is, in a word and a class.
pub(crate) fn judge(error: &StatementError, (database, limit): (&str, &Limit)) -> StepError {
    match error {
        StatementError::Refused {
            state,
            message,
            detail,
            hint,
        } => {
            let mut said = head(&clean(message.as_bytes()), MESSAGE_BYTES_MAX).to_owned();
            // Which key it was. What other details hold is not always the caller's.
            if let (Some(detail), "23505" | "23503") = (detail, state.as_str()) {
                said = format!("{said}: {}", head(&clean(detail.as_bytes()), MESSAGE_BYTES_MAX));
            }
            let error = refused(state, (&said, database, limit));
            match hint {
                Some(hint) if error.suggestion.is_none() => {
                    let hint = head(&clean(hint.as_bytes()), MESSAGE_BYTES_MAX).to_owned();
                    error.suggest(hint)
                }
                Some(_) | None => error,
            }
        }
        StatementError::Lost => {
            let message = format!("the database {database} cannot be reached");
            StepError::new(ErrorClass::Transient, "database_unavailable", message)
        }
        StatementError::InvalidUrl => {
            let message = format!("the url of the database {database} in the worker's configuration cannot be read");
            StepError::new(ErrorClass::Permanent, "invalid_database_url", message)
                .suggest("expected postgres://user:password@host:port/database")
                .fatal()
        }
        StatementError::Unreadable => {
            let message = format!("what the database {database} sent cannot be read");
            StepError::new(ErrorClass::Permanent, "database_unreadable", message)
        }
    }
}

/// By the SQLSTATE: PostgreSQL documentation, appendix A.
fn refused(state: &str, (said, database, limit): (&str, &str, &Limit)) -> StepError {
    let of = |class: ErrorClass, code: &str| StepError::new(class, code, said);
    match (state.get(..2).unwrap_or_default(), state) {
        (_, "57014") if said.contains("statement timeout") => limit.expired(),
        (_, "42P18") => of(ErrorClass::Permanent, "statement_refused")
            .suggest("let the tool's author say the field's type, as in {field}::text"),
        // Which database, and as whom, is nobody's business but the operator's.
        ("28" | "3D", _) => of(ErrorClass::Permanent, "database_login")
            .suggest(format!(
                "look at the url of the database {database} in the worker's configuration, then resume the run"
            ))
            .fatal(),
        ("23", _) => of(ErrorClass::UserError, "constraint_violated")
            .suggest("nothing was written: correct the values as the message says, or leave it at that"),
        ("22", _) => of(ErrorClass::UserError, "value_refused")
            .suggest("nothing was done: correct the value as the message says and call the tool again"),
        // What a function of the database's own says to its callers.
        ("P0", "P0001") => of(ErrorClass::UserError, "raised"),
        ("40", _) | (_, "55P03") => of(ErrorClass::Transient, "database_conflict"),
        ("08" | "53" | "57", _) => of(ErrorClass::Transient, "database_unavailable"),
        ("42", _) | (_, "25006" | "0A000") => of(ErrorClass::Permanent, "statement_refused")
            .suggest("do without this tool: its author has to mend its statement, or what its role may do"),
        _ => of(ErrorClass::Permanent, "statement_failed"),
    }
}

#[cfg(test)]
mod tests;
