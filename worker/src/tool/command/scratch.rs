//! The folder that a program has for itself while it runs.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use tempfile::TempDir;

/// Files and folders in it; a program that makes more is after something else.
const ENTRIES_MAX: u64 = 100_000;

/// Folders within folders that are looked into.
const DEPTH_MAX: usize = 256;

/// A folder that only this user may enter. It goes away with all that is in it.
#[derive(Debug)]
pub(super) struct Scratch(TempDir);

/// What lies in it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Used {
    /// On disk.
    pub(super) bytes: u64,
    pub(super) entries: u64,
}

impl Used {
    pub(super) const fn is_within(&self, bytes_max: u64) -> bool {
        self.bytes <= bytes_max && self.entries <= ENTRIES_MAX
    }
}

impl Scratch {
    pub(super) fn make() -> io::Result<Self> {
        let only_ours = fs::Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new()
            .prefix("longhaul-")
            .permissions(only_ours)
            .tempdir()?;
        Ok(Self(folder))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Counts what lies in it, and stops counting once that is more than it may be. Links are not followed.
    pub(super) fn used(&self, bytes_max: u64) -> Used {
        let mut used = Used::default();
        let mut folders = vec![(self.path().to_owned(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let Ok(found) = entry.metadata() else { continue };
                used.entries += 1;
                used.bytes += found.blocks() * 512;
                if !used.is_within(bytes_max) {
                    return used;
                }
                if found.is_dir() && depth < DEPTH_MAX {
                    folders.push((entry.path(), depth + 1));
                }
            }
        }
        used
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if fs::remove_dir_all(self.path()).is_err() {
            // A program may have shut its folders even to itself.
            open(self.path(), 0);
            let _ = fs::remove_dir_all(self.path());
        }
    }
}

fn open(folder: &Path, depth: usize) {
    let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if depth < DEPTH_MAX && entry.file_type().is_ok_and(|found| found.is_dir()) {
            open(&entry.path(), depth + 1);
        }
    }
}
