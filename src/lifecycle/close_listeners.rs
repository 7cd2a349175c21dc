//! Replies that wait for an answer and must hear of the end of the bus.

use std::sync::{Arc, Weak};

use super::{Lifecycle, Phase};

/// Something that waits for an answer and must hear of the end of the bus: a reply with a callback, or a task.
pub(crate) trait CloseListener: Send + Sync {
    fn bus_closed(&self);
}

/// More places than this are given back when none is in use.
const MANY: usize = 64;

/// The listeners of a bus, at places that are used again.
#[derive(Default)]
pub(super) struct CloseListeners {
    entries: Vec<Option<Weak<dyn CloseListener>>>,
    free: Vec<usize>,
}

impl Lifecycle {
    /// Calls the callbacks that still wait, when everything else of the bus is closed: they may look at it.
    pub(crate) fn notify_close_listeners(&self) {
        let waiting = std::mem::take(&mut self.close_listeners.lock().entries);
        for entry in waiting.into_iter().flatten().filter_map(|entry| entry.upgrade()) {
            entry.bus_closed();
        }
    }

    /// Notifies the listener of the end of the bus, until it is removed. Returns its place; `None` if the bus is closed
    /// and notifies nobody any more.
    pub(crate) fn add_close_listener(&self, entry: Weak<dyn CloseListener>) -> Option<usize> {
        let mut waiting = self.close_listeners.lock();
        // Under the lock that `notify_close_listeners` takes after the phase has moved: an entry made before is found there.
        if self.phase() == Phase::Closed {
            return None;
        }
        match waiting.free.pop() {
            Some(place) => {
                waiting.entries[place] = Some(entry);
                Some(place)
            }
            None => {
                waiting.entries.push(Some(entry));
                Some(waiting.entries.len() - 1)
            }
        }
    }

    pub(crate) fn remove_close_listener(&self, place: usize) {
        let mut waiting = self.close_listeners.lock();
        // After the end there are no entries, and no new ones.
        let entry = waiting.entries.get_mut(place).and_then(Option::take);
        if entry.is_some() {
            waiting.free.push(place);
        }
        if waiting.free.len() == waiting.entries.len() && waiting.free.len() > MANY {
            // A burst is over.
            *waiting = CloseListeners::default();
        }
        drop(waiting);
        drop(entry);
    }
}

/// Keeps a waiting reply known to its bus; dropping it takes the reply off the list.
pub(crate) struct Registration {
    lifecycle: Arc<Lifecycle>,
    place: usize,
}

impl Registration {
    /// `None` if the bus is closed.
    pub(crate) fn new(lifecycle: &Arc<Lifecycle>, entry: Weak<dyn CloseListener>) -> Option<Self> {
        let place = lifecycle.add_close_listener(entry)?;
        Some(Self { lifecycle: Arc::clone(lifecycle), place })
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.lifecycle.remove_close_listener(self.place);
    }
}
