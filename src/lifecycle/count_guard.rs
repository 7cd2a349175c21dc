//! A guard that counts one more until it is dropped.

use std::sync::Arc;

use crate::sync::atomic::{AtomicUsize, Ordering};

/// One more in a counter of its owner, until it is dropped.
pub(crate) struct CountGuard<O> {
    owner: Arc<O>,
    counter: fn(&O) -> &AtomicUsize,
}

impl<O> CountGuard<O> {
    pub(crate) fn one(owner: &Arc<O>, counter: fn(&O) -> &AtomicUsize) -> Self {
        // SeqCst pairs with the loads in `Mailbox::is_stuck`, `Lifecycle::draining_workers` and `HandlerWorkers::draining`: of two readers that stop
        // taking messages at the same time, the later one sees both.
        counter(owner).fetch_add(1, Ordering::SeqCst);
        Self { owner: Arc::clone(owner), counter }
    }
}

impl<O> Drop for CountGuard<O> {
    fn drop(&mut self) {
        // SeqCst pairs with the same loads as in `one`.
        (self.counter)(&self.owner).fetch_sub(1, Ordering::SeqCst);
    }
}
