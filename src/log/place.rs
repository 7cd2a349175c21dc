//! How far a reader is.

use std::collections::VecDeque;
use std::sync::Arc;

use crossbeam_utils::CachePadded;

use crate::dead_letter::Again;
use crate::lifecycle::HandlerWorkers;
use crate::panic::drop_each;
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

type Returned<T> = VecDeque<(Topic, Again<T>)>;

/// What the log knows of a handler that reads it.
pub(crate) struct Handled<T> {
    pub(crate) name: String,
    pub(crate) workers: Arc<HandlerWorkers>,
    /// Dead letters that were sent back to the handler; `None` when it takes no more.
    returned: Mutex<Option<Returned<T>>>,
}

impl<T> Handled<T> {
    pub(crate) fn new(name: String, workers: Arc<HandlerWorkers>) -> Self {
        Self { name, workers, returned: Mutex::new(Some(VecDeque::new())) }
    }

    /// Gives a letter back to the handler. Returns it if that takes no more.
    pub(super) fn give_back(&self, topic: Topic, again: Again<T>) -> Result<(), Again<T>> {
        match self.returned.lock().as_mut() {
            Some(returned) => {
                returned.push_back((topic, again));
                Ok(())
            }
            None => Err(again),
        }
    }

    pub(crate) fn take_returned(&self) -> Option<(Topic, Again<T>)> {
        self.returned.lock().as_mut()?.pop_front()
    }

    pub(crate) fn returned(&self) -> usize {
        self.returned.lock().as_ref().map_or(0, VecDeque::len)
    }

    /// The handler takes no more letters, if there is none that it has not taken. Returns `false` if there is.
    pub(crate) fn end_if_none_returned(&self) -> bool {
        let mut returned = self.returned.lock();
        let is_none_left = returned.as_ref().is_none_or(VecDeque::is_empty);
        if is_none_left {
            *returned = None;
        }
        is_none_left
    }

    /// The handler takes no more letters. Drops those that it has not taken, and returns how many.
    pub(crate) fn drop_returned(&self) -> u64 {
        let returned = self.returned.lock().take();
        returned.map_or(0, |returned| drop_each(returned.into_iter(), |_| {}) as u64)
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
