//! What a person decides, and what only a person may judge.

use super::doors::refuse_nul;
use crate::{Claim, Engine, EngineError, limits, payload};
use uuid::Uuid;

/// A decision.
#[derive(Debug, Clone)]
pub struct Decide {
    /// Which approval.
    pub approval: Uuid,
    /// `happened`, `did_not_happen`, `probe_again`, `give_up`, `approve` or `reject`.
    pub verb: String,
    /// For the model and the record, 1 to 4096 bytes.
    pub words: Option<String>,
    /// JSON text of what a call that happened has answered, [`limits::INPUT_BYTES_MAX`] at most.
    pub result: Option<String>,
    /// Who decides; the database user if absent.
    pub actor: Option<String>,
}

/// A result that came after its run had moved on.
#[derive(Debug, Clone)]
pub struct LateResult {
    /// Of which step.
    pub step_seq: i32,
    /// Of which attempt.
    pub attempt: i32,
    /// JSON text of what it was.
    pub outcome: String,
}

impl Engine {
    /// Decides an approval, once; the state that the run is left in.
    ///
    /// # Errors
    /// Refusals of `longhaul.decide_approval`: `no_such_approval`, `already_decided`, `approval_closed`,
    /// `verb_not_allowed`, `too_early`, `invalid_decision`, `result_too_large`, `result_too_deep`, `invalid_result`.
    pub async fn decide_approval(&self, decision: &Decide) -> Result<String, EngineError> {
        let Decide {
            approval,
            verb,
            words,
            result,
            actor,
        } = decision;
        if let Some(result) = result {
            payload::check("result", result, limits::INPUT_BYTES_MAX)?;
        }
        refuse_nul([verb].into_iter().chain(words).chain(actor))?;
        Ok(sqlx::query_file_scalar!(
            "src/transition/decide_approval.sql",
            approval,
            verb,
            words.as_deref(),
            result.as_deref(),
            actor.as_deref()
        )
        .fetch_one(&self.pool)
        .await?)
    }

    /// Keeps a result that came too late, for whoever must judge what happened. It changes nothing else.
    ///
    /// # Errors
    /// The database's.
    pub async fn report_late(&self, claim: &Claim, late: &LateResult) -> Result<(), EngineError> {
        sqlx::query_file!(
            "src/transition/report_late.sql",
            claim.run.0,
            late.step_seq,
            late.attempt,
            claim.worker.0,
            claim.fence.0,
            late.outcome
        )
        .execute(&self.pool)
        .await?;
        #[cfg(feature = "planted-faults")]
        self.apply_late(claim, late).await?;
        Ok(())
    }
}
