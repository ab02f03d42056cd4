//! Agents, steps and replies for this crate's tests, and actions as one line of text.

pub(crate) mod contract;

use crate::definition::{Agent, FunctionTool, Limits, Model, OnError, OnRefusal, RetryPolicy, Tool, ToolAction};
use crate::effect::Effect;
use crate::error::{ErrorClass, StepError};
use crate::fallback::Way;
use crate::gate::Breaker;
use crate::journal::{Asked, Journal, ModelReply, Standing, Step, StepBody, StepState, ToolOutcome};
use crate::next_action::{Action, Again, Move, Resolution, effect};
use crate::probe::{Probe, Rule};
use crate::sanitise::Sanitise;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

/// A desk with one tool of each effect; `audit` fails its run.
pub(crate) fn agent() -> Agent {
    Agent {
        name: "desk".to_owned(),
        description: None,
        system: None,
        model: Model {
            name: "claude-sonnet-5-5".to_owned(),
            api_version: Model::API_VERSION.to_owned(),
            max_tokens: 1_024,
            stream: true,
            timeout_seconds: 600,
            first_byte_timeout_seconds: None,
            idle_timeout_seconds: 60,
            retry: retry(),
            breaker: Breaker::default(),
        },
        limits: Limits {
            turns_max: 5,
            tool_calls_per_turn_max: 4,
            turn_seconds: None,
            wall_clock_seconds: 3_600,
            parallel_tool_calls: true,
        },
        on_refusal: OnRefusal::Fail,
        summarise_failures: true,
        tools: vec![
            tool("look", Effect::ReadOnly, OnError::TellModel),
            tool("book", Effect::Idempotent, OnError::TellModel),
            tool("pay", Effect::AtMostOnce, OnError::TellModel),
            tool("audit", Effect::AtMostOnce, OnError::FailRun),
        ],
    }
}

fn tool(name: &str, effect: Effect, on_error: OnError) -> Tool {
    Tool {
        name: name.to_owned(),
        description: String::new(),
        effect,
        input: None,
        strict: false,
        timeout_seconds: 30,
        retry: retry(),
        on_error,
        probe: None,
        cache: None,
        fallback: Vec::new(),
        after: Vec::new(),
        parallel: true,
        sanitise: Sanitise::default(),
        breaker: Breaker::default(),
        limit: None,
        action: ToolAction::Function(FunctionTool {
            function: name.to_owned(),
        }),
    }
}

fn retry() -> RetryPolicy {
    RetryPolicy {
        attempts_max: 3,
        initial_ms: 1_000,
        cap_ms: 8_000,
        horizon_seconds: 60,
    }
}

pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
}

pub(crate) fn raw(value: &Value) -> Box<RawValue> {
    to_raw_value(value).unwrap()
}

/// A journal whose run began at 0 and has no deadline.
pub(crate) fn journal(steps: Vec<Step>) -> Journal {
    Journal {
        history: Vec::new(),
        input: raw(&json!("Refund order 7.")),
        deadline: None,
        asked: steps
            .iter()
            .filter(|step| step.state == StepState::Unknown)
            // Whoever resumes a run decides about those that may be tried again.
            .filter(|step| !step.resumed_over || effect(step) == Effect::AtMostOnce)
            .map(asked)
            .collect(),
        held_back: Vec::new(),
        steps,
    }
}

/// People are asked about a step.
pub(crate) fn asked(step: &Step) -> Asked {
    Asked {
        id: format!("about {}", step.seq),
        about: Some((step.seq, step.attempt)),
        resumed_over: false,
        standing: Standing::Open,
    }
}

pub(crate) fn reply(stop_reason: &str, content: &Value) -> ModelReply {
    ModelReply {
        id: None,
        model: None,
        content: raw(content),
        stop_reason: Some(stop_reason.to_owned()),
        usage: None,
        stop_details: None,
    }
}

/// A reply that calls those tools; the ids are `c0`, `c1` and so on.
pub(crate) fn calls(names: &[&str]) -> ModelReply {
    let blocks: Vec<Value> = names
        .iter()
        .enumerate()
        .map(|(index, name)| call_block(&format!("c{index}"), name))
        .collect();
    reply("tool_use", &json!(blocks))
}

pub(crate) fn call_block(id: &str, name: &str) -> Value {
    json!({"type": "tool_use", "id": id, "name": name, "input": {}})
}

pub(crate) fn text(text: &str) -> Value {
    json!([{"type": "text", "text": text}])
}

/// A step that stands there for its first attempt.
pub(crate) fn step(seq: u32, turn: u32, state: StepState, body: StepBody) -> Step {
    Step {
        seq,
        turn,
        state,
        attempt: 1,
        attempts_max: 3,
        maybe_applied: false,
        attempt_started_at: at(0),
        budget_from: at(0),
        due_at: None,
        error: None,
        resumed_over: false,
        replaces: None,
        body,
    }
}

pub(crate) fn model(seq: u32, turn: u32, state: StepState) -> Step {
    step(seq, turn, state, StepBody::Model { reply: None })
}

