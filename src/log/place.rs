//! How far a reader is.

use std::collections::VecDeque;
use std::sync::Arc;

use crossbeam_utils::CachePadded;

use crate::dead_letter::Again;
use crate::lifecycle::HandlerWorkers;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::topic::Topic;

/// Of one reader, as the log knows it.
pub(crate) struct Place<T> {
    /// The number of a reader; no mailbox has the same.
    pub(crate) id: u64,
    /// The offset of the entry that it reads next. On a line of its own, which the reader writes for each entry.
    position: CachePadded<AtomicU64>,
    pub(crate) handled: Option<Handled<T>>,
}

/// What the log knows of a handler that reads it.
pub(crate) struct Handled<T> {
    pub(crate) name: String,
    pub(crate) workers: Arc<HandlerWorkers>,
    /// Dead letters that were sent back to the handler.
    returned: Mutex<VecDeque<(Topic, Again<T>)>>,
}

impl<T> Handled<T> {
    pub(crate) fn new(name: String, workers: Arc<HandlerWorkers>) -> Self {
        Self { name, workers, returned: Mutex::default() }
    }

    pub(super) fn give_back(&self, topic: Topic, again: Again<T>) {
        self.returned.lock().push_back((topic, again));
    }

    pub(crate) fn take_returned(&self) -> Option<(Topic, Again<T>)> {
        self.returned.lock().pop_front()
    }

    pub(crate) fn returned(&self) -> usize {
        self.returned.lock().len()
    }
}

impl<T> Place<T> {
    pub(super) fn new(id: u64, position: u64, handled: Option<Handled<T>>) -> Self {
        Self { id, position: CachePadded::new(AtomicU64::new(position)), handled }
    }

    pub(crate) fn position(&self) -> u64 {
        // Acquire pairs with `pass`: what the reader did before it passed an entry is seen by who overwrites that.
        self.position.load(Ordering::Acquire)
    }

    /// The reader has passed all entries before this offset.
    #[inline(always)]
    pub(super) fn pass(&self, offset: u64) {
        // Release pairs with `position`.
        self.position.store(offset, Ordering::Release);
    }
}
