//! A small world that makes the moves of whole runs as `worker/src/drive/agent` makes them, with fate in its hands, and
//! that looks over the engine's shoulder: every promise is checked at the moment it could be broken.

use crate::definition::Agent;
use crate::effect::{AttemptOutcome, Attempts, Effect, UnknownReason, Verdict, verdict};
use crate::error::{ErrorClass, StepError};
use crate::fixture::{at, contract, step, told};
use crate::journal::{Journal, ModelReply, Step, StepBody, StepState, ToolOutcome};
use crate::next_action::{Action, Again, Move, REQUEST_CHANGED, next_action};
use crate::tool::ToolCall;
use crate::transcript::{error_outcome, transcript};
use crate::turn;
use crate::wire::messages::{Role, SPEND_CAP};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::{HashMap, HashSet};

mod calls;
mod fate;
mod people;

use fate::CALLS_MAX;
pub(super) use fate::Fate;

/// How often the world may do what no limit of the run bounds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) crashes: u32,
    pub(super) resumes: u32,
}

/// What is known of a step besides the journal.
#[derive(Debug, Clone)]
struct Record {
    /// Under which its row was last written.
    fence: u32,
    /// The release that built its request.
    release: u32,
    /// The messages of a model step.
    sent: String,
}

pub(super) struct World {
    agent: Agent,
    journal: Journal,
    now: DateTime<Utc>,
    fate: Fate,
    left: Bounds,
    /// Actions that may still be taken until this counts as an endless loop.
    patience: u32,
    fence: u32,
    resumed_fence: u32,
    release: u32,
    records: HashMap<u32, Record>,
    /// Calls, as (turn, index), that may have happened at their target.
    may_have_happened: HashSet<(u32, u32)>,
    log: Vec<String>,
}

impl World {
    pub(super) fn new(agent: Agent, bounds: Bounds, fate: Fate) -> Self {
        let patience = patience(&agent, bounds);
        Self {
            agent,
            journal: crate::fixture::journal(Vec::new()),
            now: at(0),
            fate,
            left: bounds,
            patience,
            fence: 1,
            resumed_fence: 0,
            release: 1,
            records: HashMap::new(),
            may_have_happened: HashSet::new(),
            log: Vec::new(),
        }
    }

    pub(super) fn with_deadline(mut self, seconds: Option<i64>) -> Self {
        self.journal.deadline = seconds.map(at);
        self
    }

    /// Drives the run until it finishes, or fails or parks with nobody left to resume it; what was done, line by line.
    pub(super) fn run(mut self) -> Vec<String> {
        loop {
            assert!(self.patience > 0, "the run never ends: {:#?}", self.log);
            self.patience -= 1;
            self.now += TimeDelta::seconds(self.fate.pick(3).into());
            if self.left.crashes > 0 && self.fate.strikes(9) {
                self.left.crashes -= 1;
                self.release += u32::from(self.fate.strikes(2));
                self.log.push("crash".to_owned());
                self.take_up();
            }
            let action = next_action(&self.agent, &self.journal, self.now);
            self.log.push(told(&action));
            let goes_on = match action {
                Action::Act(moves) => self.act(moves),
                Action::Await { until } => self.wait_for_result(until),
                Action::Wait { until } => self.wait(until),
                Action::Park { until, .. } => self.park(until),
                Action::Finish { .. } => false,
                Action::Fail(_) => self.is_resumed(),
            };
            if !goes_on {
                return self.log;
            }
        }
    }

    /// Another worker reads the journal under a new fence.
    fn take_up(&mut self) {
        self.fence += 1;
        for step in &mut self.journal.steps {
            if step.state == StepState::Running {
                step.state = StepState::Interrupted;
            }
            step.resumed_over = self.records[&step.seq].fence <= self.resumed_fence;
        }
    }

