//! What people decided about the steps of a workflow, done before its function is run again.

use super::asked::{doubt_about, failed, unsigned};
use super::attempt::{change, signed};
use super::{Asked, Driver, Open, Phase};
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

    /// What was decided about an attempt.
    fn about(&self, seq: i32, attempt: i32) -> Option<(&AskedRow, Verb)> {
        let about = (Some(seq), Some(attempt));
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
        self.goes_on(row.seq, row.attempt).filter(|_| row.state == "unknown")
    }

    fn goes_on(&self, seq: i32, attempt: i32) -> Option<Verb> {
        let (_, verb) = self.about(seq, attempt)?;
        matches!(verb, Verb::DidNotHappen | Verb::Approve).then_some(verb)
    }

    /// The end that a decision is for an attempt.
    fn end(&self, seq: i32, attempt: i32) -> Option<End> {
        let (asked, verb) = self.about(seq, attempt)?;
        let (state, event, result, error) = match verb {
            Verb::Happened => ("succeeded", "step.succeeded", asked.told.clone(), None),
            Verb::GiveUp | Verb::Reject => {
                let error = json!(StepError::given_up(asked.words.as_deref())).to_string();
                ("failed", "step.failed", None, Some(error))
            }
            Verb::DidNotHappen | Verb::Approve | Verb::ProbeAgain => return None,
        };
        let actor = asked.actor.as_deref().unwrap_or_default();
        let by = format!("approval {}: {} by {actor}", asked.id, verb.as_str());
        Some(End {
            state,
            event,
            result,
            error,
            by,
        })
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

/// How a step ends by a decision.
struct End {
    state: &'static str,
    event: &'static str,
    /// JSON text.
    result: Option<String>,
    /// JSON text.
    error: Option<String>,
    by: String,
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
            let Some(end) = self.decisions.end(row.seq, row.attempt) else {
                continue;
            };
            end.state.clone_into(&mut row.state);
            (row.result, row.error) = (end.result.clone(), end.error.clone());
            self.draft
                .event(end.event, unsigned(row.seq), Some(json!({"by": end.by})));
            self.draft.change(StepChange {
                seq: row.seq,
                state: end.state,
                attempt: row.attempt,
                attempts_max: row.attempts_max,
                maybe_applied: row.maybe_applied,
                due_at: None,
                result: end.result,
                error: end.error,
                fresh_budget: false,
                evidence: None,
            });
        }
        let draft = std::mem::take(&mut self.draft);
        self.record(draft).await
    }

    /// Whether something has woken a run that waits for people since it was last read what they decided.
    pub(super) fn may_be_decided(&self) -> bool {
        self.stuck.is_some() && self.hold.wakes() > self.decided_at
    }

    /// Reads what people decided since it was last read, and goes on with the steps that it is about.
    pub(super) async fn take_up_news(&mut self) -> Result<(), EngineError> {
        let (engine, run, wakes) = (&self.hold.shared.engine, self.hold.run(), self.hold.wakes());
        let asked = self.hold.scribe.until_answered(|| engine.asked(run)).await?;
        self.decisions = Decisions::of(asked);
        self.decided_at = wakes;
        self.stuck = None;
        let is_unknown = |open: &Open| matches!(&open.what, Asked::Step(step) if step.phase == Phase::Unknown);
        let unknown: Vec<u64> = self
            .open
            .iter()
            .filter(|(_, open)| is_unknown(open))
            .map(|(asked, _)| *asked)
            .collect();
        for asked in unknown {
            if let Some(open) = self.open.remove(&asked) {
                self.take_up_decided(asked, open);
            }
        }
        Ok(())
    }

    /// Of a step that nobody could vouch for.
    fn take_up_decided(&mut self, asked: u64, mut open: Open) {
        let (Some(seq), Asked::Step(step)) = (open.seq, &mut open.what) else {
            return;
        };
        let attempt = signed(step.attempt);
        if let Some(end) = self.decisions.end(seq, attempt) {
            let error = end.error.clone();
            self.draft.change(StepChange {
                result: end.result.clone(),
                error: end.error,
                ..change(seq, step, end.state)
            });
            self.draft.event(end.event, unsigned(seq), Some(json!({"by": end.by})));
            let answer = match end.result {
                Some(result) => Ok(result),
                None if end.state == "succeeded" => Ok("null".to_owned()),
                None => Err(failed(error.as_deref())),
            };
            if let Asked::Step(step) = open.what {
                self.answers.drafted(move || drop(step.ask.answer.send(answer)));
            }
            return;
        }
        match self.decisions.goes_on(seq, attempt) {
            Some(Verb::DidNotHappen) => step.did_not_happen(self.hold.now()),
            Some(_) => step.begin_afresh(self.hold.now()),
            None => {
                let reason = doubt_about(step.ask.effect);
                self.doubt(reason, &open.identity);
                self.open.insert(asked, open);
                return;
            }
        }
        step.phase = Phase::Ready;
        self.open.insert(asked, open);
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
