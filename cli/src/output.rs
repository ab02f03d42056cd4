//! Everything that is printed. A reader that has gone, as in `longhaul run list | head`, is no error: what is still to
//! be printed is dropped, and whoever follows something asks [`is_gone`].

use serde::Serialize;
use std::fmt::Display;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// What is shown in the place of a secret.
pub(crate) const MASK: &str = "********";

static GONE: AtomicBool = AtomicBool::new(false);

/// One line to standard output. Styles are left out where it is not a terminal.
pub(crate) fn line(text: impl Display) {
    written(writeln!(anstream::stdout().lock(), "{text}"));
}

/// One line to standard error.
pub(crate) fn note(text: impl Display) {
    // Nobody is left to tell.
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Help, a version, or why clap does not understand what was typed.
pub(crate) fn clap(told: &clap::Error) {
    let _ = told.print();
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

#[expect(clippy::needless_pass_by_value, reason = "the shape that unwrap_or_else takes")]
fn unwritable(error: serde_json::Error) -> String {
    serde_json::json!({"unwritable": error.to_string()}).to_string()
}

fn written(result: io::Result<()>) {
    let flushed = result.and_then(|()| io::stdout().flush());
    if flushed.is_err() {
        GONE.store(true, Ordering::Relaxed);
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
