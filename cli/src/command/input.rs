//! Payloads from files, options and standard input: text, and not too much of it.

use crate::args::{Happened, SignalRun, StartRun};
use crate::failure::Failure;
use engine::limits::{CONTENT_BYTES_MAX, INPUT_BYTES_MAX};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// What some editors write in front of text; it is no part of it.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What a file holds, and whether it was cut.
pub(crate) struct Bytes {
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_cut: bool,
}

/// Reads a file, or standard input for `-`, and at most a little more than the limit.
pub(crate) fn read_bytes(path: &Path, bytes_max: usize) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    let more = bytes_max as u64 + 1;
    if path == Path::new("-") {
        io::stdin().lock().take(more).read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.take(more).read_to_end(&mut bytes)?;
    }
    let is_cut = bytes.len() > bytes_max;
    Ok(Bytes { bytes, is_cut })
}

/// The run's input as JSON text.
pub(crate) fn input(args: &StartRun) -> Result<String, Failure> {
    if let Some(text) = &args.input_text {
        return Ok(serde_json::Value::from(text.as_str()).to_string());
    }
    if let Some(file) = &args.input_file {
        return text_of("input", file, INPUT_BYTES_MAX);
    }
    Ok(args.input.clone().unwrap_or_else(|| "{}".to_owned()))
}

/// What a signal tells, as JSON text.
pub(crate) fn payload(args: &SignalRun) -> Result<String, Failure> {
    if let Some(text) = &args.text {
        return Ok(serde_json::Value::from(text.as_str()).to_string());
    }
    let stdin = args.payload.as_deref().filter(|payload| *payload == "-").map(Path::new);
    if let Some(file) = args.file.as_deref().or(stdin) {
        return text_of("payload", file, INPUT_BYTES_MAX);
    }
    Ok(args.payload.clone().unwrap_or_else(|| "null".to_owned()))
}

/// What a call that happened has answered, as JSON text. None: nobody knows.
pub(crate) fn told_result(args: &Happened) -> Result<Option<String>, Failure> {
    if let Some(text) = &args.text {
        return Ok(Some(serde_json::Value::from(text.as_str()).to_string()));
    }
    let stdin = args.result.as_deref().filter(|result| *result == "-").map(Path::new);
    if let Some(file) = args.file.as_deref().or(stdin) {
        return text_of("result", file, INPUT_BYTES_MAX).map(Some);
    }
    Ok(args.result.clone())
}

/// An earlier conversation as JSON text.
pub(crate) fn history(args: &StartRun) -> Result<Option<String>, Failure> {
    args.history
        .as_deref()
        .map(|file| text_of("history", file, CONTENT_BYTES_MAX))
        .transpose()
}

fn text_of(name: &str, path: &Path, bytes_max: usize) -> Result<String, Failure> {
    let read = read_bytes(path, bytes_max)
        .map_err(|error| Failure::usage("unreadable_file", format!("could not read {}: {error}", path.display())))?;
    if read.is_cut {
        let message = format!(
            "{name} in {} has more than {bytes_max} bytes, which is the limit",
            path.display()
        );
        return Err(Failure::usage(&format!("{name}_too_large"), message));
    }
    let text = read.bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&read.bytes);
    String::from_utf8(text.to_vec()).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let message = format!(
            "{name} in {} is not UTF-8 text: byte {at} begins no character",
            path.display()
        );
        Failure::usage(&format!("invalid_{name}"), message)
    })
}

#[cfg(test)]
mod tests;
