//! SHA-256 in hex, for deterministic ids and for comparing bodies.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// The SHA-256 of `bytes` in lowercase hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// `prefix` and the first 24 digits of the digest of `parts`: short, stable and distinct.
pub(crate) fn short_id(prefix: &str, parts: &[&str]) -> String {
    let digest = sha256_hex(parts.join("\u{1f}").as_bytes());
    format!("{prefix}{}", &digest[..24])
}
