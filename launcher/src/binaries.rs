//! Finds Postgres' server programs.
//!
//! Owns the search order. Never starts a server. Start at [`PostgresBinaries::find`].

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::LauncherError;

/// Names the folder to take before all others.
const FOLDER_VARIABLE: &str = "LONGHAUL_PG_BIN";

/// Where packages put their versions: the folder, how a version's name begins, and where its programs are.
const PACKAGES: [(&str, &str, &str); 5] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// The folder that holds `initdb` and `postgres`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresBinaries {
    dir: PathBuf,
}

impl PostgresBinaries {
    /// Looks in `LONGHAUL_PG_BIN`, then asks `pg_config`, then along `PATH`, then where packages put their versions,
    /// highest first.
    pub fn find() -> Result<Self, LauncherError> {
        if let Some(dir) = env::var_os(FOLDER_VARIABLE).filter(|dir| !dir.is_empty()) {
            let dir = PathBuf::from(dir);
            return Self::at(&dir).ok_or(LauncherError::NotPostgres { dir });
        }
        configured()
            .or_else(on_path)
            .or_else(|| packaged(&PACKAGES))
            .ok_or(LauncherError::NotFound)
    }

    /// The binaries in `dir`, if both programs are there.
    pub fn at(dir: &Path) -> Option<Self> {
        let complete = dir.join("initdb").is_file() && dir.join("postgres").is_file();
        complete.then(|| Self { dir: dir.to_owned() })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A client program such as `psql`: the one of this folder, else the bare name, to be looked up along `PATH`.
    pub fn program(&self, name: &str) -> PathBuf {
        let beside = self.dir.join(name);
        if beside.is_file() { beside } else { PathBuf::from(name) }
    }
}

fn configured() -> Option<PostgresBinaries> {
    let output = Command::new("pg_config")
        .arg("--bindir")
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let dir = String::from_utf8(output.stdout).ok()?;
    PostgresBinaries::at(Path::new(dir.trim()))
}

fn on_path() -> Option<PostgresBinaries> {
    env::split_paths(&env::var_os("PATH")?).find_map(|dir| {
        // A link leads to the real folder, which also holds the client programs.
        let real = fs::canonicalize(dir.join("initdb")).ok()?;
        PostgresBinaries::at(real.parent()?).or_else(|| PostgresBinaries::at(&dir))
    })
}

fn packaged(packages: &[(&str, &str, &str)]) -> Option<PostgresBinaries> {
    let mut found = Vec::new();
    for (parent, prefix, programs) in packages {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let version = name.strip_prefix(prefix).and_then(version_number);
            let binaries = PostgresBinaries::at(&entry.path().join(programs));
            if let (Some(version), Some(binaries)) = (version, binaries) {
                found.push((version, binaries));
            }
        }
    }
    found
        .into_iter()
        .max_by_key(|(version, _)| *version)
        .map(|(_, binaries)| binaries)
}

/// `17` → (17, 0), `9.6` → (9, 6); `latest` and the like are links to a version that is listed too.
fn version_number(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next().map_or(Some(0), |minor| minor.parse().ok())?;
    Some((major, minor))
}

#[cfg(test)]
mod tests;
