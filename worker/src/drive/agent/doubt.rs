//! What is done about calls whose outcome nobody knows: people and probes are asked, and what they say is recorded.

use super::Driver;
use super::begin::{Moves, New, change};
use super::take_up::{decisions, probe_identity};
use agent::fallback;
use agent::next_action::Resolution;
use agent::probe::Probe;
use agent::tool::{ToolCall, ToolRequest};
use agent::turn::{self, Turn};
use agent::{Asked, Effect, ErrorClass, Standing, Step, StepBody, StepError, StepState};
use engine::{EngineError, payload};
use serde_json::{Value, json};

impl Driver {
    /// Reads what people have decided, where something woke the run since that was last read.
    pub(super) async fn take_up_decisions(&mut self) -> Result<(), EngineError> {
        let wakes = self.hold.wakes();
        let (agent, journal) = (&self.version.agent, &self.journal);
        let waits = |step: &Step| step.state == StepState::Unknown || fallback::is_escalated(agent, journal, step);
        let in_doubt = journal.steps.iter().any(waits);
        if wakes <= self.asked_at || !in_doubt {
            return Ok(());
        }
        let (engine, run) = (self.hold.shared.engine.clone(), self.hold.run());
        let rows = self.hold.scribe.until_answered(|| engine.asked(run)).await?;
        self.journal.asked = decisions(&rows, self.resumed_fence)?;
        self.asked_at = wakes;
        Ok(())
    }

    /// Asks people what became of a call.
    pub(super) fn ask(&self, making: &mut Moves, seq: u32) {
        let Some(step) = self.step(seq) else { return };
        making.draft.ask(seq);
        making.draft.event("approval.opened", seq, None);
        making.asked.push(Asked {
            id: String::new(),
            about: Some((seq, step.attempt)),
            resumed_over: false,
            standing: Standing::Open,
        });
    }

    /// Ends a step as somebody who knows says.
    pub(super) fn resolve(&self, making: &mut Moves, seq: u32, (into, by): (Resolution, String)) {
        let Some(step) = self.step(seq) else { return };
        let mut step = step.clone();
        let (told, kind) = match into {
            Resolution::Succeeded(told) => {
                step.state = StepState::Succeeded;
                step.error = None;
                (self.labelled(&step, told), "step.succeeded")
            }
            Resolution::Failed(error) => {
                step.state = StepState::Failed;
                let told = self.told_of_error(&step, &error);
                step.error = Some(error);
                (told, "step.failed")
            }
        };
        if let StepBody::Tool { outcome, .. } = &mut step.body {
            *outcome = Some(told);
        }
        making.draft.change(change(&step, None));
        making.draft.event(kind, seq, Some(json!({"by": by})));
        making.steps.push(step);
    }

    /// Asks a call's probe. One that cannot be asked has failed, so that people are asked.
    pub(super) fn probe(&self, making: &mut Moves, of: u32) {
        let Some((step, name)) = self.step(of).and_then(|step| match &step.body {
            StepBody::Tool { name, .. } => Some((step, name)),
            StepBody::Model { .. } | StepBody::Probe { .. } => None,
        }) else {
            return;
        };
        let Some(probe) = self.version.agent.tool(name).and_then(|tool| tool.probe.as_ref()) else {
            return;
        };
        let request = self.probe_request(step, probe);
        let earlier = self.journal.probes_of(step).len();
        let (request, error) = match request {
            Ok(request) => (Some(request), None),
            Err(error) => (None, Some(error)),
        };
        let text = request
            .as_ref()
            .map_or_else(String::new, |request| json!(request).to_string());
        let new = New {
            turn: step.turn,
            replaces: None,
            name: &probe.tool,
            effect: Effect::ReadOnly,
            retry: self.version.agent.tool(&probe.tool).map(|tool| &tool.retry),
            body: StepBody::Probe {
                of,
                attempt: step.attempt,
                name: probe.tool.clone(),
                outcome: None,
            },
            identity: Some(probe_identity(of, step.attempt, earlier)),
            digest: payload::digest(&text),
            request,
            error,
            held: false,
        };
        self.begin_call(making, new);
    }

    fn probe_request(&self, step: &Step, probe: &Probe) -> Result<ToolRequest, StepError> {
        let Some(tool) = self.version.agent.tool(&probe.tool) else {
            return Err(unfit(format!("there is no tool {}", probe.tool)));
        };
        self.request_of(tool, &self.probe_input(step)?.to_string())
    }

    /// What the probe of a call is asked, with its defaults.
    pub(super) fn probe_input(&self, step: &Step) -> Result<Value, StepError> {
        let name = match &step.body {
            StepBody::Tool { name, .. } => name.as_str(),
            StepBody::Model { .. } | StepBody::Probe { .. } => "",
        };
        let probe = self.version.agent.tool(name).and_then(|tool| tool.probe.as_ref());
        let probe = probe.ok_or_else(|| unfit("its tool has none".to_owned()))?;
        let (Some(schema), Some(sent)) = (self.version.schemas.get(&probe.tool), self.sent.get(&step.seq)) else {
            return Err(unfit(format!("there is no tool {}", probe.tool)));
        };
        let input = self
            .call_input(step)
            .ok_or_else(|| unfit("its input is gone".to_owned()))?;
        let Value::Object(fields) = &input else {
            return Err(unfit("its input is no object".to_owned()));
        };
        let asked = probe
            .input(&sent.key, fields)
            .map_err(|field| unfit(format!("the call's input has no field {field:?}")))?;
        schema.check_input(&asked.to_string())
    }

    /// The input of a call with its defaults, as it was sent.
    pub(super) fn call_input(&self, step: &Step) -> Option<Value> {
        let StepBody::Tool { index, .. } = &step.body else {
            return None;
        };
        let reply = self.journal.steps.iter().find_map(|model| match &model.body {
            StepBody::Model { reply: Some(reply) }
                if model.state == StepState::Succeeded && model.turn == step.turn =>
            {
                Some(reply)
            }
            StepBody::Model { .. } | StepBody::Tool { .. } | StepBody::Probe { .. } => None,
        })?;
        let Turn::Calls(calls) = turn::read(&self.version.agent, step.turn, reply).ok()? else {
            return None;
        };
        let call: &ToolCall = calls.get(usize::try_from(*index).ok()?)?;
        self.step_input(step, call.input.get())
    }
}

fn unfit(what: String) -> StepError {
    StepError::new(
        ErrorClass::InvalidInput,
        "probe_input",
        format!("the probe of this call cannot be asked: {what}"),
    )
}
