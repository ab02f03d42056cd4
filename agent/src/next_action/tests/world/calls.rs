//! Calls of a turn: made in their order, answered from a cache, and answered in another way where they failed.

use super::{World, effect, tool_body};
use crate::definition::OnError;
use crate::effect::Effect;
use crate::error::{ErrorClass, StepError};
use crate::fallback::{self, Way};
use crate::fixture::{asked, step};
use crate::journal::{Step, StepBody, StepState, ToolOutcome};
use crate::tool::ToolCall;
use crate::transcript::error_outcome;
use crate::wire::messages::tool_calls;

impl World {
    /// Only calls of a whole turn are ever made or answered.
    fn asked_call(&self, (turn, index): (u32, u32)) -> (ToolCall, Option<&Step>) {
        let (_, reply) = self.answered_turns().find(|(answered, _)| *answered == turn).unwrap();
        assert!(
            matches!(reply.stop_reason.as_deref(), Some("tool_use" | "end_turn")),
            "{:#?}",
            self.log
        );
        let asked = tool_calls(&reply.content).swap_remove(usize::try_from(index).unwrap());
        (asked, self.journal.call_step(turn, index))
    }

    /// Each of them once, unless somebody resumed the run.
    fn check_call(&self, place: (u32, u32), call: &ToolCall, replaces: Option<u32>) {
        let (asked, before) = self.asked_call(place);
        assert_eq!((&asked.id, &asked.name), (&call.id, &call.name));
        assert_eq!(before.map(|step| step.seq), replaces, "{:#?}", self.log);
        assert!(before.is_none_or(|step| step.state.has_ended() && step.resumed_over));
    }

    /// A call begins when every call that its tool comes after has ended.
    pub(super) fn comes_in_order(&self, (turn, index): (u32, u32), name: &str) {
        let (_, reply) = self.answered_turns().find(|(answered, _)| *answered == turn).unwrap();
        let tool = self.agent.tool(name).unwrap();
        for (call, other) in tool_calls(&reply.content).iter().zip(0..) {
            let comes_before =
                tool.after.contains(&call.name) || (!tool.parallel && call.name == name && other < index);
            let is_over = other >= self.agent.limits.tool_calls_per_turn_max;
            let has_ended = self
                .journal
                .call_step(turn, other)
                .is_some_and(|step| step.state.has_ended());
            assert!(
                !comes_before || is_over || has_ended,
                "call {turn}/{index} begins before {turn}/{other} has ended: {:#?}",
                self.log
            );
        }
    }

    pub(super) fn call_tool(&mut self, place: (u32, u32), call: &ToolCall, (replaces, held): (Option<u32>, bool)) {
        self.check_call(place, call, replaces);
        if self.fate.strikes(9) {
            let error = StepError::new(ErrorClass::InvalidInput, "invalid_input", "the input does not hold");
            return self.answer(place, call, (error, replaces));
        }
        let tool = self.agent.tool(&call.name).unwrap();
        if !held && tool.cache.is_some() && self.fate.strikes(3) {
            return self.answer_cached(place, call, replaces);
        }
        if held {
            return self.hold(place, call, (&call.name.clone(), replaces));
        }
        self.send(place, call, (&call.name.clone(), replaces));
    }

    /// A call leaves under a key of its own.
    fn send(&mut self, (turn, index): (u32, u32), call: &ToolCall, (name, replaces): (&str, Option<u32>)) {
        self.starts_something();
        assert!(index < self.agent.limits.tool_calls_per_turn_max);
        assert!(turn < self.agent.limits.turns_max);
        let tool = self.agent.tool(name).unwrap();
        let (effect, attempts_max) = (tool.effect, tool.retry.attempts_max);
        if effect != Effect::ReadOnly {
            assert!(
                self.may_have_happened.insert((turn, index)),
                "call {turn}/{index} goes out under another key although it may have happened: {:#?}",
                self.log
            );
        }
        if name == call.name {
            self.comes_in_order((turn, index), name);
        }
        let mut begun = self.new_step((turn, index), call, (name, replaces));
        begun.attempts_max = attempts_max;
        self.begin(begun, String::new());
    }

    /// A call is recorded, and waits.
    fn hold(&mut self, place: (u32, u32), call: &ToolCall, (name, replaces): (&str, Option<u32>)) {
        let mut begun = self.new_step(place, call, (name, replaces));
        begun.attempts_max = self.agent.tool(name).unwrap().retry.attempts_max;
        (begun.state, begun.attempt) = (StepState::Waiting, 0);
        self.begin(begun, String::new());
    }

