//! A workflow, acted out: its function is run from its beginning, what it asks for is read from the journal or done, and
//! what is done is recorded before anything depends on it.
//!
//! Results are answered before they are committed, so that they can travel with what the workflow asks for next; but no
//! step is started, and nothing is parked or ended, before all earlier results are committed. Start at [`Driver::run`].

mod anew;
mod answers;
mod asked;
mod attempt;
mod commit;
mod decided;
mod stop;
mod waits;
mod withdraw;

use super::{Held, MOMENT, Shared};
use crate::hold::{Flow, Hold, Rest};
use crate::scribe::Draft;
use crate::workflow::{Context, JoinAsk, Run, RunSide, SignalAsk, StepAsk, TimerAsk, WorkflowError};
use agent::{ErrorClass, StepError};
use anew::Anew;
use answers::Answers;
use attempt::InFlight;
use chrono::{DateTime, Utc};
use commit::Finishing;
use decided::Decisions;
use engine::query::TaskRow;
use engine::{Ending, EngineError, Fence};
use futures_util::FutureExt;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use stop::Why;
use waits::Mail;

/// The workflow's own future. Its panics are caught.
type Running = Pin<Box<dyn Future<Output = Result<Result<String, WorkflowError>, Panicked>> + Send>>;
type Panicked = Box<dyn std::any::Any + Send>;

pub(super) async fn drive(shared: Arc<Shared>, held: Held) -> Result<(), EngineError> {
    let Some(workflow) = shared.workflows.get(&held.claimed.kind).map(Arc::clone) else {
        let kind = &held.claimed.kind;
        return Err(EngineError::Unreadable(format!("this worker has no workflow {kind}")));
    };
    let input = held.claimed.input.clone();
    let mut driver = Driver::take_up(shared, held).await?;
    let goes_on = !matches!(driver.stop(), Some(Why::Lost | Why::Cancel));
    if goes_on && driver.take_up_decisions().await? == Flow::Done {
        return Ok(());
    }
    driver.run(&workflow, input).await
}

struct Driver {
    hold: Hold,
    deadline: Option<DateTime<Utc>>,
    resumed_fence: Fence,
    /// What people were asked, and what they decided.
    decisions: Decisions,
    /// The count of wake-ups at which those were read.
    decided_at: i64,
    /// What is done anew, where the run had failed and goes on.
    anew: Anew,
    /// After a crash, until something new is begun: whatever the workflow asks for by then, its dead holder may have begun.
    is_replaying: bool,
    side: Arc<RunSide>,
    /// What the journal holds, by identity, until the workflow asks for it.
    recorded: HashMap<String, TaskRow>,
    /// The number of the next new step.
    next_seq: i32,
    /// What was asked for and is not answered, in the order of asking.
    open: BTreeMap<u64, Open>,
    answers: Answers,
    /// Numbers what is asked for.
    asked: u64,
    /// Results that are not committed yet.
    draft: Draft,
    in_flight: InFlight,
    /// Transactions whose functions are done.
    finishing: Vec<Finishing>,
    mail: Mail,
    /// Whether it may have started children that are to end with it.
    has_children: bool,
    /// Why the run cannot go on until a person has looked.
    stuck: Option<Stuck>,
}

/// Something that is asked for and has no answer yet.
struct Open {
    identity: String,
    name: String,
    /// In the database; none for a step that leaves a row only with its result.
    seq: Option<i32>,
    what: Asked,
}

enum Asked {
    Step(Box<OpenStep>),
    Timer {
        due_at: DateTime<Utc>,
        ask: TimerAsk,
    },
    /// For something told from outside.
    Signal {
        due_at: Option<DateTime<Utc>>,
        ask: SignalAsk,
    },
    /// For a child's end.
    Join(JoinAsk),
}

