//! What the conductor says to a part, and the last word of a part that fails.

use tokio::sync::mpsc::{Receiver, channel};

/// Stands before the reason, on the line that the conductor reads.
pub(crate) const FAILED: &str = "failed: ";

/// Nobody says more before it is heard.
const UNHEARD_MAX: usize = 4;

/// Line by line, until the conductor is gone. Read on a thread of its own: a runtime would not end before its read did.
pub(crate) fn orders() -> Receiver<String> {
    let (sender, receiver) = channel(UNHEARD_MAX);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Tells the conductor why.
pub(crate) fn tell_failure(error: &anyhow::Error) {
    println!("{FAILED}{}", one_line(&format!("{error:#}")));
}

/// A reason that came in several lines, such as of a log.
pub(crate) fn one_line(reason: &str) -> String {
    let lines = reason.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" / ")
}