    fn new_step(&self, (turn, index): (u32, u32), call: &ToolCall, (name, replaces): (&str, Option<u32>)) -> Step {
        let effect = self.agent.tool(name).map_or(Effect::ReadOnly, |tool| tool.effect);
        let mut body = tool_body(index, call, effect);
        if let StepBody::Tool { name: of, .. } = &mut body {
            name.clone_into(of);
        }
        let mut begun = step(self.journal.next_seq(), turn, StepState::Running, body);
        (begun.budget_from, begun.attempt_started_at) = (self.now, self.now);
        begun.replaces = replaces;
        begun
    }

    pub(super) fn answer(&mut self, place: (u32, u32), call: &ToolCall, (error, replaces): (StepError, Option<u32>)) {
        self.check_call(place, call, replaces);
        self.end_at_once(place, call, (&call.name.clone(), replaces, Err(error)));
    }

    fn answer_cached(&mut self, place: (u32, u32), call: &ToolCall, replaces: Option<u32>) {
        assert_eq!(self.agent.tool(&call.name).unwrap().effect, Effect::ReadOnly);
        let told = ToolOutcome {
            content: "as it was before".to_owned(),
            ..ToolOutcome::default()
        };
        self.end_at_once(place, call, (&call.name.clone(), replaces, Ok(told)));
    }

    fn end_at_once(
        &mut self,
        place: (u32, u32),
        call: &ToolCall,
        (name, replaces, end): (&str, Option<u32>, Result<ToolOutcome, StepError>),
    ) {
        let mut begun = self.new_step(place, call, (name, replaces));
        (begun.attempt, begun.attempts_max) = (0, 0);
        let (state, told, error) = match end {
            Ok(told) => (StepState::Succeeded, Some(told), None),
            Err(error) => (
                StepState::Failed,
                (!error.fatal).then(|| error_outcome(&error)),
                Some(error),
            ),
        };
        (begun.state, begun.error) = (state, error);
        if let StepBody::Tool { outcome, .. } = &mut begun.body {
            *outcome = told;
        }
        self.begin(begun, String::new());
    }

    /// Only what has failed for certain is answered in another way, and only in one that its tool declares.
    pub(super) fn fall_back(&mut self, place: (u32, u32), call: &ToolCall, (replaces, way): (u32, &Way)) {
        self.starts_something();
        let (wanted, before) = self.asked_call(place);
        let failed = before.unwrap();
        assert_eq!((&wanted.id, failed.seq), (&call.id, replaces), "{:#?}", self.log);
        assert_eq!(failed.state, StepState::Failed);
        assert!(
            !self.may_have_happened.contains(&place) || effect(failed) == Effect::ReadOnly,
            "call {place:?} is answered in another way although it may have happened: {:#?}",
            self.log
        );
        let replaced = Some(replaces);
        match way {
            Way::Stale if self.fate.strikes(2) => self.answer_cached(place, call, replaced),
            Way::Stale => {
                let error = StepError::new(ErrorClass::Permanent, "cache_miss", "nothing is kept");
                self.end_at_once(place, call, (&call.name.clone(), replaced, Err(error)));
            }
            Way::Call(substitute) if self.fate.strikes(6) => {
                let error = StepError::new(ErrorClass::InvalidInput, "fallback_input", "it does not fit");
                self.end_at_once(place, call, (&substitute.tool, replaced, Err(error)));
            }
            Way::Call(substitute) => self.send(place, call, (&substitute.tool, replaced)),
            Way::Person(_) => {
                self.hold(place, call, (&call.name.clone(), replaced));
                let waiting = self.journal.steps.last().unwrap();
                let mut asked = asked(waiting);
                asked.id = format!("{} of {}", self.journal.asked.len(), waiting.seq);
                self.journal.asked.push(asked);
            }
        }
    }

    /// A tool whose failure is the run's fails it once nothing else is left to try.
    pub(super) fn fails_the_run(&self, failed: &Step, error: &StepError) -> bool {
        let failed = failed.clone().failed_with(error.clone());
        let called = fallback::called_tool(&self.agent, &self.journal, &failed);
        called.is_some_and(|tool| tool.on_error == OnError::FailRun)
            && fallback::next(&self.agent, &self.journal, &failed).is_none()
    }
}
