//! Makes moves: records what is about to happen, then lets it happen.

use super::attempt::Going;
use super::cache::Recalled;
use super::outcome::effect;
use super::wanted::{Wanted, digest_of, storable};
use super::{Driver, Flow, Version};
use crate::crash_point::crash_point;
use crate::drive::later;
use crate::scribe::{Draft, Written};
use agent::definition::{RetryPolicy, Tool};
use agent::effect::UnknownReason;
use agent::next_action::{Again, Move, REQUEST_CHANGED};
use agent::tool::{ToolRequest, render};
use agent::transcript::{error_outcome, transcript};
use agent::wire::messages::{RequestParts, ToolChoice, request_body};
use agent::{Asked, Effect, ErrorClass, HeldBack, Step, StepBody, StepError, StepState};
use engine::{EngineError, Place, StepBegin, StepChange, payload};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// What a step sends, the same in every attempt.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) key: String,
    pub(super) digest: Vec<u8>,
    /// Absent for model calls, which are rebuilt from the journal.
    pub(super) request: Option<Arc<ToolRequest>>,
}

/// Moves on their way into one record.
#[derive(Default)]
pub(super) struct Moves {
    pub(super) draft: Draft,
    pub(super) steps: Vec<Step>,
    pub(super) asked: Vec<Asked>,
    /// Steps that may not go out until they are called.
    pub(super) held: Vec<HeldBack>,
    pub(super) going: Vec<Going>,
    sent: Vec<(u32, Sent)>,
    /// Earlier results, by the places of the calls that they answer.
    pub(super) recalled: Recalled,
}

/// A new step, before it has a number of attempts.
pub(super) struct New<'a> {
    pub(super) turn: u32,
    pub(super) replaces: Option<u32>,
    pub(super) name: &'a str,
    pub(super) effect: Effect,
    pub(super) retry: Option<&'a RetryPolicy>,
    pub(super) body: StepBody,
    /// Where it stands, if not in a turn.
    pub(super) identity: Option<String>,
    pub(super) digest: Vec<u8>,
    pub(super) request: Option<ToolRequest>,
    pub(super) error: Option<StepError>,
    /// It waits for other calls of its turn, or for a person.
    pub(super) held: bool,
}

impl Driver {
    /// Records all moves in one statement, then starts what they start.
    pub(super) async fn act(&mut self, moves: Vec<Move>) -> Result<Flow, EngineError> {
        let mut making = Moves {
            recalled: self.recall(&moves).await,
            ..Moves::default()
        };
        for next in moves {
            if let Err(error) = self.make(&mut making, next) {
                return self.finish(engine::Ending::Failed(json!(error).to_string())).await;
            }
        }
        if self.admit(&mut making).await? == Flow::Done {
            return Ok(Flow::Done);
        }
        let Moves {
            draft,
            steps,
            asked,
            held,
            sent,
            going,
            recalled: _,
        } = making;
        if draft.is_empty() {
            // All stand where they stood.
            self.journal.held_back.extend(held);
            return Ok(Flow::GoOn);
        }
        let has_settled = steps.iter().any(|step| {
            self.step(step.seq)
                .is_some_and(|before| before.state == StepState::Unknown)
        });
        let has_doubted = steps.iter().any(|step| step.state == StepState::Unknown);
        let begun: Vec<u32> = going.iter().map(Going::seq).collect();
        #[cfg(feature = "planted-faults")]
        let going = self.send_before_intent(&steps, &sent, going).await;
        match self.record(draft, steps).await? {
            Written::Now(_) => {}
            Written::Refused(_) => {
                self.give_up_places(&begun).await?;
                return Ok(Flow::GoOn);
            }
            Written::ClaimLost => return Ok(Flow::Done),
        }
        self.journal.held_back.extend(held);
        // Its time counts from the commit: it was not sent before.
        let now = self.hold.now();
        for step in self.journal.steps.iter_mut().filter(|step| begun.contains(&step.seq)) {
            step.attempt_started_at = now;
        }
        let has_asked = !asked.is_empty();
        self.journal.asked.extend(asked);
        self.sent.extend(sent);
        if has_asked {
            crash_point!("approval.opened");
        }
        if has_doubted {
            crash_point!("doubt.recorded");
        }
        if has_settled {
            crash_point!("doubt.settled");
        }
        if !going.is_empty() {
            crash_point!("intent.committed");
        }
        for call in going {
            self.start(call);
        }
        Ok(Flow::GoOn)
    }

