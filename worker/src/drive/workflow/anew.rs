//! What is done anew after a failed run was let go on: what failed it, what ended with it, and nothing else.

use super::Driver;
use super::asked::failed;
use crate::workflow::Child;
use agent::StepError;
use agent::error::GIVEN_UP;
use engine::query::{LastFailure, TaskRow};
use engine::{Fence, RunId};
use std::collections::{HashMap, HashSet};

/// The same whenever the workflow is run again, whatever was recorded since it was let go on.
#[derive(Debug, Default)]
pub(super) struct Anew {
    /// Rows of before are of this fence or an earlier one.
    fence: Option<Fence>,
    /// The number of the step that failed the run.
    step: Option<i32>,
    /// Children that ended with it.
    children: HashSet<RunId>,
}

impl Anew {
    /// Of a run's journal and its last failure, which names the step that failed it.
    pub(super) fn of(rows: &[TaskRow], failure: LastFailure) -> Self {
        let before = || rows.iter().filter(|row| row.fence <= failure.fence);
        // What had been done anew before was not what failed it.
        let newest: HashMap<&str, i32> = before().map(|row| (row.identity.as_str(), row.seq)).collect();
        let stood = |row: &&TaskRow| newest.get(row.identity.as_str()) == Some(&row.seq);
        let of_run: StepError = failed(Some(&failure.error)).into_inner();
        let step = match &of_run.step {
            Some(identity) => newest.get(identity.as_ref()).copied(),
            None => guess(before().filter(stood), &of_run).map(|row| row.seq),
        };
        Self {
            step,
            fence: Some(failure.fence),
            children: failure.children.into_iter().collect(),
        }
    }

    /// The children that ended with the run.
    pub(super) fn children(&self) -> HashSet<RunId> {
        self.children.clone()
    }

    /// Whether a step is what failed the run.
    pub(super) fn is_step(&self, row: &TaskRow) -> bool {
        self.step == Some(row.seq)
    }

    /// Whether a step had started a child that ended with the run.
    pub(super) fn is_child(&self, row: &TaskRow) -> bool {
        let result = || {
            row.result
                .as_deref()
                .and_then(|result| serde_json::from_str::<Child>(result).ok())
        };
        self.fence.is_some_and(|fence| row.fence <= fence)
            && row.kind == "child"
            && result().is_some_and(|child| self.children.contains(&child.run_id))
    }
}

/// The workflow has made an error of its own. Its words are the step's or hold them, or nothing was recorded after it.
fn guess<'a>(stood: impl DoubleEndedIterator<Item = &'a TaskRow> + Clone, of_run: &StepError) -> Option<&'a TaskRow> {
    let find = |told: &dyn Fn(&StepError) -> bool| {
        let mut failures = stood.clone().filter(|row| row.state == "failed");
        failures.rfind(|row| told(&failed(row.error.as_deref()).into_inner()))
    };
    let is_same = |error: &StepError| error == of_run;
    let is_within = |error: &StepError| !error.message.is_empty() && of_run.message.contains(&error.message);
    let last = || {
        let last = stood.clone().next_back().filter(|row| row.state == "failed");
        // A run whose time was over was failed by no step.
        last.filter(|_| of_run.code != "deadline_exceeded")
    };
    find(&is_same).or_else(|| find(&is_within)).or_else(last)
}

impl Driver {
    /// Whether a step that has ended is done anew. Under a new key, since it is certain that nothing was done or that it
    /// came to nothing; but the start of a child keeps its own.
    pub(super) fn is_done_anew(&self, row: &TaskRow) -> bool {
        match row.state.as_str() {
            "succeeded" => self.anew.is_child(row),
            // What a person gave up may have happened.
            "failed" => self.anew.is_step(row) && failed(row.error.as_deref()).into_inner().code != GIVEN_UP,
            // It was given up when its run ended.
            "cancelled" => self.begins_anew(row),
            _ => false,
        }
    }
}
