//! The border where bytes from outside become text that can be stored and shown to a model.
//!
//! Everything that a target says passes here, the long answer through [`admit`] and the short quotes in messages and
//! evidence through [`clean`]: valid UTF-8, no NUL (Postgres stores none), no secrets, and bounded.

use super::secrets::Secrets;
use agent::ToolOutcome;
use agent::tool::OUTPUT_BYTES_MAX;

/// What is read beyond the longest shown output, so that a secret which straddles the cut is still seen whole.
pub(super) const READ_BEYOND_BYTES: usize = 8 * 1024;

/// Room for the closing note within [`OUTPUT_BYTES_MAX`].
const NOTE_BYTES_MAX: usize = 128;

/// An output of which so many bytes, and at least every tenth, are none of a text is shown to nobody: it would be a
/// thicket of replacement characters.
const BROKEN_BYTES_MAX: usize = 16;

/// What was read of an output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) total: Total,
    /// What its source calls it, if it says.
    pub(super) called: Option<&'a str>,
}

/// How much there was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Total {
    /// So many bytes.
    Bytes(u64),
    /// More than so many: reading stopped there.
    MoreThan(u64),
}

impl<'a> Seen<'a> {
    /// An output that was read to its end.
    pub(super) const fn whole(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            total: Total::Bytes(bytes.len() as u64),
            called: None,
        }
    }

    const fn is_whole(self) -> bool {
        match self.total {
            Total::Bytes(total) => total <= self.bytes.len() as u64,
            Total::MoreThan(_) => false,
        }
    }
}

/// Makes an output of what was read. What had to be changed is said in its notes, a cut also at the end of its text.
pub(super) fn admit(seen: Seen<'_>, secrets: &Secrets) -> ToolOutcome {
    if is_binary(seen.bytes) {
        return not_shown(seen);
    }
    let mut notes = Vec::new();
    let bytes = if seen.is_whole() {
        seen.bytes
    } else {
        without_broken_end(seen.bytes)
    };
    if std::str::from_utf8(bytes).is_err() {
        notes.push("bytes that are not UTF-8 were replaced by U+FFFD".to_owned());
    }
    if bytes.contains(&0) {
        notes.push("NUL characters were replaced by U+FFFD".to_owned());
    }
    let cleaned = clean(bytes);
    let mut content = secrets.hide(cleaned.clone());
    if content != cleaned {
        notes.push("values from the environment were replaced by their names".to_owned());
    }
    if !seen.is_whole() || content.len() > OUTPUT_BYTES_MAX {
        let kept = content.floor_char_boundary(OUTPUT_BYTES_MAX - NOTE_BYTES_MAX);
        content.truncate(kept);
        let cut = match seen.total {
            Total::Bytes(total) => format!("cut: {kept} of {total} bytes shown"),
            Total::MoreThan(bytes) => format!("cut: {kept} of more than {bytes} bytes shown"),
        };
        content.push_str(&format!("\n[{cut}]"));
        notes.push(cut);
    }
    ToolOutcome {
        content,
        notes,
        ..ToolOutcome::default()
    }
}

/// In the place of an output that is no text.
fn not_shown(seen: Seen<'_>) -> ToolOutcome {
    let total = match seen.total {
        Total::Bytes(total) => format!("{total} bytes"),
        Total::MoreThan(bytes) => format!("more than {bytes} bytes"),
    };
    let called = seen.called.map_or_else(String::new, |called| format!(" ({called})"));
    let note = format!("not shown: {total} that are not text{called}");
    ToolOutcome {
        content: format!("[{note}]"),
        notes: vec![note],
        ..ToolOutcome::default()
    }
}

fn is_binary(bytes: &[u8]) -> bool {
    let shown = &bytes[..bytes.len().min(OUTPUT_BYTES_MAX)];
    let broken = |chunk: std::str::Utf8Chunk<'_>| {
        let nul = chunk.valid().bytes().filter(|byte| *byte == 0).count();
        nul + chunk.invalid().len()
    };
    let broken: usize = shown.utf8_chunks().map(broken).sum();
    broken > BROKEN_BYTES_MAX && broken * 10 >= shown.len()
}

/// Text that can be stored: bytes that are not UTF-8 and NUL become U+FFFD.
pub(super) fn clean(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\0', "\u{FFFD}")
}

/// The beginning of a text, for a message.
pub(super) fn head(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// The end of a text, for a message.
pub(super) fn tail(text: &str, bytes_max: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(bytes_max))..]
}

/// Reading stopped somewhere, perhaps within a character; that one is left out instead of being called broken.
fn without_broken_end(bytes: &[u8]) -> &[u8] {
    let mut valid_until = 0;
    for chunk in bytes.utf8_chunks() {
        valid_until += chunk.valid().len();
        if valid_until + chunk.invalid().len() == bytes.len() && !chunk.invalid().is_empty() {
            return &bytes[..valid_until];
        }
        valid_until += chunk.invalid().len();
    }
    bytes
}

#[cfg(test)]
mod tests;
