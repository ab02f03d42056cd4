//! Everything that is printed. A reader that has gone, as in `longhaul run list | head`, is no error: what is still to
//! be printed is dropped, and whoever follows something asks [`is_gone`]. Any other end of the output is one: [`lost`].

use serde::Serialize;
use std::fmt::Display;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is shown in the place of a secret.
pub(crate) const MASK: &str = "********";

static GONE: AtomicBool = AtomicBool::new(false);
/// What the system said when it took no more.
static LOST: OnceLock<String> = OnceLock::new();
/// What people type to start this program.
static PROGRAM: OnceLock<String> = OnceLock::new();

/// Finds out what people type; until then it is the program's usual name.
pub(crate) fn find_program() {
    let _ = PROGRAM.set(program::typed());
}

/// This program in a command that people may paste.
pub(crate) fn program() -> &'static str {
    PROGRAM.get().map_or(program::NAME, String::as_str)
}

mod program;

/// One line to standard output. Styles are left out where it is not a terminal.
pub(crate) fn line(text: impl Display) {
    written(writeln!(anstream::stdout().lock(), "{text}"));
}

/// One line to standard error.
pub(crate) fn note(text: impl Display) {
    // Nobody is left to tell.
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Help or a version.
pub(crate) fn clap(told: &clap::Error) {
    written(told.print());
}

/// Bytes as they are, such as a shell's completions.
pub(crate) fn raw(bytes: &[u8]) {
    written(io::stdout().write_all(bytes));
}

/// Whether standard error shows colours: it is a terminal, and NO_COLOR does not forbid them.
pub(crate) fn has_colours() -> bool {
    anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
}

/// How far something has come, on standard error; shown on a terminal only.
pub(crate) struct Progress(indicatif::ProgressBar);

impl Progress {
    /// None of `whole` is done.
    pub(crate) fn of(whole: u64, unit: &str) -> Self {
        let bar = indicatif::ProgressBar::new(whole);
        let shape = format!("{{bar:40}} {{human_pos}} of {{human_len}} {unit}, {{eta}} left");
        if let Ok(style) = indicatif::ProgressStyle::with_template(&shape) {
            bar.set_style(style.progress_chars("━╸─"));
        }
        Self(bar)
    }

    /// So many more are done.
    pub(crate) fn advance(&self, done: u64) {
        self.0.inc(done);
    }

    /// Lines to standard output, which the bar leaves alone meanwhile.
    pub(crate) fn lines(&self, lines: impl Iterator<Item = impl Display>) {
        self.0.suspend(|| lines.for_each(line));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A value for programs: indented, over several lines.
pub(crate) fn json(value: &impl Serialize) {
    line(serde_json::to_string_pretty(value).unwrap_or_else(unwritable));
}

/// A value for programs that follow: one line.
pub(crate) fn json_line(value: &impl Serialize) {
    line(serde_json::to_string(value).unwrap_or_else(unwritable));
}

/// Whether nobody reads standard output any more.
pub(crate) fn is_gone() -> bool {
    GONE.load(Ordering::Relaxed)
}

/// Why standard output is not whole although somebody wants it: a full disk, say.
pub(crate) fn lost() -> Option<&'static str> {
    LOST.get().map(String::as_str)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that unwrap_or_else takes")]
fn unwritable(error: serde_json::Error) -> String {
    serde_json::json!({"unwritable": error.to_string()}).to_string()
}

fn written(result: io::Result<()>) {
    let flushed = result.and_then(|()| io::stdout().flush());
    if let Err(error) = flushed {
        GONE.store(true, Ordering::Relaxed);
        if error.kind() != io::ErrorKind::BrokenPipe {
            let _ = LOST.set(error.to_string());
        }
    }
}

/// A path as a shell takes it.
pub(crate) fn quoted(path: &str) -> String {
    let is_plain = path
        .chars()
        .all(|sign| sign.is_ascii_alphanumeric() || "_./-".contains(sign));
    if is_plain {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', "'\\''"))
    }
}

/// Words that stand out on a terminal.
pub(crate) mod style {
    use anstyle::{AnsiColor, Style};
    use std::fmt::Display;

    fn with(style: Style, text: impl Display) -> String {
        format!("{style}{text}{style:#}")
    }

    /// A heading.
    pub(crate) fn bold(text: impl Display) -> String {
        with(Style::new().bold(), text)
    }

    /// What matters less.
    pub(crate) fn dim(text: impl Display) -> String {
        with(Style::new().dimmed(), text)
    }

    /// All is well.
    pub(crate) fn green(text: impl Display) -> String {
        with(AnsiColor::Green.on_default().bold(), text)
    }

    /// Something went wrong.
    pub(crate) fn red(text: impl Display) -> String {
        with(AnsiColor::Red.on_default().bold(), text)
    }

    /// Somebody should look.
    pub(crate) fn yellow(text: impl Display) -> String {
        with(AnsiColor::Yellow.on_default().bold(), text)
    }
}
