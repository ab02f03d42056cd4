//! What can go wrong between the engine and its database.

use sqlx::postgres::PgDatabaseError;

/// A refusal (the caller asked for something impossible) or a failure (the database is not there, or is broken).
/// A lost claim is neither: it is an outcome of the transition.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The database refused, with a stable code that has a page in `docs/errors/`.
    #[error("{message}")]
    Refused {
        /// As HTTP would say it: 404, 409, 413 or 422.
        status: u16,
        /// Stable, for programs.
        code: String,
        /// One sentence.
        message: String,
        /// What to do, where there is something.
        hint: Option<String>,
    },
    /// The schema is not the one this program was built for.
    #[error("{0}")]
    Schema(String),
    /// The URL cannot be read.
    #[error("the database URL cannot be read: expected postgres://user:password@host:port/database")]
    InvalidUrl,
    /// The database cannot be reached now.
    #[error("the database cannot be reached")]
    Unavailable(#[source] sqlx::Error),
    /// The database refused a statement of the engine.
    #[error("the database refused a statement")]
    Database(#[source] sqlx::Error),
    /// A row holds what this program cannot read.
    #[error("a row cannot be read: {0}")]
    Unreadable(String),
}

impl EngineError {
    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Refused { .. } | Self::Schema(_) | Self::InvalidUrl | Self::Database(_) | Self::Unreadable(_) => {
                false
            }
        }
    }

    /// A stable word for programs; each has a page in `docs/errors/`.
    pub fn code(&self) -> &str {
        match self {
            Self::Refused { code, .. } => code,
            Self::Schema(_) => "unknown_schema",
            Self::InvalidUrl => "invalid_database_url",
            Self::Unavailable(_) => "database_unavailable",
            Self::Database(_) => "database_error",
            Self::Unreadable(_) => "unreadable_row",
        }
    }

    /// What the server itself said, without the driver's words around it.
    pub fn said_by_server(&self) -> Option<&str> {
        match self {
            Self::Unavailable(sqlx::Error::Database(error)) | Self::Database(sqlx::Error::Database(error)) => {
                Some(error.message())
            }
            Self::Unavailable(_)
            | Self::Database(_)
            | Self::Refused { .. }
            | Self::Schema(_)
            | Self::InvalidUrl
            | Self::Unreadable(_) => None,
        }
    }

    /// The SQLSTATE of what the server said.
    pub fn sqlstate(&self) -> Option<String> {
        match self {
            Self::Unavailable(sqlx::Error::Database(error)) | Self::Database(sqlx::Error::Database(error)) => {
                error.code().map(std::borrow::Cow::into_owned)
            }
            Self::Unavailable(_)
            | Self::Database(_)
            | Self::Refused { .. }
            | Self::Schema(_)
            | Self::InvalidUrl
            | Self::Unreadable(_) => None,
        }
    }

    pub(crate) fn refused(code: &str, message: impl Into<String>) -> Self {
        Self::refused_as(422, code, message)
    }

    pub(crate) fn too_large(code: &str, message: impl Into<String>) -> Self {
        Self::refused_as(413, code, message)
    }

    pub(crate) fn missing(code: &str, message: impl Into<String>) -> Self {
        Self::refused_as(404, code, message)
    }

    fn refused_as(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self::Refused {
            status,
            code: code.to_owned(),
            message: message.into(),
            hint: None,
        }
    }

    fn from_database(error: &PgDatabaseError) -> Option<Self> {
        let status = error.code().strip_prefix("LH")?.parse().ok()?;
        Some(Self::Refused {
            status,
            code: error.constraint().unwrap_or("refused").to_owned(),
            message: error.message().to_owned(),
            hint: error.hint().filter(|hint| !hint.is_empty()).map(str::to_owned),
        })
    }
}

impl From<sqlx::Error> for EngineError {
    fn from(error: sqlx::Error) -> Self {
        if let sqlx::Error::Database(database) = &error {
            if let Some(postgres) = database.try_downcast_ref::<PgDatabaseError>() {
                if let Some(refused) = Self::from_database(postgres) {
                    return refused;
                }
                if is_transient_state(postgres.code()) || was_moved(postgres) {
                    return Self::Unavailable(error);
                }
            }
            return Self::Database(error);
        }
        let is_transient = matches!(
            error,
            sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed
                | sqlx::Error::BeginFailed
        );
        if is_transient {
            Self::Unavailable(error)
        } else {
            Self::Database(error)
        }
    }
}

/// A row was on its way to a default partition while the partition of its month was made: the next try finds that one.
fn was_moved(error: &PgDatabaseError) -> bool {
    // A check without a name: no constraint of the schema's own.
    error.code() == "23514" && error.constraint().is_none() && error.message().contains("partition constraint")
}

/// Classes 08 (connection), 53 (resources), 57 (operator intervention, such as a shutdown), and 40 (serialisation
/// failure, deadlock), 55P03 (lock not available): PostgreSQL documentation, appendix A.
fn is_transient_state(state: &str) -> bool {
    ["08", "53", "57", "40"].iter().any(|class| state.starts_with(class)) || state == "55P03"
}
