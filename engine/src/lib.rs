//! Durability: records runs, their steps and events in Postgres.
//!
//! The engine knows no models, tools or HTTP. Each verb of a run's life is one file pair in [`transition`], each
//! question one in [`query`]. A worker's writes name their [`Claim`]: where the run's fence has moved on, nothing is
//! written and the answer says so. Start at the listing of `engine/src/transition/`.

pub mod bench_floor;
pub mod clock;
pub mod error;
pub mod id;
pub mod limits;
pub mod payload;
#[cfg(feature = "planted-faults")]
pub mod planted_fault;
pub mod query;
pub mod reach;
pub mod recorder;
pub mod retry;
pub mod schema;
mod starts;
pub mod statement;
pub mod transition;
pub mod waker;

pub use clock::Clock;
pub use error::EngineError;
pub use id::{AgentVersionId, Claim, Fence, RunId, WorkerId};
pub use reach::Reach;
pub use sqlx::{Error as DatabaseError, PgConnection};
pub use transition::{
    Admission, AdmitCall, Applied, ApplyAgent, Attention, BatchRefused, CallReport, Cancelled, ClaimRuns, Claimed,
    Control, Decide, Ending, EventWrite, LateResult, LiveLease, MonthMade, OnParentEnd, OpenBreaker, Park, Pass, Place,
    Reclaimed, Recorded, Registration, Release, SendSignal, SettingsOfTools, SignalSent, StartChild, StartRun, Started,
    StepBegin, StepChange, StepWrites, Then, Transition, Uncommitted, Which,
};

use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use starts::Starts;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// A server that takes longer to answer is away.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that was of use so shortly ago is taken to be alive: asking costs as much as most statements.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// A connection to one cell. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    pool: sqlx::PgPool,
    clock: Clock,
    starts: Arc<Starts>,
}

/// How to reach the database.
#[derive(Debug, Clone)]
pub struct Connect {
    /// `postgres://user:password@host:port/database`.
    pub url: String,
    /// Shown in `pg_stat_activity`.
    pub application_name: String,
    /// Connections held at most.
    pub connections_max: u32,
    /// Whether a connection that lay idle for a while is asked for a sign of life before it is used. Otherwise the first
    /// statement after a restart of the server fails.
    pub tested: bool,
}

impl Connect {
    /// Eight connections at most.
    pub fn new(url: impl Into<String>, application_name: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            application_name: application_name.into(),
            connections_max: limits::CONNECTIONS_MAX,
            tested: true,
        }
    }

    /// Where and under which name, without any settings of the engine's.
    pub(crate) fn plain_options(&self) -> Result<PgConnectOptions, EngineError> {
        // The parser itself takes any scheme.
        if !["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| self.url.starts_with(scheme))
        {
            return Err(EngineError::InvalidUrl);
        }
        let options = PgConnectOptions::from_str(&self.url).map_err(|_| EngineError::InvalidUrl)?;
        Ok(options.application_name(&self.application_name))
    }

    pub(crate) fn options(&self) -> Result<PgConnectOptions, EngineError> {
        Ok(self.plain_options()?.options([
            ("statement_timeout", limits::STATEMENT_TIMEOUT),
            ("lock_timeout", limits::LOCK_TIMEOUT),
            // Our statements look rows up by keys: one plan does for all values. Left alone, Postgres plans anew at each
            // call of a statement on partitioned tables, which costs many times what it does.
            ("plan_cache_mode", "force_generic_plan"),
            // Compiling a plan takes longer than any of them runs.
            ("jit", "off"),
            // Such a plan is made while a table is small, and kept when it no longer is: by keys from the beginning.
            ("enable_seqscan", "off"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
        ]))
    }
}

impl Engine {
    /// Opens a pool and makes one connection, so that a wrong address is told at once.
    ///
    /// # Errors
    /// [`EngineError::InvalidUrl`], or [`EngineError::Unavailable`] where the server does not answer in time.
    pub async fn connect(connect: &Connect) -> Result<Self, EngineError> {
        let options = connect.options()?;
        // A pool waits on for a server that refuses it, and then tells of nothing but the time: one connection says why.
        let first = tokio::time::timeout(ACQUIRE_TIMEOUT, sqlx::PgConnection::connect_with(&options)).await;
        first.map_err(|_| sqlx::Error::PoolTimedOut)??.close().await?;
        let tested = connect.tested;
        let pool = PgPoolOptions::new()
            .max_connections(connect.connections_max)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            .before_acquire(move |connection, idle| {
                Box::pin(async move {
                    if tested && idle.idle_for > IDLE_MAX {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_with(options)
            .await?;
        Ok(Self {
            pool,
            clock: Clock::Database,
            starts: Arc::default(),
        })
    }

    /// The same engine with another clock, for tests that move time.
    #[must_use]
    pub fn with_clock(&self, clock: Clock) -> Self {
        Self {
            pool: self.pool.clone(),
            clock,
            starts: Arc::default(),
        }
    }

    /// Ends the pool's connections; what is on its way is waited for.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    pub(crate) fn at(&self) -> Option<chrono::DateTime<chrono::Utc>> {
        self.clock.at()
    }
}
