//! Where the names in `{env:NAME}` and in a command's allow-list are looked up.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A lookup of names; its `Debug` shows nothing of what it holds.
#[derive(Clone)]
pub struct Environment(Arc<Lookup>);

type Lookup = dyn Fn(&str) -> Option<String> + Send + Sync;

impl Environment {
    /// The process's own, asked anew for each call. A value that is not UTF-8 counts as missing.
    pub fn of_process() -> Self {
        Self::new(|name| std::env::var(name).ok())
    }

    /// Exactly these names.
    pub fn of(values: BTreeMap<String, String>) -> Self {
        Self::new(move |name| values.get(name).cloned())
    }

    /// Any lookup, such as one in a secret store that is already in memory.
    pub fn new(lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(lookup))
    }

    /// The value of that name.
    pub fn get(&self, name: &str) -> Option<String> {
        (self.0)(name)
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Environment(..)")
    }
}
