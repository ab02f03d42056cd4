//! Ids in paths, and parameters behind the question mark: every one is known, given once, and readable.

use crate::limits;
use crate::problem::Problem;
use crate::server::App;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use engine::RunId;
use std::fmt::Display;
use std::str::FromStr;
use uuid::Uuid;

/// A run's id in the path.
pub(crate) struct RunPath(pub(crate) RunId);

impl FromRequestParts<App> for RunPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let bad = || {
            Problem::bad_request("bad_id", "a run's id looks like 01a1f762-b174-7000-a4f5-d095ea2e20bd")
                .hint("GET /v1/runs lists the runs with their ids")
        };
        id(parts, app).await.map(Self).ok_or_else(bad)
    }
}

/// An approval's id in the path.
pub(crate) struct ApprovalPath(pub(crate) Uuid);

impl FromRequestParts<App> for ApprovalPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let bad = || {
            Problem::bad_request(
                "bad_id",
                "an approval's id looks like 0f7a3c2e-6d9b-4c1f-8a5e-7d6c3b2a1908",
            )
            .hint("GET /v1/approvals lists the approvals with their ids")
        };
        id(parts, app).await.map(Self).ok_or_else(bad)
    }
}

async fn id<T: FromStr>(parts: &mut Parts, app: &App) -> Option<T> {
    let Path(id) = Path::<String>::from_request_parts(parts, app).await.ok()?;
    // The other spellings that the parser takes are nobody's habit.
    if id.len() != 36 {
        return None;
    }
    id.parse().ok()
}

/// Names in the path, such as an agent's.
pub(crate) struct Names<T>(pub(crate) T);

impl<T: serde::de::DeserializeOwned + Send> FromRequestParts<App> for Names<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Path(names) = Path::<T>::from_request_parts(parts, app)
            .await
            .map_err(|_| Problem::bad_request("bad_id", "a name in the path is not UTF-8 text"))?;
        if parts.uri.path().contains("%00") {
            return Err(Problem::bad_request("bad_id", "a name holds no NUL character"));
        }
        Ok(Self(names))
    }
}

/// What stands behind the question mark.
#[derive(Debug)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl FromRequestParts<App> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        let Query(given) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri).map_err(|_| {
            Problem::bad_request("bad_parameter", "what stands behind the question mark cannot be read")
        })?;
        if let Some((name, _)) = given
            .iter()
            .find(|(name, value)| name.contains('\0') || value.contains('\0'))
        {
            return Err(bad(name, "text without NUL characters"));
        }
        Ok(Self(given))
    }
}

impl Parameters {
    /// Refuses names that this route does not know, so that no slip of the pen widens what is answered.
    pub(crate) fn known(&self, names: &[&str]) -> Result<(), Problem> {
        match self.0.iter().find(|(name, _)| !names.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) => {
                let problem = Problem::bad_request("unknown_parameter", format!("there is no parameter {name:?} here"));
                Err(if names.is_empty() {
                    problem
                } else {
                    problem.hint(format!("there are: {}", names.join(", ")))
                })
            }
        }
    }

    /// All values of a parameter that may come more than once.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that comes once at most.
    pub(crate) fn text<'a>(&'a self, name: &'a str) -> Result<Option<&'a str>, Problem> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(bad(name, "one value")),
            (value, None) => Ok(value),
        }
    }

    /// A name: 1 to 255 characters.
    pub(crate) fn name(&self, name: &str) -> Result<Option<String>, Problem> {
        let value = self.text(name)?;
        if value.is_some_and(|value| value.is_empty() || value.chars().count() > limits::NAME_CHARS_MAX) {
            return Err(bad(name, "1 to 255 characters"));
        }
        Ok(value.map(str::to_owned))
    }

    /// A parameter of another type; `what` says what it should be.
    pub(crate) fn parsed<T: FromStr>(&self, name: &str, what: impl Display) -> Result<Option<T>, Problem> {
        self.text(name)?
            .map(|value| value.parse().map_err(|_| bad(name, what)))
            .transpose()
    }

    /// An instant.
    pub(crate) fn instant(&self, name: &str) -> Result<Option<DateTime<Utc>>, Problem> {
        let Some(value) = self.text(name)? else {
            return Ok(None);
        };
        let read = DateTime::parse_from_rfc3339(value);
        read.map(|at| Some(at.with_timezone(&Utc))).map_err(|_| {
            bad(
                name,
                "an instant such as 2026-01-31T08:00:00Z (a + in it is written %2B)",
            )
        })
    }

    /// How many rows.
    pub(crate) fn limit(&self) -> Result<i64, Problem> {
        let what = format!("a number from 1 to {}", limits::PAGE_ROWS_MAX);
        match self.parsed::<i64>("limit", &what)? {
            None => Ok(limits::PAGE_ROWS),
            Some(rows) if (1..=limits::PAGE_ROWS_MAX).contains(&rows) => Ok(rows),
            Some(_) => Err(bad("limit", what)),
        }
    }

    /// Where to go on, as the page before said.
    pub(crate) fn cursor<T>(&self, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Problem> {
        let Some(cursor) = self.text("cursor")? else {
            return Ok(None);
        };
        read(cursor).map(Some).ok_or_else(|| {
            Problem::bad_request("bad_cursor", "this cursor is not one that the server gave")
                .hint("take next_cursor of the page before, as it is; leave it out for the first page")
        })
    }
}

/// A parameter with a value that cannot be.
pub(crate) fn bad(name: &str, expected: impl Display) -> Problem {
    Problem::bad_request("bad_parameter", format!("parameter {name}: expected {expected}")).with("parameter", name)
}
