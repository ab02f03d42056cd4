//! Intents that nothing came of.

use super::{Asked, Driver};

impl Driver {
    /// Intents that were refused were never there. What a dead holder may have begun without a trace gets one: whoever
    /// goes on with the run has no other way to know.
    pub(super) fn withdraw(&mut self, ready: &[u64]) {
        self.is_replaying = false;
        let now = self.hold.now();
        for asked in ready {
            let Some(mut open) = self.open.remove(asked) else {
                continue;
            };
            let mut is_in_doubt = false;
            if let Asked::Step(step) = &mut open.what {
                let is_first = step.attempt == 1;
                is_in_doubt = is_first && step.maybe_applied;
                if is_first {
                    open.seq = None;
                }
                if is_in_doubt {
                    // The dead holder's, which costs the step none of its own.
                    step.attempts_max = step.attempts_max.saturating_add(1);
                } else {
                    step.attempt -= 1;
                }
            }
            if is_in_doubt {
                self.conclude(&mut open, ("given_back", None, None), Some(now));
            }
            self.open.insert(*asked, open);
        }
    }

    /// Intents that were committed after all, and that nothing came of: their reply was lost, and a cancel or a pause is
    /// behind them.
    pub(super) fn give_back(&mut self, ready: &[u64]) {
        let now = self.hold.now();
        let (begun, rest): (Vec<u64>, Vec<u64>) = ready
            .iter()
            .partition(|asked| self.open.get(asked).is_some_and(|open| open.seq.is_some()));
        self.withdraw(&rest);
        for asked in begun {
            let Some(mut open) = self.open.remove(&asked) else {
                continue;
            };
            if let Asked::Step(step) = &mut open.what {
                step.attempts_max = step.attempts_max.saturating_add(1);
            }
            self.conclude(&mut open, ("given_back", None, None), Some(now));
            self.open.insert(asked, open);
        }
    }
}
