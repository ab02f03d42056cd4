//! What workers ask for besides recording: claims, leases, and the chores of upkeep.

use super::{CRASHES_MAX, Memory};
use crate::model::rows::{EventRow, RunRow, Time, WorkerRow};
use engine::limits::CRASHES_SUSPECT;
use engine::{Claim, ClaimRuns, LiveLease, Release, Which};
use serde_json::{Value, json};
use uuid::Uuid;

/// Ordinary runs that one claim takes at most.
const CLAIMS_MAX: u32 = 50;
/// How long a suspect waits before a busy worker makes room for it.
const PATIENCE_SECONDS: i64 = 1;

impl Memory {
    pub(in crate::model) fn is_live(&self, worker: Uuid) -> bool {
        let mut workers = self.tables.worker.iter();
        workers.any(|row| row.id == worker && row.closed_at.is_none() && row.lease_expires_at.0 > self.now)
    }

    /// Runs that are due and can be driven so, the most urgent first.
    pub(in crate::model) fn due(&self, wanted: &ClaimRuns<'_>) -> Vec<&RunRow> {
        let can_drive = |run: &&RunRow| {
            run.state == "queued"
                && run.paused_at.is_none()
                && run.due_at.is_some_and(|due| due.0 <= self.now)
                && wanted.queues.contains(&run.queue)
                && wanted.kinds.contains(&run.kind)
                && run.functions.iter().all(|name| wanted.functions.contains(name))
                && match wanted.which {
                    Which::Ordinary => run.crashes < CRASHES_SUSPECT,
                    Which::Suspects { crashes } => run.crashes == crashes,
                }
        };
        let mut due: Vec<&RunRow> = self.tables.run.iter().filter(can_drive).collect();
        due.sort_by_key(|run| (run.priority, run.due_at.map(|due| due.0), run.id));
        due
    }

    /// The runs that it gets, as rows after the claim.
    pub(in crate::model) fn claim(&mut self, wanted: &ClaimRuns<'_>) -> Vec<RunRow> {
        if !self.is_live(wanted.worker.0) {
            return Vec::new();
        }
        let bound = match wanted.which {
            Which::Ordinary => CLAIMS_MAX,
            Which::Suspects { crashes: 2 } => 8,
            Which::Suspects { crashes: 3 } => 3,
            Which::Suspects { .. } => 1,
        };
        let most = usize::try_from(wanted.batch.min(bound)).expect("few");
        let taken: Vec<Uuid> = self.due(wanted).iter().take(most).map(|run| run.id).collect();
        let at = self.now();
        let mut claimed = Vec::new();
        for id in taken {
            let run = self.run_mut(id);
            run.state = "running".to_owned();
            run.fence += 1;
            run.worker_id = Some(wanted.worker.0);
            run.due_at = None;
            run.started_at = run.started_at.or(Some(at));
            self.log_by(id, "run.claimed", (wanted.worker.0, None));
            claimed.push(self.run(id).clone());
        }
        claimed.sort_by_key(|run| (run.priority, run.id));
        claimed
    }

    /// An event of a worker, by the fixed clock.
    fn log_by(&mut self, id: Uuid, kind: &str, (worker, data): (Uuid, Option<Value>)) {
        let seq = self.last_event(id) + 1;
        let at = self.now();
        let run = self.run_mut(id);
        run.event_seq = seq;
        let event = EventRow {
            run_id: id,
            seq,
            kind: kind.to_owned(),
            step_seq: None,
            worker_id: Some(worker),
            fence: run.fence,
            at,
            data,
        };
        self.tables.event.push(event);
    }

    /// Back into the queue; one that has crashed too often waits for a person, unless it only has to be ended.
    fn give_back(&mut self, id: Uuid, (crashes, delay): (i32, i64)) {
        let due = self.now().plus(delay);
        let run = self.run_mut(id);
        run.crashes += crashes;
        run.worker_id = None;
        if run.cancel_requested_at.is_some() {
            // No pause keeps it from its end.
            (run.paused_at, run.paused_by, run.pause_reason) = (None, None, None);
        }
        if run.crashes < CRASHES_MAX || run.cancel_requested_at.is_some() {
            run.state = "queued".to_owned();
            run.due_at = Some(due);
        } else {
            run.state = "waiting".to_owned();
            run.waiting_for = Some("approval".to_owned());
            run.wait_reason = Some("crashes".to_owned());
            run.due_at = None;
        }
    }

    /// Whether it was held.
    pub(in crate::model) fn release(&mut self, claim: &Claim, why: Release) -> bool {
        if self.control(claim).is_none() {
            return false;
        }
        let id = claim.run.0;
        let broke = why == Release::DriverBroke;
        self.give_back(id, (i32::from(broke), i64::from(broke)));
        let run = self.run(id);
        let (kind, data) = if why == Release::Paused && run.paused_at.is_some() {
            ("run.paused", json!({"by": run.paused_by, "reason": run.pause_reason}))
        } else {
            let why = match why {
                Release::Shutdown => "shutdown",
                Release::Room => "room",
                Release::Woken => "woken",
                Release::Unheard => "unheard",
                Release::Paused => "paused",
                Release::DriverBroke => "driver_broke",
            };
            ("run.released", json!({"why": why}))
        };
        self.log_by(id, kind, (claim.worker.0, Some(data)));
        true
    }

