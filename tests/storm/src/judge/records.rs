//! What was written down, as it was.

use super::row::{Approval, Attempt, Event, Receipt, Request, Run, Sale, Signal, Step, Taken, Worker};
use crate::record::{DriverRecord, LedgerRecord, Machine, NemesisRecord, Shown, read};
use anyhow::Context;
use std::path::Path;

/// What a worker logs when its write was refused.
const LATE_RESULT: &str = "its work is dropped";

/// The records as they were written.
#[derive(Debug, Clone)]
pub(super) struct Records {
    pub(super) ledger: Vec<LedgerRecord>,
    pub(super) driver: Vec<DriverRecord>,
    pub(super) nemesis: Vec<NemesisRecord>,
    pub(super) shown: Vec<Shown>,
    pub(super) runs: Vec<Run>,
    pub(super) steps: Vec<Step>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) events: Vec<Event>,
    pub(super) requests: Vec<Request>,
    pub(super) signals: Vec<Signal>,
    pub(super) sales: Vec<Sale>,
    pub(super) receipts: Vec<Receipt>,
    pub(super) approvals: Vec<Approval>,
    pub(super) workers: Vec<Worker>,
    pub(super) taken: Taken,
    pub(super) late_results: usize,
    pub(super) machine: Machine,
}

impl Records {
    pub(super) fn read(folder: &Path) -> anyhow::Result<Self> {
        let machine = std::fs::read_to_string(folder.join("machine.json")).context("nothing tells of the machine")?;
        let dump = |name: &str| folder.join("dump").join(format!("{name}.jsonl"));
        let taken: Vec<Taken> = read(&dump("taken"))?;
        let taken = taken.first().copied();
        Ok(Self {
            ledger: read(&folder.join("ledger.jsonl"))?,
            driver: read(&folder.join("driver.jsonl"))?,
            nemesis: read(&folder.join("nemesis.jsonl"))?,
            shown: read(&folder.join("model.jsonl"))?,
            runs: read(&dump("run"))?,
            steps: read(&dump("step"))?,
            attempts: read(&dump("attempt"))?,
            events: read(&dump("event"))?,
            requests: read(&dump("request"))?,
            signals: read(&dump("signal"))?,
            sales: read(&dump("sale"))?,
            receipts: read(&dump("receipt"))?,
            approvals: read(&dump("approval"))?,
            workers: read(&dump("worker"))?,
            taken: taken.context("nothing says when the dump was taken")?,
            late_results: late_results(&folder.join("logs"))?,
            machine: serde_json::from_str(&machine)?,
        })
    }
}

/// Counts what the workers' logs tell of. No law rests on it.
fn late_results(logs: &Path) -> anyhow::Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir(logs).into_iter().flatten() {
        let log = std::fs::read(entry?.path())?;
        count += String::from_utf8_lossy(&log).matches(LATE_RESULT).count();
    }
    Ok(count)
}
