//! Brings a run's writes into the database, through lost connections and restarts.
//!
//! After a lost reply nobody knows whether a statement was committed. The run's lock is taken first, so that a statement
//! still running on the dead connection has ended, and then the number of the last event tells.

use crate::crash_point::crash_point;
use crate::drive::{Shared, Suspicion};
use crate::lease::Lease;
use engine::recorder::Answer;
use engine::transition::Control;
use engine::{
    Claim, Claimed, Ending, EngineError, EventWrite, Park, Recorded, RunId, StepBegin, StepChange, StepWrites, Then,
    Transition, Uncommitted,
};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Between two tries while the database is away.
const RETRY_PERIOD: Duration = Duration::from_millis(250);
/// How long a result is offered after the lease was lost, before it is given up. A call that may not be repeated is then
/// found unknown by whoever takes the run.
const OFFERS_AFTER_LOSS_MAX: u32 = 480;

/// What came of a write.
#[derive(Debug)]
pub(crate) enum Written {
    /// Committed.
    Now(Control),
    /// Nothing was written: a cancel or a pause forbids new intents, or the run is to be looked at again before it rests.
    Refused(Control),
    /// Nothing was written: the run belongs to somebody else.
    ClaimLost,
}

/// Writes for one claimed run, and numbers its events.
#[derive(Debug)]
pub(crate) struct Scribe {
    pub(crate) shared: Arc<Shared>,
    pub(crate) claim: Claim,
    /// The run that is told when this one ends.
    pub(crate) parent: Option<RunId>,
    pub(crate) event_seq: i32,
    /// Whether a crash is on record that a result would wipe out.
    pub(crate) crashed_before: bool,
    /// People are asked about what nobody can vouch for as it is recorded: a workflow has no probes to ask before.
    asks_at_once: bool,
    /// Dropped when one has.
    pub(crate) suspicion: Option<Suspicion>,
    pub(crate) lost: CancellationToken,
}

/// Writes under construction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Draft {
    writes: StepWrites,
}

impl Draft {
    pub(crate) const fn has_intent(&self) -> bool {
        self.writes.has_intent
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.writes.events.is_empty() && self.writes.asks.is_empty()
    }

    pub(crate) fn begin(&mut self, step: StepBegin) {
        self.writes.has_intent |= step.state == "running";
        // A step of a workflow may have its row only with its first failure, which is a result as well.
        let failed = step.attempt > 0 && step.error.is_some();
        self.writes.has_result |= step.state == "succeeded" || failed;
        self.writes.begun.push(step);
    }

    pub(crate) fn change(&mut self, change: StepChange) {
        self.writes.has_intent |= change.state == "running";
        self.writes.has_result |= change.evidence.is_some();
        // One statement neither sees the rows that it makes, nor changes one twice.
        if let Some(begun) = self.writes.begun.iter_mut().rfind(|begun| begun.seq == change.seq) {
            begun.state = change.state;
            begun.attempt = change.attempt;
            begun.attempts_max = change.attempts_max;
            begun.maybe_applied = change.maybe_applied;
            begun.due_at = change.due_at;
            begun.result = change.result;
            begun.error = change.error;
            return;
        }
        if let Some(earlier) = self
            .writes
            .changed
            .iter_mut()
            .rfind(|earlier| earlier.seq == change.seq)
        {
            *earlier = StepChange {
                fresh_budget: earlier.fresh_budget || change.fresh_budget,
                evidence: change.evidence.or(earlier.evidence.take()),
                ..change
            };
            return;
        }
        self.writes.changed.push(change);
    }