    fn wait(&mut self, until: DateTime<Utc>) -> bool {
        assert!(until > self.now, "waits for the past: {:#?}", self.log);
        assert!(self.running().is_empty(), "parks beside a call that is out");
        let due = self.journal.deadline.into_iter().chain([until]).min().unwrap();
        self.now = due.max(self.now);
        if self.fate.strikes(2) {
            self.take_up();
        }
        true
    }

    fn park(&mut self, until: Option<DateTime<Utc>>) -> bool {
        assert!(self.running().is_empty(), "parks beside a call that is out");
        if self.decide() || self.fate.strikes(2) && self.is_resumed() {
            return true;
        }
        let deadline = self.journal.deadline.filter(|deadline| *deadline > self.now);
        match until.into_iter().chain(deadline).min() {
            Some(due) => {
                self.now = due.max(self.now);
                self.take_up();
                true
            }
            None => self.decide() || self.is_resumed(),
        }
    }

    /// As `longhaul.resume_run` does it.
    fn is_resumed(&mut self) -> bool {
        let is_barred = self
            .journal
            .steps
            .iter()
            .any(|step| step.state == StepState::Unknown && effect(step) == Effect::AtMostOnce);
        if is_barred || self.left.resumes == 0 {
            return false;
        }
        self.left.resumes -= 1;
        self.log.push("resume".to_owned());
        self.resumed_fence = self.fence;
        for place in 0..self.journal.asked.len() {
            self.approve(place);
        }
        if let Some(deadline) = self.journal.deadline.filter(|deadline| *deadline <= self.now) {
            self.journal.deadline = Some(self.now + (deadline - at(0)));
        }
        self.take_up();
        true
    }

    fn running(&self) -> Vec<u32> {
        let running = self
            .journal
            .steps
            .iter()
            .filter(|step| step.state == StepState::Running);
        running.map(|step| step.seq).collect()
    }

    fn step(&self, seq: u32) -> &Step {
        self.journal.steps.iter().find(|step| step.seq == seq).unwrap()
    }

    /// Writes a step's row. One that has ended never changes, and no step becomes another.
    fn record(&mut self, step: Step) {
        self.records.get_mut(&step.seq).unwrap().fence = self.fence;
        let known = self
            .journal
            .steps
            .iter_mut()
            .find(|known| known.seq == step.seq)
            .unwrap();
        assert!(!known.state.has_ended(), "step {} changed after its end", step.seq);
        *known = step;
    }

    fn act(&mut self, moves: Vec<Move>) -> bool {
        assert!(!moves.is_empty(), "does nothing over and over");
        for next in moves {
            match next {
                Move::CallModel {
                    turn,
                    tools_off,
                    replaces,
                } => self.call_model(turn, tools_off, replaces),
                Move::CallTool {
                    turn,
                    index,
                    call,
                    replaces,
                    held,
                } => self.call_tool((turn, index), &call, (replaces, held)),
                Move::FallBack {
                    turn,
                    index,
                    call,
                    replaces,
                    way,
                } => self.fall_back((turn, index), &call, (replaces, &way)),
                Move::Answer {
                    turn,
                    index,
                    call,
                    error,
                } => self.answer((turn, index), &call, (error, None)),
                Move::TryAgain { seq, why } => self.try_again(seq, why),
                Move::GiveUp { seq, unknown, error } => self.give_up(seq, unknown, error),
                Move::Ask { seq } => self.ask(seq),
                Move::Probe { of } => self.probe(of),
                Move::Resolve { seq, into, .. } => self.resolve(seq, into),
            }
        }
        true
    }

    fn begin(&mut self, begun: Step, sent: String) {
        self.records.insert(
            begun.seq,
            Record {
                fence: self.fence,
                release: self.release,
                sent,
            },
        );
        self.journal.steps.push(begun);
    }

    fn starts_something(&self) {
        let is_over = self.journal.deadline.is_some_and(|deadline| deadline <= self.now);
        assert!(!is_over, "starts something after its deadline: {:#?}", self.log);
    }

