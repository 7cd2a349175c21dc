//! Closures that are called with each letter at once, where a reader has a queue. For the test kit.

use std::sync::{Arc, Weak};

use super::DeadLetter;
use super::losses::{Listener, Losses};

/// Called on the thread that posts the letter.
pub(super) type Watch<T> = Arc<dyn Fn(DeadLetter<T>) + Send + Sync>;

/// Watches the dead letters of a bus until it is dropped.
pub(crate) struct Watching<T> {
    watch: Watch<T>,
    losses: Weak<Losses<T>>,
}

impl<T> Losses<T> {
    /// Calls `watch` with each letter, until the result is dropped.
    pub(crate) fn watch(self: &Arc<Self>, watch: impl Fn(DeadLetter<T>) + Send + Sync + 'static) -> Watching<T> {
        let watch: Watch<T> = Arc::new(watch);
        self.add(Listener::Watch(Arc::clone(&watch)));
        Watching { watch, losses: Arc::downgrade(self) }
    }
}

impl<T> Drop for Watching<T> {
    fn drop(&mut self) {
        if let Some(losses) = self.losses.upgrade() {
            losses.remove(|listener| matches!(listener, Listener::Watch(watch) if Arc::ptr_eq(watch, &self.watch)));
        }
    }
}
