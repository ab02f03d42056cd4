//! Steps that are given up although nothing failed: a person, or the time of their run or turn, says that they go no
//! further.

use crate::definition::Agent;
use crate::effect::{Effect, UnknownReason};
use crate::error::StepError;
use crate::fallback;
use crate::journal::{Journal, Step, StepState};
use crate::next_action::{Move, effect, lost_track};
use crate::time_limit::{turn_deadline, turn_is_over};
use chrono::{DateTime, Utc};

/// The end of all that waits, or that a dead worker left. What may have happened becomes unknown.
pub(crate) fn give_up_all(journal: &Journal, error: &StepError) -> Vec<Move> {
    let open = journal
        .steps
        .iter()
        .filter(|step| matches!(step.state, StepState::Waiting | StepState::Interrupted));
    open.map(|step| give_up(step, error)).collect()
}

/// The end of one that waits, or that a dead worker left.
fn give_up(step: &Step, error: &StepError) -> Move {
    let in_doubt = step.maybe_applied || step.state == StepState::Interrupted;
    let unknown = match effect(step) {
        Effect::AtMostOnce if in_doubt => return lost_track(step),
        Effect::Idempotent if in_doubt => Some(UnknownReason::RetriesExhausted),
        Effect::ReadOnly | Effect::Idempotent | Effect::Transactional | Effect::AtMostOnce => None,
    };
    Move::GiveUp {
        seq: step.seq,
        unknown,
        error: error.clone(),
    }
}

/// The end of calls whose turn's time is over. One that is out ends by its own limit.
pub(crate) fn give_up_overdue(agent: &Agent, journal: &Journal, now: DateTime<Utc>) -> Vec<Move> {
    let is_open = |step: &&Step| matches!(step.state, StepState::Waiting | StepState::Interrupted);
    let is_overdue = |step: &&Step| turn_deadline(agent, step).is_some_and(|deadline| deadline <= now);
    // People take the time that they take.
    let is_machines = |step: &&Step| !fallback::is_escalated(agent, journal, step);
    let overdue = journal
        .steps
        .iter()
        .filter(is_open)
        .filter(is_overdue)
        .filter(is_machines);
    overdue.map(|step| give_up(step, &turn_is_over(agent))).collect()
}
