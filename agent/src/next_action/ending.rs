//! Runs that are to start nothing more: their time is over, or a person has decided so.

use super::Action;
use crate::definition::Agent;
use crate::doubt::{self, Doubts, Probing};
use crate::error::{ErrorClass, StepError};
use crate::given_up::give_up_all;
use crate::journal::{Asked, Decision, Journal, Standing, StepState, Verb};
use chrono::{DateTime, Utc};

/// What the run fails with where a person decided that it is not to go on.
pub(super) fn rejected(journal: &Journal) -> Option<StepError> {
    let about_run = |asked: &&Asked| asked.about.is_none() && !asked.resumed_over;
    match &journal.asked.iter().rev().find(about_run)?.standing {
        Standing::Decided(Decision {
            verb: Verb::Reject,
            actor,
            words,
            ..
        }) => Some(StepError::rejected(actor, words.as_deref())),
        Standing::Open | Standing::Decided(_) | Standing::Closed => None,
    }
}

/// A run whose time is over starts nothing more. What is out is waited for, each call within its own limit; what may
/// have happened stays unknown, whatever the time.
pub(super) fn at_the_deadline(agent: &Agent, journal: &Journal, now: DateTime<Utc>) -> Action {
    if journal.steps.iter().any(|step| step.state == StepState::Running) {
        return Action::Await { until: None };
    }
    let error = || {
        StepError::new(ErrorClass::Timeout, "deadline_exceeded", "the run's time is over")
            .suggest(
            "start it with a later deadline_at, if whoever started it set one, or else raise limits.wall_clock_seconds; \
             resuming the run gives it the same time once more",
        )
    };
    let mut moves = give_up_all(journal, &error());
    let doubts = Doubts {
        agent,
        journal,
        probing: Probing::Over,
        now,
    };
    let unknown = journal.steps.iter().filter(|step| step.state == StepState::Unknown);
    moves.extend(unknown.filter_map(|step| doubt::settle(doubts, step)));
    if !moves.is_empty() {
        return Action::Act(moves);
    }
    doubts.park(None).unwrap_or_else(|| Action::Fail(error()))
}

/// A run that a person rejected fails once nothing of it is open. What may have happened is asked about as it ends.
pub(super) fn at_a_rejection(journal: &Journal, error: StepError) -> Action {
    if journal.steps.iter().any(|step| step.state == StepState::Running) {
        return Action::Await { until: None };
    }
    let moves = give_up_all(journal, &error);
    if moves.is_empty() {
        Action::Fail(error)
    } else {
        Action::Act(moves)
    }
}
