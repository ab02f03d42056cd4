//! From recorded facts to the next action.
//!
//! The one place where an agent run's course is decided. It sees the agent version, the journal and an instant, and
//! nothing else, so the same facts give the same action on every worker and release. Start at [`next_action`].

use crate::definition::{Agent, OnRefusal};
use crate::doubt::{self, Doubts, Probing};
use crate::effect::{Effect, UnknownReason};
use crate::error::{ErrorClass, StepError};
use crate::fallback::{self, Way};
use crate::gate;
use crate::given_up::give_up_overdue;
use crate::journal::{Gate, Journal, ModelReply, Step, StepBody, StepState, ToolOutcome};
use crate::order;
use crate::tool::ToolCall;
use crate::turn::{self, Turn};
use crate::wire::messages::{ORGANIZATION_ON_HOLD, SPEND_CAP};
use chrono::{DateTime, Utc};
use ending::{at_a_rejection, at_the_deadline, rejected};

mod ending;
#[cfg(test)]
mod tests;

/// Code of a call whose record is not there.
pub(crate) const RESULT_LOST: &str = "result_lost";

/// Code of a model step whose request, rebuilt for another attempt, is not the one recorded.
pub const REQUEST_CHANGED: &str = "request_changed";

/// What the worker does next.
#[derive(Debug, Clone)]
pub enum Action {
    /// Make these moves, all recorded in one statement before any of them leaves the process.
    Act(Vec<Move>),
    /// Something is out: wait for its result, or until a waiting sibling falls due.
    Await {
        /// When a sibling falls due.
        until: Option<DateTime<Utc>>,
    },
    /// Nothing is out and nothing can be done before this instant.
    Wait {
        /// When a step falls due.
        until: DateTime<Utc>,
    },
    /// Nothing can be done before a person acts.
    Park {
        /// What for.
        waiting_for: WaitFor,
        /// More exactly, such as `unknown_outcome`.
        reason: String,
        /// A waiting sibling falls due then.
        until: Option<DateTime<Utc>>,
    },
    /// The run has its answer.
    Finish {
        /// The model's text.
        answer: String,
    },
    /// The run fails; it can be resumed once the cause is mended.
    Fail(StepError),
}

/// One thing to do.
#[derive(Debug, Clone)]
pub enum Move {
    /// Call the model.
    CallModel {
        /// From 1.
        turn: u32,
        /// Whether tools are switched off.
        tools_off: bool,
        /// The failed call that this one takes the place of.
        replaces: Option<u32>,
    },
    /// Call a tool.
    CallTool {
        /// Of which turn.
        turn: u32,
        /// The place among its calls, from 0.
        index: u32,
        /// What the model asked for.
        call: ToolCall,
        /// The failed call that this one takes the place of.
        replaces: Option<u32>,
        /// It is recorded, and waits for other calls of its turn to end.
        held: bool,
    },
    /// Answer in another way a call that failed for good.
    FallBack {
        /// Of which turn.
        turn: u32,
        /// The place among its calls, from 0.
        index: u32,
        /// What the model asked for.
        call: ToolCall,
        /// The step that failed.
        replaces: u32,
        /// How.
        way: Way,
    },
    /// Answer a call without making it.
    Answer {
        /// Of which turn.
        turn: u32,
        /// The place among its calls, from 0.
        index: u32,
        /// What the model asked for.
        call: ToolCall,
        /// What the model is told.
        error: StepError,
    },
    /// Another attempt of a step under its old key.
    TryAgain {
        /// Which one.
        seq: u32,
        /// Why, which says whether it costs an attempt.
        why: Again,
    },
    /// Ask people what became of a call.
    Ask {
        /// Which one.
        seq: u32,
    },
    /// Ask a call's probe whether it happened.
    Probe {
        /// Which one.
        of: u32,
    },
    /// End a step whose outcome was unknown.
    Resolve {
        /// Which one.
        seq: u32,
        /// What became of it.
        into: Resolution,
        /// Who says so.
        by: String,
    },
    /// Stop trying.
    GiveUp {
        /// Which one.
        seq: u32,
        /// What becomes of it; absent: failed for certain.
        unknown: Option<UnknownReason>,
        /// Why.
        error: StepError,
    },
}

/// What became of a step whose outcome was unknown.
#[derive(Debug, Clone)]
pub enum Resolution {
    /// It happened.
    Succeeded(ToolOutcome),
    /// Nobody counts on it any more.
    Failed(StepError),
}

/// Why a step is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Its time has come.
    Due,
    /// Its worker died. That is not the target's failure and costs none of the step's attempts: the run's crash count
    /// bounds it.
    Interrupted,
    /// Somebody resumed the run, or approved of it: a fresh budget.
    Resumed,
    /// Its probe, or a person, says that no attempt before has happened: a fresh budget, and no doubt any more.
    DidNotHappen,
}

