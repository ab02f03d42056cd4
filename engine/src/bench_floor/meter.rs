//! Meters: what work has cost the database, and how much of it was done.

use super::connection;
use crate::{Connect, EngineError};
use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, FromRow, PgConnection};

/// Reads over a connection of its own, so that it waits for nobody.
#[derive(Debug)]
pub struct Meter {
    connection: PgConnection,
    /// The statement that counts statements, where there is one.
    statements: Option<String>,
}

/// What is counted as statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Statements, by `pg_stat_statements`.
    Statements,
    /// Transactions, by `pg_stat_database`: sessions report them about once a second.
    Transactions,
}

/// Where the meters stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// By the database's clock.
    pub at: DateTime<Utc>,
    /// Write-ahead log of the whole server.
    pub wal_bytes: i64,
    /// Tables, indexes and large values of the schemas `longhaul` and `longhaul_bench`.
    pub table_bytes: i64,
    /// Of this database, whoever sent them. See [`Meter::counted`].
    pub statements: i64,
}

/// What was done between two readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Done {
    /// Model calls that succeeded.
    pub turns: i64,
    /// Steps that succeeded, model calls among them.
    pub steps: i64,
}

#[derive(FromRow)]
struct Row {
    at: DateTime<Utc>,
    wal_bytes: i64,
    table_bytes: i64,
    transactions: i64,
}

impl Meter {
    /// Connects, and finds out what can be counted.
    ///
    /// # Errors
    /// The database's.
    pub async fn open(connect: &Connect) -> Result<Self, EngineError> {
        let mut meter = Self {
            connection: connection(connect).await?,
            statements: None,
        };
        // As text its name is quoted where it has to be.
        let schema: Option<String> = sqlx::query_scalar(
            "select extnamespace::regnamespace::text from pg_catalog.pg_extension where extname = 'pg_stat_statements'",
        )
        .fetch_optional(&mut meter.connection)
        .await?;
        if let Some(schema) = schema {
            meter.statements = Some(format!(
                "select coalesce(sum(statement.calls), 0)::bigint from {schema}.pg_stat_statements(false) as statement
                join pg_catalog.pg_database as database on database.oid = statement.dbid
                where database.datname = current_database()"
            ));
            // There, but its library was not loaded with the server: or not for this user.
            if meter.count_statements().await.is_err() {
                meter.statements = None;
            }
        }
        Ok(meter)
    }

    /// What [`Reading::statements`] counts here.
    pub const fn counted(&self) -> Counted {
        match self.statements {
            Some(_) => Counted::Statements,
            None => Counted::Transactions,
        }
    }

    /// Reads all meters.
    ///
    /// # Errors
    /// The database's.
    pub async fn read(&mut self) -> Result<Reading, EngineError> {
        let row: Row = sqlx::query_as(include_str!("read.sql"))
            .fetch_one(&mut self.connection)
            .await?;
        let statements = match self.count_statements().await? {
            Some(statements) => statements,
            None => row.transactions,
        };
        Ok(Reading {
            at: row.at,
            wal_bytes: row.wal_bytes,
            table_bytes: row.table_bytes,
            statements,
        })
    }

    async fn count_statements(&mut self) -> Result<Option<i64>, EngineError> {
        let Some(statement) = &self.statements else {
            return Ok(None);
        };
        let statement = AssertSqlSafe(statement.as_str());
        let calls = sqlx::query_scalar(statement).fetch_one(&mut self.connection).await?;
        Ok(Some(calls))
    }

    /// What a tenant's runs came to between two readings.
    ///
    /// # Errors
    /// The database's.
    pub async fn done(&mut self, tenant: &str, from: &Reading, until: &Reading) -> Result<Done, EngineError> {
        let done = sqlx::query_as(include_str!("done.sql"))
            .bind(tenant)
            .bind(from.at)
            .bind(until.at)
            .fetch_one(&mut self.connection)
            .await?;
        Ok(done)
    }

    /// How many runs of a queue nobody has taken yet; counted up to a bound.
    ///
    /// # Errors
    /// The database's.
    pub async fn backlog(&mut self, queue: &str, runs_max: i64) -> Result<i64, EngineError> {
        let queued = sqlx::query_scalar(include_str!("backlog.sql"))
            .bind(queue)
            .bind(runs_max)
            .fetch_one(&mut self.connection)
            .await?;
        Ok(queued)
    }

    /// Writes everything to its place, so that no checkpoint of the server's own comes in between. For a superuser.
    ///
    /// # Errors
    /// The database's.
    pub async fn checkpoint(&mut self) -> Result<(), EngineError> {
        sqlx::raw_sql("checkpoint").execute(&mut self.connection).await?;
        Ok(())
    }

    /// Does what a server does by itself some time after much was written, so that it does not do it in between. For a
    /// superuser.
    ///
    /// # Errors
    /// The database's.
    pub async fn settle(&mut self) -> Result<(), EngineError> {
        for statement in [
            "set statement_timeout = 0",
            "vacuum (analyze)",
            "reset statement_timeout",
        ] {
            sqlx::raw_sql(statement).execute(&mut self.connection).await?;
        }
        Ok(())
    }

    /// Makes statements countable, where the server has loaded what counts them. For a superuser.
    ///
    /// # Errors
    /// The database's.
    pub async fn count_from_now_on(connect: &Connect) -> Result<(), EngineError> {
        let mut connection = connection(connect).await?;
        sqlx::raw_sql("create extension if not exists pg_stat_statements with schema public")
            .execute(&mut connection)
            .await?;
        Ok(())
    }

    /// The server's version, for people.
    ///
    /// # Errors
    /// The database's.
    pub async fn version(&mut self) -> Result<String, EngineError> {
        let version = sqlx::query_scalar("select current_setting('server_version')")
            .fetch_one(&mut self.connection)
            .await?;
        Ok(version)
    }
}
