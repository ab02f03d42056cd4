//! The order in which a workflow is answered: one answer, then the workflow goes on, then the next.
//!
//! A workflow that waits for the first of several must be told of the same one first whenever it is run again. So what
//! is in the journal is answered in the order of its events, and what happens now in the order in which it is drafted,
//! which is that of its events to be.

use super::Driver;
use engine::EngineError;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Answers what a workflow asked for.
pub(super) type Answer = Box<dyn FnOnce() + Send + Sync>;

/// Answers that are there and not given.
#[derive(Default)]
pub(super) struct Answers {
    /// Of those in the journal, by the numbers of their steps. Once there is a choice they find their places.
    unplaced: Vec<(i32, Answer)>,
    /// By the numbers of the events that ended their steps, and of the steps.
    placed: BTreeMap<(i32, i32), Answer>,
    drafted: VecDeque<Answer>,
    /// The events that ended steps, by the numbers of the steps; read once there is a choice.
    ends: Option<HashMap<i32, i32>>,
}

impl Answers {
    /// One that is in the journal.
    pub(super) fn recorded(&mut self, seq: i32, answer: impl FnOnce() + Send + Sync + 'static) {
        self.unplaced.push((seq, Box::new(answer)));
    }

    /// One whose event is drafted.
    pub(super) fn drafted(&mut self, answer: impl FnOnce() + Send + Sync + 'static) {
        self.drafted.push_back(Box::new(answer));
    }

    fn earliest(&mut self) -> Option<Answer> {
        let Some(ends) = &self.ends else {
            let only = self.unplaced.pop().map(|(_, answer)| answer);
            return only.or_else(|| self.drafted.pop_front());
        };
        for (seq, answer) in self.unplaced.drain(..) {
            let end = ends.get(&seq).copied().unwrap_or(i32::MAX);
            self.placed.insert((end, seq), answer);
        }
        let first = self.placed.pop_first().map(|(_, answer)| answer);
        first.or_else(|| self.drafted.pop_front())
    }
}

impl Driver {
    /// Gives the next answer, if there is one.
    pub(super) async fn answer(&mut self) -> Result<bool, EngineError> {
        if self.answers.unplaced.len() > 1 && self.answers.ends.is_none() {
            let (engine, run) = (&self.hold.shared.engine, self.hold.run());
            self.answers.ends = Some(self.hold.scribe.until_answered(|| engine.step_ends(run)).await?);
        }
        let answer = self.answers.earliest();
        Ok(answer.map(|answer| answer()).is_some())
    }
}
