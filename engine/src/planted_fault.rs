//! Faults planted on purpose, for a judge that must be seen to find them.
//!
//! Compiled out without the feature `planted-faults`. With it, `LONGHAUL_BREAK=name` breaks one promise of this process.

use std::sync::LazyLock;

/// A record is taken from whoever offers it, also from a worker that holds its run no more.
pub const UNFENCED_RECORD: &str = "unfenced-record";

/// A slot stays taken when the worker is dead that held it.
pub const SLOT_KEPT_BY_THE_DEAD: &str = "slot-kept-by-the-dead";

static CHOSEN: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("LONGHAUL_BREAK").ok());

/// The name that was given, whether or not there is such a fault.
pub fn chosen() -> Option<&'static str> {
    CHOSEN.as_deref().filter(|name| !name.is_empty())
}

/// Whether it is this one.
pub fn is_chosen(fault: &str) -> bool {
    chosen() == Some(fault)
}
