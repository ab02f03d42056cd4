//! How long to wait before another attempt. The one place that leans on `backoff`, and only for its arithmetic.

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;
use std::time::Duration;

/// Exponential backoff: the delay doubles from `initial` up to `cap`, then half of it either way at random, so that
/// many that failed together do not come back together.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// The first delay.
    pub initial: Duration,
    /// The longest delay.
    pub cap: Duration,
}

impl Schedule {
    /// The delay after the given failed attempt, counted from 1. What the target asked for is the least.
    pub fn delay(self, attempt: u32, retry_after: Option<Duration>) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        let mut backoff = ExponentialBackoff {
            current_interval: self.initial.saturating_mul(1 << doublings).min(self.cap),
            initial_interval: self.initial,
            max_interval: self.cap,
            multiplier: 2.0,
            randomization_factor: 0.5,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        let delay = backoff.next_backoff().unwrap_or(self.cap);
        retry_after.map_or(delay, |asked| asked.max(delay))
    }
}

#[cfg(test)]
mod tests;