    /// The messages of a model request, which keep the provider's contract.
    fn request(&self) -> String {
        let messages = transcript(&self.agent, &self.journal).unwrap();
        if let Err(broken) = contract::judge(&messages) {
            panic!("{broken} in {messages:#?} after {:#?}", self.log);
        }
        assert!(contract::ids_differ(&messages), "an id comes twice: {:#?}", self.log);
        let last = messages.last().unwrap();
        let newest = self
            .answered_turns()
            .last()
            .map(|(_, reply)| reply.stop_reason.as_deref());
        assert!(
            last.role == Role::User || newest == Some(Some("pause_turn")),
            "the model would have to go on from its own words: {:#?}",
            self.log
        );
        format!("{messages:?}")
    }

    fn answered_turns(&self) -> impl Iterator<Item = (u32, &ModelReply)> {
        self.journal.steps.iter().filter_map(|step| match &step.body {
            StepBody::Model { reply: Some(reply) } if step.state == StepState::Succeeded => Some((step.turn, reply)),
            StepBody::Model { .. } | StepBody::Tool { .. } | StepBody::Probe { .. } => None,
        })
    }

    fn call_model(&mut self, turn: u32, tools_off: bool, replaces: Option<u32>) {
        self.starts_something();
        let newest = self.answered_turns().map(|(turn, _)| turn).max().unwrap_or_default();
        assert_eq!(turn, newest + 1, "{:#?}", self.log);
        assert!(turn <= self.agent.limits.turns_max);
        assert_eq!(
            tools_off,
            turn == self.agent.limits.turns_max && !self.agent.tools.is_empty()
        );
        if let Some(replaced) = replaces {
            assert!(self.step(replaced).state.has_ended());
        }
        let sent = self.request();
        let mut begun = step(
            self.journal.next_seq(),
            turn,
            StepState::Running,
            StepBody::Model { reply: None },
        );
        (begun.budget_from, begun.attempt_started_at) = (self.now, self.now);
        begun.replaces = replaces;
        begun.attempts_max = self.agent.model.retry.attempts_max;
        self.begin(begun, sent);
    }

    fn try_again(&mut self, seq: u32, why: Again) {
        self.starts_something();
        let mut again = self.step(seq).clone();
        let is_first = again.attempt == 0;
        let from = match why {
            Again::Due => StepState::Waiting,
            Again::Interrupted => StepState::Interrupted,
            Again::Resumed if is_first => StepState::Waiting,
            Again::Resumed | Again::DidNotHappen => StepState::Unknown,
        };
        if why == Again::DidNotHappen {
            self.did_not_happen(&again);
            again.maybe_applied = false;
        }
        assert_eq!(again.state, from);
        match &again.body {
            StepBody::Model { .. } => {
                let (request, record) = (self.request(), &self.records[&seq]);
                if record.release != self.release {
                    let error = StepError::new(ErrorClass::Permanent, REQUEST_CHANGED, "another release");
                    return self.give_up(seq, None, error);
                }
                assert_eq!(record.sent, request, "the request changed on its own: {:#?}", self.log);
            }
            StepBody::Probe { .. } => {}
            StepBody::Tool {
                index, effect, name, ..
            } => {
                if is_first {
                    self.comes_in_order((again.turn, *index), name);
                }
                // What is only read leaves nothing behind, whichever call it answers.
                let happened = *effect != Effect::ReadOnly && !self.may_have_happened.insert((again.turn, *index));
                assert!(
                    *effect != Effect::AtMostOnce || !happened,
                    "step {seq} is sent twice: {:#?}",
                    self.log
                );
            }
        }
        let fresh = self.retry_max(&again);
        again.attempts_max = match why {
            Again::Due => again.attempts_max,
            Again::Interrupted => again.attempts_max + 1,
            Again::Resumed | Again::DidNotHappen => again.attempt + fresh,
        };
        if is_first {
            again.budget_from = self.now;
        }
        again.attempt += 1;
        again.attempt_started_at = self.now;
        again.maybe_applied |= why == Again::Interrupted;
        again.state = StepState::Running;
        (again.due_at, again.error, again.resumed_over) = (None, None, false);
        self.record(again);
    }

