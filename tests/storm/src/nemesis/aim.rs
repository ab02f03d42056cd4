//! What is aimed at. An aim may be armed at several slots; the first that comes into its window takes it.

use crate::record::Window;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// One wish to hit somebody in a window. It hits once.
#[derive(Debug)]
pub(super) struct Aim {
    pub(super) window: Window,
    taken: AtomicBool,
    /// Told when it was taken.
    pub(super) hit: Notify,
}

impl Aim {
    pub(super) fn at(window: Window) -> Arc<Self> {
        Arc::new(Self {
            window,
            taken: AtomicBool::new(false),
            hit: Notify::new(),
        })
    }

    /// True for one caller only.
    pub(super) fn take(&self) -> bool {
        let is_first = !self.taken.swap(true, Ordering::SeqCst);
        if is_first {
            self.hit.notify_one();
        }
        is_first
    }

    fn is_open(&self) -> bool {
        !self.taken.load(Ordering::SeqCst)
    }
}

/// The aims that are armed at one slot.
#[derive(Debug, Default)]
pub(super) struct Aims(Mutex<Vec<Arc<Aim>>>);

impl Aims {
    pub(super) fn arm(&self, aim: &Arc<Aim>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(aim));
    }

    pub(super) fn disarm(&self, aim: &Arc<Aim>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|armed| !Arc::ptr_eq(armed, aim));
    }

    /// The aim at this window that was armed first.
    pub(super) fn armed(&self, window: Window) -> Option<Arc<Aim>> {
        let armed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut aims = armed.iter().filter(|aim| aim.window == window && aim.is_open());
        aims.next().map(Arc::clone)
    }
}