    /// What becomes of a step in the place of its intent, and the event in the place of that of the intent.
    pub(crate) fn instead(&mut self, change: StepChange, (kind, data): (&'static str, serde_json::Value)) {
        let told = self
            .writes
            .events
            .iter_mut()
            .rfind(|event| event.step_seq == Some(change.seq));
        if let Some(told) = told {
            told.kind = kind;
            told.data = Some(data.to_string());
        }
        self.change(change);
        self.count_intents();
    }

    /// Nothing becomes of a recorded step after all.
    pub(crate) fn forget(&mut self, step_seq: u32) {
        let seq = i32::try_from(step_seq).ok();
        self.writes.changed.retain(|change| Some(change.seq) != seq);
        self.writes.events.retain(|event| event.step_seq != seq);
        self.count_intents();
    }

    fn count_intents(&mut self) {
        let begun = self.writes.begun.iter().map(|step| step.state);
        let changed = self.writes.changed.iter().map(|step| step.state);
        self.writes.has_intent = begun.chain(changed).any(|state| state == "running");
    }

    /// A step's budget of time counts from now on.
    pub(crate) fn renew_budget(&mut self, step_seq: u32) {
        let seq = i32::try_from(step_seq).ok();
        for change in self.writes.changed.iter_mut().filter(|change| Some(change.seq) == seq) {
            change.fresh_budget = true;
        }
    }

    /// Adds to what a step's event says.
    pub(crate) fn note(&mut self, step_seq: u32, key: &str, value: serde_json::Value) {
        let seq = i32::try_from(step_seq).ok();
        let Some(event) = self.writes.events.iter_mut().rfind(|event| event.step_seq == seq) else {
            return;
        };
        let said = event.data.as_deref().and_then(|data| serde_json::from_str(data).ok());
        let mut said: serde_json::Map<String, serde_json::Value> = said.unwrap_or_default();
        said.insert(key.to_owned(), value);
        event.data = Some(serde_json::Value::Object(said).to_string());
    }

    /// Has people asked about a step.
    pub(crate) fn ask(&mut self, step_seq: u32) {
        self.writes.asks.extend(i32::try_from(step_seq));
    }

    pub(crate) fn event(&mut self, kind: &'static str, step_seq: u32, data: Option<serde_json::Value>) {
        self.writes.events.push(EventWrite {
            seq: 0,
            kind,
            step_seq: i32::try_from(step_seq).ok(),
            data: data.map(|data| data.to_string()),
        });
    }
}

impl Scribe {
    /// For a run that was just claimed.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        claimed: &Claimed,
        (suspicion, lease): (Option<Suspicion>, &Lease),
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            claim: claimed.claim,
            parent: claimed.parent,
            event_seq: claimed.event_seq,
            crashed_before: claimed.crashes > 0,
            asks_at_once: claimed.kind != "agent",
            suspicion,
            lost: lease.lost.clone(),
        }
    }

    /// Writes all of it or nothing, however often the connection breaks.
    pub(crate) async fn write(&mut self, draft: Draft) -> Result<Written, EngineError> {
        self.transact(draft.writes, Then::GoOn).await
    }

    /// Parks the run. Refused: something woke it, or a cancel was asked for.
    pub(crate) async fn park(&mut self, park: &Park<'_>) -> Result<Written, EngineError> {
        let writes = StepWrites {
            events: vec![park.event(0)],
            ..StepWrites::default()
        };
        self.transact(writes, park.then()).await
    }

    /// Ends the run. Refused: a cancel was asked for, or was not.
    pub(crate) async fn finish(&mut self, ending: Ending) -> Result<Written, EngineError> {
        self.finish_with(Draft::default(), ending).await
    }

    /// Writes and ends the run, both or neither.
    pub(crate) async fn finish_with(&mut self, draft: Draft, ending: Ending) -> Result<Written, EngineError> {
        let mut writes = draft.writes;
        writes.events.push(ending.event(0));
        crash_point!("run.ending");
        let written = self.transact(writes, Then::End(ending)).await;
        crash_point!("run.ended");
        written
    }

    /// Writes what was decided, unless something has woken the run since the holder looked.
    pub(crate) async fn decide(&mut self, draft: Draft, wakes: i64) -> Result<Written, EngineError> {
        self.transact(draft.writes, Then::GoOnUnwoken { wakes }).await
    }

    /// Writes in a transaction of somebody else's and commits it: both or neither. As an intent, it is refused once a
    /// cancel or a pause was asked for. An error is certain: nothing was committed.
    pub(crate) async fn commit(
        &mut self,
        draft: Draft,
        transaction: Uncommitted,
    ) -> Result<Result<Written, EngineError>, EngineError> {
        let mut writes = draft.writes;
        writes.has_intent = true;
        let (transition, last) = self.numbered(writes, Then::GoOn);
        let error = match transaction.commit(&transition).await {
            Ok(Recorded::Now(control)) => return Ok(Ok(self.written(last, &transition, control))),
            Ok(Recorded::Refused(control)) => return Ok(Ok(Written::Refused(control))),
            Ok(Recorded::ClaimLost) => return Ok(Ok(Written::ClaimLost)),
            Err(error) => error,
        };
        Ok(match self.look_until_answered(&mut 0).await? {
            None => Ok(Written::ClaimLost),
            Some(look) if look.event_seq >= last => Ok(self.written(last, &transition, look.control)),
            Some(_) => Err(error),
        })
    }

    fn numbered(&self, mut writes: StepWrites, then: Then) -> (Transition, i32) {
        writes.has_result &= self.crashed_before;
        if self.asks_at_once {
            let begun = writes.begun.iter().map(|step| (step.state, step.seq));
            let changed = writes.changed.iter().map(|step| (step.state, step.seq));
            let unknown = begun.chain(changed).filter(|(state, _)| *state == "unknown");
            let unknown: Vec<i32> = unknown.map(|(_, seq)| seq).collect();
            writes.asks.extend(unknown);
        }
        for (event, seq) in writes.events.iter_mut().zip(self.event_seq + 1..) {
            event.seq = seq;
        }
        let last = writes.events.last().map_or(self.event_seq, |event| event.seq);
        let transition = Transition {
            claim: self.claim,
            parent: self.parent,
            writes,
            then,
        };
        (transition, last)
    }

    async fn transact(&mut self, writes: StepWrites, then: Then) -> Result<Written, EngineError> {
        let (transition, last) = self.numbered(writes, then);
        let transition = Arc::new(transition);
        let mut offers_after_loss = 0;
        loop {
            match self.shared.recorder.write(Arc::clone(&transition)).await {
                Answer::Recorded(Recorded::Now(control)) => return Ok(self.written(last, &transition, control)),
                Answer::Recorded(Recorded::Refused(control)) => return Ok(Written::Refused(control)),
                Answer::Recorded(Recorded::ClaimLost) => return Ok(Written::ClaimLost),
                Answer::Unknown(error) => {
                    warn!(run.id = %self.claim.run, error = %error, "a record did not get through, trying again");
                }
                Answer::Impossible(error) => return Err(error),
            }
            #[cfg(feature = "planted-faults")]
            if crate::planted_fault::is_redone() {
                continue;
            }
            match self.look_until_answered(&mut offers_after_loss).await? {
                // Somebody else has the run, or it was parked or ended by this very transition: no more can be done here.
                None => return Ok(Written::ClaimLost),
                Some(look) if look.event_seq >= last && last > self.event_seq => {
                    return Ok(self.written(last, &transition, look.control));
                }
                Some(_) => {}
            }
        }
    }

    fn written(&mut self, last: i32, transition: &Transition, control: Control) -> Written {
        self.event_seq = last;
        if transition.writes.has_result {
            self.crashed_before = false;
            self.suspicion = None;
        }
        self.shared.announcer.tell([self.claim.run]);
        Written::Now(control)
    }

    /// Looks until the database answers. None: the claim is lost, or the result was offered long enough.
    async fn look_until_answered(&self, offers: &mut u32) -> Result<Option<engine::query::Look>, EngineError> {
        loop {
            tokio::time::sleep(RETRY_PERIOD).await;
            *offers += u32::from(self.lost.is_cancelled());
            if *offers > OFFERS_AFTER_LOSS_MAX {
                warn!(run.id = %self.claim.run, "the database stayed away, a result is given up");
                return Ok(None);
            }
            match self.shared.engine.look(&self.claim).await {
                Ok(look) => return Ok(look),
                Err(error) if error.is_transient() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Asks, or gives the run back, until the database answers. Giving back is conditional on the fence and the state, so a
    /// second call after a lost reply finds nothing to do.
    pub(crate) async fn until_answered<T, F>(&self, mut transition: impl FnMut() -> F) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, EngineError>>,
    {
        let mut tries_after_loss = 0;
        loop {
            match transition().await {
                Err(error) if error.is_transient() && tries_after_loss <= OFFERS_AFTER_LOSS_MAX => {
                    warn!(run.id = %self.claim.run, error = %error, "the database did not answer, trying again");
                    tries_after_loss += u32::from(self.lost.is_cancelled());
                    tokio::time::sleep(RETRY_PERIOD).await;
                }
                answered => return answered,
            }
        }
    }
}
