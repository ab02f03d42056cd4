//! What a workflow waits for besides the time: signals, and its children's ends.
//!
//! Whatever comes for a run adds one to its wakes. So nothing is asked of the database before something can have come,
//! and what is decided because nothing has come, a timeout or a parking, is written under the count last seen.

use super::asked::{failed, unsigned};
use super::attempt::rung;
use super::stop::cancelled;
use super::{Asked, Driver, Flow, Open};
use crate::crash_point::crash_point;
use crate::drive::later;
use crate::scribe::{Draft, Written};
use crate::workflow::{JoinAsk, SignalAsk, StepFailed};
use agent::{ErrorClass, StepError};
use engine::query::{EndedChild, SignalRow, TaskRow, Wanted};
use engine::{EngineError, StepBegin, StepChange};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Signals of one name that are read at once, however many waits there are.
const READ_MAX: usize = 64;
/// Signals and children that are named when a run is parked.
const TOLD_MAX: usize = 16;

/// What has been read of what came for a run.
pub(super) struct Mail {
    /// The number of the last signal taken, by name. Each wait takes the oldest, so that none before it is left.
    taken: HashMap<String, i64>,
    /// Signals that were read and that no wait has taken, in the order in which they came.
    come: VecDeque<SignalRow>,
    /// The count of wake-ups up to which every wait has seen what came.
    heard: i64,
    /// A wait that has seen nothing.
    has_new_wait: bool,
}

/// A signal as its step records it.
#[derive(Deserialize)]
struct Taken<'a> {
    wake: i64,
    #[serde(borrow)]
    payload: &'a RawValue,
}

impl Mail {
    pub(super) fn of(rows: &[TaskRow]) -> Self {
        let mut taken = HashMap::new();
        #[cfg(feature = "planted-faults")]
        let rows = if crate::planted_fault::knows_taken() { rows } else { &[] };
        for row in rows.iter().filter(|row| row.kind == "signal") {
            if let Some(signal) = taken_by(row) {
                let last: &mut i64 = taken.entry(row.name.clone()).or_default();
                *last = signal.wake.max(*last);
            }
        }
        Self {
            taken,
            come: VecDeque::new(),
            heard: 0,
            has_new_wait: false,
        }
    }
}

/// None: its time was over.
fn taken_by(row: &TaskRow) -> Option<Taken<'_>> {
    serde_json::from_str(row.result.as_deref()?).ok()
}

impl Driver {
    pub(super) fn take_signal(&mut self, (identity, name): (String, String), ask: SignalAsk, row: Option<TaskRow>) {
        let mut due_at = ask.timeout.map(|timeout| later(self.hold.now(), timeout));
        let mut seq = None;
        if let Some(row) = row {
            if row.kind != "signal" {
                self.input_changed(&identity, &row, "a wait for a signal");
                return;
            }
            match row.state.as_str() {
                "succeeded" => {
                    let payload = taken_by(&row).map(|signal| signal.payload.get().to_owned());
                    self.answers.recorded(row.seq, || drop(ask.answer.send(Ok(payload))));
                    return;
                }
                "waiting" => (seq, due_at) = (Some(row.seq), row.due_at),
                _ if self.begins_anew(&row) => {}
                // The workflow gave it up.
                _ => return,
            }
        }
        self.mail.has_new_wait = true;
        let what = Asked::Signal { due_at, ask };
        self.take_on(Open {
            identity,
            name,
            seq,
            what,
        });
    }

    pub(super) fn take_join(&mut self, (identity, name): (String, String), ask: JoinAsk, row: Option<TaskRow>) {
        let mut seq = None;
        if let Some(row) = row {
            if row.kind != "child" {
                self.input_changed(&identity, &row, "a wait for a child");
                return;
            }
            match row.state.as_str() {
                "succeeded" => {
                    let result = row.result.unwrap_or_else(|| "null".to_owned());
                    self.answers.recorded(row.seq, || drop(ask.answer.send(Ok(result))));
                    return;
                }
                "waiting" => seq = Some(row.seq),
                // What failed the run is looked at anew: the child may have been resumed as well.
                "failed" if self.anew.is_step(&row) => {}
                "failed" => {
                    let error = failed(row.error.as_deref());
                    self.answers.recorded(row.seq, || drop(ask.answer.send(Err(error))));
                    return;
                }
                _ if self.begins_anew(&row) => {}
                _ => return,
            }
        }
        self.mail.has_new_wait = true;
        let what = Asked::Join(ask);
        self.take_on(Open {
            identity,
            name,
            seq,
            what,
        });
    }

