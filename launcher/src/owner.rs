//! Whom the server runs as: us, or an unprivileged user when we are root, since Postgres refuses root.

use std::{
    env, fs, io,
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::Command,
};

use nix::unistd::{Uid, User};

use crate::LauncherError;

/// What the server inherits from our environment: enough to find libraries and the time zone, and none of our secrets.
const INHERITED: [&str; 5] = ["PATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH", "TZ"];

/// The user that owns the data folder and runs the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The user we are.
    Ourselves,
    /// The user that root becomes for the server.
    Unprivileged { uid: u32, gid: u32 },
}

impl Owner {
    /// As root: the owner of an existing data folder, else `postgres`, else `nobody`.
    pub(crate) fn choose(data: &Path) -> Result<Self, LauncherError> {
        let uid = Uid::effective();
        if !uid.is_root() {
            return match User::from_uid(uid) {
                Ok(None) => Err(LauncherError::UserWithoutName { uid: uid.as_raw() }),
                // An unreadable user database is for initdb to judge.
                Ok(Some(_)) | Err(_) => Ok(Self::Ourselves),
            };
        }
        if let Ok(folder) = fs::metadata(data)
            && folder.uid() != 0
        {
            return Ok(Self::Unprivileged {
                uid: folder.uid(),
                gid: folder.gid(),
            });
        }
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| User::from_name(name).ok().flatten())
            .map(|user| Self::Unprivileged {
                uid: user.uid.as_raw(),
                gid: user.gid.as_raw(),
            })
            .ok_or(LauncherError::NoUnprivilegedUser)
    }

    /// A command of this user in its own process group, so that a terminal's ^C reaches us and not the server.
    pub(crate) fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/").env_clear().env("LC_ALL", "C").process_group(0);
        for name in INHERITED {
            if let Some(value) = env::var_os(name) {
                command.env(name, value);
            }
        }
        match self {
            Self::Ourselves => {}
            Self::Unprivileged { uid, gid } => {
                command.uid(uid).gid(gid);
            }
        }
        command
    }

    /// Gives a file or folder to this user.
    pub(crate) fn give(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Ourselves => Ok(()),
            Self::Unprivileged { uid, gid } => chown(path, Some(uid), Some(gid)),
        }
    }

    /// Whether this user may pass through `path` and every folder above it.
    pub(crate) fn can_pass(self, path: &Path) -> bool {
        match self {
            Self::Ourselves => true,
            Self::Unprivileged { uid, gid } => path.ancestors().all(|folder| {
                fs::metadata(folder).is_ok_and(|meta| {
                    let bit = if meta.uid() == uid {
                        0o100
                    } else if meta.gid() == gid {
                        0o010
                    } else {
                        0o001
                    };
                    meta.mode() & bit != 0
                })
            }),
        }
    }
}
