//! Answers calls that failed for good in other ways, and says in each result how it came about.

use super::Driver;
use super::begin::{Moves, New};
use super::wanted::{Wanted, digest_of};
use agent::definition::{OnError, Tool};
use agent::fallback::{self, Label, Substitute, Way};
use agent::tool::{ToolRequest, render};
use agent::transcript::error_outcome;
use agent::{Asked, ErrorClass, Standing, Step, StepBody, StepError, StepState, ToolOutcome};
use engine::payload;
use serde_json::Value;

impl Driver {
    /// Records the step that takes the place of one that failed.
    pub(super) fn fall_back(&self, making: &mut Moves, asked: &Wanted, way: &Way) {
        let Some(called) = self.version.agent.tool(&asked.call.name) else {
            return;
        };
        match way {
            Way::Stale => match making.recalled.remove(&(asked.turn, asked.index)) {
                Some(recalled) => self.answer_recalled(making, asked, (called, recalled)),
                None => self.answer_missed(making, asked, called),
            },
            Way::Call(substitute) => self.call_substitute(making, asked, (called, substitute)),
            Way::Person(_) => match self.request_of(called, asked.call.input.get()) {
                Ok(request) => self.escalate(making, asked, (called, request)),
                Err(error) => self.answer_unfit(making, asked, (called, error)),
            },
        }
    }

    fn call_substitute(&self, making: &mut Moves, asked: &Wanted, (called, substitute): (&Tool, &Substitute)) {
        let Some(tool) = self.version.agent.tool(&substitute.tool) else {
            let error = unfit(&format!("there is no tool {}", substitute.tool));
            return self.answer_unfit(making, asked, (called, error));
        };
        match self.substituted(asked, (called, substitute)) {
            Ok(request) => self.send_tool(making, asked, (tool, request, false)),
            Err(error) => self.answer_unfit(making, asked, (tool, error)),
        }
    }

    fn substituted(
        &self,
        asked: &Wanted,
        (called, substitute): (&Tool, &Substitute),
    ) -> Result<ToolRequest, StepError> {
        let input = self.substitute_input(asked.call.input.get(), (called, substitute))?;
        let tool = self.version.agent.tool(&substitute.tool);
        let tool = tool.ok_or_else(|| unfit(&format!("there is no tool {}", substitute.tool)))?;
        render::render(tool, &input)
    }

    /// What a fallback's tool is asked in the place of a call with that input.
    fn substitute_input(&self, input: &str, (called, substitute): (&Tool, &Substitute)) -> Result<Value, StepError> {
        let Value::Object(fields) = self.checked(&called.name, input)? else {
            return Err(unfit("the call's input is no object"));
        };
        let asked = substitute
            .input(&called.name, &fields)
            .map_err(|field| unfit(&format!("the call's input has no field {field:?}")))?;
        self.checked(&substitute.tool, &asked.to_string())
    }

    /// The input that a step's tool is asked, for a call whose input as the model wrote it is given.
    pub(super) fn step_input(&self, step: &Step, input: &str) -> Option<Value> {
        let StepBody::Tool { name, .. } = &step.body else {
            return None;
        };
        match fallback::way(&self.version.agent, &self.journal, step) {
            Some(Way::Call(substitute)) => {
                let called = fallback::called_tool(&self.version.agent, &self.journal, step)?;
                self.substitute_input(input, (called, &substitute)).ok()
            }
            Some(Way::Stale | Way::Person(_)) | None => self.checked(name, input).ok(),
        }
    }

    /// Records a call that waits for a person, and asks.
    fn escalate(&self, making: &mut Moves, asked: &Wanted, (tool, request): (&Tool, ToolRequest)) {
        let seq = self.begin(
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
                held: true,
            },
        );
        making.draft.ask(seq);
        making.draft.event("approval.opened", seq, None);
        making.asked.push(Asked {
            id: String::new(),
            about: Some((seq, 0)),
            resumed_over: false,
            standing: Standing::Open,
        });
    }

    /// A fallback that cannot be asked has failed, so that the next one is.
    fn answer_unfit(&self, making: &mut Moves, asked: &Wanted, (tool, error): (&Tool, StepError)) {
        let label = Label {
            fallback: Some(tool.name.clone()),
            ..self.label_in_place_of(asked)
        };
        self.answer_failed(making, asked, (tool, error, label));
    }

    /// Records a fallback that failed without a call.
    pub(super) fn answer_failed(
        &self,
        making: &mut Moves,
        asked: &Wanted,
        (tool, mut error, label): (&Tool, StepError, Label),
    ) {
        let failed = self.draft_of(asked, (tool, &error));
        error.fatal |= self.fails_the_run(&failed);
        let told = (!error.fatal).then(|| label.tell(error_outcome(&error)));
        self.begin(
            making,
            New {
                turn: asked.turn,
                replaces: asked.replaces,
                name: &tool.name,
                effect: tool.effect,
                retry: None,
                body: asked.body(tool, told),
                identity: None,
                digest: payload::digest(asked.call.input.get()),
                request: None,
                error: Some(error),
                held: false,
            },
        );
    }

    /// A failed step as it is about to be recorded in the place of another one.
    fn draft_of(&self, asked: &Wanted, (tool, error): (&Tool, &StepError)) -> Step {
        Step {
            seq: u32::MAX,
            turn: asked.turn,
            state: StepState::Failed,
            attempt: 0,
            attempts_max: 0,
            maybe_applied: false,
            attempt_started_at: self.hold.now(),
            budget_from: self.hold.now(),
            due_at: None,
            error: Some(error.clone()),
            resumed_over: false,
            replaces: asked.replaces,
            body: asked.body(tool, None),
        }
    }

    /// Whether the run fails with a step that has failed: its tool's author wants it so, and nothing else is left to try.
    pub(super) fn fails_the_run(&self, failed: &Step) -> bool {
        let agent = &self.version.agent;
        let called = fallback::called_tool(agent, &self.journal, failed);
        called.is_some_and(|tool| tool.on_error == OnError::FailRun)
            && fallback::next(agent, &self.journal, failed).is_none()
    }

    /// What stands in the place of a failed call says so, and how that failed.
    pub(super) fn label_in_place_of(&self, asked: &Wanted) -> Label {
        let failed = asked.replaces.and_then(|seq| self.step(seq));
        let because = failed.and_then(|step| fallback::because(&self.journal, step));
        Label {
            because,
            ..Label::default()
        }
    }

    /// The result of a step as the model is told it.
    pub(super) fn labelled(&self, step: &Step, told: ToolOutcome) -> ToolOutcome {
        match fallback::label(&self.version.agent, &self.journal, step) {
            Some(label) => label.tell(told),
            None => told,
        }
    }

    /// The failure of a step as the model is told it.
    pub(super) fn told_of_error(&self, step: &Step, error: &StepError) -> ToolOutcome {
        self.labelled(step, error_outcome(error))
    }
}

fn unfit(what: &str) -> StepError {
    StepError::new(
        ErrorClass::InvalidInput,
        "fallback_input",
        format!("the fallback of this call cannot be asked: {what}"),
    )
}
