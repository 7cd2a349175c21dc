//! A gate that holds a handler up while it has a message in hand.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

/// The handler's side of a gate.
pub struct Gate<T> {
    entering: Sender<T>,
    opened: Mutex<Receiver<()>>,
}

impl<T> Gate<T> {
    /// Reports that the handler has entered, and blocks until the test lets it pass.
    pub fn pass(&self, in_hand: T) {
        // A test that has seen enough no longer listens.
        let _ = self.entering.send(in_hand);
        let _ = self.opened.lock().unwrap().recv();
    }
}

/// Returns a gate, the receiver of what enters it, and its key: each message sent with the key lets one handler pass, and
/// dropping the key opens the gate for good. The receiver disconnects when the gate is dropped with its handler.
pub fn gate<T>() -> (Gate<T>, Receiver<T>, Sender<()>) {
    let (entering, entered) = channel();
    let (key, opened) = channel();
    (Gate { entering, opened: Mutex::new(opened) }, entered, key)
}