pub(crate) fn answered(seq: u32, turn: u32, reply: ModelReply) -> Step {
    step(seq, turn, StepState::Succeeded, StepBody::Model { reply: Some(reply) })
}

/// A step for the call `index` of a turn, of the tool that has this effect.
pub(crate) fn tool_step(seq: u32, (turn, index): (u32, u32), effect: Effect, state: StepState) -> Step {
    let name = match effect {
        Effect::ReadOnly | Effect::Transactional => "look",
        Effect::Idempotent => "book",
        Effect::AtMostOnce => "pay",
    };
    let outcome = (state == StepState::Succeeded).then(|| ToolOutcome {
        content: format!("{name} is done"),
        ..ToolOutcome::default()
    });
    let body = StepBody::Tool {
        index,
        call_id: format!("c{index}"),
        name: name.to_owned(),
        effect,
        outcome,
    };
    step(seq, turn, state, body)
}

/// Asks `look` for an id, which is null where the call did not happen.
pub(crate) fn probe() -> Probe {
    let rule = |present| Rule {
        error: None,
        pointer: Some("/id".to_owned()),
        equals: None,
        present: Some(present),
    };
    Probe {
        tool: "look".to_owned(),
        input: Map::from_iter([("key".to_owned(), json!("{key}"))]),
        after_seconds: 0,
        happened: rule(true),
        did_not_happen: rule(false),
    }
}

/// A probe of the attempt of a step.
pub(crate) fn probe_step(seq: u32, (of, attempt): (u32, u32), state: StepState, content: &str) -> Step {
    let outcome = (state == StepState::Succeeded).then(|| ToolOutcome {
        content: content.to_owned(),
        ..ToolOutcome::default()
    });
    let body = StepBody::Probe {
        of,
        attempt,
        name: "look".to_owned(),
        outcome,
    };
    step(seq, 1, state, body)
}

impl Step {
    pub(crate) fn due(mut self, seconds: i64) -> Self {
        self.due_at = Some(at(seconds));
        self
    }

    pub(crate) fn in_doubt(mut self) -> Self {
        self.maybe_applied = true;
        self
    }

    pub(crate) fn resumed(mut self) -> Self {
        self.resumed_over = true;
        self
    }

    pub(crate) fn failed_with(mut self, error: StepError) -> Self {
        self.error = Some(error);
        self
    }
}

pub(crate) fn error(code: &str) -> StepError {
    StepError::new(ErrorClass::Permanent, code, "as told")
}

/// An action as one line.
pub(crate) fn told(action: &Action) -> String {
    let instant =
        |until: &Option<DateTime<Utc>>| until.map_or_else(String::new, |until| format!(" until {}", until.timestamp()));
    match action {
        Action::Act(moves) => moves.iter().map(told_move).collect::<Vec<_>>().join(", "),
        Action::Await { until } => format!("await{}", instant(until)),
        Action::Wait { until } => format!("wait{}", instant(&Some(*until))),
        Action::Park { reason, until, .. } => format!("park for {reason}{}", instant(until)),
        Action::Finish { answer } => format!("finish {answer:?}"),
        Action::Fail(error) => format!("fail {}", error.code),
    }
}

fn told_move(next: &Move) -> String {
    let instead = |replaces: &Option<u32>| replaces.map_or_else(String::new, |seq| format!(" instead of {seq}"));
    match next {
        Move::CallModel {
            turn,
            tools_off,
            replaces,
        } => {
            let off = if *tools_off { " with tools off" } else { "" };
            format!("model {turn}{off}{}", instead(replaces))
        }
        Move::CallTool {
            turn,
            index,
            call,
            replaces,
            held,
        } => {
            let verb = if *held { "hold" } else { "call" };
            format!("{verb} {turn}/{index} {}{}", call.name, instead(replaces))
        }
        Move::FallBack {
            turn,
            index,
            replaces,
            way,
            ..
        } => {
            let way = match way {
                Way::Stale => "the cache".to_owned(),
                Way::Call(substitute) => substitute.tool.clone(),
                Way::Person(_) => "a person".to_owned(),
            };
            format!("{turn}/{index} by {way} instead of {replaces}")
        }
        Move::Answer { turn, index, error, .. } => format!("answer {turn}/{index} {}", error.code),
        Move::TryAgain { seq, why } => {
            let why = match why {
                Again::Due => "due",
                Again::Interrupted => "interrupted",
                Again::Resumed => "resumed",
                Again::DidNotHappen => "did not happen",
            };
            format!("again {seq} {why}")
        }
        Move::Ask { seq } => format!("ask about {seq}"),
        Move::Probe { of } => format!("probe {of}"),
        Move::Resolve { seq, into, by } => match into {
            Resolution::Succeeded(outcome) => format!("{seq} succeeded with {:?} by {by}", outcome.content),
            Resolution::Failed(error) => format!("{seq} failed with {} by {by}", error.code),
        },
        Move::GiveUp { seq, unknown, error } => {
            let end = unknown.map_or("failed", |reason| reason.as_str());
            format!("give up {seq} as {end}: {}", error.code)
        }
    }
}
