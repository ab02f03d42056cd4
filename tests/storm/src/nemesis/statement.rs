//! What a statement of the product is, told by marks in its text.
//!
//! The one place that leans on the product's inside. A test reads the real files, so that a statement that loses its
//! mark breaks a test and not, in silence, the storm.

/// What a worker asks of the database, as far as a crash there is of interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Statement {
    Claim,
    Record,
    Park,
    Finish,
    Release,
    Extend,
    /// Takes the first lock of the transaction that takes runs back.
    LockAbandoned,
    Reclaim,
    Other,
}

/// A text that stands in statements of one kind only.
const MARKS: [(&str, Statement); 8] = [
    ("'run.claimed'", Statement::Claim),
    ("insert into longhaul.step (", Statement::Record),
    ("'run.parked'", Statement::Park),
    ("'run.' || $4", Statement::Finish),
    ("'run.released'", Statement::Release),
    ("set lease_expires_at =", Statement::Extend),
    ("for no key update of run skip locked", Statement::LockAbandoned),
    ("'run.reclaimed'", Statement::Reclaim),
];

impl Statement {
    pub(super) fn of(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let marked = MARKS.iter().find(|(mark, _)| text.contains(mark));
        marked.map_or(Self::Other, |(_, statement)| *statement)
    }
}

#[cfg(test)]
mod tests;
