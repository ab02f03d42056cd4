//! What a workflow is given.

use super::step::{Ask, Open, Step, TimerAsk, Until, Wanted};
use super::{Retry, StepFailed};
use chrono::{DateTime, Utc};
use engine::{Claim, Engine, RunId, payload};
use futures_util::future::join_all;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use uuid::Uuid;

/// Of a step's name, and of its key.
const NAME_BYTES_MAX: usize = 255;

/// Who calls a step's function, and under which key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepCall {
    /// The idempotency key, the same in every attempt: pass it on to whatever the step calls.
    pub key: String,
    /// From 1.
    pub attempt: u32,
}

/// A workflow's way to the world. Cheap to clone; clones are the same context.
///
/// A step is found again by its identity: the path of its branch, its name, and how often that name was used before on
/// this path. The identity is taken when a method is called, not when its future is first polled.
#[derive(Debug, Clone)]
pub struct Context {
    pub(super) run: Arc<RunSide>,
    path: Arc<str>,
}

/// What all contexts of a run share with its driver.
#[derive(Debug)]
pub(crate) struct RunSide {
    pub(super) claim: Claim,
    /// Starts children.
    pub(super) engine: Engine,
    /// Held while one is started.
    pub(super) starting: tokio::sync::Mutex<()>,
    /// Children that ended with the run, which was let go on since then.
    pub(super) ended: HashSet<RunId>,
    inner: Mutex<Inner>,
    /// Told when something is asked.
    pub(crate) asked: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// How often each path and name was used.
    used: HashMap<String, u32>,
    /// Paths and names of steps that have no answer yet.
    open: HashSet<String>,
    asks: Vec<Ask>,
}

impl RunSide {
    pub(crate) fn new(claim: Claim, engine: Engine, ended: HashSet<RunId>) -> Arc<Self> {
        Arc::new(Self {
            claim,
            engine,
            starting: tokio::sync::Mutex::default(),
            ended,
            inner: Mutex::default(),
            asked: Notify::new(),
        })
    }

    /// What was asked since the last time.
    pub(crate) fn take(&self) -> Vec<Ask> {
        std::mem::take(&mut self.inner().asks)
    }

    pub(super) fn ask(&self, ask: Ask) {
        self.inner().asks.push(ask);
        self.asked.notify_one();
    }

