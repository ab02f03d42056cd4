//! Tools that write into the engine's own database: a tool's write and its step's result are one commit, so that nothing
//! is ever in doubt.

use super::Driver;
use super::outcome::{After, Failure};
use crate::crash_point::crash_point;
use crate::drive::Shared;
use crate::hold::Flow;
use crate::scribe::{Draft, Written};
use crate::tool::limit::Limit;
use crate::tool::sql::{self, Request};
use crate::tool::{Attempt, Call};
use agent::{AttemptOutcome, ErrorClass, Step, StepError, ToolOutcome};
use engine::{EngineError, Uncommitted};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// What the engine's own database is called where a model or a person is told of it.
const OWN: &str = "longhaul";

/// A tool has written, and its step is not recorded.
pub(super) struct Unrecorded {
    told: ToolOutcome,
    evidence: Value,
    transaction: Uncommitted,
    /// Among the worker's transactions.
    place: OwnedSemaphorePermit,
}

/// What came of an attempt: something to commit, or a failure, of which it is certain that nothing was written.
pub(super) type Outcome = Result<Box<Unrecorded>, Attempt>;

/// Makes one attempt, up to its commit.
pub(super) async fn attempt(shared: &Shared, call: &Call<'_>, request: Request<'_>) -> Outcome {
    let mut limit = Limit::of(call);
    let mut evidence = json!({ "kind": "sql", "database": OWN });
    let (error, known_not_applied) = match write(shared, (&mut limit, &mut evidence), request).await {
        Ok((told, transaction, place)) => {
            evidence["limit"] = limit.evidence();
            return Ok(Box::new(Unrecorded {
                told,
                evidence,
                transaction,
                place,
            }));
        }
        Err(Refusal::Sure(error)) => (error, true),
        Err(Refusal::Left(error)) => (error, false),
    };
    evidence["limit"] = limit.evidence();
    let outcome = if known_not_applied {
        AttemptOutcome::NotApplied {
            error,
            retry_after: None,
        }
    } else {
        AttemptOutcome::Ambiguous {
            error,
            retry_after: None,
        }
    };
    Err(Attempt { outcome, evidence })
}

/// Why nothing is committed.
enum Refusal {
    /// Nothing was written.
    Sure(StepError),
    /// The transaction was ended by what ran in it.
    Left(StepError),
}

type WrittenRows = (ToolOutcome, Uncommitted, OwnedSemaphorePermit);

async fn write(
    shared: &Shared,
    (limit, evidence): (&mut Limit, &mut Value),
    request: Request<'_>,
) -> Result<WrittenRows, Refusal> {
    let statement = request.statement().map_err(Refusal::Sure)?;
    let place = Arc::clone(&shared.transactions).acquire_owned();
    let Some(Ok(place)) = limit.within(place).await else {
        return Err(Refusal::Sure(limit.expired()));
    };
    let began = Instant::now();
    let left = limit.left();
    let working = async {
        let mut transaction = shared.engine.begin().await.map_err(|error| of_engine(&error))?;
        let entered = transaction.enter(&shared.tool_settings, left).await;
        entered.map_err(|error| not_entered(&error))?;
        let rows = transaction.write(&statement, request.bounds()).await;
        Ok((transaction, rows))
    };
    let (mut transaction, rows) = match limit.within(working).await {
        Some(worked) => worked?,
        None => return Err(Refusal::Sure(limit.expired())),
    };
    let rows = rows.map_err(|error| {
        sql::note_state(evidence, &error);
        Refusal::Sure(sql::judge(&error, (OWN, limit)))
    })?;
    sql::add_evidence(evidence, &rows);
    let told = sql::told(&rows, (OWN, began));
    transaction.leave().await.map_err(|error| of_engine(&error))?;
    transaction.check().await.map_err(|error| of_engine(&error))?;
    Ok((told, transaction, place))
}

/// What the engine's database says about a transaction that is not committed.
fn of_engine(error: &EngineError) -> Refusal {
    let said = error.said_by_server().map_or_else(|| error.to_string(), str::to_owned);
    let class = if error.is_transient() {
        ErrorClass::Transient
    } else {
        ErrorClass::Permanent
    };
    // A constraint that is checked at the commit.
    let is_constraint = error.sqlstate().is_some_and(|state| state.starts_with("23"));
    let told = if is_constraint {
        StepError::new(ErrorClass::UserError, "constraint_violated", said)
    } else {
        StepError::new(class, error.code(), said)
    };
    if error.code() == "transaction_left" {
        Refusal::Left(told)
    } else {
        Refusal::Sure(told)
    }
}

/// The role that tools run as cannot be taken on: for an operator to mend.
fn not_entered(error: &EngineError) -> Refusal {
    if error.is_transient() {
        return of_engine(error);
    }
    let said = error.said_by_server().map_or_else(|| error.to_string(), str::to_owned);
    let message = format!("the worker cannot take on what its configuration says of SQL tools: {said}");
    let error = StepError::new(ErrorClass::Permanent, "sql_settings", message);
    Refusal::Sure(
        error
            .suggest("look at sql_role and sql_search_path in the worker's configuration, then resume the run")
            .fatal(),
    )
}

impl Driver {
    /// Commits what a tool wrote together with the end of its step.
    pub(super) async fn commit(&mut self, step: Step, unrecorded: Unrecorded) -> Result<Flow, EngineError> {
        let Unrecorded {
            told,
            evidence,
            transaction,
            place,
        } = unrecorded;
        let After {
            step: done,
            evidence,
            event,
            ..
        } = self.tool_done(step.clone(), told, evidence);
        let mut draft = Draft::default();
        draft.change(super::begin::change(&done, Some(&evidence)));
        draft.event(event.0, done.seq, Some(event.1));
        crash_point!("transaction.done");
        let committed = self.hold.scribe.commit(draft, transaction).await?;
        drop(place);
        let after = match committed {
            Ok(Written::Now(control)) => {
                crash_point!("transaction.committed");
                self.hold.known = control;
                self.keep(vec![done]);
                return Ok(Flow::GoOn);
            }
            Ok(Written::ClaimLost) => return Ok(self.hold.claim_lost()),
            // A cancel or a pause came first. It was never there.
            Ok(Written::Refused(control)) => {
                self.hold.known = control;
                self.attempt_cut(step)
            }
            Err(error) => {
                let (Refusal::Sure(error) | Refusal::Left(error)) = of_engine(&error);
                let failure = Failure {
                    error,
                    known_not_applied: true,
                    retry_after: None,
                };
                self.attempt_failed(step, failure, evidence)
            }
        };
        self.settle(after).await
    }
}
