//! The floor: the barest statements that record a step, one row or many at once.

use super::connection;
use crate::{Connect, EngineError};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

/// All runs of the floor have it: nobody takes them over.
const FENCE: i64 = 1;
/// A small result.
const RESULT: &str = r#"{"ok":true}"#;

/// Tables of the floor, in the schema `longhaul_bench`.
#[derive(Debug, Clone)]
pub struct Floor {
    connect: Connect,
}

impl Floor {
    /// Makes the tables where they are not there.
    ///
    /// # Errors
    /// The database's, such as that this user may not make a schema.
    pub async fn prepare(connect: &Connect) -> Result<Self, EngineError> {
        let mut connection = connection(connect).await?;
        sqlx::raw_sql(include_str!("prepare.sql"))
            .execute(&mut connection)
            .await?;
        connection.close().await?;
        Ok(Self {
            connect: connect.clone(),
        })
    }

    /// A writer with a connection and so many runs of its own.
    ///
    /// # Errors
    /// The database's.
    pub async fn writer(&self, runs: usize) -> Result<FloorWriter, EngineError> {
        let mut connection = connection(&self.connect).await?;
        let mut ids: Vec<Uuid> = (0..runs).map(|_| Uuid::now_v7()).collect();
        ids.sort_unstable();
        sqlx::query("insert into longhaul_bench.run (id, fence) select id, $2 from unnest($1::uuid[]) as new (id)")
            .bind(&ids)
            .bind(FENCE)
            .execute(&mut connection)
            .await?;
        Ok(FloorWriter {
            connection,
            fences: vec![FENCE; runs],
            results: vec![RESULT; runs],
            runs: ids,
        })
    }

    /// Removes the tables.
    ///
    /// # Errors
    /// The database's.
    pub async fn remove(self) -> Result<(), EngineError> {
        let mut connection = connection(&self.connect).await?;
        sqlx::raw_sql("drop schema if exists longhaul_bench cascade")
            .execute(&mut connection)
            .await?;
        connection.close().await?;
        Ok(())
    }
}

/// Records steps of its own runs.
#[derive(Debug)]
pub struct FloorWriter {
    connection: PgConnection,
    runs: Vec<Uuid>,
    fences: Vec<i64>,
    results: Vec<&'static str>,
}

impl FloorWriter {
    /// Records the next step of each of its runs in one statement and one commit: the plain one for a single run. Says how
    /// many were recorded.
    ///
    /// # Errors
    /// The database's.
    pub async fn record(&mut self) -> Result<u64, EngineError> {
        let recorded = if let [run] = self.runs.as_slice() {
            sqlx::query(include_str!("record_one.sql"))
                .bind(run)
                .bind(FENCE)
                .bind(RESULT)
                .execute(&mut self.connection)
                .await?
        } else {
            sqlx::query(include_str!("record_many.sql"))
                .bind(&self.runs)
                .bind(&self.fences)
                .bind(&self.results)
                .execute(&mut self.connection)
                .await?
        };
        Ok(recorded.rows_affected())
    }
}