struct OpenStep {
    ask: StepAsk,
    key: String,
    attempt: u32,
    attempts_max: u32,
    maybe_applied: bool,
    budget_from: DateTime<Utc>,
    /// Its last attempt.
    began_at: DateTime<Utc>,
    fresh_budget: bool,
    replaces: Option<i32>,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The next attempt starts as soon as all earlier results, and its own intent where it needs one, are committed.
    Ready,
    /// An attempt is out.
    Out,
    /// To be tried again.
    Waiting { due_at: DateTime<Utc> },
    /// Nobody can vouch for what happened.
    Unknown,
}

/// Why a run waits for a person.
struct Stuck {
    reason: &'static str,
    /// Nothing of the run may go on; else its other branches do.
    is_whole: bool,
    detail: Value,
}

impl Driver {
    async fn run(mut self, workflow: &Arc<Run>, input: String) -> Result<(), EngineError> {
        let running = workflow(Context::new(Arc::clone(&self.side)), input);
        let mut running: Running = Box::pin(AssertUnwindSafe(running).catch_unwind());
        loop {
            if let Some(stop) = self.stop() {
                drop(running);
                return self.wind_down(stop).await;
            }
            if self.is_halted() {
                if self.may_be_decided() && self.in_flight.is_empty() {
                    drop(running);
                    return self.look_again().await;
                }
                if self.halt().await? == Flow::Done {
                    return Ok(());
                }
                continue;
            }
            if self.may_be_decided() {
                self.take_up_news().await?;
            }
            self.ripen();
            if let Poll::Ready(ended) = futures_util::poll!(running.as_mut()) {
                return self.end(ended).await;
            }
            self.take_asks();
            if self.answer().await? || self.attend().await? {
                continue;
            }
            self.drop_given_up();
            if self.has_work() {
                if self.work().await? == Flow::Done {
                    return Ok(());
                }
                continue;
            }
            match self.expire().await? {
                Some(Flow::Done) => return Ok(()),
                Some(Flow::GoOn) => continue,
                None => {}
            }
            if let Some(park) = self.rest() {
                if self.park(park).await? == Flow::Done {
                    return Ok(());
                }
                continue;
            }
            tokio::select! {
                biased;
                ended = running.as_mut() => return self.end(ended).await,
                () = self.something() => {}
            }
        }
    }

    /// Whether nothing of the run may go on until a person has looked.
    fn is_halted(&self) -> bool {
        self.stuck.as_ref().is_some_and(|stuck| stuck.is_whole)
    }

    /// Takes in what is out, and parks when nothing is.
    async fn halt(&mut self) -> Result<Flow, EngineError> {
        if self.has_work() {
            return self.work().await;
        }
        match self.rest() {
            Some(park) => self.park(park).await,
            None => {
                self.next_result(self.deadline).await;
                Ok(Flow::GoOn)
            }
        }
    }

    /// Waits for a result, for somebody who wants something of the run, or for an instant.
    async fn next_result(&mut self, until: Option<DateTime<Utc>>) {
        let left = until.map(|until| (until - self.hold.now()).to_std().unwrap_or_default());
        let finished = tokio::select! {
            biased;
            Some(finished) = self.in_flight.next() => Some(finished),
            () = self.hold.word() => None,
            () = tokio::time::sleep(left.unwrap_or_default()), if left.is_some() => None,
        };
        if let Some(finished) = finished {
            self.take_finished(finished);
        }
    }

    /// Something that may change what is to be done.
    async fn something(&mut self) {
        let pause = self
            .next_due()
            .map(|due| (due - self.hold.now()).to_std().unwrap_or_default());
        let finished = tokio::select! {
            biased;
            Some(finished) = self.in_flight.next() => Some(finished),
            () = self.side.asked.notified() => None,
            () = self.hold.word() => None,
            () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => None,
        };
        let mut finished = finished;
        // What is over by now shares one record.
        while let Some(over) = finished {
            self.take_finished(over);
            finished = self.in_flight.over();
        }
    }