    fn make(&self, making: &mut Moves, next: Move) -> Result<(), StepError> {
        match next {
            Move::CallModel {
                turn,
                tools_off,
                replaces,
            } => self.call_model(making, (turn, tools_off, replaces)),
            Move::CallTool {
                turn,
                index,
                call,
                replaces,
                held,
            } => {
                let wanted = Wanted {
                    turn,
                    index,
                    call,
                    replaces,
                };
                self.call_tool(making, &wanted, held);
                Ok(())
            }
            Move::FallBack {
                turn,
                index,
                call,
                replaces,
                way,
            } => {
                let wanted = Wanted {
                    turn,
                    index,
                    call,
                    replaces: Some(replaces),
                };
                self.fall_back(making, &wanted, &way);
                Ok(())
            }
            Move::Answer {
                turn,
                index,
                call,
                error,
            } => {
                let asked = Wanted {
                    turn,
                    index,
                    call,
                    replaces: None,
                };
                self.answer(making, &asked, error);
                Ok(())
            }
            Move::TryAgain { seq, why } => self.try_again(making, seq, why),
            Move::GiveUp { seq, unknown, error } => {
                self.give_up(making, seq, (unknown, error));
                Ok(())
            }
            Move::Ask { seq } => {
                self.ask(making, seq);
                Ok(())
            }
            Move::Probe { of } => {
                self.probe(making, of);
                Ok(())
            }
            Move::Resolve { seq, into, by } => {
                self.resolve(making, seq, (into, by));
                Ok(())
            }
        }
    }

    fn model_request(&self, tools_off: bool) -> Result<String, StepError> {
        let Version { agent, specs, .. } = self.version.as_ref();
        Ok(request_body(&RequestParts {
            model: &agent.model,
            system: agent.system.as_deref(),
            messages: &transcript(agent, &self.journal)?,
            tools: specs,
            tool_choice: match (tools_off, agent.limits.parallel_tool_calls) {
                (true, _) => ToolChoice::None,
                (false, true) => ToolChoice::Auto,
                (false, false) => ToolChoice::OneAtATime,
            },
        }))
    }

    fn call_model(
        &self,
        making: &mut Moves,
        (turn, tools_off, replaces): (u32, bool, Option<u32>),
    ) -> Result<(), StepError> {
        let body = self.model_request(tools_off)?;
        let model = &self.version.agent.model;
        let seq = self.begin(
            making,
            New {
                turn,
                replaces,
                name: &model.name,
                effect: Effect::ReadOnly,
                retry: Some(&model.retry),
                body: StepBody::Model { reply: None },
                identity: None,
                digest: payload::digest(&body),
                request: None,
                error: None,
                held: false,
            },
        );
        making.going.push(Going::Model { seq, body });
        Ok(())
    }

    /// A call whose input does not hold, or cannot be made into a request, is answered without being made.
    fn call_tool(&self, making: &mut Moves, asked: &Wanted, held: bool) {
        let Some(tool) = self.version.agent.tool(&asked.call.name) else {
            let error = StepError::new(ErrorClass::UserError, "tool_not_found", "there is no such tool");
            return self.answer(making, asked, error);
        };
        match self.request_of(tool, asked.call.input.get()) {
            Ok(request) => match making.recalled.remove(&(asked.turn, asked.index)) {
                Some(recalled) => self.answer_recalled(making, asked, (tool, recalled)),
                None => self.send_tool(making, asked, (tool, request, held)),
            },
            Err(error) => self.answer(making, asked, error),
        }
    }

