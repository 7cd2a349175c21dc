//! The workers of a bus, in numbers: a drain waits until all of them idle or have ended.

use std::sync::Arc;

use super::serving::serving;
use super::{Counted, Lifecycle, Phase};
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Handler threads, in numbers.
#[derive(Default)]
pub(super) struct Workers {
    /// Those that have not ended.
    all: AtomicUsize,
    /// Those of them that wait for a message.
    idle: AtomicUsize,
    /// Counts how often one went from idle to busy; see `Core::drain`.
    activity: AtomicU64,
    /// Those that are draining the bus, and so handle nothing.
    draining: AtomicUsize,
}

impl Lifecycle {
    pub(crate) fn worker_started(&self) {
        self.workers.all.fetch_add(1, Ordering::SeqCst);
    }

    /// Tells whether this was the last worker of a closed bus. Pairs with `advance`.
    pub(crate) fn worker_ended(&self) -> bool {
        self.workers.all.fetch_sub(1, Ordering::SeqCst) == 1 && self.phase.load(Ordering::SeqCst) == Phase::Closed as u8
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers.all.load(Ordering::SeqCst)
    }

    pub(crate) fn worker_idles(&self) {
        self.workers.idle.fetch_add(1, Ordering::SeqCst);
    }

    /// Called before the worker takes a message out: a message is in a queue or in the hand of a busy worker.
    pub(crate) fn worker_wakes(&self) {
        self.workers.activity.fetch_add(1, Ordering::SeqCst);
        self.workers.idle.fetch_sub(1, Ordering::SeqCst);
    }

    pub(crate) fn busy_workers(&self) -> usize {
        // The idle ones first: a worker that ends in between must not count as minus one.
        let idle = self.workers.idle.load(Ordering::SeqCst);
        self.workers().saturating_sub(idle)
    }

    /// Counts this thread, until the result is dropped, as one that drains the bus, if it is a handler's. Tells the
    /// mailbox that it serves.
    pub(crate) fn drains(self: &Arc<Self>) -> Option<(u64, Counted<Self>)> {
        let serving = serving().filter(|serving| serving.bus == self.id())?;
        Some((serving.mailbox, Counted::one(self, |lifecycle| &lifecycle.workers.draining)))
    }

    pub(crate) fn draining_workers(&self) -> usize {
        self.workers.draining.load(Ordering::SeqCst)
    }

    pub(crate) fn activity(&self) -> u64 {
        self.workers.activity.load(Ordering::SeqCst)
    }
}