    /// When the next timer, retry or the run's deadline falls due.
    fn next_due(&self) -> Option<DateTime<Utc>> {
        let waits = self.open.values().filter_map(Open::due_at);
        waits.chain(self.deadline).min()
    }

    /// What is to be parked for, where nothing is under way and nothing will be soon.
    fn rest(&self) -> Option<(&'static str, &'static str, Option<DateTime<Utc>>)> {
        if !self.in_flight.is_empty() {
            return None;
        }
        let due = match &self.stuck {
            Some(stuck) if stuck.is_whole => None,
            Some(_) | None => self.open.values().filter_map(Open::due_at).min(),
        };
        if due.is_some_and(|due| due - self.hold.now() <= MOMENT) {
            return None;
        }
        if let Some(stuck) = &self.stuck {
            return Some(("approval", stuck.reason, due));
        }
        let waits = || self.open.values().map(|open| &open.what);
        if waits().any(|what| matches!(what, Asked::Signal { .. })) {
            Some(("signal", "signal", due))
        } else if waits().any(|what| matches!(what, Asked::Join(_))) {
            Some(("child", "child", due))
        } else {
            due.map(|due| ("timer", "timer", Some(due)))
        }
    }

    async fn park(
        &mut self,
        (waiting_for, reason, until): (&'static str, &'static str, Option<DateTime<Utc>>),
    ) -> Result<Flow, EngineError> {
        let rest = Rest {
            waiting_for,
            reason,
            until,
            deadline: self.deadline,
            detail: match &self.stuck {
                Some(stuck) => Some(stuck.detail.clone()),
                None => self.waits_told(),
            },
        };
        self.hold.park(rest).await
    }

    /// The workflow has returned. What it started and did not wait for is waited for.
    async fn end(mut self, ended: Result<Result<String, WorkflowError>, Panicked>) -> Result<(), EngineError> {
        let ending = match ended {
            Ok(Ok(output)) => Ending::Succeeded(output),
            Ok(Err(error)) => Ending::Failed(json!(error.into_inner()).to_string()),
            Err(_) => Ending::Failed(json!(panicked()).to_string()),
        };
        loop {
            // At once: others may wait for their locks.
            if self.commit_all().await? == Flow::Done {
                return Ok(());
            }
            if self.in_flight.is_empty() {
                break;
            }
            // Each attempt ends with the run's time.
            if let Some(stop) = self.stop().filter(|stop| *stop != Why::Deadline) {
                return self.wind_down(stop).await;
            }
            self.next_result(None).await;
        }
        // What the workflow gave up, or did not ask for again.
        if self.stuck.is_none()
            && let Some(doubt) = self.end_open("given_up")
        {
            self.doubt(doubt, "a step that the workflow did not wait for");
        }
        if self.stuck.is_some() {
            return self.settle_then_stop().await;
        }
        let how = ending.state();
        if self.has_children && self.end_children(how).await? == Flow::Done {
            return Ok(());
        }
        let draft = std::mem::take(&mut self.draft);
        if self.hold.finish(draft.clone(), ending).await? == Flow::GoOn {
            // A cancel came first: results are still recorded.
            self.draft = draft;
            return self.settle_then_stop().await;
        }
        Ok(())
    }
}

impl Open {
    fn due_at(&self) -> Option<DateTime<Utc>> {
        match &self.what {
            Asked::Timer { due_at, .. } => Some(*due_at),
            Asked::Signal { due_at, .. } => *due_at,
            Asked::Join(_) => None,
            Asked::Step(step) => match step.phase {
                Phase::Waiting { due_at } => Some(due_at),
                Phase::Ready | Phase::Out | Phase::Unknown => None,
            },
        }
    }
}

/// The panic's own message goes to the worker's standard error by way of its panic hook.
fn panicked() -> StepError {
    StepError::new(
        ErrorClass::Permanent,
        "panicked",
        "the workflow panicked; its message is on the worker's standard error",
    )
}
