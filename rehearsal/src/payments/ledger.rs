//! The ledger: what arrived, whether it moved money, and the file that remembers it.
//!
//! A record is complete once its line ends in a newline; a torn last line was never answered and is dropped at the next
//! start. Start at [`Ledger::arrive`].

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::PaymentsError;
use crate::clock;

/// One arrival of a refund.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its number, from 1.
    pub arrival: u64,
    /// When it arrived by the service's own clock, RFC 3339.
    pub at: String,
    /// The header `Idempotency-Key`.
    pub key: Option<String>,
    /// The order.
    pub order_id: String,
    /// How much is to be paid back.
    pub amount_cents: i64,
    /// Why.
    pub reason: String,
    /// SHA-256 of the body, byte for byte.
    pub body_sha256: String,
    /// The header `longhaul-worker`.
    pub worker: Option<String>,
    /// The header `longhaul-attempt`.
    pub attempt: Option<String>,
    /// Whether money moved: false for a repeat and for a key that came with another body.
    pub applied: bool,
    /// The refund it made or, for a repeat, was answered with; none if it was turned away.
    pub refund_id: Option<String>,
}

/// A refund that is asked for.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    pub(super) key: Option<String>,
    pub(super) worker: Option<String>,
    pub(super) attempt: Option<String>,
    pub(super) order_id: String,
    pub(super) amount_cents: i64,
    pub(super) reason: String,
    pub(super) body_sha256: String,
}

/// What became of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Money moved.
    Applied,
    /// The key was known: answered as the first time.
    Repeated,
    /// The key was known with another body.
    Conflicting,
}

/// All records, on the disk and in memory.
pub(super) struct Ledger {
    path: PathBuf,
    file: File,
    bytes: u64,
    records: Vec<Record>,
    /// Index of the record that used a key first.
    first_by_key: HashMap<String, usize>,
}

impl Ledger {
    /// Opens the file and drops a torn last line.
    pub(super) fn open(path: &Path) -> Result<Self, PaymentsError> {
        let failed = |source| PaymentsError::Ledger {
            path: path.to_owned(),
            source,
        };
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(failed)?;
        let text = std::fs::read(path).map_err(failed)?;
        let bytes = complete_lines(&text).len() as u64;
        file.set_len(bytes)
            .and_then(|()| file.seek(SeekFrom::Start(bytes)))
            .map_err(failed)?;
        let records = read_ledger(path)?;
        let mut first_by_key = HashMap::new();
        for (index, record) in records.iter().enumerate().filter(|(_, record)| record.applied) {
            if let Some(key) = &record.key {
                first_by_key.entry(key.clone()).or_insert(index);
            }
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            bytes,
            records,
            first_by_key,
        })
    }

    pub(super) fn records(&self) -> &[Record] {
        &self.records
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Decides what becomes of an arrival and writes it down; when this returns, the record is on the disk.
    pub(super) fn arrive(&mut self, arrival: Arrival, keys: Keys) -> Result<(Record, Outcome), PaymentsError> {
        let known = match (keys, &arrival.key) {
            (Keys::Honoured, Some(key)) => self.first_by_key.get(key).map(|&index| &self.records[index]),
            (Keys::Honoured, None) | (Keys::Ignored, _) => None,
        };
        let number = self.records.len() as u64 + 1;
        let (outcome, refund_id) = match known {
            None => (Outcome::Applied, Some(format!("RF-{number:06}"))),
            Some(first) if first.body_sha256 == arrival.body_sha256 => (Outcome::Repeated, first.refund_id.clone()),
            Some(_) => (Outcome::Conflicting, None),
        };
        let record = Record {
            arrival: number,
            at: clock::now_rfc3339(),
            key: arrival.key,
            order_id: arrival.order_id,
            amount_cents: arrival.amount_cents,
            reason: arrival.reason,
            body_sha256: arrival.body_sha256,
            worker: arrival.worker,
            attempt: arrival.attempt,
            applied: outcome == Outcome::Applied,
            refund_id,
        };
        self.append(&record).map_err(|source| PaymentsError::Ledger {
            path: self.path.clone(),
            source,
        })?;
        if let (Some(key), Outcome::Applied) = (&record.key, outcome) {
            self.first_by_key.entry(key.clone()).or_insert(self.records.len());
        }
        self.records.push(record.clone());
        Ok((record, outcome))
    }

    /// Writes one line and syncs it; a line that could not be written whole is taken back.
    fn append(&mut self, record: &Record) -> io::Result<()> {
        let mut line = serde_json::to_string(record)?;
        line.push('\n');
        let written = self
            .file
            .write_all(line.as_bytes())
            .and_then(|()| self.file.sync_data());
        if written.is_err() {
            self.file.set_len(self.bytes)?;
            self.file.seek(SeekFrom::Start(self.bytes))?;
            return written;
        }
        self.bytes += line.len() as u64;
        Ok(())
    }
}

/// Whether keys make repeats harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    /// They do.
    Honoured,
    /// They do not: every arrival moves money.
    Ignored,
}

/// Locks the ledger; a panic elsewhere does not make it worse.
pub(super) fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads a ledger file, also while it is being written. A torn last line is no record yet.
pub fn read_ledger(path: &Path) -> Result<Vec<Record>, PaymentsError> {
    let text = std::fs::read(path).map_err(|source| PaymentsError::Ledger {
        path: path.to_owned(),
        source,
    })?;
    let lines = complete_lines(&text)
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty());
    let records = lines.enumerate().map(|(index, line)| {
        serde_json::from_slice(line).map_err(|source| PaymentsError::Damaged {
            path: path.to_owned(),
            line: index + 1,
            source,
        })
    });
    records.collect()
}

/// What comes before and with the last newline.
fn complete_lines(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    &text[..end]
}