/// What a parked run waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitFor {
    /// A person.
    Approval,
    /// The time at which a probe can tell.
    Probe,
    /// A slot, or what becomes of a trial call.
    Limit,
}

impl WaitFor {
    /// As stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approval => "approval",
            Self::Probe => "probe",
            Self::Limit => "limit",
        }
    }
}

/// Decides. Time comes first, since a run whose time is over starts nothing more; then the steps that wait for no turn,
/// such as `Interrupted` ones; then the newest turn.
pub fn next_action(agent: &Agent, journal: &Journal, now: DateTime<Utc>) -> Action {
    if journal.deadline.is_some_and(|deadline| deadline <= now) {
        return at_the_deadline(agent, journal, now);
    }
    if let Some(error) = rejected(journal) {
        return at_a_rejection(journal, error);
    }
    let overdue = give_up_overdue(agent, journal, now);
    if !overdue.is_empty() {
        return Action::Act(overdue);
    }
    let taken_up = take_up(agent, journal, now);
    if !taken_up.is_empty() {
        return Action::Act(taken_up);
    }
    let Some(model) = journal.last_model() else {
        return call_model(agent, 1, None);
    };
    match model.state {
        StepState::Running | StepState::Interrupted => Action::Await { until: None },
        StepState::Waiting => gate::park(journal, model.due_at).unwrap_or_else(|| Action::Wait {
            until: model.due_at.unwrap_or(now),
        }),
        // No release makes a model step unknown: its row was written by hand, and so may be mended.
        StepState::Unknown => ask(UnknownReason::RetriesExhausted.as_str()),
        StepState::Failed if !model.resumed_over => after_failed_model(agent, model),
        StepState::Failed | StepState::Cancelled => call_model(agent, model.turn, Some(model.seq)),
        StepState::Succeeded => match reply(model) {
            Some(reply) => after_reply(agent, (journal, now), Answered { model, reply }),
            None => call_model(agent, model.turn, Some(model.seq)),
        },
    }
}

/// Steps whose next move does not depend on the turn: those that a dead worker left, those that fell due, those that
/// somebody let go on, and those that nobody can vouch for.
fn take_up(agent: &Agent, journal: &Journal, now: DateTime<Utc>) -> Vec<Move> {
    let doubts = Doubts {
        agent,
        journal,
        probing: Probing::Allowed,
        now,
    };
    let next = |step: &Step| match step.state {
        StepState::Waiting if gate::holds(journal, step, now) => None,
        StepState::Unknown => take_up_step(step, now)
            .filter(|_| journal.asked_about(step).is_none())
            .or_else(|| doubt::settle(doubts, step)),
        StepState::Waiting
        | StepState::Running
        | StepState::Interrupted
        | StepState::Succeeded
        | StepState::Failed
        | StepState::Cancelled => take_up_step(step, now),
    };
    journal.steps.iter().filter_map(next).collect()
}

fn take_up_step(step: &Step, now: DateTime<Utc>) -> Option<Move> {
    let again = |why| Some(Move::TryAgain { seq: step.seq, why });
    match (step.state, effect(step)) {
        (StepState::Interrupted, Effect::AtMostOnce) => Some(lost_track(step)),
        (StepState::Interrupted, _) => again(Again::Interrupted),
        (StepState::Waiting, Effect::AtMostOnce) if step.maybe_applied => Some(lost_track(step)),
        (StepState::Unknown, Effect::ReadOnly | Effect::Idempotent | Effect::Transactional) if step.resumed_over => {
            again(Again::Resumed)
        }
        // It waits for its turn or for a person, which only the turn's calls together tell.
        (StepState::Waiting, _) if order::is_held(step) => None,
        (StepState::Waiting, _) if step.due_at.is_none_or(|due| due <= now) => again(Again::Due),
        (
            StepState::Waiting
            | StepState::Running
            | StepState::Succeeded
            | StepState::Failed
            | StepState::Cancelled
            | StepState::Unknown,
            _,
        ) => None,
    }
}

/// The end of a call that may have happened and that may not be made twice.
pub(crate) fn lost_track(step: &Step) -> Move {
    Move::GiveUp {
        seq: step.seq,
        unknown: Some(UnknownReason::UnknownOutcome),
        error: StepError::new(
            ErrorClass::Unknown,
            "unknown_outcome",
            "the worker was lost while this call was out; it may have happened, and it is not sent again",
        )
        .suggest("find out at the target whether it happened"),
    }
}