    fn retry_max(&self, step: &Step) -> u32 {
        match &step.body {
            StepBody::Model { .. } => self.agent.model.retry.attempts_max,
            StepBody::Tool { name, .. } | StepBody::Probe { name, .. } => {
                self.agent.tool(name).unwrap().retry.attempts_max
            }
        }
    }

    fn give_up(&mut self, seq: u32, unknown: Option<UnknownReason>, error: StepError) {
        let mut ended = self.step(seq).clone();
        assert!(matches!(ended.state, StepState::Waiting | StepState::Interrupted));
        ended.due_at = None;
        ended.maybe_applied |= ended.state == StepState::Interrupted;
        ended.state = if unknown.is_some() {
            StepState::Unknown
        } else {
            StepState::Failed
        };
        if let (None, StepBody::Tool { outcome, .. }) = (unknown, &mut ended.body) {
            *outcome = Some(error_outcome(&error));
        }
        ended.error = Some(error);
        self.check_end(&ended);
        self.record(ended);
    }

    /// What may have happened is never told as failed.
    fn check_end(&self, step: &Step) {
        let StepBody::Tool { index, effect, .. } = &step.body else {
            return;
        };
        let in_doubt = self.may_have_happened.contains(&(step.turn, *index)) || step.maybe_applied;
        assert!(
            *effect == Effect::ReadOnly || !in_doubt || step.state != StepState::Failed,
            "step {} may have happened and is told as failed: {:#?}",
            step.seq,
            self.log
        );
    }

    /// Something that is out comes back, in any order, or a sibling falls due before.
    fn wait_for_result(&mut self, until: Option<DateTime<Utc>>) -> bool {
        let running = self.running();
        assert!(!running.is_empty(), "awaits nothing: {:#?}", self.log);
        if let Some(until) = until.filter(|_| self.fate.strikes(4)) {
            assert!(until > self.now, "waits for the past: {:#?}", self.log);
            self.now = until;
            return true;
        }
        let seq = self.fate.one_of(&running);
        let step = self.step(seq).clone();
        let is_once_only = effect(&step) == Effect::AtMostOnce;
        if !is_once_only && self.left.crashes > 0 && self.fate.strikes(12) {
            self.left.crashes -= 1;
            self.cut(step);
        } else if matches!(step.body, StepBody::Model { .. }) {
            self.model_comes_back(step);
        } else {
            self.tool_comes_back(step);
        }
        true
    }

    /// A shutdown within the grace cuts what may be repeated and gives the run back.
    fn cut(&mut self, mut step: Step) {
        self.log.push(format!("cut {}", step.seq));
        step.maybe_applied |= effect(&step) != Effect::ReadOnly;
        step.state = StepState::Waiting;
        step.due_at = Some(self.now);
        step.attempts_max += 1;
        step.error = None;
        self.record(step);
    }

    fn model_comes_back(&mut self, mut step: Step) {
        if self.fate.strikes(4) {
            let outcome = self.fate.failure();
            return self.attempt_failed(step, outcome);
        }
        let reply = self.fate.reply();
        self.log.push(format!("{:?} {}", reply.stop_reason, reply.content));
        match turn::accept(&self.agent, &self.journal, (step.turn, &reply)) {
            Ok(_) => step.state = StepState::Succeeded,
            Err(error) => {
                step.state = StepState::Failed;
                step.error = Some(error);
            }
        }
        step.body = StepBody::Model { reply: Some(reply) };
        self.record(step);
    }

