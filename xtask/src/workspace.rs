//! What the workspace consists of: its root, its packages, its files.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;
use serde::Deserialize;

use crate::command::{cargo, read};

/// Folders that hold no source when there is no git to say so.
const NOT_SOURCE: [&str; 4] = ["target", ".git", ".longhaul", "node_modules"];

/// `cargo metadata`, as far as the rules look at it.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) optional: bool,
}

/// A file under version control (or about to be), if it is text.
#[derive(Debug)]
pub(crate) struct SourceFile {
    /// Relative to the root.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl SourceFile {
    pub(crate) fn has_extension(&self, extension: &str) -> bool {
        self.path.extension().is_some_and(|found| found == extension)
    }
}

/// The folder that holds the workspace's manifest: the one above ours.
pub(crate) fn root() -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask has a folder above it")?;
    Ok(root.to_owned())
}

/// Where cargo puts what it builds of the workspace.
pub(crate) fn target(root: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

/// The packages of the workspace with their direct dependencies.
pub(crate) fn metadata(root: &Path) -> anyhow::Result<Metadata> {
    let json = read(cargo(root).args(["metadata", "--no-deps", "--format-version", "1"]))?;
    serde_json::from_str(&json).context("cargo metadata is not as expected")
}

/// Every text file that git tracks or would add; without git, every text file outside of build folders.
pub(crate) fn source_files(root: &Path) -> anyhow::Result<Vec<SourceFile>> {
    let mut git = Command::new("git");
    git.current_dir(root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let mut paths: Vec<PathBuf> = match read(&mut git) {
        Ok(listing) => listing.split_terminator('\0').map(PathBuf::from).collect(),
        Err(_no_git) => {
            let mut found = Vec::new();
            walk(root, Path::new(""), &mut found)?;
            found
        }
    };
    paths.sort();
    // A file that is deleted but still in git's index, or that is not text, has no lines to judge.
    let read_text = |path: PathBuf| {
        fs::read_to_string(root.join(&path))
            .ok()
            .map(|text| SourceFile { path, text })
    };
    Ok(paths.into_iter().filter_map(read_text).collect())
}

fn walk(root: &Path, below: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if !entry.file_type()?.is_dir() {
            found.push(path);
        } else if !NOT_SOURCE.iter().any(|name| entry.file_name() == *name) {
            walk(root, &path, found)?;
        }
    }
    Ok(())
}
