//! The `dbos` crate, in a schema of its own that is made anew for each measurement.

use anyhow::Context;
use dbos::{Config, DBOS};
use sqlx::{Connection, PgConnection};

/// Nobody else's: it is dropped without asking.
const SCHEMA: &str = "longhaul_bench_dbos";

/// Where the peer works.
pub(crate) struct Ground {
    url: String,
}

impl Ground {
    pub(crate) const fn new(url: String) -> Self {
        Self { url }
    }

    /// Drops all that the peer has stored, so that it works on tables as small as they can be.
    pub(crate) async fn clear(&self) -> anyhow::Result<()> {
        let mut connection = self.connection().await?;
        sqlx::raw_sql("drop schema if exists longhaul_bench_dbos cascade")
            .execute(&mut connection)
            .await?;
        connection.close().await?;
        Ok(())
    }

    /// How many steps are recorded.
    pub(crate) async fn recorded(&self) -> anyhow::Result<u64> {
        let mut connection = self.connection().await?;
        let steps: i64 = sqlx::query_scalar("select count(*) from longhaul_bench_dbos.operation_outputs")
            .fetch_one(&mut connection)
            .await?;
        connection.close().await?;
        Ok(u64::try_from(steps)?)
    }

    async fn connection(&self) -> anyhow::Result<PgConnection> {
        let connected = PgConnection::connect(&self.url).await;
        connected.context("cannot connect to the database")
    }

    /// A peer that is not launched yet: workflows are registered before that.
    pub(crate) fn peer(&self, connections: u32) -> DBOS {
        DBOS::new(Config {
            schema: SCHEMA.to_owned(),
            max_connections: connections,
            app_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            ..Config::new("longhaul-bench", &self.url)
        })
    }
}
