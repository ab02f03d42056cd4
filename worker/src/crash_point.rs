//! Named places where tests wait for a worker, or have it die.
//!
//! Compiled out without the feature `crash-points`. With it, `LONGHAUL_CRASH_POINT=name` or `name:n` makes the process
//! kill itself with SIGKILL when it comes to that place for the n-th time.

/// Marks a place.
macro_rules! crash_point {
    ($name:literal) => {
        #[cfg(feature = "crash-points")]
        $crate::crash_point::reached($name);
    };
}
pub(crate) use crash_point;

#[cfg(feature = "crash-points")]
pub(crate) fn reached(name: &str) {
    use std::sync::atomic::{AtomicU32, Ordering};
    static VISITS: AtomicU32 = AtomicU32::new(0);
    let Ok(wanted) = std::env::var("LONGHAUL_CRASH_POINT") else {
        return;
    };
    let (point, nth) = match wanted.rsplit_once(':') {
        Some((point, nth)) => (point, nth.parse().unwrap_or(1)),
        None => (wanted.as_str(), 1),
    };
    if point == name && VISITS.fetch_add(1, Ordering::SeqCst) + 1 == nth {
        let me = nix::unistd::Pid::this();
        let _ = nix::sys::signal::kill(me, nix::sys::signal::Signal::SIGKILL);
        // The signal is on its way; nothing more may happen here.
        loop {
            std::thread::park();
        }
    }
}
