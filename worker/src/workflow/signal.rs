//! Waiting for what is told from outside.

use super::step::{SignalAsk, Wanted};
use super::{Context, StepFailed};
use agent::{ErrorClass, StepError};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use std::time::Duration;

impl Context {
    /// Waits for a signal of this name: the oldest one that no wait has taken, whether it came before or comes now. Its
    /// payload, or none where none came in time by the database's clock; without a timeout it waits as long as it takes.
    /// A wait holds no worker.
    ///
    /// # Errors
    /// `ambiguous_step`, where something else of this name is open on this context; `signal_unreadable`, where the payload
    /// is not what the code expects: the signal is taken all the same.
    pub fn wait_signal<T: DeserializeOwned + 'static>(
        &self,
        name: &str,
        timeout: impl Into<Option<Duration>>,
    ) -> BoxFuture<'static, Result<Option<T>, StepFailed>> {
        let (open, timeout, name) = (self.open(name, None), timeout.into(), name.to_owned());
        async move {
            let wanted = |answer| Wanted::Signal(SignalAsk { timeout, answer });
            let read = |payload: Option<String>| {
                let told = payload.map(|payload| serde_json::from_str(&payload)).transpose();
                told.map_err(|error| {
                    let message = format!("the payload of signal {name} is not what the code expects: {error}");
                    StepFailed::new(StepError::new(ErrorClass::Permanent, "signal_unreadable", message))
                })
            };
            open?.asked((&name, wanted), read).await
        }
        .boxed()
    }
}
