//! Starts of runs that come at the same time, gathered: many in one statement, one commit and one notification.
//!
//! Nobody waits for company: a start that finds a writer free leaves at once, and while all are busy the next ones gather.
//! Each stands or falls by itself: one that is refused is told so, and the others go again without it. Start at
//! [`Engine::start_gathered`].

use crate::transition::{StartRun, Started};
use crate::{Engine, EngineError, limits};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Batches on their way at once. Commits that notify line up, so more would not be faster.
const WRITERS: usize = 2;

/// What is asked for and not on its way yet.
#[derive(Debug)]
pub(crate) struct Starts {
    waiting: Mutex<Vec<Waiting>>,
    writers: Arc<Semaphore>,
}

impl Default for Starts {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
            writers: Arc::new(Semaphore::new(WRITERS)),
        }
    }
}

#[derive(Debug)]
struct Waiting {
    start: StartRun,
    answer: oneshot::Sender<Result<Started, EngineError>>,
}

impl Starts {
    /// As many as one statement takes, all of one tenant.
    fn take(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever has given up meanwhile wants no run that is started at somebody else's time.
        waiting.retain(|start| !start.answer.is_closed());
        let Some(tenant) = waiting.first().map(|first| first.start.tenant.clone()) else {
            return Vec::new();
        };
        let (mut taken, mut left) = (Vec::new(), Vec::new());
        for start in waiting.drain(..) {
            if start.start.tenant == tenant && taken.len() < limits::BATCH_RUNS_MAX {
                taken.push(start);
            } else {
                left.push(start);
            }
        }
        *waiting = left;
        taken
    }
}

impl Engine {
    /// Starts a run together with whatever else is to be started.
    pub(crate) async fn start_gathered(&self, start: &StartRun) -> Result<Started, EngineError> {
        let (answer, mut answered) = oneshot::channel();
        let waiting = Waiting {
            start: start.clone(),
            answer,
        };
        let starts = &self.starts;
        starts
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(waiting);
        loop {
            tokio::select! {
                biased;
                told = &mut answered => return told.unwrap_or_else(|_| Err(nobody_knows("its statement broke off"))),
                Ok(writer) = Arc::clone(&starts.writers).acquire_owned() => {
                    let batch = starts.take();
                    if batch.is_empty() {
                        // Somebody has it on its way.
                        break;
                    }
                    // Of its own: whoever asked may give up, and the others not.
                    tokio::spawn(self.clone().start_batch(batch, writer));
                }
            }
        }
        answered
            .await
            .unwrap_or_else(|_| Err(nobody_knows("its statement broke off")))
    }

    async fn start_batch(self, mut batch: Vec<Waiting>, _writer: OwnedSemaphorePermit) {
        while batch.len() > 1 {
            let starts: Vec<StartRun> = batch.iter().map(|waiting| waiting.start.clone()).collect();
            let refused = match self.start_runs(&starts[0].tenant, &starts).await {
                Ok(started) => {
                    for (waiting, started) in batch.into_iter().zip(started) {
                        let _ = waiting.answer.send(Ok(started));
                    }
                    return;
                }
                Err(refused) => refused,
            };
            match refused.item {
                Some(item) if item < batch.len() => {
                    let _ = batch.remove(item).answer.send(Err(refused.error));
                }
                // Perhaps they were started: nobody may start them again.
                _ if refused.error.is_transient() => {
                    let why = refused.error.to_string();
                    for waiting in batch {
                        let _ = waiting.answer.send(Err(nobody_knows(&why)));
                    }
                    return;
                }
                _ => break,
            }
        }
        for waiting in batch {
            let _ = waiting.answer.send(self.start_alone(&waiting.start).await);
        }
    }
}

fn nobody_knows(why: &str) -> EngineError {
    EngineError::Unavailable(sqlx::Error::Protocol(why.to_owned()))
}
