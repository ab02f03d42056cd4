//! Steps that write into the engine's own database: their writes and their results are one commit.

use super::attempt::{Done, Failure, Outcome, within as within_limits};
use super::{Asked, Driver, Flow, Phase};
use crate::FunctionError;
use crate::crash_point::crash_point;
use crate::drive::Shared;
use crate::scribe::Written;
use agent::{ErrorClass, StepError};
use engine::{EngineError, PgConnection, Uncommitted};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// No clock shows the end of a longer one.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// A transaction whose function is done, and whose step is not recorded.
pub(super) struct Finishing {
    pub(super) asked: u64,
    /// JSON text.
    pub(super) output: String,
    pub(super) transaction: Unrecorded,
}

/// A transaction that is open, and its place among those of the worker.
pub(super) struct Unrecorded {
    uncommitted: Uncommitted,
    place: OwnedSemaphorePermit,
}

/// Runs a function in a transaction, which is rolled back unless it comes to its end.
pub(super) async fn within<F>(timeout: Duration, shared: &Shared, run: F) -> Outcome
where
    F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<String, FunctionError>>,
{
    let deadline = Instant::now() + timeout.min(LONGEST);
    let place = Arc::clone(&shared.transactions).acquire_owned();
    let Ok(Ok(place)) = tokio::time::timeout_at(deadline, place).await else {
        let message = format!("no transaction came to its turn within {} s", timeout.as_secs_f64());
        let error = StepError::new(ErrorClass::Timeout, "step_timeout", message);
        return Err(Failure {
            error,
            not_applied: true,
            retry_after: None,
        });
    };
    let begun = shared.engine.begin().await;
    let mut transaction = begun.map_err(|error| rolled_back(&error))?;
    let left = deadline.saturating_duration_since(Instant::now());
    let output = within_limits(left, run(transaction.connection()))
        .await
        .map_err(certain)?;
    transaction.check().await.map_err(|error| rolled_back(&error))?;
    let uncommitted = transaction;
    Ok(Done::Uncommitted(output, Unrecorded { uncommitted, place }))
}

/// Whatever failed, nothing was committed.
fn certain(failure: Failure) -> Failure {
    Failure {
        not_applied: true,
        ..failure
    }
}

fn rolled_back(error: &EngineError) -> Failure {
    let class = if error.is_transient() {
        ErrorClass::Transient
    } else {
        ErrorClass::Permanent
    };
    let message = error.said_by_server().map_or_else(|| error.to_string(), str::to_owned);
    Failure {
        error: StepError::new(class, error.code(), message),
        not_applied: error.code() != "transaction_left",
        retry_after: None,
    }
}

impl Driver {
    /// Commits what is done. Everything that was drafted before is committed first.
    pub(super) async fn commit_all(&mut self) -> Result<Flow, EngineError> {
        for finishing in std::mem::take(&mut self.finishing) {
            let earlier = std::mem::take(&mut self.draft);
            if self.record(earlier).await? == Flow::Done || self.commit(finishing).await? == Flow::Done {
                return Ok(Flow::Done);
            }
        }
        Ok(Flow::GoOn)
    }

    async fn commit(&mut self, finishing: Finishing) -> Result<Flow, EngineError> {
        let Finishing {
            asked,
            output,
            transaction,
        } = finishing;
        let Some(mut open) = self.open.remove(&asked) else {
            return Ok(Flow::GoOn);
        };
        let before = (open.seq, self.next_seq);
        self.conclude(&mut open, ("succeeded", Some(output.clone()), None), None);
        let draft = std::mem::take(&mut self.draft);
        crash_point!("transaction.done");
        let Unrecorded { uncommitted, place } = transaction;
        let committed = self.hold.scribe.commit(draft, uncommitted).await?;
        drop(place);
        if let Ok(Written::Now(control)) = committed {
            crash_point!("transaction.committed");
            self.hold.known = control;
            if let Asked::Step(step) = open.what {
                self.answers.drafted(move || drop(step.ask.answer.send(Ok(output))));
            }
            return Ok(Flow::GoOn);
        }
        // It was never there.
        (open.seq, self.next_seq) = before;
        match committed {
            Ok(Written::ClaimLost) => Ok(self.hold.claim_lost()),
            Ok(Written::Now(control) | Written::Refused(control)) => {
                self.hold.known = control;
                if let Asked::Step(step) = &mut open.what {
                    step.phase = Phase::Ready;
                }
                self.open.insert(asked, open);
                Ok(Flow::GoOn)
            }
            Err(error) => {
                let now = self.hold.now();
                self.take_failure((asked, open), rolled_back(&error), now);
                Ok(Flow::GoOn)
            }
        }
    }
}
