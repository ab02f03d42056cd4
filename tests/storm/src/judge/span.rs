//! Spans of time, and what is left of one when others are taken out.

use crate::record::Micros;

/// From an instant to a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) from: Micros,
    pub(super) until: Micros,
}

impl Span {
    pub(super) const fn new(from: Micros, until: Micros) -> Self {
        Self { from, until }
    }

    /// Whether they share an instant.
    pub(super) const fn touches(self, other: Self) -> bool {
        self.from <= other.until && other.from <= self.until
    }

    /// How much of it lies in none of the others, which may overlap.
    pub(super) fn outside(self, others: impl IntoIterator<Item = Self>) -> Micros {
        let mut others: Vec<Self> = others.into_iter().filter(|other| self.touches(*other)).collect();
        others.sort_unstable();
        let (mut left, mut reached) = (0, self.from);
        for other in others {
            left += (other.from - reached).max(0);
            reached = reached.max(other.until);
        }
        left + (self.until - reached).max(0)
    }
}
