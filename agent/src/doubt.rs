//! What becomes of a call whose outcome nobody knows: its probe is asked, then a person, and what they say is done.
//!
//! Pure, and part of [`next_action`](crate::next_action()). Semantics: `docs/failure-semantics.md`.

use crate::definition::{Agent, Tool};
use crate::effect::{Effect, UnknownReason};
use crate::error::{ErrorClass, StepError};
use crate::journal::{Asked, Decision, Journal, Standing, Step, StepBody, StepState, ToolOutcome, Verb};
use crate::next_action::{Action, Again, Move, Resolution, WaitFor, effect};
use crate::probe::{Finding, Probe};
use chrono::{DateTime, TimeDelta, Utc};

/// Whether something new may be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Probing {
    /// Probes may be asked.
    Allowed,
    /// The run's time is over: people only.
    Over,
}

/// What a step of unknown outcome needs next. None: it waits for its probe, or for a person.
pub(crate) fn settle(doubts: Doubts<'_>, step: &Step) -> Option<Move> {
    match doubts.journal.asked_about(step) {
        Some(Asked {
            standing: Standing::Open,
            ..
        }) => None,
        Some(
            asked @ Asked {
                standing: Standing::Decided(decision),
                ..
            },
        ) if decision.verb != Verb::ProbeAgain => Some(decided(doubts, step, (asked, decision))),
        Some(Asked {
            standing: Standing::Decided(_) | Standing::Closed,
            ..
        })
        | None => probed(doubts, step),
    }
}

fn decided(doubts: Doubts<'_>, step: &Step, (asked, decision): (&Asked, &Decision)) -> Move {
    let resolve = |into| Move::Resolve {
        seq: step.seq,
        into,
        by: format!(
            "approval {}: {} by {}",
            asked.id,
            decision.verb.as_str(),
            decision.actor
        ),
    };
    match decision.verb {
        Verb::Happened => resolve(Resolution::Succeeded(decision.told.clone().unwrap_or_default())),
        Verb::DidNotHappen => again(doubts, step, Again::DidNotHappen),
        Verb::Approve => again(doubts, step, Again::Resumed),
        Verb::GiveUp | Verb::Reject | Verb::ProbeAgain => {
            resolve(Resolution::Failed(StepError::given_up(decision.words.as_deref())))
        }
    }
}

/// Another attempt, where there is time for one.
fn again(doubts: Doubts<'_>, step: &Step, why: Again) -> Move {
    let seq = step.seq;
    match (doubts.probing, why) {
        (Probing::Allowed, _) => Move::TryAgain { seq, why },
        (Probing::Over, Again::DidNotHappen) => Move::Resolve {
            seq,
            into: Resolution::Failed(StepError::new(
                ErrorClass::Timeout,
                "deadline_exceeded",
                "the call did not happen, and the run's time is over",
            )),
            by: "the run's deadline".to_owned(),
        },
        (Probing::Over, Again::Due | Again::Interrupted | Again::Resumed) => Move::Ask { seq },
    }
}

/// What the step's probes have said, or the next one; a person where they cannot say.
fn probed(doubts: Doubts<'_>, step: &Step) -> Option<Move> {
    let seq = step.seq;
    let Some(probe) = doubts.probe(step) else {
        return Some(Move::Ask { seq });
    };
    let mut probes = doubts.journal.probes_of(step);
    let made = probes.len();
    let allowed = match doubts.probing {
        Probing::Allowed => 1 + doubts.journal.probes_wanted(step),
        Probing::Over => 0,
    };
    match probes.pop() {
        Some(last) if !last.state.has_ended() => None,
        Some(last) if made >= allowed => match probe.read(last) {
            Finding::Happened(content) => Some(Move::Resolve {
                seq,
                into: Resolution::Succeeded(ToolOutcome {
                    content,
                    notes: vec![format!("that it happened, and this result, was told by {}", probe.tool)],
                    ..ToolOutcome::default()
                }),
                by: format!("probe {}", last.seq),
            }),
            Finding::DidNotHappen => Some(again(doubts, step, Again::DidNotHappen)),
            Finding::Unclear => Some(Move::Ask { seq }),
        },
        Some(_) => Some(Move::Probe { of: seq }),
        None if allowed == 0 => Some(Move::Ask { seq }),
        None if doubts.settles_at(step) <= doubts.now => Some(Move::Probe { of: seq }),
        None => None,
    }
}

/// The journal of a run in which something is in doubt, at an instant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doubts<'a> {
    pub(crate) agent: &'a Agent,
    pub(crate) journal: &'a Journal,
    pub(crate) probing: Probing,
    pub(crate) now: DateTime<Utc>,
}

impl<'a> Doubts<'a> {
    fn tool(&self, step: &Step) -> Option<&'a Tool> {
        match &step.body {
            StepBody::Tool { name, .. } => self.agent.tool(name),
            StepBody::Model { .. } | StepBody::Probe { .. } => None,
        }
    }

    fn probe(&self, step: &Step) -> Option<&'a Probe> {
        self.tool(step)?.probe.as_ref()
    }

    /// When a call can no longer be on its way, and a slow target is done with it. Before that no probe can say that it
    /// did not happen.
    fn settles_at(&self, step: &Step) -> DateTime<Utc> {
        let limit = self.tool(step).map_or(0, |tool| i64::from(tool.timeout_seconds));
        let after = self.probe(step).map_or(0, |probe| i64::from(probe.after_seconds));
        let over = step
            .due_at
            .unwrap_or(step.attempt_started_at + TimeDelta::seconds(limit));
        over + TimeDelta::seconds(after)
    }

    fn unknown(&self) -> impl Iterator<Item = &'a Step> {
        let steps = self.journal.steps.iter();
        steps.filter(|step| step.state == StepState::Unknown)
    }

    /// When the next probe is due: of those that wait for their call to be over, and of those that are tried again.
    pub(crate) fn probe_due(&self) -> Option<DateTime<Utc>> {
        let first = self.unknown().filter(|step| {
            self.probe(step).is_some()
                && self.journal.asked_about(step).is_none()
                && self.journal.probes_of(step).is_empty()
        });
        let again = self
            .journal
            .steps
            .iter()
            .filter(|step| matches!(step.body, StepBody::Probe { .. }) && step.state == StepState::Waiting)
            .filter(|step| step.due_at.is_some() || self.journal.gate_of(step.seq).is_none());
        let first = first.map(|step| self.settles_at(step));
        first.chain(again.map(|step| step.due_at.unwrap_or(self.now))).min()
    }

    /// Where something is unknown: waits for people, or, where they are not asked yet, for a probe.
    pub(crate) fn park(&self, until: Option<DateTime<Utc>>) -> Option<Action> {
        let first = self.unknown().next()?;
        let is_asked = |step: &Step| {
            let asked = self.journal.asked_about(step);
            asked.is_some_and(|asked| matches!(asked.standing, Standing::Open))
        };
        let waiting_for = match until {
            Some(_) if !self.unknown().any(is_asked) => WaitFor::Probe,
            None if !self.journal.held_back.is_empty() && !self.unknown().any(is_asked) => WaitFor::Limit,
            Some(_) | None => WaitFor::Approval,
        };
        // A call that nobody may repeat outweighs one that may go on under its old key.
        let is_once_only = |step: &Step| effect(step) == Effect::AtMostOnce;
        let reason = match self.unknown().any(is_once_only) || is_once_only(first) {
            true => UnknownReason::UnknownOutcome,
            false => UnknownReason::RetriesExhausted,
        };
        Some(Action::Park {
            waiting_for,
            reason: reason.as_str().to_owned(),
            until,
        })
    }
}