    /// Answers waits with what has come for them; the others get their rows. Whether there was anything to do.
    pub(super) async fn attend(&mut self) -> Result<bool, EngineError> {
        if self.take_next() {
            return Ok(true);
        }
        let wakes = self.hold.wakes();
        if !self.has_waits() || (!self.mail.has_new_wait && wakes <= self.mail.heard) {
            return Ok(false);
        }
        // Something can have come.
        if wakes > 0 {
            self.read_signals().await?;
            if self.take_next() {
                return Ok(true);
            }
            self.take_ends().await?;
        }
        self.hold.known.wakes = wakes;
        self.mail.heard = wakes;
        self.mail.has_new_wait = false;
        self.begin_waits();
        Ok(true)
    }

    fn has_waits(&self) -> bool {
        let is_wait = |open: &Open| matches!(open.what, Asked::Signal { .. } | Asked::Join(_));
        self.open.values().any(is_wait)
    }

    async fn read_signals(&mut self) -> Result<(), EngineError> {
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        for open in self.open.values().filter(|open| open.waits_for_signal()) {
            *names.entry(&open.name).or_default() += 1;
        }
        if names.is_empty() {
            return Ok(());
        }
        let wanted: Vec<Wanted> = names
            .into_iter()
            .map(|(name, most)| Wanted {
                name: name.to_owned(),
                taken: self.mail.taken.get(name).copied().unwrap_or_default(),
                most: most.min(READ_MAX),
            })
            .collect();
        let (engine, claim) = (&self.hold.shared.engine, self.hold.scribe.claim);
        let come = self
            .hold
            .scribe
            .until_answered(|| engine.signals(&claim, &wanted))
            .await?;
        self.mail.come = come.into();
        Ok(())
    }

    /// Gives the oldest signal that was read to the wait that was first, if there is one; whether there was. One at a
    /// time: a workflow that is told of it may give up another wait, which then takes nothing.
    fn take_next(&mut self) -> bool {
        while let Some(signal) = self.mail.come.pop_front() {
            let waits = |open: &Open| open.waits_for_signal() && open.name == signal.name;
            let wait = self.open.iter().find(|(_, open)| waits(open)).map(|(asked, _)| *asked);
            if let Some(open) = wait.and_then(|asked| self.open.remove(&asked)) {
                self.take(open, &signal);
                return true;
            }
            // Nobody waits for it any more; a later one is not to be taken before it.
            self.mail.come.retain(|later| later.name != signal.name);
        }
        false
    }

