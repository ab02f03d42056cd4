//! Where every deed is written down.

use crate::orders::tell_failure;
use crate::record::{Deed, Log, NemesisRecord, Window, now};
use std::path::Path;

pub(super) struct Journal(Log);

impl Journal {
    pub(super) fn open(folder: &Path) -> anyhow::Result<Self> {
        Log::open(&folder.join("nemesis.jsonl")).map(Self)
    }

    pub(super) fn write(&self, record: NemesisRecord) {
        if let Err(error) = self.0.write(&[record]) {
            give_up(&error);
        }
    }
}

/// A deed of this instant.
pub(super) fn deed(deed: Deed) -> NemesisRecord {
    NemesisRecord {
        at: now(),
        deed,
        worker: None,
        window: None,
        detail: None,
    }
}

impl NemesisRecord {
    pub(super) fn to(mut self, worker: &str) -> Self {
        self.worker = Some(worker.to_owned());
        self
    }

    pub(super) fn within(mut self, window: Window) -> Self {
        self.window = Some(window);
        self
    }

    pub(super) fn saying(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

/// Ends this process: a storm that cannot go on must not look like one that did. What it started ends with it.
pub(super) fn give_up(error: &anyhow::Error) -> ! {
    tell_failure(error);
    std::process::exit(1)
}
