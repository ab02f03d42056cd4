//! All meters, of the database and of this machine, and what was spent between two looks at them.

use super::cpu;
use super::crew::MODEL_THREADS;
use engine::bench_floor::{Counted, Done, Meter, Reading};
use std::time::Duration;
use tokio::time::Instant;

/// Reads them.
pub(super) struct Meters {
    database: Meter,
    /// The first process of the server, where it is ours.
    server: Option<u32>,
}

/// Where they stand.
pub(super) struct Look {
    at: Instant,
    database: Reading,
    postgres_cpu: Option<f64>,
    worker_cpu: Option<f64>,
}

/// What was spent.
pub(super) struct Spent {
    from: Reading,
    until: Reading,
    pub(super) elapsed: Duration,
    pub(super) postgres_cpu: Option<f64>,
    pub(super) worker_cpu: Option<f64>,
    pub(super) wal_bytes: i64,
    pub(super) table_bytes: i64,
    pub(super) statements: i64,
}

impl Meters {
    pub(super) const fn new(database: Meter, server: Option<u32>) -> Self {
        Self { database, server }
    }

    /// The first look. Where the server is ours, a checkpoint comes before it and none after it.
    pub(super) async fn begin(&mut self) -> anyhow::Result<Look> {
        if self.server.is_some() {
            self.database.checkpoint().await?;
        }
        self.look().await
    }

    async fn look(&mut self) -> anyhow::Result<Look> {
        Ok(Look {
            database: self.database.read().await?,
            at: Instant::now(),
            postgres_cpu: self.server.and_then(cpu::of_server),
            worker_cpu: cpu::of_this_process(MODEL_THREADS),
        })
    }

    /// The second look, and what lies between the two.
    pub(super) async fn since(&mut self, before: &Look) -> anyhow::Result<Spent> {
        let after = self.look().await?;
        let less = |after: Option<f64>, before: Option<f64>| Some(after? - before?);
        Ok(Spent {
            elapsed: after.at - before.at,
            postgres_cpu: less(after.postgres_cpu, before.postgres_cpu),
            worker_cpu: less(after.worker_cpu, before.worker_cpu),
            wal_bytes: after.database.wal_bytes - before.database.wal_bytes,
            table_bytes: after.database.table_bytes - before.database.table_bytes,
            statements: after.database.statements - before.database.statements,
            from: before.database,
            until: after.database,
        })
    }

    /// What a tenant's runs came to meanwhile.
    pub(super) async fn done(&mut self, tenant: &str, spent: &Spent) -> anyhow::Result<Done> {
        Ok(self.database.done(tenant, &spent.from, &spent.until).await?)
    }

    pub(super) const fn counted(&self) -> Counted {
        self.database.counted()
    }

    pub(super) async fn version(&mut self) -> anyhow::Result<String> {
        Ok(self.database.version().await?)
    }
}