    fn take(&mut self, open: Open, signal: &SignalRow) {
        let (id, sender, wake) = (json!(signal.id), json!(signal.sender), signal.wake);
        let payload = &signal.payload;
        let result = format!(r#"{{"wake":{wake},"id":{id},"sender":{sender},"payload":{payload}}}"#);
        self.mail.taken.insert(signal.name.clone(), wake);
        let told = json!({"signal": signal.id, "sender": signal.sender});
        self.conclude_wait(&open, Ok(result), Some(told));
        crash_point!("signal.taken");
        if let Asked::Signal { ask, .. } = open.what {
            let payload = signal.payload.clone();
            self.answers.drafted(|| drop(ask.answer.send(Ok(Some(payload)))));
        }
    }

    async fn take_ends(&mut self) -> Result<(), EngineError> {
        let joins: Vec<_> = self.open.values().filter_map(Open::child).collect();
        if joins.is_empty() {
            return Ok(());
        }
        let engine = &self.hold.shared.engine;
        let ended = self
            .hold
            .scribe
            .until_answered(|| engine.ended_children(&joins))
            .await?;
        for child in ended {
            let waits: Vec<u64> = self
                .open
                .iter()
                .filter(|(_, open)| open.child() == Some(child.run))
                .map(|(asked, _)| *asked)
                .collect();
            for open in waits
                .into_iter()
                .filter_map(|asked| self.open.remove(&asked))
                .collect::<Vec<_>>()
            {
                let result = result_of(&child);
                self.conclude_wait(&open, result.clone(), Some(json!({"run_id": child.run})));
                crash_point!("child.joined");
                if let Asked::Join(ask) = open.what {
                    let result = result.map_err(StepFailed::new);
                    self.answers.drafted(|| drop(ask.answer.send(result)));
                }
            }
        }
        Ok(())
    }

    /// Drafts the end of a wait, which may have no row.
    fn conclude_wait(&mut self, open: &Open, result: Result<String, StepError>, told: Option<Value>) {
        let (state, kind) = match &result {
            Ok(_) => ("succeeded", "step.succeeded"),
            Err(_) => ("failed", "step.failed"),
        };
        let error = result.as_ref().err().map(|error| json!(error).to_string());
        let result = result.ok();
        let seq = if let Some(seq) = open.seq {
            self.draft.change(StepChange {
                state,
                result,
                error,
                ..rung(seq)
            });
            seq
        } else {
            let begin = self.begin_wait(open);
            let seq = begin.seq;
            self.draft.begin(StepBegin {
                state,
                result,
                error,
                due_at: None,
                ..begin
            });
            seq
        };
        self.draft.event(kind, unsigned(seq), told);
    }

    /// Waits for which nothing has come get their rows.
    fn begin_waits(&mut self) {
        let new: Vec<u64> = self
            .open
            .iter()
            .filter(|(_, open)| open.seq.is_none() && matches!(open.what, Asked::Signal { .. } | Asked::Join(_)))
            .map(|(asked, _)| *asked)
            .collect();
        for asked in new {
            let Some(mut open) = self.open.remove(&asked) else {
                continue;
            };
            let begin = self.begin_wait(&open);
            let told = match &open.what {
                Asked::Join(ask) => json!({"run_id": ask.child}),
                Asked::Signal { .. } | Asked::Timer { .. } | Asked::Step(_) => {
                    json!({"signal": open.name, "due_at": begin.due_at})
                }
            };
            open.seq = Some(begin.seq);
            crash_point!("wait.begun");
            self.draft.event("step.started", unsigned(begin.seq), Some(told));
            self.draft.begin(begin);
            self.open.insert(asked, open);
        }
    }

    fn begin_wait(&mut self, open: &Open) -> StepBegin {
        let seq = self.number();
        let (kind, request) = match &open.what {
            Asked::Join(ask) => ("child", json!({"run_id": ask.child}).to_string()),
            Asked::Signal { .. } | Asked::Timer { .. } | Asked::Step(_) => ("signal", String::new()),
        };
        StepBegin {
            state: "waiting",
            kind,
            due_at: open.due_at(),
            ..self.row(seq, (&open.identity, &open.name), &request)
        }
    }

    /// Decides waits whose time is over, once everything before is committed: signal or timeout, whichever came first by
    /// the run's row. None: there are none.
    pub(super) async fn expire(&mut self) -> Result<Option<Flow>, EngineError> {
        let now = self.hold.now();
        let is_over = |open: &Open| {
            matches!(&open.what, Asked::Signal { due_at: Some(due_at), .. } if *due_at <= now) && open.seq.is_some()
        };
        let over: Vec<u64> = self
            .open
            .iter()
            .filter(|(_, open)| is_over(open))
            .map(|(asked, _)| *asked)
            .collect();
        if over.is_empty() {
            return Ok(None);
        }
        let mut draft = Draft::default();
        for seq in over.iter().filter_map(|asked| self.open.get(asked)?.seq) {
            draft.change(rung(seq));
            draft.event("step.succeeded", unsigned(seq), Some(json!({"timed_out": true})));
        }
        crash_point!("wait.expiring");
        match self.hold.scribe.decide(draft, self.mail.heard).await? {
            Written::Now(control) => {
                crash_point!("wait.timed_out");
                self.hold.known = control;
                for open in over
                    .iter()
                    .filter_map(|asked| self.open.remove(asked))
                    .collect::<Vec<_>>()
                {
                    if let Asked::Signal { ask, .. } = open.what {
                        self.answers.drafted(|| drop(ask.answer.send(Ok(None))));
                    }
                }
                Ok(Some(Flow::GoOn))
            }
            // Something came first.
            Written::Refused(control) => {
                self.hold.known = control;
                Ok(Some(Flow::GoOn))
            }
            Written::ClaimLost => Ok(Some(self.hold.claim_lost())),
        }
    }

    /// What the workflow has dropped waits for nothing, and takes no signal.
    pub(super) fn drop_given_up(&mut self) {
        let dropped: Vec<u64> = self
            .open
            .iter()
            .filter(|(_, open)| open.is_given_up())
            .map(|(asked, _)| *asked)
            .collect();
        for open in dropped
            .into_iter()
            .filter_map(|asked| self.open.remove(&asked))
            .collect::<Vec<_>>()
        {
            if let Some(seq) = open.seq {
                self.draft
                    .event("step.cancelled", unsigned(seq), Some(json!({"why": "given_up"})));
                self.draft.change(cancelled(seq));
            }
        }
    }

    /// For people: what the run waits for.
    pub(super) fn waits_told(&self) -> Option<Value> {
        let signals: Vec<&str> = self
            .open
            .values()
            .filter(|open| matches!(open.what, Asked::Signal { .. }))
            .map(|open| open.name.as_str())
            .collect();
        let children: Vec<_> = self.open.values().filter_map(Open::child).collect();
        let mut told = json!({});
        if !signals.is_empty() {
            told["signals"] = some_of(&signals);
        }
        if !children.is_empty() {
            told["children"] = some_of(&children);
        }
        told.as_object().is_some_and(|told| !told.is_empty()).then_some(told)
    }

    /// Before the run ends: the children that are to end with it do. All results are committed before that, since whoever
    /// takes the run over finds these children cancelled.
    pub(super) async fn end_children(&mut self, how: &str) -> Result<Flow, EngineError> {
        let draft = std::mem::take(&mut self.draft);
        if self.record(draft).await? == Flow::Done {
            return Ok(Flow::Done);
        }
        let (engine, claim) = (&self.hold.shared.engine, self.hold.scribe.claim);
        let why = format!("its parent is {how}");
        if self
            .hold
            .scribe
            .until_answered(|| engine.cancel_children(&claim, &why))
            .await?
        {
            crash_point!("children.cancelled");
            Ok(Flow::GoOn)
        } else {
            Ok(self.hold.claim_lost())
        }
    }
}

impl Open {
    fn child(&self) -> Option<engine::RunId> {
        match &self.what {
            Asked::Join(ask) => Some(ask.child),
            Asked::Step(_) | Asked::Timer { .. } | Asked::Signal { .. } => None,
        }
    }

