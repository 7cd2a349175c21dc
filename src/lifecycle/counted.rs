//! A count that a guard takes back.

use std::sync::Arc;

use crate::sync::atomic::{AtomicUsize, Ordering};

/// One more in a counter of its owner, until it is dropped.
pub(crate) struct Counted<O> {
    owner: Arc<O>,
    counter: fn(&O) -> &AtomicUsize,
}

impl<O> Counted<O> {
    pub(crate) fn one(owner: &Arc<O>, counter: fn(&O) -> &AtomicUsize) -> Self {
        counter(owner).fetch_add(1, Ordering::SeqCst);
        Self { owner: Arc::clone(owner), counter }
    }
}

impl<O> Drop for Counted<O> {
    fn drop(&mut self) {
        (self.counter)(&self.owner).fetch_sub(1, Ordering::SeqCst);
    }
}
