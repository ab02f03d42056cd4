//! People and probes, who say what became of a call.

use super::{World, effect};
use crate::effect::Effect;
use crate::fixture::{asked, step};
use crate::journal::{Decision, Standing, Step, StepBody, StepState, ToolOutcome, Verb};
use crate::next_action::Resolution;
use crate::transcript::error_outcome;
use chrono::TimeDelta;

impl World {
    /// People are asked once about each attempt.
    pub(super) fn ask(&mut self, seq: u32) {
        let step = self.step(seq);
        assert!(step.state == StepState::Unknown || (step.state, step.attempt) == (StepState::Waiting, 0));
        let standing = self.journal.asked_about(step).map(|asked| asked.standing.clone());
        assert!(standing != Some(Standing::Open), "asks twice: {:#?}", self.log);
        let mut asked = asked(step);
        asked.id = format!("{} of {seq}", self.journal.asked.len());
        self.journal.asked.push(asked);
    }

    /// What people say, where they are asked: each verb is honest, since nobody but they know what happened.
    pub(super) fn decide(&mut self) -> bool {
        let open: Vec<usize> = (0..self.journal.asked.len())
            .filter(|place| self.journal.asked[*place].standing == Standing::Open)
            .filter(|place| !self.about(*place).state.has_ended())
            .collect();
        if open.is_empty() || self.fate.strikes(3) {
            return false;
        }
        let place = self.fate.one_of(&open);
        let (seq, _) = self.journal.asked[place].about.unwrap();
        let effect = effect(self.step(seq));
        let is_escalated = self.step(seq).state == StepState::Waiting;
        let mut verbs = match is_escalated {
            true => vec![Verb::Reject, Verb::Approve],
            false => vec![Verb::Happened, Verb::DidNotHappen, Verb::GiveUp],
        };
        if !is_escalated && effect == Effect::Idempotent {
            verbs.extend([Verb::Approve, Verb::Reject]);
        }
        if self.left.resumes > 0 {
            self.left.resumes -= 1;
            if !is_escalated {
                verbs.push(Verb::ProbeAgain);
            }
        } else {
            verbs.retain(|verb| !matches!(verb, Verb::DidNotHappen | Verb::Approve));
        }
        let verb = self.fate.one_of(&verbs);
        self.log.push(format!("{} about {seq}", verb.as_str()));
        self.journal.asked[place].standing = Standing::Decided(Decision {
            verb,
            actor: "ann".to_owned(),
            words: None,
            told: (verb == Verb::Happened).then(ToolOutcome::default),
        });
        self.take_up();
        true
    }

    pub(super) fn probe(&mut self, of: u32) {
        self.starts_something();
        let probed = self.step(of).clone();
        assert_eq!(probed.state, StepState::Unknown);
        let limit = TimeDelta::seconds(i64::from(self.agent.tool("pay").unwrap().timeout_seconds));
        assert!(
            self.now >= probed.attempt_started_at + limit,
            "probes too early: {:#?}",
            self.log
        );
        let probe = StepBody::Probe {
            of,
            attempt: probed.attempt,
            name: "look".to_owned(),
            outcome: None,
        };
        let mut begun = step(self.journal.next_seq(), probed.turn, StepState::Running, probe);
        (begun.budget_from, begun.attempt_started_at) = (self.now, self.now);
        self.begin(begun, String::new());
    }

    pub(super) fn resolve(&mut self, seq: u32, into: Resolution) {
        let mut ended = self.step(seq).clone();
        assert_eq!(ended.state, StepState::Unknown, "{:#?}", self.log);
        let StepBody::Tool { outcome, .. } = &mut ended.body else {
            panic!("only tool calls are in doubt");
        };
        match into {
            Resolution::Succeeded(told) => {
                *outcome = Some(told);
                ended.state = StepState::Succeeded;
            }
            Resolution::Failed(error) => {
                *outcome = Some(error_outcome(&error));
                ended.state = StepState::Failed;
                ended.error = Some(error);
            }
        }
        self.record(ended);
    }

    /// Somebody who knows has said so.
    pub(super) fn did_not_happen(&mut self, step: &Step) {
        if let StepBody::Tool { index, .. } = &step.body {
            self.may_have_happened.remove(&(step.turn, *index));
        }
    }

    fn about(&self, place: usize) -> &Step {
        let (seq, _) = self.journal.asked[place].about.unwrap();
        self.step(seq)
    }

    /// Whoever resumes a run says that what may go on under its old key shall go on.
    pub(super) fn approve(&mut self, place: usize) {
        let asked = &self.journal.asked[place];
        let repeats = asked
            .about
            .map(|(seq, _)| self.step(seq))
            .is_some_and(|step| step.state == StepState::Waiting || effect(step) == Effect::Idempotent);
        if repeats && asked.standing == Standing::Open {
            self.journal.asked[place].standing = Standing::Decided(Decision {
                verb: Verb::Approve,
                actor: "ann".to_owned(),
                words: None,
                told: None,
            });
        }
    }
}
