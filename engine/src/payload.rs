//! Payloads at the border: size, depth, and the digest of their exact text.

use crate::error::EngineError;
use crate::limits;
use sha2::{Digest, Sha256};

/// SHA-256 of the exact text, as `longhaul.digest` computes it.
pub fn digest(text: &str) -> Vec<u8> {
    Sha256::digest(text.as_bytes()).to_vec()
}

/// Lower-case hexadecimal, as digests are shown.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Checks a payload before it is sent to the database, so that a refusal costs nothing.
///
/// # Errors
/// Refusals `invalid_NAME`, `NAME_too_large` and `NAME_too_deep`.
pub fn check(name: &str, text: &str, bytes_max: usize) -> Result<(), EngineError> {
    if text.len() > bytes_max {
        return Err(EngineError::too_large(
            &format!("{name}_too_large"),
            format!("{name} has {} bytes, the limit is {bytes_max}", text.len()),
        ));
    }
    if depth(text) > limits::DEPTH_MAX {
        return Err(EngineError::too_large(
            &format!("{name}_too_deep"),
            format!("{name} nests deeper than {} levels", limits::DEPTH_MAX),
        ));
    }
    serde_json::from_str::<&serde_json::value::RawValue>(text)
        .map(drop)
        .map_err(|error| EngineError::refused(&format!("invalid_{name}"), format!("{name} is not JSON: {error}")))
}

/// The deepest nesting of brackets outside strings.
pub fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}
