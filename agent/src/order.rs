//! In which order the calls of one turn are made, where their tools declare one.
//!
//! Pure, and part of [`next_action`](crate::next_action()). A call that has to wait for another one is recorded with its
//! turn, as a waiting step without an attempt, so that the record of the turn is whole from the beginning.

use crate::definition::{Agent, Tool};
use crate::error::{ErrorClass, StepError};
use crate::journal::{Step, StepBody, StepState};
use crate::next_action::Move;
use crate::tool::ToolCall;
use std::collections::HashMap;

#[cfg(test)]
mod tests;

/// Code of a call that was not made since the run fails with an earlier one.
pub(crate) const HELD_BACK: &str = "held_back";

/// Whether a step waits for other calls of its turn, or for a person, and was never sent.
pub(crate) fn is_held(step: &Step) -> bool {
    matches!(step.body, StepBody::Tool { .. })
        && (step.state, step.attempt, step.due_at) == (StepState::Waiting, 0, None)
}

/// What a call is ended with that was held back until the run failed.
pub(crate) fn held_back() -> StepError {
    StepError::new(
        ErrorClass::Permanent,
        HELD_BACK,
        "this call was not made: it was to come after another one, which failed the run",
    )
    .fatal()
}

/// The moves of a turn's calls, each at its place: those that have to wait for another call are recorded and held.
/// `has_ended` says of a call without a move whether it has its end.
pub(crate) fn in_order(
    agent: &Agent,
    (calls, moves): (&[ToolCall], Vec<Option<Move>>),
    has_ended: impl Fn(usize) -> bool,
) -> Vec<Move> {
    if moves.iter().all(Option::is_none) {
        return Vec::new();
    }
    let ends: Vec<bool> = (0..calls.len())
        .map(|at| match moves.get(at).and_then(Option::as_ref) {
            Some(Move::Answer { .. }) => true,
            Some(_) => false,
            None => has_ended(at),
        })
        .collect();
    let order = Order::of(agent);
    let is_free = |at: usize| (0..calls.len()).all(|other| ends[other] || !order.waits_for(calls, (at, other)));
    let place = |(at, next): (usize, Option<Move>)| {
        let mut next = next?;
        if let Move::CallTool { held, .. } = &mut next {
            *held = !is_free(at);
        }
        let waits_on = matches!(next, Move::TryAgain { .. }) && !is_free(at);
        (!waits_on).then_some(next)
    };
    moves.into_iter().enumerate().filter_map(place).collect()
}

/// What an agent version declares of the order of its tools' calls.
struct Order<'a> {
    agent: &'a Agent,
    /// How many tools in a row come before one.
    ranks: HashMap<&'a str, usize>,
}

impl<'a> Order<'a> {
    fn of(agent: &'a Agent) -> Self {
        let tools = &agent.tools;
        let mut ranks: HashMap<&str, usize> = tools.iter().map(|tool| (tool.name.as_str(), 0)).collect();
        // As often as there are tools: tools in a ring, of which no version is applied, end somewhere too.
        for _ in tools.iter().filter(|tool| !tool.after.is_empty()) {
            for tool in tools {
                let before = tool.after.iter().filter_map(|name| ranks.get(name.as_str()));
                let rank = before.map(|rank| rank + 1).max().unwrap_or(0);
                ranks.insert(&tool.name, rank);
            }
        }
        Self { agent, ranks }
    }

    /// Whether the first of two calls is made once the second has ended, and not before.
    fn waits_for(&self, calls: &[ToolCall], (later, earlier): (usize, usize)) -> bool {
        let named = |at: usize| calls.get(at).and_then(|call| self.agent.tool(&call.name));
        let (Some(one), Some(other)) = (named(later), named(earlier)) else {
            return false;
        };
        let rank = |tool: &Tool| self.ranks.get(tool.name.as_str()).copied().unwrap_or(0);
        let is_declared = rank(one) > rank(other) && one.after.contains(&other.name);
        let is_one_by_one = !self.agent.limits.parallel_tool_calls || (one.name == other.name && !one.parallel);
        // Where calls come one by one, tools that others come after go first, then the order in which they were asked.
        is_declared || (is_one_by_one && (rank(one), later) > (rank(other), earlier))
    }
}

/// Tools that come after each other in a ring, each named once, if there is one.
pub(crate) fn ring(tools: &[Tool]) -> Option<Vec<String>> {
    let mut settled: Vec<&str> = Vec::new();
    tools
        .iter()
        .find_map(|tool| follow(tools, tool, (&mut Vec::new(), &mut settled)))
}

fn follow<'a>(
    tools: &'a [Tool],
    tool: &'a Tool,
    (path, settled): (&mut Vec<&'a str>, &mut Vec<&'a str>),
) -> Option<Vec<String>> {
    if let Some(at) = path.iter().position(|name| *name == tool.name) {
        return Some(path[at..].iter().map(|name| (*name).to_owned()).collect());
    }
    if settled.contains(&tool.name.as_str()) {
        return None;
    }
    path.push(&tool.name);
    let mut before = tools.iter().filter(|other| tool.after.contains(&other.name));
    let found = before.find_map(|other| follow(tools, other, (path, settled)));
    path.pop();
    settled.push(&tool.name);
    found
}
