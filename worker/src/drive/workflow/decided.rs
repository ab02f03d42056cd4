//! What people decided about the steps of a workflow, done before its function is run again.

use super::Driver;
use super::asked::unsigned;
use crate::hold::Flow;
use agent::{StepError, Verb};
use engine::query::{AskedRow, TaskRow};
use engine::{Ending, EngineError, Fence, StepChange};
use serde_json::json;

/// What people were asked about a run, as far as it was decided.
#[derive(Debug, Default)]
pub(super) struct Decisions(Vec<AskedRow>);

impl Decisions {
    pub(super) fn of(asked: Vec<AskedRow>) -> Self {
        Self(asked)
    }

    /// What was decided about a step as it stands.
    fn about(&self, row: &TaskRow) -> Option<(&AskedRow, Verb)> {
        let about = (Some(row.seq), Some(row.attempt));
        let asked = self
            .0
            .iter()
            .rev()
            .find(|asked| (asked.step_seq, asked.attempt) == about)?;
        Some((asked, asked.verb.as_deref().and_then(Verb::parse)?))
    }

    /// Whether somebody is asked about a step as it stands.
    pub(super) fn is_open(&self, row: &TaskRow) -> bool {
        let about = (Some(row.seq), Some(row.attempt));
        let mut open = self.0.iter().filter(|asked| asked.state == "open");
        open.any(|asked| (asked.step_seq, asked.attempt) == about)
    }

    /// Whether a step that nobody could vouch for goes on, and how.
    pub(super) fn lets_go_on(&self, row: &TaskRow) -> Option<Verb> {
        let (_, verb) = self.about(row).filter(|_| row.state == "unknown")?;
        matches!(verb, Verb::DidNotHappen | Verb::Approve).then_some(verb)
    }

    /// What the run fails with where a person decided that it is not to go on.
    fn rejected(&self, resumed_fence: Fence) -> Option<StepError> {
        let about_run = |asked: &&AskedRow| asked.step_seq.is_none() && asked.fence > resumed_fence;
        let asked = self.0.iter().rev().find(about_run)?;
        (asked.verb.as_deref() == Some(Verb::Reject.as_str())).then(|| {
            let actor = asked.actor.as_deref().unwrap_or("somebody");
            StepError::rejected(actor, asked.words.as_deref())
        })
    }
}

impl Driver {
    /// Ends the steps of which people said what became of them, and the run, where they said so.
    pub(super) async fn take_up_decisions(&mut self) -> Result<Flow, EngineError> {
        if let Some(error) = self.decisions.rejected(self.resumed_fence) {
            self.end_open("rejected");
            let ending = Ending::Failed(json!(error).to_string());
            if self.end_children(ending.state()).await? == Flow::Done {
                return Ok(Flow::Done);
            }
            let draft = std::mem::take(&mut self.draft);
            return self.hold.finish(draft, ending).await;
        }
        for row in self.recorded.values_mut().filter(|row| row.state == "unknown") {
            let Some((asked, verb)) = self.decisions.about(row) else {
                continue;
            };
            let (state, event) = match verb {
                Verb::Happened => ("succeeded", "step.succeeded"),
                Verb::GiveUp | Verb::Reject => ("failed", "step.failed"),
                Verb::DidNotHappen | Verb::Approve | Verb::ProbeAgain => continue,
            };
            state.clone_into(&mut row.state);
            match verb {
                Verb::Happened => {
                    row.result.clone_from(&asked.told);
                    row.error = None;
                }
                Verb::GiveUp | Verb::Reject | Verb::DidNotHappen | Verb::Approve | Verb::ProbeAgain => {
                    row.error = Some(json!(StepError::given_up(asked.words.as_deref())).to_string());
                }
            }
            self.draft.change(StepChange {
                seq: row.seq,
                state,
                attempt: row.attempt,
                attempts_max: row.attempts_max,
                maybe_applied: row.maybe_applied,
                due_at: None,
                result: row.result.clone(),
                error: row.error.clone(),
                fresh_budget: false,
                evidence: None,
            });
            let by = format!(
                "approval {}: {} by {}",
                asked.id,
                verb.as_str(),
                asked.actor.as_deref().unwrap_or_default()
            );
            self.draft.event(event, unsigned(row.seq), Some(json!({"by": by})));
        }
        let draft = std::mem::take(&mut self.draft);
        self.record(draft).await
    }

    /// Whether something has woken a run that waits for people since it was last read what they decided.
    pub(super) fn may_be_decided(&self) -> bool {
        self.stuck.is_some() && self.hold.wakes() > self.decided_at
    }

    /// Gives the run back, so that whoever takes it up finds what was decided meanwhile.
    pub(super) async fn look_again(mut self) -> Result<(), EngineError> {
        let draft = std::mem::take(&mut self.draft);
        if self.record(draft).await? == Flow::Done {
            return Ok(());
        }
        match self.stop() {
            Some(stop) => self.wind_down(stop).await,
            None => self.hold.release(engine::Release::Woken).await,
        }
    }
}
