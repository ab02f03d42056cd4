//! How long a worker that drives suspects goes on with them, group after group, before it takes ordinary runs again.
//!
//! Each time that a busy worker makes room for suspects, it gives back what it holds: several groups in a row cost that
//! once. Ordinary runs are to be taken up soon all the same.

use engine::query::Poll;
use std::time::Duration;
use tokio::time::Instant;

/// Groups in a row.
const GROUPS_MAX: u32 = 8;
/// … unless they have taken this long: a group takes as long as its slowest first result.
const LONGEST: Duration = Duration::from_secs(10);
/// … or this long while ordinary runs wait; and no longer than their group where no suspect waits in vain.
const LONGEST_BEFORE_OTHERS: Duration = Duration::from_secs(2);
/// After such a turn, for ordinary runs.
const BETWEEN: Duration = Duration::from_secs(1);

/// Groups of suspects in a row.
pub(super) struct Turn {
    groups: u32,
    since: Instant,
    next: Instant,
}

impl Turn {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            groups: 0,
            since: now,
            next: now,
        }
    }

    /// Another group is driven.
    pub(super) const fn take_group(&mut self, now: Instant) {
        if self.groups == 0 {
            self.since = now;
        }
        self.groups += 1;
    }

    /// No more suspects wait.
    pub(super) const fn end(&mut self) {
        self.groups = 0;
    }

    /// Whether it is the others' turn. The next turn of suspects does not begin at once.
    pub(super) fn ends(&mut self, poll: &Poll, now: Instant) -> bool {
        let longest = match (poll.claimable, poll.neglected) {
            (false, _) => LONGEST,
            (true, true) => LONGEST_BEFORE_OTHERS,
            (true, false) => Duration::ZERO,
        };
        let is_over = self.groups >= GROUPS_MAX || now - self.since >= longest;
        if is_over {
            self.groups = 0;
            self.next = now + BETWEEN;
        }
        is_over
    }

    /// Whether a turn may begin or go on.
    pub(super) fn may_begin(&self, now: Instant) -> bool {
        self.next <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn poll(claimable: bool, neglected: bool) -> Poll {
        Poll {
            wakeable: false,
            reclaimable: false,
            sweepable: false,
            claimable,
            suspect_crashes: Some(2),
            neglected,
            next_due: None,
        }
    }

    #[test]
    fn a_turn_has_so_many_groups_and_the_next_one_begins_a_second_later() {
        let now = Instant::now();
        let mut turn = Turn::new(now);
        for _ in 1..GROUPS_MAX {
            assert!(turn.may_begin(now));
            turn.take_group(now);
            assert!(!turn.ends(&poll(true, true), now));
        }
        turn.take_group(now);
        assert!(turn.ends(&poll(true, true), now));
        assert!(!turn.may_begin(now));
        assert!(turn.may_begin(now + BETWEEN));
        turn.take_group(now + BETWEEN);
        assert!(!turn.ends(&poll(true, true), now + BETWEEN), "a turn of its own");
    }

    #[test]
    fn a_turn_that_takes_long_is_over_sooner_where_ordinary_runs_wait() {
        let now = Instant::now();
        for (others_wait, longest) in [(true, LONGEST_BEFORE_OTHERS), (false, LONGEST)] {
            let mut turn = Turn::new(now);
            let first = now + LONGEST;
            turn.take_group(first);
            turn.take_group(first + longest / 2);
            assert!(!turn.ends(&poll(others_wait, true), first + longest / 2));
            assert!(turn.ends(&poll(others_wait, true), first + longest));
        }
    }

    #[test]
    fn suspects_that_another_worker_would_take_hold_up_no_ordinary_run() {
        let now = Instant::now();
        let mut turn = Turn::new(now);
        turn.take_group(now);
        assert!(turn.ends(&poll(true, false), now));
        turn.take_group(now);
        assert!(!turn.ends(&poll(false, false), now));
    }
}