fn call_model(agent: &Agent, turn: u32, replaces: Option<u32>) -> Action {
    if turn > agent.limits.turns_max {
        return Action::Fail(
            StepError::new(
                ErrorClass::Permanent,
                "turn_limit",
                format!(
                    "the run has used its {} turns without an answer",
                    agent.limits.turns_max
                ),
            )
            .suggest("raise limits.turns_max in the agent file, apply it and start a new run"),
        );
    }
    Action::Act(vec![Move::CallModel {
        turn,
        tools_off: turn::tools_off(agent, turn),
        replaces,
    }])
}

fn after_failed_model(agent: &Agent, model: &Step) -> Action {
    let error = model
        .error
        .clone()
        .unwrap_or_else(|| StepError::new(ErrorClass::Unknown, "unknown_error", "the model call failed"));
    match error.code.as_str() {
        "unknown_stop_reason" => ask("unknown_stop_reason"),
        SPEND_CAP | ORGANIZATION_ON_HOLD => ask("spend_cap"),
        "refusal" if agent.on_refusal == OnRefusal::Ask => ask("refusal"),
        // Another release builds another request from the same facts: the decision is taken anew.
        REQUEST_CHANGED => call_model(agent, model.turn, Some(model.seq)),
        _ => Action::Fail(error),
    }
}

fn ask(reason: &str) -> Action {
    Action::Park {
        waiting_for: WaitFor::Approval,
        reason: reason.to_owned(),
        until: None,
    }
}

/// A model step that succeeded, with its reply.
#[derive(Clone, Copy)]
struct Answered<'a> {
    model: &'a Step,
    reply: &'a ModelReply,
}

fn after_reply(agent: &Agent, (journal, now): (&Journal, DateTime<Utc>), answered: Answered<'_>) -> Action {
    let turn = answered.model.turn;
    match turn::read(agent, turn, answered.reply) {
        Ok(Turn::Calls(calls)) => after_calls(agent, (journal, now), (answered, &calls)),
        Ok(Turn::Answer(answer)) => Action::Finish { answer },
        Ok(Turn::Empty) if count_turns(agent, journal, is_empty) <= turn::EMPTY_ANSWERS_MAX => {
            call_model(agent, turn + 1, None)
        }
        Ok(Turn::Empty) => Action::Finish { answer: String::new() },
        Ok(Turn::Paused) if count_turns(agent, journal, is_paused) <= turn::PAUSES_MAX => {
            call_model(agent, turn + 1, None)
        }
        Ok(Turn::Paused) => Action::Fail(StepError::new(
            ErrorClass::Permanent,
            "pause_limit",
            format!("the provider's own tools paused more than {} times", turn::PAUSES_MAX),
        )),
        Err(error) => Action::Fail(error),
    }
}

fn is_empty(turn: &Turn) -> bool {
    matches!(turn, Turn::Empty)
}

fn is_paused(turn: &Turn) -> bool {
    matches!(turn, Turn::Paused)
}

fn count_turns(agent: &Agent, journal: &Journal, wanted: fn(&Turn) -> bool) -> usize {
    journal
        .steps
        .iter()
        .filter(|step| step.state == StepState::Succeeded)
        .filter_map(|step| turn::read(agent, step.turn, reply(step)?).ok())
        .filter(wanted)
        .count()
}

