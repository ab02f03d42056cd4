//! Statements that are not the engine's own: one at a time, with parameters, and rows as JSON.
//!
//! A parameter is given as text and read by the database as the type that the statement wants in its place, as if it had
//! been written there in quotes. It is never part of the statement's text. Start at [`run`].

use crate::{Connect, EngineError};
use futures_util::TryStreamExt;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArguments, PgConnection, PgDatabaseError};
use sqlx::query::QueryScalar;
use sqlx::{AssertSqlSafe, Connection, Either, Executor, Postgres, Statement as _};
use std::time::Duration;

/// A statement and what is filled in.
#[derive(Debug, Clone)]
pub struct Statement {
    /// What stands around the parameters: one piece more than there are parameters.
    pub pieces: Vec<String>,
    /// As text; none is null.
    pub parameters: Vec<Option<String>>,
    /// Whether it gives rows.
    pub returns_rows: bool,
}

/// How much is read.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Rows.
    pub rows_max: u32,
    /// Their JSON text in all.
    pub bytes_max: usize,
    /// Whether the statement comes to its end however much is read: one that writes, be it through a function.
    pub to_the_end: bool,
}

/// What a statement gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    /// The JSON text of an object for each row, numbers digit for digit as the database has them.
    pub rows: Vec<String>,
    /// Rows written, by a statement that gives none.
    pub written: Option<u64>,
    /// Whether there were more.
    pub truncated: bool,
}

/// Why a statement gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// The database refused it.
    #[error("{message}")]
    Refused {
        /// Its SQLSTATE.
        state: String,
        /// As the server said it.
        message: String,
        /// More, as the server said it.
        detail: Option<String>,
        /// What the server would do.
        hint: Option<String>,
    },
    /// The database cannot be reached, or was lost on the way.
    #[error("the database cannot be reached")]
    Lost,
    /// The address of the database is none.
    #[error("the database's URL cannot be read: expected postgres://user:password@host:port/database")]
    InvalidUrl,
    /// What came cannot be read.
    #[error("what the database sent cannot be read")]
    Unreadable,
}

impl From<sqlx::Error> for StatementError {
    fn from(error: sqlx::Error) -> Self {
        if let sqlx::Error::Database(database) = &error
            && let Some(said) = database.try_downcast_ref::<PgDatabaseError>()
        {
            return Self::Refused {
                state: said.code().to_owned(),
                message: said.message().to_owned(),
                detail: said.detail().map(str::to_owned),
                hint: said.hint().map(str::to_owned),
            };
        }
        match EngineError::from(error) {
            EngineError::Unavailable(_) => Self::Lost,
            EngineError::InvalidUrl => Self::InvalidUrl,
            EngineError::Refused { .. }
            | EngineError::Schema(_)
            | EngineError::Database(_)
            | EngineError::Unreadable(_) => Self::Unreadable,
        }
    }
}

/// Runs a statement in the transaction that the connection is in, if any.
///
/// # Errors
/// What the database said. In a transaction nothing else can be done then but to roll it back.
pub async fn run(connection: &mut PgConnection, statement: &Statement, bounds: Bounds) -> Result<Rows, StatementError> {
    let types = types_of(connection, statement, bounds).await?;
    let text = text_of(statement, bounds, |number| {
        let name = types.get(number - 1).map_or("text", String::as_str);
        format!("cast(${number}::text as {name})")
    });
    if !statement.returns_rows {
        let query = sqlx::query(AssertSqlSafe(text)).persistent(false);
        let query = statement.parameters.iter().fold(query, |query, text| query.bind(text));
        let done = query.execute(connection).await?;
        return Ok(Rows {
            rows: Vec::new(),
            written: Some(done.rows_affected()),
            truncated: false,
        });
    }
    let query: QueryScalar<'_, Postgres, Option<String>, PgArguments> =
        sqlx::query_scalar(AssertSqlSafe(text)).persistent(false);
    let query = statement.parameters.iter().fold(query, |query, text| query.bind(text));
    let mut found = query.fetch(connection);
    let mut rows = Rows {
        rows: Vec::new(),
        written: None,
        truncated: false,
    };
    let mut left = bounds.bytes_max;
    while let Some(row) = found.try_next().await? {
        let fits = row.filter(|row| {
            let has_room = rows.rows.len() < bounds.rows_max as usize && row.len() <= left;
            has_room && !rows.truncated
        });
        match fits {
            Some(row) => {
                left -= row.len();
                rows.rows.push(row);
            }
            // Those behind it are read and dropped: a statement that writes must come to its end.
            None => rows.truncated = true,
        }
    }
    Ok(rows)
}

