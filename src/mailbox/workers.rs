//! The workers of handlers that take from a mailbox, for drains.

use std::sync::{Arc, Weak};

use super::Mailbox;
use crate::lifecycle::{CountGuard, HandlerWorkers, WorkerCounts};

/// What the workers of each handler of a mailbox do, by the numbers of the handlers.
pub(crate) type SeenWorkers = Vec<(u64, WorkerCounts)>;

impl<T, R> Mailbox<T, R> {
    /// Makes the workers of a handler known, before they begin.
    pub(crate) fn add_handler(&self, workers: &Arc<HandlerWorkers>) {
        let mut handlers = self.handlers.lock();
        // Of members of a group that come and go, those that have gone are forgotten before the list grows.
        if handlers.len() == handlers.capacity() {
            handlers.retain(|handler| handler.strong_count() > 0);
        }
        handlers.push(Arc::downgrade(workers));
    }

    fn handlers(&self) -> Vec<Arc<HandlerWorkers>> {
        self.handlers.lock().iter().filter_map(Weak::upgrade).collect()
    }

    /// Whether a handler takes from the queue.
    pub(crate) fn is_handled(&self) -> bool {
        self.handlers().iter().any(|handler| handler.is_running())
    }

    /// Counts one worker of the handler of this number, which is this thread, as one that drains the bus.
    pub(crate) fn pause_worker(&self, handler: u64) -> Option<CountGuard<HandlerWorkers>> {
        self.handlers().iter().find(|workers| workers.id() == handler).map(HandlerWorkers::start_draining)
    }

    /// Whether no worker has a message in hand or looks for one. Adds what it has seen to `seen`.
    pub(crate) fn is_idle(&self, seen: &mut SeenWorkers) -> bool {
        self.handlers().iter().all(|handler| {
            let counts = handler.counts();
            seen.push((handler.id(), counts));
            counts.looking() == 0 && counts.ending() == 0 && counts.busy() <= handler.draining()
        })
    }

    /// Whether a worker will soon have found a message or none, or may soon be idle.
    pub(crate) fn is_awake(&self) -> bool {
        !self.is_idle(&mut Vec::new())
    }

    /// Returns the number of messages that wait, and of workers that have one in hand.
    ///
    /// A worker that looks may have taken a message out and not be counted as busy yet, so the caller looks again until none
    /// does. One that goes on looking runs code of the user, with the message in hand.
    pub(crate) fn left(&self) -> Left {
        let handlers = self.handlers();
        let counts = || handlers.iter().map(|handler| handler.counts()).collect::<Vec<_>>();
        let before = counts();
        let remaining = self.len();
        let after = counts();
        let looking: usize = after.iter().map(|counts| counts.looking()).sum();
        // Otherwise a worker took a message in between, before or after the look at the queue.
        let is_settled = looking == 0 && before == after;
        let busy =
            |(handler, counts): (&Arc<HandlerWorkers>, WorkerCounts)| counts.busy().saturating_sub(handler.draining());
        let running: usize = handlers.iter().zip(after).map(busy).sum();
        Left { remaining, running: running + looking, is_settled }
    }
}

/// The messages that wait in a mailbox, and its workers that have one in hand.
pub(crate) struct Left {
    pub(crate) remaining: usize,
    pub(crate) running: usize,
    /// They are of one moment: no worker was on its way to a message.
    pub(crate) is_settled: bool,
}
