//! What a statement of the product is, told by marks in its text.
//!
//! The one place that leans on the product's inside. A test reads the real files, so that a statement that loses its
//! mark breaks a test and not, in silence, the storm.

/// What a worker asks of the database, as far as a crash there is of interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Statement {
    Claim,
    /// Of many runs at once; what it does besides, its parameters tell.
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
const MARKS: [(&str, Statement); 6] = [
    ("'run.claimed'", Statement::Claim),
    ("insert into longhaul.step (", Statement::Record),
    ("'run.released'", Statement::Release),
    ("set lease_expires_at =", Statement::Extend),
    ("for no key update of run skip locked", Statement::LockAbandoned),
    ("'run.reclaimed'", Statement::Reclaim),
];

/// A text that stands among the parameters of a record that does this besides.
const PARAMETERS: [(&[u8], Statement); 4] = [
    (b"run.parked", Statement::Park),
    (b"run.succeeded", Statement::Finish),
    (b"run.failed", Statement::Finish),
    (b"run.cancelled", Statement::Finish),
];

impl Statement {
    /// What a record with these parameters does besides.
    pub(super) fn within(parameters: &[u8]) -> impl Iterator<Item = Self> {
        let stands = |mark: &[u8]| parameters.windows(mark.len()).any(|found| found == mark);
        let found = PARAMETERS.iter().filter(move |(mark, _)| stands(mark));
        found.map(|(_, statement)| *statement)
    }

    pub(super) fn of(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let marked = MARKS.iter().find(|(mark, _)| text.contains(mark));
        marked.map_or(Self::Other, |(_, statement)| *statement)
    }
}

#[cfg(test)]
mod tests;
