//! A signal that comes once: the end of a bus, of a mailbox, of a handler.

use std::convert::Infallible;

use crate::sync::Mutex;
use crate::sync::channel::{Receiver, Sender, bounded};

/// A channel that never carries anything: its end wakes every thread that waits for it.
pub(crate) type EndSignal = Receiver<Infallible>;

/// Ends an [`EndSignal`] when it fires or is dropped.
pub(crate) struct EndTrigger(Mutex<Option<Sender<Infallible>>>);

impl EndTrigger {
    pub(crate) fn new() -> (Self, EndSignal) {
        let (sender, signal) = bounded(0);
        (Self(Mutex::new(Some(sender))), signal)
    }

    pub(crate) fn fire(&self) {
        // Taken out first, so that the wake-ups happen after the lock is released.
        let sender = self.0.lock().take();
        drop(sender);
    }
}
