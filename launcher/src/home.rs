//! The folder a server lives in, owned by the user that runs it.
//!
//! Layout: `<state folder>/postgres/{data/, data.unsynced, password, postgres.log}`. Where root's unprivileged user cannot reach the
//! state folder (a home folder, say), `postgres` is a link to a folder under `/var/lib/longhaul`; permissions of folders
//! that are not ours are never changed.

use std::{
    env,
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{LauncherError, owner::Owner};

/// Where root's servers live when the wanted place is out of reach for an unprivileged user.
const ELSEWHERE: &str = "/var/lib/longhaul";

/// A password's random bytes; 24 is more than anybody tries.
const PASSWORD_BYTES: usize = 24;

/// The server's own folder.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    dir: PathBuf,
    pub(crate) owner: Owner,
}

impl Home {
    /// Opens the home below `state_dir`, making what is missing.
    pub(crate) fn open(state_dir: &Path) -> Result<Self, LauncherError> {
        fs::create_dir_all(state_dir).map_err(LauncherError::prepare(state_dir))?;
        let state_dir = fs::canonicalize(state_dir).map_err(LauncherError::prepare(state_dir))?;
        let wanted = state_dir.join("postgres");
        let owner = Owner::choose(&wanted.join("data"))?;
        if !owner.can_pass(&state_dir) {
            open_our_folders(&state_dir).map_err(LauncherError::prepare(&state_dir))?;
        }
        if fs::symlink_metadata(&wanted).is_ok_and(|meta| meta.is_symlink()) && !wanted.exists() {
            fs::remove_file(&wanted).map_err(LauncherError::prepare(&wanted))?;
        }
        if !wanted.exists() {
            if owner.can_pass(&state_dir) {
                make_private(&wanted).map_err(LauncherError::prepare(&wanted))?;
            } else {
                let elsewhere = make_elsewhere().map_err(LauncherError::prepare(ELSEWHERE))?;
                symlink(elsewhere, &wanted).map_err(LauncherError::prepare(&wanted))?;
            }
        }
        let dir = fs::canonicalize(&wanted).map_err(LauncherError::prepare(&wanted))?;
        owner.give(&dir).map_err(LauncherError::prepare(&dir))?;
        Ok(Self { dir, owner })
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Where a half-made data folder is kept out of the way until it is whole.
    pub(crate) fn data_in_the_making(&self) -> PathBuf {
        self.dir.join("data.new")
    }

    /// Whether there is a data folder, whole or not.
    pub(crate) fn has_data(&self) -> Result<bool, LauncherError> {
        let data = self.data();
        // One that we may not look at is not one that is not there.
        data.try_exists().map_err(LauncherError::prepare(data))
    }

    /// Looks for what every data folder has.
    pub(crate) fn check_data(&self) -> Result<(), LauncherError> {
        let data = self.data();
        for missing in ["PG_VERSION", "global/pg_control", "pg_wal"] {
            let file = data.join(missing);
            if !file.try_exists().map_err(LauncherError::prepare(file))? {
                return Err(LauncherError::Damaged { data, missing });
            }
        }
        Ok(())
    }

    /// Its being there says that the data may not have reached the disk.
    fn unsynced(&self) -> PathBuf {
        self.dir.join("data.unsynced")
    }

    pub(crate) fn is_unsynced(&self) -> bool {
        self.unsynced().exists()
    }

    pub(crate) fn mark_unsynced(&self) -> Result<(), LauncherError> {
        let mark = self.unsynced();
        fs::write(&mark, "").map_err(LauncherError::prepare(mark))
    }

    /// Without effect where the folder itself cannot be synced: then the mark stays.
    pub(crate) fn mark_synced(&self) {
        if File::open(&self.dir).and_then(|dir| dir.sync_all()).is_ok() {
            let _gone = fs::remove_file(self.unsynced());
        }
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.dir.join("postgres.log")
    }

    fn password_file(&self) -> PathBuf {
        self.dir.join("password")
    }

    /// The password that the data folder was made with, if it was made with one.
    pub(crate) fn password(&self) -> Result<Option<String>, LauncherError> {
        let file = self.password_file();
        match fs::read_to_string(&file) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LauncherError::prepare(file)(error)),
        }
    }

    /// Makes a password and keeps it in a file that only the owner may read.
    pub(crate) fn make_password(&self) -> Result<PathBuf, LauncherError> {
        let file = self.password_file();
        self.write_password(&file).map_err(LauncherError::prepare(&file))?;
        Ok(file)
    }

    fn write_password(&self, file: &Path) -> io::Result<()> {
        let password: String = random_bytes(PASSWORD_BYTES)?
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        writeln!(options.open(file)?, "{password}")?;
        self.owner.give(file)
    }

    /// For a data folder that any local user may enter.
    pub(crate) fn forget_password(&self) -> Result<(), LauncherError> {
        let file = self.password_file();
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LauncherError::prepare(file)(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Bytes of the system's random source.
pub(crate) fn random_bytes(count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; count];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A folder that goes away when dropped, in a place which the server's user can reach.
pub(crate) fn temporary_dir() -> Result<TempDir, LauncherError> {
    let owner = Owner::choose(Path::new(""))?;
    let wanted = env::temp_dir();
    let parent = [wanted.as_path(), Path::new("/tmp"), Path::new("/var/tmp")]
        .into_iter()
        .find(|folder| owner.can_pass(folder))
        .unwrap_or(&wanted);
    let dir = tempfile::Builder::new()
        .prefix("longhaul-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(parent)
        .map_err(LauncherError::prepare(parent))?;
    owner.give(dir.path()).map_err(LauncherError::prepare(dir.path()))?;
    Ok(dir)
}

/// Lets others pass through (not list) the state folder, and folders of ours around it within the temporary folder.
fn open_our_folders(state_dir: &Path) -> io::Result<()> {
    let temporary = fs::canonicalize(env::temp_dir())?;
    for folder in state_dir.ancestors() {
        let meta = fs::metadata(folder)?;
        let ours = meta.uid() == nix::unistd::geteuid().as_raw();
        let within = folder == state_dir || (folder.starts_with(&temporary) && folder != temporary);
        if ours && within {
            fs::set_permissions(folder, Permissions::from_mode(meta.mode() & 0o7777 | 0o011))?;
        }
    }
    Ok(())
}

fn make_private(dir: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(dir)
}

fn make_elsewhere() -> io::Result<PathBuf> {
    DirBuilder::new().recursive(true).mode(0o755).create(ELSEWHERE)?;
    Ok(tempfile::Builder::new()
        .prefix("postgres-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(ELSEWHERE)?
        .keep())
}
