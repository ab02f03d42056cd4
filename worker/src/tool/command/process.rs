//! The life of one program: given its input, started, listened to, and ended together with everything in its process
//! group.

use crate::crash_point::crash_point;
use crate::tool::limit::Limit;
use crate::tool::output::READ_BEYOND_BYTES;
use agent::tool::OUTPUT_BYTES_MAX;
use futures_util::FutureExt;
use futures_util::future::FusedFuture;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::pin::pin;
use std::process::ExitStatus;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::task::spawn_blocking;

/// How much of standard output is kept, from its beginning.
const STDOUT_BYTES_MAX: usize = OUTPUT_BYTES_MAX + READ_BEYOND_BYTES;

/// How much of standard error is kept, from its end: that is where programs say what went wrong.
const STDERR_BYTES_MAX: usize = 16 * 1024;

/// How long the output of a program that has ended may stay open, for what it left behind to finish writing.
const OUTPUT_GRACE: Duration = Duration::from_secs(1);

/// How a program ended.
pub(super) struct Ended {
    pub(super) exit: Exit,
    pub(super) stdout: Kept,
    pub(super) stderr: Kept,
    /// Whether something that outlived the program still held its output open.
    pub(super) left_open: bool,
}

/// What is known of a program's end.
pub(super) enum Exit {
    Status(ExitStatus),
    TimedOut,
    /// The operating system would not say; why.
    Lost(String),
}

/// Kills a process group when it goes out of scope, so that no way out of a call leaves anything behind. Its number
/// cannot have passed to somebody else while a member lives; an empty group is dropped right after its leader ended.
struct Group(Option<Pid>);

impl Group {
    /// The group led by that process. No process and number 0 and 1 lead none: those would name the worker's own
    /// group, or everybody.
    fn led_by(process: Option<u32>) -> Self {
        let leader = process.and_then(|id| i32::try_from(id).ok()).filter(|id| *id > 1);
        Self(leader.map(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Fails when nobody is left, which is what is wanted.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// The text as a file without a name, to be a program's standard input. A pipe that is fed would end with the worker:
/// a program that outlived it would take what had come so far for the whole.
pub(super) async fn input(text: &str) -> io::Result<File> {
    let text = text.to_owned();
    spawn_blocking(move || {
        let mut file = tempfile::tempfile()?;
        file.write_all(text.as_bytes())?;
        file.rewind()?;
        Ok(file)
    })
    .await?
}

/// Starts the program and stays with it to its end. An error means that it was not started.
pub(super) async fn run(mut command: Command, limit: &mut Limit) -> io::Result<Ended> {
    let mut child = command.spawn()?;
    crash_point!("command.started");
    let group = Group::led_by(child.id());
    let mut stdout = Kept::beginning(STDOUT_BYTES_MAX);
    let mut stderr = Kept::end(STDERR_BYTES_MAX);
    let (output, errors) = (child.stdout.take(), child.stderr.take());

    let (exit, left_open) = {
        let mut listening = pin!(
            async {
                tokio::join!(stdout.read(output), stderr.read(errors));
            }
            .fuse()
        );
        let waited = limit
            .within(async {
                loop {
                    tokio::select! {
                        biased;
                        status = child.wait() => return status,
                        () = &mut listening, if !listening.is_terminated() => {}
                    }
                }
            })
            .await;
        let exit = match waited {
            Some(Ok(status)) => Exit::Status(status),
            Some(Err(error)) => Exit::Lost(error.to_string()),
            None => Exit::TimedOut,
        };
        if matches!(exit, Exit::Status(_)) && !listening.is_terminated() {
            let grace = tokio::time::timeout(OUTPUT_GRACE, &mut listening);
            let _ = limit.within(grace).await;
        }
        (exit, !listening.is_terminated())
    };
    drop(group);
    Ok(Ended {
        left_open: left_open && matches!(exit, Exit::Status(_)),
        exit,
        stdout,
        stderr,
    })
}

/// The part of a stream that is kept while all of it is read, so that the program never waits for us.
pub(super) struct Kept {
    bytes: VecDeque<u8>,
    bytes_max: usize,
    part: Part,
    total: u64,
}

enum Part {
    Beginning,
    End,
}

impl Kept {
    const fn beginning(bytes_max: usize) -> Self {
        Self {
            bytes: VecDeque::new(),
            bytes_max,
            part: Part::Beginning,
            total: 0,
        }
    }

    const fn end(bytes_max: usize) -> Self {
        Self {
            bytes: VecDeque::new(),
            bytes_max,
            part: Part::End,
            total: 0,
        }
    }

    /// Reads to the end. A stream that cannot be read has ended.
    async fn read(&mut self, stream: Option<impl AsyncRead + Unpin>) {
        let Some(mut stream) = stream else { return };
        let mut chunk = [0; 8 * 1024];
        while let Ok(count) = stream.read(&mut chunk).await {
            if count == 0 {
                break;
            }
            self.keep(&chunk[..count]);
        }
    }

    fn keep(&mut self, chunk: &[u8]) {
        self.total += chunk.len() as u64;
        match self.part {
            Part::Beginning => {
                let room = self.bytes_max - self.bytes.len();
                self.bytes.extend(&chunk[..chunk.len().min(room)]);
            }
            Part::End => {
                self.bytes.extend(chunk);
                let surplus = self.bytes.len().saturating_sub(self.bytes_max);
                self.bytes.drain(..surplus);
            }
        }
        self.bytes.make_contiguous();
    }

    /// What was kept.
    pub(super) fn bytes(&self) -> &[u8] {
        // One piece, since `keep` leaves it so.
        self.bytes.as_slices().0
    }

    /// How much there was.
    pub(super) const fn total(&self) -> u64 {
        self.total
    }
}
