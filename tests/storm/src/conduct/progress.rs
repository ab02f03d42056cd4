//! How far a storm has come, for whoever watches it; and whether all of it came to an end.

use super::OPEN_RUNS;
use crate::machine;
use crate::record::{self, Deed, Machine, NemesisRecord};
use anyhow::bail;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// While Postgres is killed a progress line does without it.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

const LOOK_EVERY: Duration = Duration::from_millis(250);

const COUNTS: &str = "
    select
        (select count(*) from longhaul_audit.run),
        (select count(*) from longhaul_audit.run where ended_at is not null),
        (select count(*) from longhaul_audit.run where state = 'waiting' and waiting_for = 'approval'),
        (select count(*) from longhaul_audit.step)";

pub(super) struct Progress {
    nemesis: PathBuf,
    database: PgPool,
    /// How many wanted a processor, each time somebody looked.
    loads: Mutex<Vec<f64>>,
}

impl Progress {
    pub(super) fn new(folder: &Path, database_url: &str) -> anyhow::Result<Self> {
        let connect: PgConnectOptions = database_url.parse()?;
        let database = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ANSWER_WITHIN)
            .connect_lazy_with(connect.application_name("storm conductor"));
        Ok(Self {
            nemesis: folder.join("nemesis.jsonl"),
            database,
            loads: Mutex::default(),
        })
    }

    /// How much less than its own share of the machine the storm had; a part of what the judge needs.
    pub(super) fn machine(&self) -> Machine {
        let loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        #[expect(clippy::cast_precision_loss, reason = "samples are few")]
        let mean = loads.iter().sum::<f64>() / loads.len().max(1) as f64;
        Machine {
            slowness: machine::slowness(mean),
        }
    }

    fn look_at_machine(&self) {
        let mut loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        loads.extend(machine::load());
    }

    /// What happened so far, in a line.
    pub(super) async fn line(&self) -> String {
        self.look_at_machine();
        let counts = sqlx::query_as::<_, (i64, i64, i64, i64)>(COUNTS).fetch_one(&self.database);
        let counted = match timeout(ANSWER_WITHIN, counts).await {
            Ok(Ok((started, ended, people, steps))) => {
                format!("{started} runs started, {ended} ended, {people} wait for a person, {steps} steps")
            }
            Ok(Err(_)) | Err(_) => "the database is away".to_owned(),
        };
        // Not there before the first of them.
        let deeds: Vec<NemesisRecord> = record::read(&self.nemesis).unwrap_or_default();
        let faults = deeds.iter().filter(|record| is_fault(record.deed)).count();
        format!("{counted}; {faults} faults")
    }

    /// Waits until no run is open. The error says how many still are.
    pub(super) async fn settle(&self, within: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let open = sqlx::query_scalar::<_, i64>(OPEN_RUNS).fetch_one(&self.database);
            let open = timeout(ANSWER_WITHIN, open).await;
            match open {
                Ok(Ok(0)) => return Ok(()),
                Ok(Ok(open)) if begun.elapsed() > within => {
                    bail!("{open} runs are still open {} s after the last fault", within.as_secs())
                }
                Ok(Err(error)) if begun.elapsed() > within => return Err(error.into()),
                Err(_) if begun.elapsed() > within => bail!("the database does not answer"),
                Ok(Ok(_) | Err(_)) | Err(_) => sleep(LOOK_EVERY).await,
            }
        }
    }
}

/// Whether harm was done, and not undone.
const fn is_fault(deed: Deed) -> bool {
    match deed {
        Deed::WorkerKilled
        | Deed::WorkerStopped
        | Deed::WorkerDrained
        | Deed::PostgresKilled
        | Deed::ApiKilled
        | Deed::DatabaseCut
        | Deed::AnswerLost
        | Deed::ToolsCut
        | Deed::NotificationsOff => true,
        Deed::WorkerStarted
        | Deed::WorkerContinued
        | Deed::WorkerEnded
        | Deed::PostgresReady
        | Deed::ApiReady
        | Deed::NotificationsOn
        | Deed::Missed
        | Deed::Quiet => false,
    }
}
