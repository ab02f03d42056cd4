//! Steps whose writes are committed with their results.

use super::step::{Step, Work, input_text, output_text};
use super::{Context, StepCall};
use crate::FunctionError;
use agent::Effect;
use engine::PgConnection;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

impl Context {
    /// A step that writes into the engine's own database: what `run` writes and the step's result are committed together,
    /// so that nothing is ever in doubt. Whatever fails, or is cut, is rolled back and tried again as its
    /// [retry policy](Step::retry) allows. `run` neither commits nor rolls back; savepoints are its own.
    ///
    /// ```ignore
    /// ctx.transaction("debit", 4200_i64, |tx, cents| {
    ///     Box::pin(async move {
    ///         sqlx::query("update account set cents = cents - $1").bind(cents).execute(tx).await?;
    ///         Ok(())
    ///     })
    /// })
    /// .await?;
    /// ```
    pub fn transaction<I, O, F>(&self, name: &str, input: I, run: F) -> Step<O>
    where
        I: Serialize + Clone + Send + Sync + 'static,
        O: Serialize + DeserializeOwned + Send + 'static,
        F: for<'c> Fn(&'c mut PgConnection, I) -> BoxFuture<'c, Result<O, FunctionError>> + Send + Sync + 'static,
    {
        let text = input_text(name, &input);
        let attempt = for_any_connection(move |_, connection| {
            let running = run(connection, input.clone());
            async move { output_text(&running.await?) }.boxed()
        });
        let work = Work::Transaction(Arc::new(attempt));
        Step::doing((self.open(name, None), name), text, (Effect::Transactional, work))
    }
}

/// Says of a closure what the compiler does not find out by itself.
const fn for_any_connection<F>(attempt: F) -> F
where
    F: for<'c> Fn(StepCall, &'c mut PgConnection) -> BoxFuture<'c, Result<String, FunctionError>>,
{
    attempt
}