/// The types that the statement wants for its parameters, as they are written: without a length, which a cast would cut to.
async fn types_of(
    connection: &mut PgConnection,
    statement: &Statement,
    bounds: Bounds,
) -> Result<Vec<String>, StatementError> {
    if statement.parameters.is_empty() {
        return Ok(Vec::new());
    }
    let bare = text_of(statement, bounds, |number| format!("${number}"));
    let prepared = (&mut *connection)
        .prepare(sqlx::SqlSafeStr::into_sql_str(AssertSqlSafe(bare)))
        .await?;
    let oids: Vec<Oid> = match prepared.parameters() {
        Some(Either::Left(types)) => types.iter().filter_map(sqlx::postgres::PgTypeInfo::oid).collect(),
        Some(Either::Right(_)) | None => Vec::new(),
    };
    if oids.len() != statement.parameters.len() {
        return Err(StatementError::Unreadable);
    }
    let names = sqlx::query_scalar(
        "select array(
             select format_type(named.oid, -1) from unnest($1::oid[]) with ordinality as named (oid, n) order by n)",
    );
    Ok(names.bind(oids).persistent(false).fetch_one(connection).await?)
}

/// The statement's text. Rows become JSON within the database, where a numeric keeps all of its digits; one more than
/// wanted is asked for, which tells that there are more, and one that is too long is not sent.
fn text_of(statement: &Statement, bounds: Bounds, parameter: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    for (place, piece) in statement.pieces.iter().enumerate() {
        if place > 0 {
            text.push_str(&parameter(place));
        }
        text.push_str(piece);
    }
    if !statement.returns_rows {
        return text;
    }
    let (rows, bytes) = (u64::from(bounds.rows_max) + 1, bounds.bytes_max);
    let limit = match bounds.to_the_end {
        true => String::new(),
        false => format!(" limit {rows}"),
    };
    format!(
        "with longhaul_given as (\n{text}\n)\n\
         select case when octet_length(told.body) <= {bytes} then told.body end\n\
         from (select row_to_json(longhaul_given)::text as body from longhaul_given{limit}) as told"
    )
}

/// Runs a statement on another database, in a transaction that can only read, on a connection of its own. The server
/// ends it when the time is over.
///
/// # Errors
/// What the database said, or that there is none.
pub async fn read_elsewhere(
    connect: &Connect,
    timeout: Duration,
    (statement, bounds): (&Statement, Bounds),
) -> Result<Rows, StatementError> {
    let options = connect.plain_options().map_err(|_| StatementError::InvalidUrl)?;
    let mut connection = PgConnection::connect_with(&options).await?;
    sqlx::query("begin transaction read only")
        .persistent(false)
        .execute(&mut connection)
        .await?;
    let limit = format!("{}ms", timeout.as_millis().clamp(1, i32::MAX as u128));
    sqlx::query("select set_config('statement_timeout', $1, true)")
        .bind(limit)
        .persistent(false)
        .execute(&mut connection)
        .await?;
    let rows = run(&mut connection, statement, bounds).await?;
    // Nothing is left to be done there, whatever becomes of the good-bye.
    let _ = connection.close().await;
    Ok(rows)
}
