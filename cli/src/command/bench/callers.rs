//! Callers that call, one call after the other, until time is over.

use super::interrupted;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Somebody with one call on its way at a time.
pub(super) trait Caller: Send + 'static {
    /// Makes one call; says how many units it did.
    fn call(&mut self) -> impl Future<Output = anyhow::Result<u64>> + Send;
}

/// What calls came to.
#[derive(Debug, Default)]
pub(super) struct Tally {
    units: u64,
    elapsed: Duration,
    /// Of each call, ascending.
    times: Vec<Duration>,
}

impl Tally {
    pub(super) const fn units(&self) -> u64 {
        self.units
    }

    pub(super) fn per_second(&self) -> f64 {
        count(self.units) / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }

    /// The time, in milliseconds, within which this share of the calls was answered.
    pub(super) fn millis(&self, percent: usize) -> f64 {
        let place = self.times.len().saturating_sub(1) * percent / 100;
        self.times.get(place).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    }
}

/// A count for arithmetic.
#[expect(clippy::cast_precision_loss, reason = "no bench counts to 2^52")]
pub(super) const fn count(units: u64) -> f64 {
    units as f64
}

/// Has all of them call at once, each again and again, and gives them back.
pub(super) async fn call_all<C: Caller>(
    callers: Vec<C>,
    window: Duration,
    shutdown: &CancellationToken,
) -> anyhow::Result<(Vec<C>, Tally)> {
    let began = Instant::now();
    let mut calling = JoinSet::new();
    for caller in callers {
        calling.spawn(keep_calling(caller, began + window, shutdown.clone()));
    }
    let mut tally = Tally::default();
    let mut callers = Vec::new();
    while let Some(ended) = calling.join_next().await {
        let (caller, units, times) = ended??;
        callers.push(caller);
        tally.units += units;
        tally.times.extend(times);
    }
    tally.elapsed = began.elapsed();
    tally.times.sort_unstable();
    if shutdown.is_cancelled() {
        return Err(interrupted().into());
    }
    Ok((callers, tally))
}

async fn keep_calling<C: Caller>(
    mut caller: C,
    until: Instant,
    shutdown: CancellationToken,
) -> anyhow::Result<(C, u64, Vec<Duration>)> {
    let (mut units, mut times) = (0, Vec::new());
    let mut now = Instant::now();
    while now < until && !shutdown.is_cancelled() {
        units += caller.call().await?;
        let then = Instant::now();
        times.push(then - now);
        now = then;
    }
    Ok((caller, units, times))
}

#[cfg(test)]
mod tests;
