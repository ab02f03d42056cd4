//! What people and programs ask from outside, and children.

use super::{Awaited, Memory, WALL_CLOCK_SECONDS, has_ended, parsed};
use crate::model::rows::{RequestRow, RunRow, SignalRow, Time};
use engine::{Cancelled, Claim, OnParentEnd, SendSignal, SignalSent, StartChild, StartRun, Started};
use serde_json::{Value, json};
use uuid::Uuid;

/// The code of a refusal.
pub(in crate::model) type Refusal = &'static str;

/// Whom a run comes from, if not from outside.
pub(super) struct Kin {
    parent: Uuid,
    on_parent_end: OnParentEnd,
}

/// Who asks for everything here.
const ACTOR: &str = "ann";

impl Memory {
    /// `new` is the id that a run gets, if one is made.
    pub(in crate::model) fn start(&mut self, start: &StartRun, new: Uuid) -> Result<Started, Refusal> {
        self.start_below(start, None, new)
    }

    fn start_below(&mut self, start: &StartRun, kin: Option<Kin>, new: Uuid) -> Result<Started, Refusal> {
        let agent = Some(start.agent.clone()).filter(|agent| !agent.is_empty());
        let input: Value = serde_json::from_str(&start.input).expect("inputs are JSON");
        if let Some(key) = &start.idempotency_key
            && let Some((_, earlier)) = self.keys.iter().find(|(known, _)| known == key)
        {
            let run = self.run(*earlier);
            let same = run.kind == start.kind && run.agent == agent && run.input == input;
            return match same {
                true => Ok(Started {
                    run: engine::RunId(*earlier),
                    created: false,
                }),
                false => Err("key_reused"),
            };
        }
        let due = start.due_at.map_or(self.by_database(), Time::of);
        let deadline = start.deadline_at.map(Time::of);
        if deadline.is_some_and(|deadline| deadline.0 <= due.0) {
            return Err("invalid_deadline");
        }
        if agent.as_deref() == Some("stranger") {
            return Err("no_such_agent");
        }
        if let Some(key) = &start.idempotency_key {
            self.keys.push((key.clone(), new));
            self.tables.run_key.push(new);
        }
        let limit = agent.as_ref().map(|_| due.plus(WALL_CLOCK_SECONDS));
        self.queue(RunRow {
            id: new,
            kind: start.kind.clone(),
            functions: Vec::from_iter((agent.as_deref() == Some("surgeon")).then(|| "cut".to_owned())),
            agent,
            queue: start.queue.clone(),
            priority: start.priority,
            due_at: Some(due),
            deadline_at: [deadline, limit].into_iter().flatten().min_by_key(|time| time.0),
            input,
            ..self.below(kin)
        });
        Ok(Started {
            run: engine::RunId(new),
            created: true,
        })
    }

    /// What a run has of its parent.
    fn below(&self, kin: Option<Kin>) -> RunRow {
        let Some(kin) = kin else {
            return RunRow::default();
        };
        let parent = self.run(kin.parent);
        RunRow {
            parent_id: Some(parent.id),
            tree_id: Some(parent.tree_id.unwrap_or(parent.id)),
            depth: parent.depth + 1,
            on_parent_end: Some(kin.on_parent_end.as_str().to_owned()),
            ..RunRow::default()
        }
    }

    fn queue(&mut self, run: RunRow) {
        let version = run.agent.as_ref().map(|_| 1);
        let data = json!({
            "kind": run.kind, "agent": run.agent, "version": version, "requester": ACTOR, "queue": run.queue,
            "nul_replaced": false,
        });
        let (id, at) = (run.id, self.by_database());
        self.started.push(id);
        self.tables.run.push(RunRow {
            state: "queued".to_owned(),
            ..run
        });
        self.log(id, "run.started", (at, Some(data)));
    }

    /// All or none: first those that are new, in their order, then those whose keys are taken, by key.
    pub(in crate::model) fn start_all(
        &mut self,
        starts: &[StartRun],
        new: &[Uuid],
    ) -> Result<Vec<Started>, (usize, Refusal)> {
        let before = self.clone();
        let mut places: Vec<usize> = (0..starts.len()).collect();
        places.sort_by_key(|place| {
            let key = &starts[*place].idempotency_key;
            let is_taken = key.as_ref().is_some_and(|key| {
                let mut earlier = starts[..*place].iter();
                self.keys.iter().any(|(known, _)| known == key)
                    || earlier.any(|start| start.idempotency_key.as_ref() == Some(key))
            });
            (is_taken, key.clone().filter(|_| is_taken), *place)
        });
        let mut answers = Vec::new();
        for place in places {
            match self.start(&starts[place], new[place]) {
                Ok(started) => answers.push((place, started)),
                Err(refusal) => {
                    *self = before;
                    return Err((place, refusal));
                }
            }
        }
        answers.sort_by_key(|(place, _)| *place);
        Ok(answers.into_iter().map(|(_, started)| started).collect())
    }

