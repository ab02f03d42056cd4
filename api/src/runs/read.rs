//! What a run has done, and what was said in it.

use crate::answer::Json;
use crate::parameter::{Parameters, RunPath};
use crate::problem::Problem;
use crate::server::App;
use axum::extract::State;
use chrono::{DateTime, Utc};
use engine::query::{AttemptRow, MessageRow};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A recorded unit of a run, with every try of it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Step {
    /// From 1.
    seq: i32,
    /// Of an agent's step: one model call and the tool calls that it asked for, from 1.
    #[schema(required)]
    turn: Option<i32>,
    /// Of a workflow's step: branch path, name and occurrence.
    #[schema(required)]
    identity: Option<String>,
    /// `model`, `tool`, …
    kind: String,
    /// The model's or the tool's.
    name: String,
    /// `waiting`, `running`, `succeeded`, `failed`, `cancelled` or `unknown`.
    state: String,
    /// How it may be repeated: `read_only`, `idempotent`, `transactional`, `at_most_once`.
    effect: String,
    /// The idempotency key, the same in every attempt.
    key: String,
    /// Whether an attempt may have been applied without anybody knowing.
    maybe_applied: bool,
    /// The step whose place it takes.
    replaces_seq: Option<i32>,
    /// When it may be tried again.
    due_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    /// What it came to.
    result: Value,
    /// Why it failed.
    error: Value,
    /// Every try, oldest first.
    attempts: Vec<Attempt>,
}

/// One try of a step.
#[derive(Serialize, ToSchema)]
pub(crate) struct Attempt {
    /// From 1.
    attempt: i32,
    worker: Option<String>,
    started_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    error: Value,
    /// What it showed: a status, an exit code, times.
    evidence: Value,
}

/// A page of a journal.
#[derive(Serialize, ToSchema)]
pub(crate) struct JournalPage {
    /// In order.
    steps: Vec<Step>,
    /// The next page's `cursor`; null: there is none.
    #[schema(example = "s50")]
    next_cursor: Option<String>,
}

/// A message as the model is shown it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Message {
    /// From 1.
    position: i64,
    /// `user`, `assistant` or `tool`.
    role: String,
    /// Whose result it is.
    tool: Option<String>,
    /// Whether the tool's result is an error.
    is_error: bool,
    /// For people: text, and a word in brackets for everything else.
    text: Option<String>,
    /// As it was said.
    content: Value,
    /// The step that said it.
    step_seq: Option<i32>,
}

/// A page of a transcript.
#[derive(Serialize, ToSchema)]
pub(crate) struct TranscriptPage {
    /// In order.
    messages: Vec<Message>,
    /// The next page's `cursor`; null: there is none.
    #[schema(example = "m50")]
    next_cursor: Option<String>,
}

/// Read a journal
///
/// Every step of a run in order, with every attempt.
#[utoipa::path(
    get, path = "/v1/runs/{id}/journal", tag = "runs", operation_id = "readJournal",
    params(
        ("id" = uuid::Uuid, Path, description = "The run"),
        ("cursor" = Option<String>, Query, pattern = "^s[0-9]{1,9}$", description = "`next_cursor` of the page before"),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 200, description = "Steps of a page, 50 if absent"),
    ),
    responses(
        (status = 200, description = "A page", body = JournalPage),
        (status = 404, description = "`no_such_run`"),
    ),
)]
pub(crate) async fn journal(
    State(app): State<App>,
    RunPath(run): RunPath,
    parameters: Parameters,
) -> Result<Json<JournalPage>, Problem> {
    parameters.known(&["cursor", "limit"])?;
    let (after, limit) = (parameters.cursor(|text| numbered('s', text))?, parameters.limit()?);
    app.engine.run_head(run, &app.options.tenant).await?;
    let rows = app.engine.journal_page(run, after.unwrap_or_default(), limit).await?;
    let steps = steps(rows);
    let is_full = i64::try_from(steps.len()) == Ok(limit);
    let next_cursor = steps.last().filter(|_| is_full).map(|last| format!("s{}", last.seq));
    Ok(Json(JournalPage { steps, next_cursor }))
}

/// Rows come step by step, one for each attempt.
fn steps(rows: Vec<AttemptRow>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for row in rows {
        let attempt = (row.attempt > 0).then(|| Attempt {
            attempt: row.attempt,
            worker: row.worker,
            started_at: row.started_at,
            ended_at: row.attempt_ended_at,
            error: row.error.map_or(Value::Null, |json| json.0),
            evidence: row.evidence.map_or(Value::Null, |json| json.0),
        });
        match steps.last_mut() {
            Some(step) if step.seq == row.seq => step.attempts.extend(attempt),
            Some(_) | None => steps.push(Step {
                seq: row.seq,
                turn: row.turn,
                identity: row.identity,
                kind: row.kind,
                name: row.name,
                state: row.state,
                effect: row.effect,
                key: row.key,
                maybe_applied: row.maybe_applied,
                replaces_seq: row.replaces_seq,
                due_at: row.due_at,
                created_at: row.created_at,
                ended_at: row.ended_at,
                result: row.result.map_or(Value::Null, |json| json.0),
                error: row.step_error.map_or(Value::Null, |json| json.0),
                attempts: attempt.into_iter().collect(),
            }),
        }
    }
    steps
}

/// Read a transcript
///
/// The conversation as the model is shown it.
#[utoipa::path(
    get, path = "/v1/runs/{id}/transcript", tag = "runs", operation_id = "readTranscript",
    params(
        ("id" = uuid::Uuid, Path, description = "The run"),
        ("cursor" = Option<String>, Query, pattern = "^m[0-9]{1,9}$", description = "`next_cursor` of the page before"),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 200, description = "Messages of a page, 50 if absent"),
    ),
    responses(
        (status = 200, description = "A page", body = TranscriptPage),
        (status = 404, description = "`no_such_run`"),
    ),
)]
pub(crate) async fn transcript(
    State(app): State<App>,
    RunPath(run): RunPath,
    parameters: Parameters,
) -> Result<Json<TranscriptPage>, Problem> {
    parameters.known(&["cursor", "limit"])?;
    let (after, limit) = (parameters.cursor(|text| numbered('m', text))?, parameters.limit()?);
    app.engine.run_head(run, &app.options.tenant).await?;
    let rows = app
        .engine
        .transcript_page(run, i64::from(after.unwrap_or_default()), limit)
        .await?;
    let is_full = i64::try_from(rows.len()) == Ok(limit);
    let next_cursor = rows
        .last()
        .filter(|_| is_full)
        .map(|last| format!("m{}", last.position));
    let messages = rows.into_iter().map(message).collect();
    Ok(Json(TranscriptPage { messages, next_cursor }))
}

fn message(row: MessageRow) -> Message {
    Message {
        position: row.position,
        role: row.role,
        tool: row.tool,
        is_error: row.is_error,
        text: row.text,
        content: row.content.map_or(Value::Null, |json| json.0),
        step_seq: row.step_seq,
    }
}

/// A cursor that is a letter and a number.
pub(crate) fn numbered(letter: char, text: &str) -> Option<i32> {
    let number = text.strip_prefix(letter)?;
    let is_ours = (1..=9).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    is_ours.then(|| number.parse().ok())?
}
