//! Ends the server when we die without a chance to do so ourselves.
//!
//! A small shell holds the reading end of a pipe whose writing end only we have. When we die, even by `SIGKILL`, its
//! `read` returns, and it asks the server to shut down, waking it first if we died while it was frozen. It checks that the process id is still the one in the data
//! folder's lock file, so that it can never signal a stranger.

use std::{
    path::Path,
    process::{Child, Stdio},
};

use crate::{LauncherError, owner::Owner};

/// Arguments: process id of the server, its data folder, and a folder to remove afterwards (or nothing).
const SCRIPT: &str = r#"
trap '' INT TERM HUP
read -r _
tries=0
while kill -0 "$1" && [ "$tries" -lt 150 ]; do
    holder=
    read -r holder <"$2/postmaster.pid"
    if [ "$holder" = "$1" ]; then
        if [ "$tries" -lt 100 ]; then kill -INT "$1"; else kill -QUIT "$1"; fi
        kill -CONT "$1"
    elif [ -z "$holder" ] && [ "$tries" -gt 100 ]; then
        break
    fi
    tries=$((tries + 1))
    sleep 0.1
done
if [ -n "$3" ]; then rm -rf "$3"; fi
"#;

/// The shell that outlives us for a moment.
#[derive(Debug)]
pub(crate) struct Watchdog {
    shell: Child,
}

impl Watchdog {
    /// Starts watching over the server with this process id.
    pub(crate) fn start(owner: Owner, watched: &Watched<'_>) -> Result<Self, LauncherError> {
        let shell = Path::new("/bin/sh");
        let child = owner
            .command(shell)
            .args(["-c", SCRIPT, "longhaul-watchdog"])
            .arg(watched.pid.to_string())
            .arg(watched.data)
            .arg(watched.remove.unwrap_or(Path::new("")))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(LauncherError::run(shell))?;
        Ok(Self { shell: child })
    }

    #[cfg(test)]
    pub(crate) fn pid(&self) -> u32 {
        self.shell.id()
    }
}

/// What a watchdog watches over.
#[derive(Debug)]
pub(crate) struct Watched<'a> {
    pub(crate) pid: u32,
    pub(crate) data: &'a Path,
    pub(crate) remove: Option<&'a Path>,
}

impl Drop for Watchdog {
    /// Calls it off: it must never act for a server that was stopped on purpose.
    fn drop(&mut self) {
        let _gone = self.shell.kill();
        let _reaped = self.shell.wait();
    }
}
