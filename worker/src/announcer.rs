//! Tells followers which runs have new events.
//!
//! Gathers while one announcement is on its way, after the commits and never inside them, so that a busy worker sends
//! few notifications and an idle one none. It is only a hint: what gets lost here, followers find by themselves. Start at
//! [`Announcer::announce`].

use crate::worker::chain;
use engine::{Connect, Engine, RunId};
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tracing::debug;

/// Between two announcements. People do not see a hundredth of a second.
const GATHER_PERIOD: Duration = Duration::from_millis(5);

/// Runs with events that were committed and not yet announced.
#[derive(Debug, Default)]
pub(crate) struct Announcer {
    /// None where notifications are off.
    gathered: Option<Mutex<HashSet<RunId>>>,
    filled: Notify,
}

impl Announcer {
    /// One that announces.
    pub(crate) fn new() -> Self {
        Self {
            gathered: Some(Mutex::default()),
            filled: Notify::new(),
        }
    }

    /// Remembers runs whose new events are committed.
    pub(crate) fn tell(&self, runs: impl IntoIterator<Item = RunId>) {
        if let Some(gathered) = &self.gathered {
            gathered.lock().unwrap_or_else(PoisonError::into_inner).extend(runs);
            self.filled.notify_one();
        }
    }

    /// Announces until it is dropped, on a connection of its own.
    pub(crate) async fn announce(&self, connect: Connect) {
        let lone = Connect {
            connections_max: 1,
            ..connect
        };
        let mut connected: Option<Engine> = None;
        loop {
            self.filled.notified().await;
            self.send(&lone, &mut connected).await;
            tokio::time::sleep(GATHER_PERIOD).await;
        }
    }

    async fn send(&self, lone: &Connect, connected: &mut Option<Engine>) {
        let runs = self.take();
        if runs.is_empty() {
            return;
        }
        let sent = async {
            let engine = match connected {
                Some(engine) => engine,
                None => connected.insert(Engine::connect(lone).await?),
            };
            engine.announce_events(&runs).await
        };
        if let Err(error) = sent.await {
            debug!(error = %chain(&error), "new events are not announced");
        }
    }

    /// Announces what is left, through the connections of a worker that stops.
    pub(crate) async fn finish(&self, engine: &Engine) {
        let runs = self.take();
        if !runs.is_empty()
            && let Err(error) = engine.announce_events(&runs).await
        {
            debug!(error = %chain(&error), "new events are not announced");
        }
    }

    fn take(&self) -> Vec<RunId> {
        let Some(gathered) = &self.gathered else {
            return Vec::new();
        };
        std::mem::take(&mut *gathered.lock().unwrap_or_else(PoisonError::into_inner))
            .into_iter()
            .collect()
    }
}
