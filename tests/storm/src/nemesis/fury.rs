//! Carries the schedule out. Start at [`Fury::rage`].

use super::Field;
use super::aim::Aim;
use super::journal::{deed, give_up};
use super::schedule::{Fault, Schedule, Step};
use super::slot::Slot;
use crate::record::{Deed, Window};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// From arming to the hit.
const AIM_LIMIT: Duration = Duration::from_secs(4);
/// Faults before anybody works hit nothing. They begin after this in any case.
const WORK_LIMIT: Duration = Duration::from_secs(20);

pub(super) struct Fury {
    field: Arc<Field>,
    /// Cancelled: no more faults, and those that last end now.
    calm: CancellationToken,
    lasting: JoinSet<()>,
}

impl Fury {
    pub(super) fn new(field: Arc<Field>, calm: CancellationToken) -> Self {
        Self {
            field,
            calm,
            lasting: JoinSet::new(),
        }
    }

    /// Until it is calm; nothing lasts by then.
    pub(super) async fn rage(mut self, schedule: Schedule) {
        let working = tokio::time::timeout(WORK_LIMIT, self.field.work_seen.notified());
        let _ = self.calm.run_until_cancelled(working).await;
        for step in schedule {
            rest(&self.calm, step.pause).await;
            if self.calm.is_cancelled() {
                break;
            }
            self.carry_out(&step).await;
            while self.lasting.try_join_next().is_some() {}
        }
        while self.lasting.join_next().await.is_some() {}
    }

    async fn carry_out(&mut self, step: &Step) {
        match step.fault {
            Fault::Aimed(window) => self.aim(window, step),
            Fault::Kill => {
                self.at_one(step, |slot| slot.kill("at any instant"));
            }
            Fault::Stop { length } => self.stop(step, length),
            Fault::Drain => {
                self.at_one(step, Slot::drain);
            }
            // Nothing else is done meanwhile.
            Fault::KillPostgres { down } => {
                let killed = self.field.postgres.kill_for(down).await;
                killed.unwrap_or_else(|error| give_up(&error));
            }
            Fault::KillApi => {
                let field = Arc::clone(&self.field);
                let killing = async move { field.http_door.kill().await.unwrap_or_else(|error| give_up(&error)) };
                self.lasting.spawn(killing);
            }
            Fault::CutDatabase => {
                self.at_one(step, |slot| slot.cut(&slot.database_cut, Deed::DatabaseCut));
            }
            Fault::CutTools => {
                self.at_one(step, |slot| slot.cut(&slot.tools_cut, Deed::ToolsCut));
            }
            Fault::Silence { length } => self.silence(step, length),
        }
    }

    /// Slots whose worker runs, in the order of the step.
    fn able(&self, step: &Step) -> Vec<Arc<Slot>> {
        let slots = step.order.iter().filter_map(|slot| self.field.slots.get(*slot));
        slots.filter(|slot| slot.is_able()).map(Arc::clone).collect()
    }

    /// Does it to the first to whom it can be done.
    fn at_one(&self, step: &Step, fault: impl Fn(&Slot) -> bool) -> Option<Arc<Slot>> {
        let victim = self.able(step).into_iter().find(|slot| fault(slot));
        if victim.is_none() {
            let missed = deed(Deed::Missed).saying(format!("{:?}: nobody to do it to", step.fault));
            self.field.journal.write(missed);
        }
        victim
    }

    fn aim(&mut self, window: Window, step: &Step) {
        let mut armed = self.able(step);
        if !is_rare(window) {
            armed.truncate(1);
        }
        let aim = Aim::at(window);
        for slot in &armed {
            slot.aims.arm(&aim);
        }
        let (calm, journal) = (self.calm.clone(), Arc::clone(&self.field.journal));
        self.lasting.spawn(async move {
            tokio::select! {
                () = aim.hit.notified() => {}
                () = rest(&calm, AIM_LIMIT) => {}
            }
            if aim.take() && !calm.is_cancelled() {
                let slots: Vec<_> = armed.iter().map(|slot| slot.number.to_string()).collect();
                let missed = deed(Deed::Missed).within(window);
                journal.write(missed.saying(format!("armed at slots: {}", slots.join(" "))));
            }
            for slot in &armed {
                slot.aims.disarm(&aim);
            }
        });
    }

    fn stop(&mut self, step: &Step, length: Duration) {
        let slots = &self.field.slots;
        let stopped = slots.iter().filter(|slot| slot.is_stopped()).count();
        let room = stopped < slots.len() / 2;
        let life = std::cell::OnceCell::new();
        let stop = |slot: &Slot| room && slot.stop().is_some_and(|stopped| life.set(stopped).is_ok());
        let slot = self.at_one(step, stop);
        if let (Some(slot), Some(life)) = (slot, life.into_inner()) {
            let calm = self.calm.clone();
            self.lasting.spawn(async move {
                rest(&calm, length).await;
                slot.go_on(&life);
            });
        }
    }

    fn silence(&mut self, step: &Step, length: Duration) {
        let Some(slot) = self.at_one(step, |slot| slot.silence.begin()) else {
            return;
        };
        let (calm, journal) = (self.calm.clone(), Arc::clone(&self.field.journal));
        journal.write(deed(Deed::NotificationsOff).to(&slot.life().name));
        self.lasting.spawn(async move {
            rest(&calm, length).await;
            let lost = slot.silence.end().unwrap_or_default();
            let heard = deed(Deed::NotificationsOn).to(&slot.life().name);
            journal.write(heard.saying(format!("{lost} lost")));
        });
    }
}

/// Windows that no single worker comes into often enough: the first of all is hit.
const fn is_rare(window: Window) -> bool {
    match window {
        Window::ParkUnanswered | Window::FinishUnanswered | Window::ReclaimUncommitted | Window::SentUnapplied => true,
        Window::ClaimUncommitted
        | Window::ClaimUnread
        | Window::IntentUnsent
        | Window::AppliedUnanswered
        | Window::ReplyUnrecorded
        | Window::RecordUnanswered
        | Window::RecordAnswerLost
        | Window::ExtendUnanswered => false,
    }
}

/// Waits so long, or until it is calm.
async fn rest(calm: &CancellationToken, length: Duration) {
    let _ = calm.run_until_cancelled(tokio::time::sleep(length)).await;
}