    fn tool_comes_back(&mut self, mut step: Step) {
        if self.fate.strikes(2) {
            let outcome = self.fate.failure();
            return self.attempt_failed(step, outcome);
        }
        step.state = StepState::Succeeded;
        if let StepBody::Probe { outcome, .. } = &mut step.body {
            *outcome = Some(ToolOutcome {
                content: self
                    .fate
                    .one_of(&[r#"{"id": 7}"#, r#"{"id": null}"#, "who knows"])
                    .to_owned(),
                ..ToolOutcome::default()
            });
        }
        if let StepBody::Tool { outcome, .. } = &mut step.body {
            *outcome = Some(ToolOutcome {
                content: format!("done by attempt {} of step {}", step.attempt, step.seq),
                ..ToolOutcome::default()
            });
        }
        self.record(step);
    }

    fn attempt_failed(&mut self, mut step: Step, outcome: AttemptOutcome<()>) {
        let (mut error, known_not_applied) = match outcome {
            AttemptOutcome::Done(()) => panic!("not a failure"),
            AttemptOutcome::NotSent(error) | AttemptOutcome::NotApplied { error, .. } => (error, true),
            AttemptOutcome::Ambiguous { error, .. } => (error, false),
        };
        self.log.push(format!(
            "step {} {:?} {}",
            step.seq,
            error.class,
            if known_not_applied { "not applied" } else { "ambiguous" }
        ));
        let (effect, is_model) = (effect(&step), matches!(step.body, StepBody::Model { .. }));
        step.maybe_applied |= !known_not_applied;
        if let (StepBody::Tool { index, .. }, false) = (&step.body, step.maybe_applied) {
            self.may_have_happened.remove(&(step.turn, *index));
        }
        let due_at = self.now + TimeDelta::seconds(self.fate.pick(20).into());
        let attempts = Attempts {
            attempt: step.attempt,
            attempts_max: step.attempts_max,
            maybe_applied: step.maybe_applied,
            horizon_passed: due_at - step.budget_from > TimeDelta::seconds(60),
        };
        let judged = if is_model && error.code == SPEND_CAP {
            Verdict::Failed
        } else {
            verdict(effect, error.class, known_not_applied, attempts)
        };
        step.due_at = None;
        match judged {
            Verdict::Retry => {
                step.state = StepState::Waiting;
                step.due_at = Some(due_at);
            }
            Verdict::Unknown(_) => step.state = StepState::Unknown,
            Verdict::Failed => {
                step.state = StepState::Failed;
                step.state = StepState::Failed;
                error.fatal = self.fails_the_run(&step, &error);
                if let StepBody::Tool { outcome, .. } = &mut step.body {
                    *outcome = (!error.fatal).then(|| error_outcome(&error));
                }
            }
        }
        step.error = Some(error);
        self.check_end(&step);
        self.record(step);
    }
}

fn tool_body(index: u32, call: &ToolCall, effect: Effect) -> StepBody {
    StepBody::Tool {
        index,
        call_id: call.id.clone(),
        name: call.name.clone(),
        effect,
        outcome: None,
    }
}

fn effect(step: &Step) -> Effect {
    match &step.body {
        StepBody::Model { .. } | StepBody::Probe { .. } => Effect::ReadOnly,
        StepBody::Tool { effect, .. } => *effect,
    }
}

/// Actions that a run can take at most: each attempt is begun, may be awaited beside a sibling, and comes back; each wait
/// ends with an attempt; a crash or a resume costs a few more. A resume grants each step of one turn a new budget.
fn patience(agent: &Agent, bounds: Bounds) -> u32 {
    let ways = 1 + agent
        .tools
        .iter()
        .map(|tool| 1 + tool.fallback.len())
        .max()
        .unwrap_or_default();
    let steps_of_a_turn = 1 + CALLS_MAX * u32::try_from(ways).unwrap();
    let turns = agent.limits.turns_max + bounds.resumes + bounds.crashes;
    let budget = agent.tools.iter().map(|tool| tool.retry.attempts_max);
    let attempts = budget.chain([agent.model.retry.attempts_max]).max().unwrap_or_default();
    let all_attempts = turns * steps_of_a_turn * attempts + bounds.crashes * steps_of_a_turn;
    4 * all_attempts + 4 * (bounds.crashes + bounds.resumes) + 8
}