    fn waits_for_signal(&self) -> bool {
        matches!(&self.what, Asked::Signal { ask, .. } if !ask.answer.is_closed())
    }

    /// Whether nobody waits for the answer. A step is done all the same.
    fn is_given_up(&self) -> bool {
        match &self.what {
            Asked::Timer { ask, .. } => ask.answer.is_closed(),
            Asked::Signal { ask, .. } => ask.answer.is_closed(),
            Asked::Join(ask) => ask.answer.is_closed(),
            Asked::Step(_) => false,
        }
    }
}

/// It is told at each parking, and a run may wait for thousands.
fn some_of<T: Serialize>(all: &[T]) -> Value {
    let shown: Vec<&T> = all.iter().take(TOLD_MAX).collect();
    match all.len().saturating_sub(TOLD_MAX) {
        0 => json!(shown),
        more => json!({"first": shown, "more": more}),
    }
}

fn result_of(child: &EndedChild) -> Result<String, StepError> {
    if child.state == "succeeded" {
        return Ok(child.result.clone().unwrap_or_else(|| "null".to_owned()));
    }
    let recorded = child
        .error
        .as_deref()
        .and_then(|error| serde_json::from_str::<StepError>(error).ok());
    let (code, why) = match (child.state.as_str(), recorded) {
        ("cancelled", _) => ("child_cancelled", String::new()),
        (_, Some(error)) => ("child_failed", format!(": {}: {}", error.code, error.message)),
        (_, None) => ("child_failed", String::new()),
    };
    let message = format!("run {} is {}{why}", child.run, child.state);
    Err(StepError::new(ErrorClass::Permanent, code, message))
}
