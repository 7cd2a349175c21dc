//! A weak pointer from one thing to the next.

use std::sync::{Arc, Weak};

use super::atomic::{AtomicUsize, Ordering};

/// Whether what it points to is still there is a step of its own.
pub struct WeakLink<A> {
    looks: AtomicUsize,
    to: Weak<A>,
}

impl<A> WeakLink<A> {
    pub fn new(to: &Arc<A>) -> Self {
        Self { looks: AtomicUsize::new(0), to: Arc::downgrade(to) }
    }

    pub fn upgrade(&self) -> Option<Arc<A>> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.to.upgrade()
    }
}