    pub(in crate::model) fn start_child(
        &mut self,
        claim: &Claim,
        child: &StartChild,
        new: Uuid,
    ) -> Result<Uuid, Refusal> {
        let Some(control) = self.control(claim) else {
            return Err("claim_lost");
        };
        if control.cancel_requested {
            return Err("run_is_cancelled");
        }
        let holder = self.run(claim.run.0);
        let start = StartRun {
            kind: child.kind.clone(),
            queue: child.queue.clone().unwrap_or_else(|| holder.queue.clone()),
            priority: child.priority.unwrap_or(holder.priority),
            idempotency_key: Some(format!("child of {}: {}", holder.id, child.key)),
            ..StartRun::new(child.agent.clone().unwrap_or_default(), child.input.clone())
        };
        let has_worker = self.tables.worker.iter().any(|worker| worker.closed_at.is_none());
        let is_known = self
            .keys
            .iter()
            .any(|(known, _)| Some(known) == start.idempotency_key.as_ref());
        if !is_known && child.kind != "agent" && (child.kind == "nobodys" || !has_worker) {
            return Err("unknown_kind");
        }
        let kin = Kin {
            parent: holder.id,
            on_parent_end: child.on_parent_end,
        };
        let started = self.start_below(&start, Some(kin), new)?;
        self.run_mut(claim.run.0).ends_children |= started.created && child.on_parent_end == OnParentEnd::Cancel;
        Ok(started.run.0)
    }

    fn request(&mut self, id: Uuid, kind: &str, (actor, reason): (&str, Option<&str>)) {
        let run = self.run_mut(id);
        run.wakes += 1;
        let row = RequestRow {
            run_id: id,
            wake: run.wakes,
            kind: kind.to_owned(),
            actor: actor.to_owned(),
            reason: reason.map(str::to_owned),
        };
        self.tables.request.push(row);
    }

    pub(in crate::model) fn cancel(
        &mut self,
        id: Uuid,
        children: bool,
        (actor, reason): (&str, Option<&str>),
    ) -> Result<Cancelled, Refusal> {
        let at = self.by_database();
        let run = self.run(id);
        match run.state.as_str() {
            "cancelled" => return Ok(Cancelled::Now),
            "succeeded" | "failed" => return Err("run_has_ended"),
            _ => {}
        }
        let (is_held, is_asked, parent) = (run.state == "running", run.cancel_requested_at.is_some(), run.parent_id);
        if !(is_held && is_asked) {
            self.request(id, "cancel", (actor, reason));
            let run = self.run_mut(id);
            run.cancel_requested_at = Some(at);
            run.cancel_requested_by = Some(actor.to_owned());
            run.cancel_reason = reason.map(str::to_owned);
            run.ends_children &= children;
        }
        if !is_held {
            self.end_cancelled(id);
            self.log(id, "run.cancelled", (at, Some(json!({"by": actor, "reason": reason}))));
        }
        if children {
            self.cancel_children(id, (actor, reason));
        }
        if let Some(parent) = parent.filter(|_| !is_held) {
            self.tell_parent(parent, id);
        }
        Ok(if is_held { Cancelled::Requested } else { Cancelled::Now })
    }

    /// A run that nobody holds ends, and its open steps with it: each as honestly as may be.
    fn end_cancelled(&mut self, id: Uuid) {
        let at = self.by_database();
        let mut ended = Vec::new();
        for step in self.tables.step.iter_mut().filter(|step| step.run_id == id) {
            if step.state != "running" && step.state != "waiting" {
                continue;
            }
            let may_have_happened = step.maybe_applied || step.state == "running";
            let matters = step.effect == "idempotent" || step.effect == "at_most_once";
            let state = if may_have_happened && matters {
                "unknown"
            } else {
                "cancelled"
            };
            step.maybe_applied = may_have_happened;
            step.state = state.to_owned();
            step.due_at = None;
            step.ended_at = has_ended(state).then_some(at);
            ended.push((step.seq, format!("step.{state}")));
        }
        ended.sort_unstable();
        for (seq, kind) in ended {
            self.log(id, &kind, (at, None));
            if let Some(event) = self.tables.event.last_mut() {
                event.step_seq = Some(seq);
            }
        }
        let run = self.run_mut(id);
        run.state = "cancelled".to_owned();
        (run.waiting_for, run.wait_reason, run.due_at) = (None, None, None);
        (run.paused_at, run.paused_by, run.pause_reason) = (None, None, None);
        run.ended_at = Some(at);
    }

