//! What a workflow asks for: found in the journal, or taken on.

use super::{Asked, Driver, Open, OpenStep, Phase, Stuck};
use crate::drive::workflow::anew::Anew;
use crate::drive::workflow::answers::Answers;
use crate::drive::workflow::attempt::InFlight;
use crate::drive::workflow::decided::Decisions;
use crate::drive::workflow::waits::Mail;
use crate::drive::{Held, Shared, held_by_database, later};
use crate::hold::Hold;
use crate::scribe::Draft;
use crate::workflow::{Ask, RunSide, StepAsk, StepFailed, TimerAsk, Until, Wanted};
use agent::effect::UnknownReason;
use agent::{Effect, ErrorClass, StepError, Verb};
use chrono::{DateTime, Utc};
use engine::query::TaskRow;
use engine::{EngineError, Place, StepBegin, payload};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::sync::oneshot;

impl Driver {
    /// Takes a claimed run up: its journal, read once.
    pub(super) async fn take_up(shared: Arc<Shared>, held: Held) -> Result<Self, EngineError> {
        let (hold, claimed) = Hold::of(shared, held);
        let engine = &hold.shared.engine;
        let rows = hold.scribe.until_answered(|| engine.tasks(&claimed.claim)).await?;
        // What people were asked matters where they were asked: in few runs.
        let asked = match claimed.wakes > 0 || rows.iter().any(|row| row.state == "unknown") {
            true => hold.scribe.until_answered(|| engine.asked(claimed.claim.run)).await?,
            false => Vec::new(),
        };
        let next_seq = rows.last().map_or(1, |row| row.seq + 1);
        let was_let_go_on = claimed.resumed_fence.0 > 0;
        let failure = match was_let_go_on {
            true => {
                hold.scribe
                    .until_answered(|| engine.last_failure(claimed.claim.run))
                    .await?
            }
            false => None,
        };
        let anew = failure.map(|failure| Anew::of(&rows, failure)).unwrap_or_default();
        // The last of an identity counts: a step that failed its run goes on as a new one after a resume.
        let mail = Mail::of(&rows);
        let has_children = rows.iter().any(|row| row.kind == "child");
        let recorded: HashMap<String, TaskRow> = rows.into_iter().map(|row| (row.identity.clone(), row)).collect();
        Ok(Self {
            side: RunSide::new(claimed.claim, engine.clone(), anew.children()),
            hold,
            deadline: claimed.deadline_at,
            resumed_fence: claimed.resumed_fence,
            decisions: Decisions::of(asked),
            decided_at: claimed.wakes,
            anew,
            is_replaying: claimed.crashes > 0,
            recorded,
            next_seq,
            open: BTreeMap::new(),
            answers: Answers::default(),
            asked: 0,
            draft: Draft::default(),
            in_flight: InFlight::default(),
            finishing: Vec::new(),
            mail,
            has_children,
            stuck: None,
        })
    }

    /// Finds in the journal what is asked for, or takes it on.
    pub(super) fn take_asks(&mut self) {
        for ask in self.side.take() {
            let Ask { identity, name, wanted } = ask;
            let row = self.recorded.remove(&identity);
            match wanted {
                Wanted::Step(ask) => self.take_step((identity, name), ask, row),
                Wanted::Timer(ask) => self.take_timer((identity, name), ask, row),
                Wanted::Signal(ask) => self.take_signal((identity, name), ask, row),
                Wanted::Join(ask) => self.take_join((identity, name), ask, row),
                Wanted::Now(answer) => self.take_now((identity, name), answer, row),
            }
        }
    }

