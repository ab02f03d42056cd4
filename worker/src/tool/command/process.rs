//! The life of one program: given its means, started, listened to, watched, and ended together with everything that it
//! has brought into being.

use super::bounds::{self, Bound};
use super::family::Family;
use super::scratch::Scratch;
use crate::crash_point::crash_point;
use crate::tool::limit::Limit;
use crate::tool::output::READ_BEYOND_BYTES;
use agent::definition::CommandLimits;
use agent::tool::OUTPUT_BYTES_MAX;
use futures_util::FutureExt;
use futures_util::future::FusedFuture;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::pin::pin;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

/// How much of standard output is kept, from its beginning.
const STDOUT_BYTES_MAX: usize = OUTPUT_BYTES_MAX + READ_BEYOND_BYTES;

/// How much of standard error is kept, from its end: that is where programs say what went wrong.
const STDERR_BYTES_MAX: usize = 16 * 1024;

/// How long the output of a program that has ended may stay open, for what it left behind to finish writing.
const OUTPUT_GRACE: Duration = Duration::from_secs(1);

/// How long a program past its time has to end in good order, once it was asked to.
const TERM_GRACE: Duration = Duration::from_secs(1);

/// When a program is first looked at. Most have ended by then.
const FIRST_LOOK: Duration = Duration::from_millis(20);

/// How often a program is looked at in the long run.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A look takes no more than this part of the time, however many processes and files there are.
const LOOK_SHARE: u32 = 20;

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
    /// It went beyond a bound.
    Beyond(Bound),
    /// The operating system would not say; why.
    Lost(String),
}

/// What a program is given before it starts.
pub(super) struct Means {
    pub(super) input: File,
    pub(super) scratch: Scratch,
}

impl Means {
    /// The text becomes a file without a name, to be the program's standard input. A pipe that is fed would end with the
    /// worker: a program that outlived it would take what had come so far for the whole.
    pub(super) async fn make(input: &str) -> io::Result<Self> {
        let text = input.to_owned();
        spawn_blocking(move || {
            let mut input = tempfile::tempfile()?;
            input.write_all(text.as_bytes())?;
            input.rewind()?;
            let scratch = Scratch::make()?;
            Ok(Self { input, scratch })
        })
        .await?
    }
}

/// A program's processes and its folder. Both end when it goes out of scope, so that no way out of a call leaves
/// anything behind.
struct Home {
    limits: CommandLimits,
    family: Arc<Family>,
    scratch: Arc<Scratch>,
}

impl Home {
    fn of(child: &Child, limits: CommandLimits, scratch: Scratch) -> Self {
        let family = Family::led_by(child.id(), scratch.path());
        if let Some(process) = child.id().and_then(|id| i32::try_from(id).ok()) {
            bounds::hold(process, &limits);
        }
        Self {
            limits,
            family: Arc::new(family),
            scratch: Arc::new(scratch),
        }
    }

    async fn ask_to_end(&self) {
        let family = Arc::clone(&self.family);
        let _ = spawn_blocking(move || family.ask_to_end()).await;
    }

    /// Kills whoever is left, away from the tasks of others: all processes of the machine are looked through.
    async fn end(&self) {
        let family = Arc::clone(&self.family);
        let _ = spawn_blocking(move || family.kill()).await;
    }

    /// Looks again and again, and ends with the bound that was gone beyond.
    async fn watch(&self) -> Bound {
        let mut pause = FIRST_LOOK;
        loop {
            tokio::time::sleep(pause).await;
            let begun = Instant::now();
            let (limits, family, scratch) = (self.limits, Arc::clone(&self.family), Arc::clone(&self.scratch));
            if let Ok(Some(bound)) = spawn_blocking(move || bounds::look(&limits, &family, &scratch)).await {
                return bound;
            }
            pause = (pause * 2).min(LOOK_EVERY).max(begun.elapsed() * LOOK_SHARE);
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.family.kill();
    }
}

/// Starts the program and stays with it to its end. An error means that it was not started.
pub(super) async fn run(
    mut command: Command,
    limit: &mut Limit,
    (limits, scratch): (CommandLimits, Scratch),
) -> io::Result<Ended> {
    let mut child = command.spawn()?;
    crash_point!("command.started");
    let home = Home::of(&child, limits, scratch);
    let mut stdout = Kept::beginning(STDOUT_BYTES_MAX);
    let mut stderr = Kept::end(STDERR_BYTES_MAX);
    let (output, errors) = (child.stdout.take(), child.stderr.take());

    let room = AtomicU64::new(bounds::output_bytes_max(&limits));
    let (exit, left_open) = {
        let listening = async { tokio::try_join!(stdout.read(output, &room), stderr.read(errors, &room)) };
        let mut listening = pin!(listening.fuse());
        let attended = limit.within(async {
            tokio::select! {
                exit = attend(&mut child, &mut listening) => exit,
                bound = home.watch() => Exit::Beyond(bound),
            }
        });
        let exit = match attended.await {
            Some(exit) => exit,
            None => {
                home.ask_to_end().await;
                let _ = tokio::time::timeout(TERM_GRACE, attend(&mut child, &mut listening)).await;
                Exit::TimedOut
            }
        };
        if !listening.is_terminated() {
            let grace = tokio::time::timeout(OUTPUT_GRACE, &mut listening);
            if matches!(exit, Exit::Status(_)) {
                let _ = limit.within(grace).await;
            } else {
                // Once nobody is left to write, what was written is all there is.
                home.end().await;
                let _ = grace.await;
            }
        }
        (exit, !listening.is_terminated())
    };
    home.end().await;
    // It empties a folder.
    let _ = spawn_blocking(move || drop(home)).await;
    Ok(Ended {
        left_open: left_open && matches!(exit, Exit::Status(_)),
        exit,
        stdout,
        stderr,
    })
}

/// Stays with the program, listening, until it ends or has said too much.
async fn attend<L>(child: &mut Child, listening: &mut L) -> Exit
where
    L: FusedFuture<Output = Result<((), ()), TooMuch>> + Unpin,
{
    loop {
        tokio::select! {
            biased;
            status = child.wait() => return match status {
                Ok(status) => Exit::Status(status),
                Err(error) => Exit::Lost(error.to_string()),
            },
            heard = &mut *listening, if !listening.is_terminated() => if heard.is_err() {
                return Exit::Beyond(Bound::Output);
            },
        }
    }
}

/// The program wrote more than it may.
struct TooMuch;

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

    /// Reads to the end, as far as there is room for it and what is read beside it. A stream that cannot be read has
    /// ended.
    async fn read(&mut self, stream: Option<impl AsyncRead + Unpin>, room: &AtomicU64) -> Result<(), TooMuch> {
        let Some(mut stream) = stream else { return Ok(()) };
        let mut chunk = [0; 8 * 1024];
        while let Ok(count) = stream.read(&mut chunk).await {
            if count == 0 {
                break;
            }
            self.keep(&chunk[..count]);
            let count = count as u64;
            // Both streams are read by one task, so nothing comes between the two.
            let left = room.load(Ordering::Relaxed).checked_sub(count).ok_or(TooMuch)?;
            room.store(left, Ordering::Relaxed);
        }
        Ok(())
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