    /// What leaves the process for an input of a tool, once that has passed the tool's rules and its schema.
    pub(super) fn request_of(&self, tool: &Tool, input: &str) -> Result<ToolRequest, StepError> {
        render::render(tool, &self.checked(&tool.name, input)?)
    }

    /// An input as it is after a tool's rules, with the schema's defaults.
    pub(super) fn checked(&self, tool: &str, input: &str) -> Result<Value, StepError> {
        let Version {
            schemas, sanitisers, ..
        } = self.version.as_ref();
        let schema = schemas
            .get(tool)
            .ok_or_else(|| StepError::new(ErrorClass::UserError, "tool_not_found", "there is no such tool"))?;
        schema.check_sanitised(input, sanitisers.get(tool))
    }

    pub(super) fn send_tool(
        &self,
        making: &mut Moves,
        asked: &Wanted,
        (tool, request, held): (&Tool, ToolRequest, bool),
    ) {
        self.begin_call(
            making,
            New {
                turn: asked.turn,
                replaces: asked.replaces,
                name: &tool.name,
                effect: tool.effect,
                retry: Some(&tool.retry),
                body: asked.body(tool, None),
                identity: None,
                digest: digest_of(&request),
                request: Some(request),
                error: None,
                held,
            },
        );
    }

    /// A step that a tool is called for, unless it has failed already.
    pub(super) fn begin_call(&self, making: &mut Moves, new: New<'_>) {
        let (tool, request) = (new.name.to_owned(), new.request.clone().map(Arc::new));
        let held = new.held;
        let seq = self.begin(making, new);
        if held {
            return;
        }
        making
            .going
            .extend(request.map(|request| Going::Tool { seq, tool, request }));
    }

    fn answer(&self, making: &mut Moves, asked: &Wanted, error: StepError) {
        let tool = self.version.agent.tool(&asked.call.name);
        let effect = tool.map_or(Effect::ReadOnly, |tool| tool.effect);
        let outcome = (!error.fatal).then(|| error_outcome(&error));
        self.begin(
            making,
            New {
                turn: asked.turn,
                replaces: asked.replaces,
                name: &storable(&asked.call.name),
                effect,
                retry: None,
                body: asked.body_of((&storable(&asked.call.name), effect), outcome),
                identity: None,
                digest: payload::digest(asked.call.input.get()),
                request: None,
                error: Some(error),
                held: false,
            },
        );
    }

