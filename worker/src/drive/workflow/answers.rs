//! The order in which a workflow is answered: one answer, then the workflow goes on, then the next.
//!
//! A workflow that waits for the first of several must be told of the same one first whenever it is run again. So what
//! is in the journal is answered in the order of its events, and what happens now in the order in which it is drafted,
//! which is that of its events to be.

use super::Driver;
use engine::EngineError;
use std::collections::{HashMap, VecDeque};

/// Answers what a workflow asked for.
pub(super) type Answer = Box<dyn FnOnce() + Send + Sync>;

/// Answers that are there and not given.
#[derive(Default)]
pub(super) struct Answers {
    /// By the numbers of their steps.
    recorded: Vec<(i32, Answer)>,
    drafted: VecDeque<Answer>,
    /// The events that ended steps, by the numbers of the steps; read once there is a choice.
    ends: Option<HashMap<i32, i32>>,
}

impl Answers {
    /// One that is in the journal.
    pub(super) fn recorded(&mut self, seq: i32, answer: impl FnOnce() + Send + Sync + 'static) {
        self.recorded.push((seq, Box::new(answer)));
    }

    /// One whose event is drafted.
    pub(super) fn drafted(&mut self, answer: impl FnOnce() + Send + Sync + 'static) {
        self.drafted.push_back(Box::new(answer));
    }

    fn earliest(&mut self) -> Option<Answer> {
        let ends = self.ends.as_ref();
        let end = |seq: &i32| ends.and_then(|ends| ends.get(seq).copied()).unwrap_or(i32::MAX);
        let place = (0..self.recorded.len()).min_by_key(|place| self.recorded.get(*place).map(|(seq, _)| end(seq)));
        match place {
            Some(place) => Some(self.recorded.swap_remove(place).1),
            None => self.drafted.pop_front(),
        }
    }
}

impl Driver {
    /// Gives the next answer, if there is one.
    pub(super) async fn answer(&mut self) -> Result<bool, EngineError> {
        if self.answers.recorded.len() > 1 && self.answers.ends.is_none() {
            let (engine, run) = (&self.hold.shared.engine, self.hold.run());
            self.answers.ends = Some(self.hold.scribe.until_answered(|| engine.step_ends(run)).await?);
        }
        let answer = self.answers.earliest();
        Ok(answer.map(|answer| answer()).is_some())
    }
}
