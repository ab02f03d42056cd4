//! Named places where tests have a worker die, or stand still.
//!
//! Compiled out without the feature `crash-points`. With it, `LONGHAUL_CRASH_POINT=name` or `name:n` makes the process
//! kill itself with SIGKILL when it comes to that place for the n-th time; `LONGHAUL_STOP_POINT` makes it stop there with
//! SIGSTOP, and go on from there at SIGCONT.

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
    use nix::sys::signal::{Signal, kill};
    use std::sync::atomic::AtomicU32;
    static CRASH_VISITS: AtomicU32 = AtomicU32::new(0);
    static STOP_VISITS: AtomicU32 = AtomicU32::new(0);
    if is_wanted("LONGHAUL_CRASH_POINT", name, &CRASH_VISITS) {
        let _ = kill(nix::unistd::Pid::this(), Signal::SIGKILL);
        // The signal is on its way; nothing more may happen here.
        loop {
            std::thread::park();
        }
    }
    if is_wanted("LONGHAUL_STOP_POINT", name, &STOP_VISITS) {
        // To this thread: it is stopped before it returns from here, and the whole process with it.
        let _ = nix::sys::signal::raise(Signal::SIGSTOP);
    }
}

/// Whether this is the visit that the variable names.
#[cfg(feature = "crash-points")]
fn is_wanted(variable: &str, name: &str, visits: &std::sync::atomic::AtomicU32) -> bool {
    let Ok(wanted) = std::env::var(variable) else {
        return false;
    };
    let (point, nth) = match wanted.rsplit_once(':') {
        Some((point, nth)) => (point, nth.parse().unwrap_or(1)),
        None => (wanted.as_str(), 1),
    };
    point == name && visits.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1 == nth
}