    /// Adds a step to the record; its number.
    pub(super) fn begin(&self, making: &mut Moves, new: New<'_>) -> u32 {
        let seq = self.journal.next_seq() + u32::try_from(making.sent.len()).unwrap_or_default();
        let key = format!("{}-{seq}", self.hold.run());
        let (kind, call_index, call_id, outcome) = match &new.body {
            StepBody::Model { .. } => ("model", 0, None, None),
            StepBody::Tool {
                index,
                call_id,
                outcome,
                ..
            } => ("tool", *index, Some(call_id.clone()), outcome.as_ref()),
            StepBody::Probe { outcome, .. } => ("probe", 0, None, outcome.as_ref()),
        };
        let attempts_max = new.retry.map_or(0, |retry| retry.attempts_max);
        let (state, told, data) = match (&new.error, outcome) {
            (Some(error), _) => (
                StepState::Failed,
                "step.failed",
                json!({"code": error.code, "attempt": 0}),
            ),
            (None, Some(_)) => (StepState::Succeeded, "step.succeeded", json!({"attempt": 0})),
            (None, None) if new.held => (StepState::Waiting, "step.held", json!({"attempt": 0})),
            (None, None) => (StepState::Running, "step.started", json!({"attempt": 1})),
        };
        let attempt = u32::from(state == StepState::Running);
        making.draft.begin(StepBegin {
            seq: stored(seq),
            place: match new.identity {
                Some(identity) => Place::Identity(identity),
                None => Place::Turn {
                    turn: stored(new.turn),
                    call_index: stored(call_index),
                },
            },
            kind,
            name: new.name.to_owned(),
            call_id,
            state: stored_state(state),
            effect: new.effect.as_str(),
            key: key.clone(),
            attempt: stored(attempt),
            attempts_max: stored(attempts_max),
            maybe_applied: false,
            due_at: None,
            replaces_seq: new.replaces.map(stored),
            request_digest: new.digest.clone(),
            request: new.request.as_ref().map(|request| json!(request).to_string()),
            result: outcome.map(|outcome| json!(outcome).to_string()),
            error: new.error.as_ref().map(|error| json!(error).to_string()),
        });
        making.draft.event(told, seq, Some(data));
        making.steps.push(Step {
            seq,
            turn: new.turn,
            state,
            attempt,
            attempts_max,
            maybe_applied: false,
            attempt_started_at: self.hold.now(),
            budget_from: self.hold.now(),
            due_at: None,
            error: new.error,
            resumed_over: false,
            replaces: new.replaces,
            body: new.body,
        });
        making.sent.push((
            seq,
            Sent {
                key,
                digest: new.digest,
                request: new.request.map(Arc::new),
            },
        ));
        seq
    }

    fn try_again(&self, making: &mut Moves, seq: u32, why: Again) -> Result<(), StepError> {
        let (Some(step), Some(sent)) = (self.step(seq), self.sent.get(&seq)) else {
            return Ok(());
        };
        let mut step = step.clone();
        let going = match (&step.body, &sent.request) {
            (StepBody::Model { .. }, _) => {
                let body = self.model_request(agent::turn::tools_off(&self.version.agent, step.turn))?;
                if payload::digest(&body) != sent.digest {
                    self.give_up(making, seq, (None, request_changed()));
                    return Ok(());
                }
                Going::Model { seq, body }
            }
            (StepBody::Tool { name, .. } | StepBody::Probe { name, .. }, Some(request)) => Going::Tool {
                seq,
                tool: name.clone(),
                request: Arc::clone(request),
            },
            (StepBody::Tool { .. } | StepBody::Probe { .. }, None) => {
                // Somebody has already been asked what became of it: asked again, they could say nothing else.
                let is_decided = matches!(why, Again::Resumed | Again::DidNotHappen);
                let doubtful = step.maybe_applied || step.state == StepState::Interrupted;
                let unknown =
                    (doubtful && !is_decided && effect(&step).leaves_doubt()).then_some(UnknownReason::UnknownOutcome);
                self.give_up(making, seq, (unknown, request_lost()));
                return Ok(());
            }
        };
        step.attempts_max = match why {
            Again::Due => step.attempts_max,
            Again::Interrupted => step.attempts_max + 1,
            Again::Resumed | Again::DidNotHappen => {
                step.attempt + self.retry_policy(&step).map_or(1, |retry| retry.attempts_max)
            }
        };
        // The time of a call that was held counts from its first attempt.
        let fresh_budget = matches!(why, Again::Resumed | Again::DidNotHappen) || step.attempt == 0;
        step.maybe_applied &= why != Again::DidNotHappen;
        if fresh_budget {
            step.budget_from = self.hold.now();
        }
        step.attempt += 1;
        step.attempt_started_at = self.hold.now();
        step.maybe_applied |= why == Again::Interrupted;
        step.state = StepState::Running;
        step.due_at = None;
        step.error = None;
        step.resumed_over = false;
        making.draft.change(StepChange {
            fresh_budget,
            ..change(&step, None)
        });
        let why = match why {
            Again::Due => "due",
            Again::Interrupted => "interrupted",
            Again::Resumed => "resumed",
            Again::DidNotHappen => "did_not_happen",
        };
        making
            .draft
            .event("step.started", seq, Some(json!({"attempt": step.attempt, "why": why})));
        making.steps.push(step);
        making.going.push(going);
        Ok(())
    }

