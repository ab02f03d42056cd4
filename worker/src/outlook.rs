//! When a worker looks at everything, and when only at what is new.

use engine::Reach;
use std::time::Duration;
use tokio::time::Instant;

/// Looks at everything take up at most one in so many parts of the time.
const WHOLE_SHARE: u32 = 20;

/// Where the next look of one kind begins: claims see no timers, so that polls have an outlook of their own.
pub(crate) struct Outlook {
    pub(crate) reach: Reach,
    /// When everything is looked at again.
    whole_at: Instant,
    /// However long that takes, it is done this often.
    longest: Duration,
}

/// A look at what is due.
pub(crate) struct Look {
    pub(crate) reach: Reach,
    is_whole: bool,
    begun: Instant,
}

impl Outlook {
    /// The first look is at everything.
    pub(crate) fn new(longest: Duration) -> Self {
        Self {
            reach: Reach::default(),
            whole_at: Instant::now(),
            longest,
        }
    }

    /// Begins a look.
    pub(crate) fn look(&self, begun: Instant) -> Look {
        let is_whole = begun >= self.whole_at;
        let reach = match is_whole {
            true => Reach::everything().clone(),
            false => self.reach.clone(),
        };
        Look { reach, is_whole, begun }
    }

    /// Ends a look. How long what it cannot have seen may wait; none where it has seen everything.
    pub(crate) fn looked(&mut self, look: &Look, now: Instant) -> Option<Duration> {
        if look.is_whole {
            self.whole_at = now + (now - look.begun).saturating_mul(WHOLE_SHARE).min(self.longest);
        }
        (!look.is_whole).then(|| self.whole_at.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_at_everything_takes_a_twentieth_of_the_time_and_comes_with_each_poll_at_the_latest() {
        let millis = Duration::from_millis;
        let mut outlook = Outlook::new(millis(5_000));
        let mut now = Instant::now();
        for (takes, pause) in [(1, 20), (100, 2_000), (1_000, 5_000)] {
            let whole = outlook.look(now);
            now += millis(takes);
            assert_eq!(outlook.looked(&whole, now), None);

            let part = outlook.look(now);
            assert_eq!(outlook.looked(&part, now), Some(millis(pause)));
            now += millis(pause);
        }
    }
}