    pub(super) fn close(&self, named: &str) {
        self.inner().open.remove(named);
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Context {
    pub(crate) fn new(run: Arc<RunSide>) -> Self {
        Self { run, path: "".into() }
    }

    /// The run's id.
    pub fn run_id(&self) -> RunId {
        self.run.claim.run
    }

    /// A step: done once and recorded, however often the workflow is run again. `run` may be called several times where
    /// the step's [effect](Step::effect) allows a repeat; all that it depends on is in `input`.
    ///
    /// Unless it is told otherwise, a step is done at most once: what may have happened and was not recorded is put
    /// before a person.
    pub fn step<I, O, F, Fut>(&self, name: &str, input: I, run: F) -> Step<O>
    where
        I: Serialize + Clone + Send + Sync + 'static,
        O: Serialize + DeserializeOwned + Send + 'static,
        F: Fn(StepCall, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, crate::FunctionError>> + Send + 'static,
    {
        Step::new(self.open(name, None), name, input, run)
    }

    /// The same, found again by a key of the caller's own in place of how often its name was used before: for steps
    /// whose order may change. Each key is used once on a path; the second use of one is refused as `ambiguous_step`.
    #[expect(clippy::too_many_arguments, reason = "the arguments of step, and a key")]
    pub fn step_keyed<I, O, F, Fut>(&self, name: &str, key: &str, input: I, run: F) -> Step<O>
    where
        I: Serialize + Clone + Send + Sync + 'static,
        O: Serialize + DeserializeOwned + Send + 'static,
        F: Fn(StepCall, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, crate::FunctionError>> + Send + 'static,
    {
        Step::new(self.open(name, Some(key)), name, input, run)
    }

    /// Waits so long by the database's clock. A long wait holds no worker.
    ///
    /// # Errors
    /// `ambiguous_step`, where another sleep is open on this context.
    pub fn sleep(&self, duration: Duration) -> impl Future<Output = Result<(), StepFailed>> + Send + use<> {
        self.timer(Until::After(duration))
    }

    /// Waits until an instant of the database's clock.
    ///
    /// # Errors
    /// As those of [`Context::sleep`].
    pub fn sleep_until(&self, instant: DateTime<Utc>) -> impl Future<Output = Result<(), StepFailed>> + Send + use<> {
        self.timer(Until::At(instant))
    }

    fn timer(&self, until: Until) -> impl Future<Output = Result<(), StepFailed>> + Send + use<> {
        let open = self.open("sleep", None);
        async move {
            let wanted = |answer| Wanted::Timer(TimerAsk { until, answer });
            open?.asked(("sleep", wanted), Ok).await
        }
    }

    /// The database's time, the same whenever the workflow is run again.
    ///
    /// # Errors
    /// `ambiguous_step`, where another `now` is open on this context.
    pub fn now(&self) -> impl Future<Output = Result<DateTime<Utc>, StepFailed>> + Send + use<> {
        let open = self.open("now", None);
        async move { open?.asked(("now", Wanted::Now), Ok).await }
    }

    /// A number that looks random, and is the same whenever the workflow is run again.
    pub fn random(&self) -> u64 {
        u64::from_be_bytes(self.derived("random"))
    }

    /// A version 4 UUID that is the same whenever the workflow is run again.
    pub fn uuid(&self) -> Uuid {
        uuid::Builder::from_random_bytes(self.derived("uuid")).into_uuid()
    }

    /// Follows from the run and the place of the call: nothing needs to be recorded.
    fn derived<const N: usize>(&self, name: &str) -> [u8; N] {
        let identity = self.next(name);
        let digest = payload::digest(&format!("{}/{identity}", self.run.claim.run));
        std::array::from_fn(|index| digest.get(index).copied().unwrap_or_default())
    }

    /// Runs a branch for each item, all at the same time, each in a context of its own, and waits for all of them. The
    /// answers are in the order of the items.
    pub fn parallel<T, Items, O, F, Fut>(
        &self,
        name: &str,
        items: Items,
        branch: F,
    ) -> impl Future<Output = Vec<O>> + use<T, Items, O, F, Fut>
    where
        Items: IntoIterator<Item = T>,
        F: Fn(Self, T) -> Fut,
        Fut: Future<Output = O>,
    {
        let identity = self.next(name);
        let branches: Vec<_> = (0..)
            .zip(items)
            .map(|(number, item): (u32, T)| {
                let context = Self {
                    run: Arc::clone(&self.run),
                    path: format!("{identity}[{number}]/").into(),
                };
                branch(context, item)
            })
            .collect();
        join_all(branches)
    }

    /// Path and name. What tells one from the other, and both from what follows, is escaped, so that no two places have
    /// one identity; a key comes last and needs that not.
    fn named(&self, name: &str) -> String {
        let mut named = self.path.to_string();
        for letter in name.chars() {
            match letter {
                '%' => named.push_str("%25"),
                '#' => named.push_str("%23"),
                '=' => named.push_str("%3D"),
                _ => named.push(letter),
            }
        }
        named
    }

    /// Path, name and occurrence of the next use of a name.
    fn next(&self, name: &str) -> String {
        let named = self.named(name);
        let mut inner = self.run.inner();
        let used = inner.used.entry(named.clone()).or_default();
        *used += 1;
        format!("{named}#{used}")
    }

    pub(super) fn open(&self, name: &str, key: Option<&str>) -> Result<Open, StepFailed> {
        let named = self.named(name);
        let words = [Some(name), key];
        let fits = |word: &str| (1..=NAME_BYTES_MAX).contains(&word.len());
        if !words.into_iter().flatten().all(fits) || named.contains('\0') || key.is_some_and(|key| key.contains('\0')) {
            return Err(StepFailed::badly_named(&named));
        }
        let identity = match key {
            Some(key) => format!("{named}={key}"),
            None => self.next(name),
        };
        // By name, not by identity: which of two comes first would otherwise depend on chance.
        let guarded = if key.is_some() { identity.clone() } else { named };
        let mut inner = self.run.inner();
        // A second one would be made anew whenever the workflow is run again, under the key of the first.
        if key.is_some() && inner.used.insert(identity.clone(), 1).is_some() {
            return Err(StepFailed::key_used(&identity));
        }
        if !inner.open.insert(guarded.clone()) {
            return Err(StepFailed::ambiguous(&identity));
        }
        drop(inner);
        Ok(Open::new(Arc::clone(&self.run), guarded, identity))
    }
}

/// As workflows have it where nothing else is said.
impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts_max: 3,
            initial: Duration::from_secs(1),
            cap: Duration::from_secs(30),
            horizon: Duration::from_secs(600),
        }
    }
}
