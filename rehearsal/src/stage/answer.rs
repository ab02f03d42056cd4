//! One request: judge it, decide the answer, write it down, give it.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, Uri},
    response::Response,
};
use serde_json::{Value, json};

use super::{Book, Stage, reply};
use crate::{
    contract::{self, Endpoint, Refusal, Request},
    perform::{self, Message, Prompt},
    record::{AnswerKind, Asked, headers_of},
    scene,
    script::{Answer, ErrorAnswer},
};

/// What a request gets.
enum Plan {
    Refuse(Refusal),
    OffScript(String),
    Fail {
        rule: String,
        delay: Duration,
        error: ErrorAnswer,
    },
    Say {
        rule: String,
        answer: Box<Answer>,
        message: Message,
        streams: bool,
    },
    Count(u64),
}

/// A request as it came.
struct Arrival {
    path: &'static str,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
}

/// `POST /v1/messages`.
pub(super) async fn answer_message(
    State(stage): State<Arc<Stage>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let arrival = Arrival {
        path: "/v1/messages",
        headers,
        body,
    };
    answer(&stage, arrival, Endpoint::Messages).await
}

/// `POST /v1/messages/count_tokens`.
pub(super) async fn answer_count(
    State(stage): State<Arc<Stage>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let arrival = Arrival {
        path: "/v1/messages/count_tokens",
        headers,
        body,
    };
    answer(&stage, arrival, Endpoint::CountTokens).await
}

/// Every other path and method.
pub(super) async fn answer_elsewhere(uri: Uri) -> Response {
    let refusal = Refusal {
        status: 404,
        kind: "not_found_error",
        message: format!("not found: {}", uri.path()),
    };
    reply::refusal(&refusal, "req_elsewhere")
}

async fn answer(stage: &Stage, arrival: Arrival, endpoint: Endpoint) -> Response {
    let judged = read(&arrival, endpoint);
    let (request_id, plan) = match write_down(stage, &arrival, (endpoint, judged)) {
        Ok(planned) => planned,
        Err(error) => {
            tracing::error!(error = %error, "could not write the record");
            let message = "rehearsal: could not write the record".to_owned();
            return reply::refusal(
                &Refusal {
                    status: 500,
                    kind: "api_error",
                    message,
                },
                "req_unrecorded",
            );
        }
    };
    match plan {
        Plan::Refuse(refusal) => reply::refusal(&refusal, &request_id),
        Plan::OffScript(message) => reply::refusal(&Refusal::invalid(message), &request_id),
        Plan::Count(tokens) => reply::json(StatusCode::OK, &request_id, json!({"input_tokens": tokens}).to_string()),
        Plan::Fail { delay, error, .. } => {
            reply::wait(delay, &stage.stopping).await;
            reply::error(&error, &request_id)
        }
        Plan::Say {
            answer,
            message,
            streams,
            ..
        } => {
            reply::wait(answer.delay(), &stage.stopping).await;
            let stopping = stage.stopping.clone();
            match streams {
                true => reply::stream(&message, &answer, (&request_id, stopping)),
                false => reply::message(&message, &answer, &request_id),
            }
        }
    }
}

/// The body, if it keeps the contract.
fn read(arrival: &Arrival, endpoint: Endpoint) -> Result<Value, Refusal> {
    let body = arrival.body.as_ref().map_err(|rejection| {
        let status = rejection.status().as_u16();
        let kind = if status == 413 {
            "request_too_large"
        } else {
            "invalid_request_error"
        };
        Refusal {
            status,
            kind,
            message: rejection.body_text(),
        }
    })?;
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| Refusal::invalid(format!("the request body is not valid JSON: {error}")))?;
    let header = |name: &str| arrival.headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    contract::judge(&Request {
        version: header("anthropic-version"),
        has_key: header("x-api-key").or(bearer).is_some_and(|key| !key.trim().is_empty()),
        has_beta: header("anthropic-beta").is_some(),
        endpoint,
        body: &body,
    })?;
    Ok(body)
}

/// Numbers the request, decides its answer and records both, in one go: records and numbers have the same order.
fn write_down(
    stage: &Stage,
    arrival: &Arrival,
    (endpoint, judged): (Endpoint, Result<Value, Refusal>),
) -> std::io::Result<(String, Plan)> {
    let body_bytes = arrival.body.as_ref().map(Bytes::as_ref).unwrap_or_default();
    let mut book = stage.lock();
    book.order += 1;
    let order = book.order;
    let plan = match (endpoint, judged) {
        (_, Err(refusal)) => Plan::Refuse(refusal),
        (Endpoint::CountTokens, Ok(_)) => Plan::Count(perform::estimate_tokens(body_bytes.len())),
        (Endpoint::Messages, Ok(body)) => plan_answer(&mut book, &body, body_bytes.len()),
    };
    let request_id = format!("req_rehearsal{order:08}");
    book.notebook.write_down(Asked {
        order,
        request_id: request_id.clone(),
        path: arrival.path.to_owned(),
        headers: headers_of(&arrival.headers),
        body: String::from_utf8_lossy(body_bytes).into_owned(),
        rule: plan.rule(),
        answer: plan.kind(),
    })?;
    drop(book);
    stage.asked_count.send_replace(order);
    Ok((request_id, plan))
}

fn plan_answer(book: &mut Book, body: &Value, body_bytes: usize) -> Plan {
    let Some((index, rule)) = book.scene.choose(body) else {
        return Plan::OffScript(scene::no_rule_message(body));
    };
    let label = rule.label(index);
    let answer = rule.answer;
    let streams = body["stream"] == true;
    let event_as_http = answer
        .error_event
        .as_ref()
        .filter(|_| !streams)
        .map(|error| error.as_http());
    if let Some(error) = answer.error.clone().or(event_as_http) {
        return Plan::Fail {
            rule: label,
            delay: answer.delay(),
            error,
        };
    }
    match perform::compose(
        &answer,
        &Prompt {
            body,
            body_bytes,
            order: book.order,
        },
    ) {
        Ok(message) => Plan::Say {
            rule: label,
            answer: Box::new(answer),
            message,
            streams,
        },
        Err(mistake) => Plan::OffScript(format!("rehearsal: {label}: {mistake}")),
    }
}

impl Plan {
    fn rule(&self) -> Option<String> {
        match self {
            Self::Fail { rule, .. } | Self::Say { rule, .. } => Some(rule.clone()),
            Self::Refuse(_) | Self::OffScript(_) | Self::Count(_) => None,
        }
    }

    fn kind(&self) -> AnswerKind {
        match self {
            Self::Refuse(Refusal { status, message, .. }) => AnswerKind::Refused {
                status: *status,
                message: message.clone(),
            },
            Self::OffScript(message) => AnswerKind::OffScript {
                message: message.clone(),
            },
            Self::Fail { error, .. } => AnswerKind::Error { status: error.status },
            Self::Count(_) => AnswerKind::TokenCount,
            Self::Say { answer, .. } if answer.cut_after.is_some() || answer.cut_before.is_some() => AnswerKind::Cut,
            Self::Say { answer, .. } if answer.error_event.is_some() => AnswerKind::ErrorEvent,
            Self::Say { streams: true, .. } => AnswerKind::Stream,
            Self::Say { streams: false, .. } => AnswerKind::Message,
        }
    }
}