    pub(in crate::model) fn cancel_children(&mut self, parent: Uuid, why: (&str, Option<&str>)) {
        if !std::mem::take(&mut self.run_mut(parent).ends_children) {
            return;
        }
        let is_bound = |run: &&RunRow| {
            let is_bound = run.parent_id == Some(parent) && run.on_parent_end.as_deref() == Some("cancel");
            is_bound && !has_ended(&run.state) && run.cancel_requested_at.is_none()
        };
        let mut bound: Vec<Uuid> = self.tables.run.iter().filter(is_bound).map(|run| run.id).collect();
        bound.sort_unstable();
        for child in bound {
            let cancelled = self.cancel(child, true, why);
            cancelled.expect("a child that has not ended can be cancelled");
        }
    }

    /// Runs that are over, or are to be, and may have left children.
    pub(in crate::model) fn sweepable(&self) -> Vec<Uuid> {
        let runs = self.tables.run.iter().filter(|run| run.ends_children);
        runs.filter(|run| run.ended_at.is_some() || run.cancel_requested_at.is_some())
            .map(|run| run.id)
            .collect()
    }

    /// How many were cancelled.
    pub(in crate::model) fn sweep(&mut self) -> usize {
        let requests = self.tables.request.len();
        for above in self.sweepable() {
            let run = self.run(above).clone();
            let (by, why) = match &run.cancel_requested_by {
                Some(by) => (by.clone(), run.cancel_reason.clone()),
                None => (format!("run {above}"), Some(format!("its parent is {}", run.state))),
            };
            self.cancel_children(above, (&by, why.as_deref()));
        }
        self.tables.request.len() - requests
    }

    pub(in crate::model) fn pause(&mut self, id: Uuid, reason: &str) -> Result<(), Refusal> {
        let at = self.by_database();
        let run = self.run(id);
        if has_ended(&run.state) {
            return Err("run_has_ended");
        }
        if run.paused_at.is_some() {
            return Ok(());
        }
        let (is_held, is_cancelled) = (run.state == "running", run.cancel_requested_at.is_some());
        self.request(id, "pause", (ACTOR, Some(reason)));
        if is_cancelled && !is_held {
            // Nothing keeps it from its end.
            return Ok(());
        }
        let run = self.run_mut(id);
        run.paused_at = Some(at);
        run.paused_by = Some(ACTOR.to_owned());
        run.pause_reason = Some(reason.to_owned());
        if !is_held {
            self.log(id, "run.paused", (at, Some(json!({"by": ACTOR, "reason": reason}))));
        }
        Ok(())
    }

    pub(in crate::model) fn resume(&mut self, id: Uuid) -> Result<(), Refusal> {
        let at = self.by_database();
        let run = self.run(id);
        let (state, is_paused) = (run.state.clone(), run.paused_at.is_some());
        let waits_for_person = state == "failed" || run.waiting_for.as_deref() == Some("approval");
        let told = |from: &str| Some(json!({"by": ACTOR, "reason": null, "from": from}));
        if is_paused {
            // What it had been waiting for, it still waits for.
            self.request(id, "resume", (ACTOR, None));
            let run = self.run_mut(id);
            (run.paused_at, run.paused_by, run.pause_reason) = (None, None, None);
            if state != "running" {
                self.log(id, "run.resumed", (at, told("paused")));
            }
            return Ok(());
        }
        if !waits_for_person {
            return Err("not_resumable");
        }
        let is_in_doubt = self
            .steps(id)
            .any(|step| step.state == "unknown" && step.effect == "at_most_once");
        if is_in_doubt {
            return Err("unknown_outcome");
        }
        self.request(id, "resume", (ACTOR, None));
        let run = self.run_mut(id);
        run.state = "queued".to_owned();
        (run.waiting_for, run.wait_reason, run.error) = (None, None, None);
        run.due_at = Some(at);
        run.ended_at = None;
        run.crashes = run.crashes.min(1);
        run.resumed_fence = run.fence;
        self.log(id, "run.resumed", (at, told(&state)));
        Ok(())
    }

    /// `new` is the id that a signal without one gets.
    pub(in crate::model) fn send(&mut self, signal: &SendSignal, new: &str) -> Result<SignalSent, Refusal> {
        let id = signal.id.clone().unwrap_or_else(|| new.to_owned());
        let payload = parsed(Some(&signal.payload)).unwrap_or_default();
        let mut sent = self.tables.signal.iter();
        if let Some(earlier) = sent.find(|row| row.run_id == signal.run.0 && row.id == id) {
            let same = earlier.name == signal.name && earlier.payload == payload;
            return match same {
                true => Ok(SignalSent { id, created: false }),
                false => Err("signal_id_reused"),
            };
        }
        if has_ended(&self.run(signal.run.0).state) {
            return Err("run_has_ended");
        }
        self.tables.signal.push(SignalRow {
            run_id: signal.run.0,
            wake: self.run(signal.run.0).wakes + 1,
            name: signal.name.clone(),
            id: id.clone(),
            sender: ACTOR.to_owned(),
            payload,
        });
        let awaited = Awaited::Signal {
            name: &signal.name,
            id: &id,
        };
        self.wake(signal.run.0, &awaited);
        Ok(SignalSent { id, created: true })
    }
}
