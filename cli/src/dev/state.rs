//! The state folder: one `longhaul dev` at a time holds it, and what must outlast it is in it.
//!
//! Layout: `postgres/` (the server's, see the launcher), `lock`, `token` and `database-url` (ours alone to read),
//! `examples/`. The address is there while the server runs and tells other commands where it is.

use crate::failure::{Exit, Failure};
use crate::settings::Settings;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use uuid::Uuid;

/// Looked for where nothing else is named.
pub(super) const DEFAULT: &str = ".longhaul";
/// What to do about a folder that cannot be used.
pub(super) const UNUSABLE_HINT: &str =
    "mend that, or name another folder: longhaul dev keeps its data in one that it may write to, --state FOLDER";
/// Whoever only asks whether somebody holds the lock holds it for an instant.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// What of a folder's database is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Data {
    /// A data folder.
    There,
    /// None, and there never was a server that became ready.
    New,
    /// None, although a server ran on it.
    Gone,
}

/// A folder that this process holds.
#[derive(Debug)]
pub(super) struct StateFolder {
    path: PathBuf,
    /// Given back when the process ends, however it ends.
    _lock: File,
}

/// The folder that settings name.
pub(crate) fn folder(settings: &Settings) -> PathBuf {
    settings.value("dev_state").unwrap_or_else(|| DEFAULT.to_owned()).into()
}

/// The database of the `longhaul dev` that runs on this folder. A folder of somebody else's is not asked.
pub(crate) fn running(folder: &Path) -> Option<String> {
    let lock = File::open(folder.join("lock")).ok()?;
    let is_ours = lock.metadata().ok()?.uid() == nix::unistd::geteuid().as_raw();
    if !is_ours || !matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)) {
        return None;
    }
    let url = fs::read_to_string(folder.join("database-url")).ok()?;
    Some(url.trim().to_owned()).filter(|url| !url.is_empty())
}

impl StateFolder {
    /// Takes the folder, making it if it is not there.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let unusable = |error: io::Error| unusable(path, &error);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(unusable)?;
        let path = fs::canonicalize(path).map_err(unusable)?;
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let lock_file = path.join("lock");
        let mut lock = options
            .open(&lock_file)
            .map_err(|error| self::unusable(&lock_file, &error))?;
        take(&mut lock, &path)?;
        lock.set_len(0).map_err(unusable)?;
        write!(lock, "{}", std::process::id()).map_err(unusable)?;
        let ignored = path.join(".gitignore");
        if !ignored.exists() {
            fs::write(ignored, "*\n").map_err(unusable)?;
        }
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What of its database is there.
    pub(super) fn data(&self) -> Data {
        let was_ready = || {
            ["database-url", "database-url.last"]
                .iter()
                .any(|name| self.path.join(name).exists())
        };
        // A folder that cannot be looked at is for the launcher to judge.
        if self.path.join("postgres/data").try_exists().unwrap_or(true) {
            Data::There
        } else if was_ready() {
            Data::Gone
        } else {
            Data::New
        }
    }

    /// As people would write it from where they are.
    pub(super) fn shown(&self) -> String {
        let here = std::env::current_dir().ok();
        let relative = here.as_deref().and_then(|here| self.path.strip_prefix(here).ok());
        relative.unwrap_or(&self.path).display().to_string()
    }

    /// The API's token: made once.
    pub(super) fn token(&self) -> Result<String, Failure> {
        let file = self.path.join("token");
        let unusable = |error: io::Error| unusable(&file, &error);
        match fs::read_to_string(&file) {
            Ok(token) if !token.trim().is_empty() => return Ok(token.trim().to_owned()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unusable(error)),
        }
        let token = Uuid::new_v4().simple().to_string();
        self.write_private("token", &token).map_err(unusable)?;
        Ok(token)
    }

    /// Tells other commands where the database is.
    pub(super) fn write_url(&self, url: &str) -> Result<(), Failure> {
        self.write_private("database-url", url)
            .map_err(|error| unusable(&self.path.join("database-url"), &error))
    }

    /// The server is gone; its port is kept for the next start.
    pub(super) fn forget_url(&self) {
        let _ = fs::rename(self.path.join("database-url"), self.path.join("database-url.last"));
    }

    /// The port of the server's last life.
    pub(super) fn last_port(&self) -> Option<u16> {
        let read = |name: &str| fs::read_to_string(self.path.join(name)).ok();
        let url = read("database-url").or_else(|| read("database-url.last"))?;
        url.trim().rsplit_once('/')?.0.rsplit_once(':')?.1.parse().ok()
    }

    /// A file that only we may read.
    pub(super) fn write_private(&self, name: &str, text: &str) -> io::Result<()> {
        // Beside its place first: a reader finds the old text or the new one.
        let draft = self.path.join(format!("{name}.new"));
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        writeln!(file, "{text}")?;
        fs::rename(draft, self.path.join(name))
    }
}

fn take(lock: &mut File, path: &Path) -> Result<(), Failure> {
    for _ in 0..LOCK_TRIES {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(unusable(path, &error)),
        }
    }
    let mut holder = String::new();
    let _ = lock.rewind().and_then(|()| lock.read_to_string(&mut holder));
    let message = format!(
        "longhaul dev already runs on {} (process {})",
        path.display(),
        holder.trim()
    );
    Err(Failure::new(Exit::Refused, "state_folder_in_use", message)
        .hint("use the one that runs, stop it with Ctrl-C, or start another one: --state FOLDER --listen 127.0.0.1:0"))
}

pub(super) fn unusable(path: &Path, error: &io::Error) -> Failure {
    let told = if matches!(
        error.kind(),
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory
    ) {
        "it is a file, and a folder is wanted".to_owned()
    } else {
        error.to_string()
    };
    Failure::new(
        Exit::Failed,
        "state_folder_unusable",
        format!("could not use {}: {told}", path.display()),
    )
    .hint(UNUSABLE_HINT)
}

#[cfg(test)]
mod tests;