    /// Workers that were found dead, and runs taken back.
    pub(in crate::model) fn reclaim(&mut self) -> (Vec<Uuid>, Vec<Uuid>) {
        let now = self.now();
        let expired = |row: &&mut WorkerRow| row.closed_at.is_none() && row.lease_expires_at.0 <= now.0;
        let mut dead = Vec::new();
        for worker in self.tables.worker.iter_mut().filter(expired) {
            worker.closed_at = Some(now);
            dead.push(worker.id);
        }
        let taken = self.abandoned();
        for (id, worker) in &taken {
            self.give_back(*id, (1, 0));
            let run = self.run(*id);
            let data = json!({"crashes": run.crashes, "quarantined": run.state == "waiting"});
            self.log_by(*id, "run.reclaimed", (*worker, Some(data)));
        }
        let mut taken: Vec<Uuid> = taken.into_iter().map(|(id, _)| id).collect();
        dead.sort_unstable();
        taken.sort_unstable();
        (dead, taken)
    }

    /// Runs whose holder is closed, with that.
    fn abandoned(&self) -> Vec<(Uuid, Uuid)> {
        let is_closed = |id: &Uuid| {
            let mut workers = self.tables.worker.iter();
            workers.any(|worker| worker.id == *id && worker.closed_at.is_some())
        };
        let held = self.tables.run.iter().filter_map(|run| Some((run.id, run.worker_id?)));
        held.filter(|(_, worker)| is_closed(worker)).collect()
    }

    /// Parked runs whose time has come.
    fn ripe(&self) -> Vec<Uuid> {
        let is_ripe = |run: &&RunRow| {
            run.state == "waiting" && run.paused_at.is_none() && run.due_at.is_some_and(|due| due.0 <= self.now)
        };
        self.tables.run.iter().filter(is_ripe).map(|run| run.id).collect()
    }

    pub(in crate::model) fn wake_ripe(&mut self) -> Vec<Uuid> {
        let mut woken = self.ripe();
        let at = self.now();
        for id in &woken {
            let run = self.run_mut(*id);
            run.state = "queued".to_owned();
            (run.waiting_for, run.wait_reason) = (None, None);
            run.wakes += 1;
            self.log(*id, "run.woken", (at, None));
        }
        woken.sort_unstable();
        woken
    }

    pub(in crate::model) fn register(&mut self, id: Uuid, lease_seconds: i64) {
        self.tables.worker.push(WorkerRow {
            id,
            lease_expires_at: self.now().plus(lease_seconds),
            clearing: false,
            closed_at: None,
        });
    }

    fn open_worker(&mut self, id: Uuid) -> Option<&mut WorkerRow> {
        let mut workers = self.tables.worker.iter_mut();
        workers.find(|row| row.id == id && row.closed_at.is_none())
    }

    pub(in crate::model) fn extend(&mut self, worker: engine::WorkerId, lease_seconds: i64) -> LiveLease {
        if !self.is_live(worker.0) {
            return LiveLease::Lost;
        }
        let expires = self.now().plus(lease_seconds);
        if let Some(row) = self.open_worker(worker.0) {
            row.lease_expires_at = expires;
        }
        let held = self.tables.run.iter().filter(|run| run.worker_id == Some(worker.0));
        let told = held.map(|run| engine::Attention {
            run: engine::RunId(run.id),
            control: engine::Control {
                wakes: run.wakes,
                cancel_requested: run.cancel_requested_at.is_some(),
                paused: run.paused_at.is_some(),
            },
        });
        let mut told: Vec<_> = told.filter(|told| told.control != engine::Control::default()).collect();
        told.sort_by_key(|told| told.run);
        LiveLease::Extended(told)
    }

    pub(in crate::model) fn close(&mut self, worker: Uuid) {
        let now = self.now();
        if let Some(row) = self.open_worker(worker) {
            row.closed_at = Some(now);
        }
    }

    pub(in crate::model) fn clear(&mut self, worker: Uuid, clearing: bool) {
        if let Some(row) = self.open_worker(worker) {
            row.clearing = clearing;
        }
    }

    /// What an idle worker finds: something to wake, to take back, to claim; the next instant.
    pub(in crate::model) fn poll(&self, wanted: &ClaimRuns<'_>) -> (bool, bool, bool, Option<i64>) {
        let open = || self.tables.worker.iter().filter(|worker| worker.closed_at.is_none());
        let is_dead = open().any(|worker| worker.lease_expires_at.0 <= self.now) || !self.abandoned().is_empty();
        let to_come = self.tables.run.iter().filter(|run| run.paused_at.is_none());
        let to_come = to_come.filter(|run| run.state == "queued" || run.state == "waiting");
        let to_come = to_come.filter_map(|run| run.due_at).filter(|due| due.0 > self.now);
        let next = to_come.chain(open().map(|worker| worker.lease_expires_at));
        let next = next.map(|time: Time| (time.0 - self.now).max(0)).min();
        (!self.ripe().is_empty(), is_dead, !self.due(wanted).is_empty(), next)
    }

    /// Suspects that are due: how many crashes those have behind them that wait longest, and whether any waits in vain.
    pub(in crate::model) fn suspects(&self, wanted: &ClaimRuns<'_>) -> (Vec<i32>, bool) {
        let suspects = (CRASHES_SUSPECT..CRASHES_MAX + 20).flat_map(|crashes| {
            self.due(&ClaimRuns {
                which: Which::Suspects { crashes },
                ..wanted.clone()
            })
        });
        let suspects: Vec<&RunRow> = suspects.collect();
        let due = |run: &RunRow| run.due_at.map(|due| due.0);
        let longest = suspects.iter().map(|run| due(run)).min();
        let crashes = suspects
            .iter()
            .filter(|run| Some(due(run)) == longest)
            .map(|run| run.crashes);
        let mut others = self.tables.worker.iter();
        let is_cleared =
            others.any(|worker| worker.clearing && worker.id != wanted.worker.0 && self.is_live(worker.id));
        let in_vain = |run: &&RunRow| due(run).is_some_and(|due| due <= self.now - PATIENCE_SECONDS);
        (crashes.collect(), !is_cleared && suspects.iter().any(in_vain))
    }
}
