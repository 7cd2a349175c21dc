//! What a drain has to know of the readers of a log.

use std::sync::Arc;

use super::{Log, Place};
use crate::lifecycle::{CountGuard, HandlerWorkers};
use crate::mailbox::SeenWorkers;
use crate::sync::atomic::Ordering;

/// A reader that is not done.
pub(crate) struct ReaderLeft {
    /// Of its handler, if it is one's.
    pub(crate) name: Option<String>,
    pub(crate) remaining: usize,
    pub(crate) running: usize,
    /// Whether the numbers belong together.
    pub(crate) is_settled: bool,
}

impl<T> Place<T> {
    fn remaining(&self, next_offset: u64) -> usize {
        let unread = usize::try_from(next_offset.saturating_sub(self.position())).unwrap_or(usize::MAX);
        unread.saturating_add(self.handled.as_ref().map_or(0, |handled| handled.returned()))
    }

    fn workers(&self) -> Option<&Arc<HandlerWorkers>> {
        self.handled.as_ref().map(|handled| &handled.workers)
    }

    /// Whether its worker reads nothing: it drains the bus.
    fn is_stuck(&self) -> bool {
        self.workers().is_some_and(|workers| workers.draining() > 0)
    }
}

impl<T> Log<T> {
    /// Those for which a drain waits: handlers, and the readers of a log that blocks.
    fn awaited(&self, handled_only: bool) -> Vec<Arc<Place<T>>> {
        let gate = self.gate.lock();
        let is_awaited = |place: &Place<T>| place.handled.is_some() || (self.blocks() && !handled_only);
        gate.readers.iter().filter(|place| is_awaited(place)).cloned().collect()
    }

    pub(crate) fn is_at_rest(&self, handled_only: bool, seen: &mut SeenWorkers) -> bool {
        let next = self.next_offset();
        self.gate.lock().line.is_empty()
            && self.awaited(handled_only).iter().all(|place| place.is_stuck() || place.remaining(next) == 0)
            && self.awaited(true).iter().filter_map(|place| place.workers()).all(|workers| {
                let counts = workers.counts();
                seen.push((workers.id(), counts));
                counts.looking() == 0 && counts.ending() == 0 && counts.busy() <= workers.draining()
            })
    }

    pub(crate) fn is_awake(&self) -> bool {
        self.awaited(true).iter().filter_map(|place| place.workers()).any(|workers| workers.counts().is_awake())
    }

    pub(crate) fn left(&self, handled_only: bool) -> Vec<ReaderLeft> {
        let left = self.awaited(handled_only).into_iter().map(|place| {
            let counts = || place.workers().map(|workers| workers.counts());
            let before = counts();
            let remaining = place.remaining(self.next_offset());
            let after = counts();
            let looking = after.map_or(0, |counts| counts.looking());
            let busy = after.map_or(0, |counts| counts.busy());
            let draining = place.workers().map_or(0, |workers| workers.draining());
            ReaderLeft {
                name: place.handled.as_ref().map(|handled| handled.name.clone()),
                remaining,
                running: busy.saturating_sub(draining) + looking,
                is_settled: looking == 0 && before == after,
            }
        });
        left.collect()
    }

    pub(crate) fn pause_worker(&self, reader: u64, handler: u64) -> Option<CountGuard<HandlerWorkers>> {
        let gate = self.gate.lock();
        let place = gate.readers.iter().find(|place| place.id == reader)?;
        place.workers().filter(|workers| workers.id() == handler).map(HandlerWorkers::start_draining)
    }

    /// Whether a publisher would have to wait.
    pub(crate) fn is_full(&self) -> bool {
        if self.next_offset() < self.tail.limit.load(Ordering::Relaxed) && !self.is_crowded() {
            return false;
        }
        let gate = self.gate.lock();
        !gate.line.is_empty() || !self.has_room(&gate, self.next_offset())
    }
}