    fn take_step(&mut self, (identity, name): (String, String), ask: StepAsk, row: Option<TaskRow>) {
        let mut step = OpenStep {
            key: format!("{}-{identity}", self.hold.run()),
            attempt: 0,
            attempts_max: ask.retry.attempts_max.max(1),
            // A step without an intent that the dead holder could have begun: it leaves a row only with its result.
            maybe_applied: row.as_ref().is_none_or(|row| self.is_done_anew(row))
                && self.is_replaying
                && ask.effect == Effect::Idempotent,
            budget_from: self.hold.now(),
            began_at: self.hold.now(),
            fresh_budget: false,
            replaces: None,
            phase: Phase::Ready,
            ask,
        };
        let mut seq = None;
        let mut was_out = false;
        if let Some(row) = row {
            if row.kind != step.ask.kind || row.request_digest != payload::digest(&step.ask.input) {
                self.input_changed(&identity, &row, &step.ask.input);
                return;
            }
            let goes_on = self.decisions.lets_go_on(&row);
            let is_asked = row.state == "unknown" && self.decisions.is_open(&row);
            let resumed = self.begins_anew(&row) && !is_asked || goes_on == Some(Verb::Approve);
            match row.state.as_str() {
                _ if self.is_done_anew(&row) => {
                    step.key = match row.kind.as_str() {
                        // One that may have been started is found again.
                        "child" => row.key.clone(),
                        // A key of its own, the same whatever was recorded since then.
                        _ => format!("{}#{}-{identity}", self.hold.run(), row.seq + 1),
                    };
                    step.replaces = Some(row.seq);
                }
                "succeeded" => {
                    let (answer, result) = (step.ask.answer, row.result.unwrap_or_else(|| "null".to_owned()));
                    self.answers.recorded(row.seq, || drop(answer.send(Ok(result))));
                    return;
                }
                "failed" | "cancelled" => {
                    let (answer, error) = (step.ask.answer, failed(row.error.as_deref()));
                    self.answers.recorded(row.seq, || drop(answer.send(Err(error))));
                    return;
                }
                state => {
                    seq = Some(row.seq);
                    step.key.clone_from(&row.key);
                    step.attempt = u32::try_from(row.attempt).unwrap_or_default();
                    step.attempts_max = u32::try_from(row.attempts_max).unwrap_or_default();
                    step.maybe_applied = row.maybe_applied;
                    step.budget_from = row.budget_from;
                    was_out = state == "running";
                    match goes_on {
                        Some(Verb::DidNotHappen) => step.did_not_happen(self.hold.now()),
                        _ => self.take_over(&mut step, state, (row.due_at, resumed)),
                    }
                }
            }
        }
        let (is_unknown, limit) = (step.phase == Phase::Unknown, step.ask.timeout);
        let reason = doubt_about(step.ask.effect);
        let mut open = Open {
            identity,
            name,
            seq,
            what: Asked::Step(Box::new(step)),
        };
        if is_unknown {
            if was_out {
                // It had left at the latest when its worker's lease was over.
                let over = later(self.hold.now(), limit);
                self.conclude(&mut open, ("unknown", None, Some(&outcome_lost())), Some(over));
            }
            self.doubt(reason, &open.identity);
        }
        self.take_on(open);
    }

    /// A step that another holder left without its end.
    fn take_over(&mut self, step: &mut OpenStep, state: &str, (due_at, resumed): (Option<DateTime<Utc>>, bool)) {
        let repeatable = step.ask.effect != Effect::AtMostOnce;
        match state {
            "waiting" => step.phase = due_at.map_or(Phase::Ready, |due_at| Phase::Waiting { due_at }),
            // Its worker died, which costs the step none of its attempts.
            "running" if repeatable => {
                step.maybe_applied |= step.ask.effect.leaves_doubt();
                step.attempts_max = step.attempts_max.saturating_add(1);
            }
            // Of a transaction that its function ended by itself nobody knows what stands.
            "unknown" if resumed && repeatable && step.ask.effect != Effect::Transactional => {
                step.begin_afresh(self.hold.now());
            }
            _ => {
                step.maybe_applied = true;
                step.phase = Phase::Unknown;
            }
        }
    }

    fn take_timer(&mut self, (identity, name): (String, String), ask: TimerAsk, row: Option<TaskRow>) {
        if let Some(row) = row {
            if row.kind != "timer" {
                self.input_changed(&identity, &row, "a timer");
                return;
            }
            match (row.state.as_str(), row.due_at) {
                ("waiting", Some(due_at)) => {
                    let (seq, what) = (Some(row.seq), Asked::Timer { due_at, ask });
                    self.take_on(Open {
                        identity,
                        name,
                        seq,
                        what,
                    });
                    return;
                }
                ("cancelled", _) if self.begins_anew(&row) => {}
                // Nobody waited for it any more.
                ("cancelled", _) => return,
                _ => {
                    self.answers.recorded(row.seq, || drop(ask.answer.send(Ok(()))));
                    return;
                }
            }
        }
        let due_at = match ask.until {
            Until::At(instant) => held_by_database(instant),
            Until::After(duration) => later(self.hold.now(), duration),
        };
        let seq = self.number();
        self.draft.begin(StepBegin {
            state: "waiting",
            due_at: Some(due_at),
            kind: "timer",
            ..self.row(seq, (&identity, &name), "")
        });
        self.draft
            .event("step.started", unsigned(seq), Some(json!({"due_at": due_at})));
        self.take_on(Open {
            identity,
            name,
            seq: Some(seq),
            what: Asked::Timer { due_at, ask },
        });
    }