    fn give_up(&self, making: &mut Moves, seq: u32, (unknown, error): (Option<UnknownReason>, StepError)) {
        let Some(step_before) = self.step(seq) else { return };
        let mut step = step_before.clone();
        step.due_at = None;
        step.maybe_applied |= step.state == StepState::Interrupted;
        if let Some(reason) = unknown {
            // A call whose worker was lost had left at the latest when that one's lease was over.
            step.due_at =
                (step.state == StepState::Interrupted).then(|| later(self.hold.now(), self.time_limit(&step)));
            step.state = StepState::Unknown;
            making
                .draft
                .event("step.unknown", seq, Some(json!({"reason": reason, "code": error.code})));
        } else {
            step.state = StepState::Failed;
            if let StepBody::Tool { outcome, .. } = &mut step.body {
                *outcome = Some(self.told_of_error(step_before, &error));
            }
            making
                .draft
                .event("step.failed", seq, Some(json!({"code": error.code})));
        }
        step.error = Some(error);
        making.draft.change(change(&step, None));
        making.steps.push(step);
    }

    pub(super) fn step(&self, seq: u32) -> Option<&Step> {
        self.journal.steps.iter().find(|step| step.seq == seq)
    }

    /// How long a call may be on its way.
    fn time_limit(&self, step: &Step) -> Duration {
        match &step.body {
            StepBody::Model { .. } => Duration::ZERO,
            StepBody::Tool { name, .. } | StepBody::Probe { name, .. } => {
                self.version.agent.tool(name).map(Tool::timeout).unwrap_or_default()
            }
        }
    }

    pub(super) fn retry_policy(&self, step: &Step) -> Option<&RetryPolicy> {
        match &step.body {
            StepBody::Model { .. } => Some(&self.version.agent.model.retry),
            StepBody::Tool { name, .. } | StepBody::Probe { name, .. } => {
                self.version.agent.tool(name).map(|tool| &tool.retry)
            }
        }
    }
}

const fn stored_state(state: StepState) -> &'static str {
    match state {
        StepState::Waiting => "waiting",
        StepState::Running | StepState::Interrupted => "running",
        StepState::Succeeded => "succeeded",
        StepState::Failed => "failed",
        StepState::Cancelled => "cancelled",
        StepState::Unknown => "unknown",
    }
}

/// A step's row as it is to be. `evidence` says that its attempt came to an end.
pub(super) fn change(step: &Step, evidence: Option<&serde_json::Value>) -> StepChange {
    let result = match &step.body {
        StepBody::Tool { outcome, .. } | StepBody::Probe { outcome, .. } => {
            outcome.as_ref().map(|outcome| json!(outcome).to_string())
        }
        StepBody::Model { .. } => None,
    };
    StepChange {
        seq: stored(step.seq),
        state: stored_state(step.state),
        attempt: stored(step.attempt),
        attempts_max: stored(step.attempts_max),
        maybe_applied: step.maybe_applied,
        due_at: step.due_at,
        result,
        error: step.error.as_ref().map(|error| json!(error).to_string()),
        fresh_budget: false,
        evidence: evidence.map(serde_json::Value::to_string),
    }
}

fn request_lost() -> StepError {
    StepError::new(
        ErrorClass::Permanent,
        "request_lost",
        "the record of what this call sends is gone, so it cannot be sent again",
    )
}

fn request_changed() -> StepError {
    StepError::new(
        ErrorClass::Permanent,
        REQUEST_CHANGED,
        "this release builds another request from the same journal; the decision is taken anew",
    )
}

fn stored(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