fn after_calls(
    agent: &Agent,
    (journal, now): (&Journal, DateTime<Utc>),
    (answered, calls): (Answered<'_>, &[ToolCall]),
) -> Action {
    let turn = answered.model.turn;
    // The calls of a turn are recorded together, right after its reply.
    let is_recorded = (0..)
        .take(calls.len())
        .any(|index| journal.call_step(turn, index).is_some())
        || !journal.is_dense_from(answered.model.seq);
    let fails = (0..).take(calls.len()).any(|index| {
        let step = journal.call_step(turn, index);
        step.is_some_and(|step| fatal_error(step).is_some() && !step.resumed_over)
    });
    let moves: Vec<Option<Move>> = calls
        .iter()
        .zip(0..)
        .map(|(call, index)| {
            let open = OpenCall {
                turn,
                index,
                call,
                is_recorded,
                fails,
            };
            open_call(agent, journal, open)
        })
        .collect();
    let has_ended = |at: usize| {
        let step = u32::try_from(at).ok().and_then(|index| journal.call_step(turn, index));
        step.is_some_and(|step| step.state.has_ended())
    };
    let moves = order::in_order(agent, (calls, moves), has_ended);
    if !moves.is_empty() {
        return Action::Act(moves);
    }
    let steps = || {
        (0..)
            .take(calls.len())
            .filter_map(|index| journal.call_step(turn, index))
    };
    let doubts = Doubts {
        agent,
        journal,
        probing: Probing::Allowed,
        now,
    };
    let retries = steps().filter(|step| step.state == StepState::Waiting);
    let due = retries.filter_map(|step| step.due_at).chain(doubts.probe_due()).min();
    let waits_here = journal.held_back.iter().any(|held| held.by == Gate::Worker);
    let is_probe = |step: &&Step| matches!(step.body, StepBody::Probe { .. });
    let probes = journal.steps.iter().filter(is_probe);
    if waits_here || steps().chain(probes).any(|step| step.state == StepState::Running) {
        return Action::Await { until: due };
    }
    if let Some(parked) = doubts.park(due).or_else(|| gate::park(journal, due)) {
        return parked;
    }
    if steps().any(|step| fallback::is_escalated(agent, journal, step)) {
        return Action::Park {
            waiting_for: WaitFor::Approval,
            reason: UnknownReason::RetriesExhausted.as_str().to_owned(),
            until: due,
        };
    }
    if let Some(until) = due {
        return Action::Wait { until };
    }
    // What was held back until the run failed is not what it failed with.
    let fatal = |error: &StepError| error.code != order::HELD_BACK;
    match steps()
        .filter_map(fatal_error)
        .find(fatal)
        .or_else(|| steps().find_map(fatal_error))
    {
        Some(error) => Action::Fail(error),
        None => call_model(agent, turn + 1, None),
    }
}

#[derive(Clone, Copy)]
struct OpenCall<'a> {
    turn: u32,
    index: u32,
    call: &'a ToolCall,
    /// Whether the turn's calls were recorded, so that one without a step was taken out by hand.
    is_recorded: bool,
    /// Whether the run fails with one of the turn's calls.
    fails: bool,
}

/// The move that a call without a standing step needs.
fn open_call(agent: &Agent, journal: &Journal, open: OpenCall<'_>) -> Option<Move> {
    let OpenCall {
        turn,
        index,
        call,
        is_recorded,
        fails,
    } = open;
    let make = |replaces| {
        Some(Move::CallTool {
            turn,
            index,
            call: call.clone(),
            replaces,
            held: false,
        })
    };
    let answer = |error| {
        Some(Move::Answer {
            turn,
            index,
            call: call.clone(),
            error,
        })
    };
    if let Some(step) = journal.call_step(turn, index) {
        let goes_on = step.resumed_over && (fatal_error(step).is_some() || step.state == StepState::Cancelled);
        return match goes_on {
            true => make(Some(step.seq)),
            false => fallback::go_on(agent, journal, (step, call, fails)),
        };
    }
    if is_recorded {
        return answer(lost_call());
    }
    if index >= agent.limits.tool_calls_per_turn_max {
        return answer(
            StepError::new(
                ErrorClass::UserError,
                "tool_call_limit",
                format!(
                    "only the first {} calls of a turn are run; this one was not",
                    agent.limits.tool_calls_per_turn_max
                ),
            )
            .suggest("call fewer tools at once; ask for the rest in the next turn"),
        );
    }
    if agent.tool(&call.name).is_none() {
        let known: Vec<&str> = agent.tools.iter().map(|tool| tool.name.as_str()).collect();
        return answer(
            StepError::new(
                ErrorClass::UserError,
                "tool_not_found",
                format!("there is no tool named {:?}", call.name),
            )
            .suggest(format!("the tools are: {}", known.join(", "))),
        );
    }
    make(None)
}

/// What a call is answered with whose record is not there.
pub(crate) fn lost_call() -> StepError {
    StepError::new(
        ErrorClass::Unknown,
        RESULT_LOST,
        "the record of this call was lost: whether it was run, and with what result, is not known",
    )
    .suggest("do not assume that it happened or that it did not; check before repeating it")
}

/// What a call is answered with that the end of its turn cut off.
pub(crate) fn cut_call(stop_reason: Option<&str>) -> StepError {
    StepError::new(
        ErrorClass::UserError,
        "not_run",
        format!(
            "this call was not run: the turn ended with {}, not with its calls",
            stop_reason.unwrap_or("no stop reason")
        ),
    )
    .suggest("call the tool again if it is still needed")
}

fn fatal_error(step: &Step) -> Option<StepError> {
    step.error
        .clone()
        .filter(|error| step.state == StepState::Failed && error.fatal)
}

fn reply(step: &Step) -> Option<&ModelReply> {
    match &step.body {
        StepBody::Model { reply } => reply.as_ref(),
        StepBody::Tool { .. } | StepBody::Probe { .. } => None,
    }
}

/// A model call may be made again: its promise is the budget, not the single call.
pub(crate) fn effect(step: &Step) -> Effect {
    match &step.body {
        StepBody::Model { .. } | StepBody::Probe { .. } => Effect::ReadOnly,
        StepBody::Tool { effect, .. } => *effect,
    }
}
