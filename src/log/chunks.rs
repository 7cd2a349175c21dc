//! The chunks that a log keeps, and how one more is added.

use std::collections::VecDeque;
use std::sync::Arc;

use crossbeam_utils::CachePadded;

use super::chunk::{Chunk, Places};
use crate::sync::{ArcSwap, Guard, Mutex};
use crate::topic::Topic;

/// How large a chunk is, in bytes, unless few entries fit into that, or the log keeps fewer.
const CHUNK_BYTES: usize = 12 * 1024;
const FEWEST_ENTRIES: usize = 16;
const MOST_ENTRIES: usize = 512;

pub(super) struct Chunks<T> {
    /// Where the next entry goes, or behind which the next chunk comes.
    newest: CachePadded<ArcSwap<Chunk<T>>>,
    kept: Mutex<VecDeque<Arc<Chunk<T>>>>,
    /// Of a chunk that has left.
    spare: Mutex<Option<Places<T>>>,
    /// The topic of all entries, if they have the same.
    topic: Option<Topic>,
    /// The places of a chunk.
    len: usize,
    capacity: u64,
}

impl<T> Chunks<T> {
    pub(super) fn new(capacity: usize, topic: Option<Topic>) -> Self {
        let entry = match topic {
            Some(_) => size_of::<T>(),
            None => size_of::<(Topic, T)>(),
        };
        let len = (CHUNK_BYTES / (entry + size_of::<usize>())).clamp(FEWEST_ENTRIES, MOST_ENTRIES).min(capacity);
        let first = Arc::new(Chunk::new(0, Places::new(topic.as_ref(), len)));
        Self {
            newest: CachePadded::new(ArcSwap::new(Arc::clone(&first))),
            kept: Mutex::new(VecDeque::from([first])),
            spare: Mutex::new(None),
            topic,
            len,
            capacity: capacity as u64,
        }
    }

    #[inline(always)]
    pub(super) fn newest(&self) -> Guard<Arc<Chunk<T>>> {
        self.newest.load()
    }

    /// Makes sure that there is a chunk with a place for the entry of this offset, which is the next. Runs no user code.
    /// Returns a chunk that has left.
    #[cold]
    #[inline(never)]
    pub(super) fn add(&self, offset: u64) -> Option<Arc<Chunk<T>>> {
        // Made before the lock, under which others wait.
        let spare = self.spare.lock().take();
        let places = spare.unwrap_or_else(|| Places::new(self.topic.as_ref(), self.len));
        let mut kept = self.kept.lock();
        let newest = kept.back()?;
        if newest.end() != offset {
            // Another publisher has added it.
            drop(kept);
            *self.spare.lock() = Some(places);
            return None;
        }
        let chunk = Arc::new(Chunk::new(offset, places));
        newest.link(&chunk);
        kept.push_back(Arc::clone(&chunk));
        let is_over = kept.front().is_some_and(|oldest| oldest.end() + self.capacity <= offset);
        let oldest = if is_over { kept.pop_front() } else { None };
        // It is kept as long as the lock is, so this is not the last hold of it.
        drop(self.newest.swap(chunk));
        drop(kept);
        oldest
    }

    /// Uses a chunk that has left once more, if nobody else holds it. Drops its payloads, or lets go of them.
    pub(super) fn recycle(&self, chunk: Arc<Chunk<T>>) {
        if let Ok(chunk) = Arc::try_unwrap(chunk) {
            let places = chunk.into_empty_places();
            // Empty, so no user code runs if there is one already.
            *self.spare.lock() = Some(places);
        }
    }

    /// The chunk of the entry of this offset, or the nearest one that is kept, and the offset nearest to it.
    pub(super) fn locate(&self, offset: u64) -> Option<(Arc<Chunk<T>>, u64)> {
        let kept = self.kept.lock();
        let (first, last) = (kept.front()?, kept.back()?);
        // All have the same length.
        let index = offset.saturating_sub(first.base()) / self.len as u64;
        let chunk = usize::try_from(index).ok().and_then(|index| kept.get(index)).unwrap_or(last);
        Some((Arc::clone(chunk), offset.max(chunk.base())))
    }
}