    fn take_now(
        &mut self,
        (identity, name): (String, String),
        answer: oneshot::Sender<Result<DateTime<Utc>, StepFailed>>,
        row: Option<TaskRow>,
    ) {
        let told = row
            .as_ref()
            .and_then(|row| serde_json::from_str(row.result.as_deref()?).ok());
        match (told, row) {
            (Some(told), Some(row)) => self.answers.recorded(row.seq, move || drop(answer.send(Ok(told)))),
            (_, Some(row)) => self.input_changed(&identity, &row, "the time"),
            (_, None) => {
                let (now, seq) = (self.hold.now(), self.number());
                self.draft.begin(StepBegin {
                    state: "succeeded",
                    result: Some(json!(now).to_string()),
                    ..self.row(seq, (&identity, &name), "null")
                });
                self.draft.event("step.succeeded", unsigned(seq), None);
                self.answers.drafted(move || drop(answer.send(Ok(now))));
            }
        }
    }

    /// Whether it stopped with its run, which somebody has let go on since then.
    pub(super) fn begins_anew(&self, row: &TaskRow) -> bool {
        row.fence <= self.resumed_fence
    }

    pub(super) fn take_on(&mut self, open: Open) {
        self.asked += 1;
        self.open.insert(self.asked, open);
    }

    pub(super) fn number(&mut self) -> i32 {
        let seq = self.next_seq;
        self.next_seq += 1;
        seq
    }

    /// A new step as most of them are.
    pub(super) fn row(&self, seq: i32, (identity, name): (&str, &str), input: &str) -> StepBegin {
        StepBegin {
            seq,
            place: Place::Identity(identity.to_owned()),
            kind: "task",
            name: name.to_owned(),
            call_id: None,
            state: "running",
            effect: Effect::ReadOnly.as_str(),
            key: format!("{}-{identity}", self.hold.run()),
            attempt: 1,
            attempts_max: 1,
            maybe_applied: false,
            due_at: None,
            replaces_seq: None,
            request_digest: payload::digest(input),
            request: (!input.is_empty()).then(|| input.to_owned()),
            result: None,
            error: None,
        }
    }

    /// The code asks for something else than it did: going on would answer it with a stale result.
    pub(super) fn input_changed(&mut self, identity: &str, row: &TaskRow, asked: &str) {
        let detail = json!({
            "code": "input_changed",
            "step": identity,
            "recorded": row.request.as_deref().unwrap_or(&row.kind),
            "asked": asked,
        });
        // It outweighs a doubt about one step.
        if !self.is_halted() {
            self.stuck = Some(Stuck {
                reason: "input_changed",
                is_whole: true,
                detail,
            });
        }
    }
}

impl OpenStep {
    /// Somebody who knows says that no attempt before has happened.
    pub(super) fn did_not_happen(&mut self, now: DateTime<Utc>) {
        self.maybe_applied = false;
        self.begin_afresh(now);
    }

    /// Its budget of attempts and time counts from now on.
    pub(super) fn begin_afresh(&mut self, now: DateTime<Utc>) {
        self.attempts_max = self.attempt.saturating_add(self.ask.retry.attempts_max.max(1));
        self.fresh_budget = true;
        self.budget_from = now;
    }
}

/// Why people are asked. What may be repeated is in doubt only once nothing more is tried.
pub(super) const fn doubt_about(effect: Effect) -> UnknownReason {
    match effect {
        Effect::AtMostOnce => UnknownReason::UnknownOutcome,
        Effect::ReadOnly | Effect::Transactional | Effect::Idempotent => UnknownReason::RetriesExhausted,
    }
}

fn outcome_lost() -> StepError {
    let message = "the worker that made this step was lost, and nobody knows whether it took effect";
    StepError::new(ErrorClass::Unknown, "outcome_lost", message)
}

/// A failure as it was recorded.
pub(super) fn failed(error: Option<&str>) -> StepFailed {
    let recorded = error.and_then(|error| serde_json::from_str(error).ok());
    StepFailed::new(recorded.unwrap_or_else(|| {
        StepError::new(
            ErrorClass::Unknown,
            "step_failed",
            "the step failed, and nothing was recorded of why",
        )
    }))
}

pub(super) fn unsigned(seq: i32) -> u32 {
    u32::try_from(seq).unwrap_or_default()
}
