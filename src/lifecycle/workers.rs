//! The workers of a bus, in numbers: a drain waits until all of them idle or have ended.

use std::sync::Arc;

use super::serving::serving;
use super::{CountGuard, Lifecycle, Phase};
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The workers of all handlers of a bus.
#[derive(Default)]
pub(super) struct Workers {
    /// Workers that have not ended.
    all: AtomicUsize,
    /// Workers that wait for a message.
    idle: AtomicUsize,
    /// How often a worker went from idle to busy; see `rest` in `bus/drain.rs`.
    activity: AtomicU64,
    /// Workers that drain the bus, and so handle nothing.
    draining: AtomicUsize,
}

impl Lifecycle {
    pub(crate) fn worker_started(&self) {
        // SeqCst pairs with `workers`, for a close or a drain that comes next.
        self.workers.all.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns `true` for the last worker of a closed bus.
    pub(crate) fn worker_ended(&self) -> bool {
        // SeqCst pairs with `advance` and the look at `workers` in `BusInner::close`.
        self.workers.all.fetch_sub(1, Ordering::SeqCst) == 1
            && self.state.load(Ordering::SeqCst) & Phase::Closed as u64 != 0
    }

    pub(crate) fn workers(&self) -> usize {
        // SeqCst pairs with `worker_started` and `worker_ended`.
        self.workers.all.load(Ordering::SeqCst)
    }

    pub(crate) fn worker_idles(&self) {
        // SeqCst pairs with `busy_workers`: what the worker published before is in a queue that the drain looks at.
        self.workers.idle.fetch_add(1, Ordering::SeqCst);
    }

    /// Called before the worker takes a message out: a message is in a queue or in the hand of a busy worker.
    // Invariant 7.
    pub(crate) fn worker_wakes(&self) {
        // SeqCst pairs with `activity` and `busy_workers`: a drain that finds the queue empty sees the busy worker, or that
        // there was one between its two looks.
        self.workers.activity.fetch_add(1, Ordering::SeqCst);
        self.workers.idle.fetch_sub(1, Ordering::SeqCst);
    }

    pub(crate) fn busy_workers(&self) -> usize {
        // SeqCst pairs with `worker_idles` and `worker_wakes`. The idle ones first: a worker that ends in between must not
        // count as minus one.
        let idle = self.workers.idle.load(Ordering::SeqCst);
        self.workers().saturating_sub(idle)
    }

    /// Counts this thread as a worker that start_draining the bus, until the guard is dropped; `None` if it is no worker of this
    /// bus. Also returns the mailbox that it serves.
    pub(crate) fn start_draining(self: &Arc<Self>) -> Option<(u64, CountGuard<Self>)> {
        let serving = serving().filter(|serving| serving.bus == self.id)?;
        Some((serving.mailbox, CountGuard::one(self, |lifecycle| &lifecycle.workers.draining)))
    }

    pub(crate) fn draining_workers(&self) -> usize {
        // SeqCst pairs with `CountGuard`.
        self.workers.draining.load(Ordering::SeqCst)
    }

    pub(crate) fn activity(&self) -> u64 {
        // SeqCst pairs with `worker_wakes`.
        self.workers.activity.load(Ordering::SeqCst)
    }
}
