//! Whose clock decides: the database's, unless a test passes an instant.

use chrono::{DateTime, TimeDelta, Utc};
use std::sync::{Arc, Mutex, PoisonError};

/// What statements take for now.
#[derive(Debug, Clone)]
pub enum Clock {
    /// `now()` of the database.
    Database,
    /// An instant that a test moves.
    Fixed(Arc<Mutex<DateTime<Utc>>>),
}

impl Clock {
    /// A clock that stands still until [`Clock::advance`] moves it.
    pub fn fixed(at: DateTime<Utc>) -> Self {
        Self::Fixed(Arc::new(Mutex::new(at)))
    }

    /// Moves a fixed clock on; the database's is left alone.
    pub fn advance(&self, by: TimeDelta) {
        if let Self::Fixed(instant) = self {
            *instant.lock().unwrap_or_else(PoisonError::into_inner) += by;
        }
    }

    /// The instant to bind; null lets the database say.
    pub(crate) fn at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Database => None,
            Self::Fixed(instant) => Some(*instant.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}
